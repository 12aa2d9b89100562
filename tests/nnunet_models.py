"""Small models in nnU-Net's layout, written by hand; and a web server that behaves badly when asked to."""

import json
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from pickled import ordered, tensor, write_zip

FEATURES = (4, 8)


def plans(**changes: Any) -> dict[str, Any]:
    """Plans of a small model."""
    configuration = {
        "patch_size": [16, 32, 48],
        "spacing": [1.0, 0.8, 0.8],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": FEATURES[0],
        "unet_max_num_features": FEATURES[-1],
        "n_conv_per_stage_encoder": [1] * len(FEATURES),
        "n_conv_per_stage_decoder": [1] * (len(FEATURES) - 1),
        "pool_op_kernel_sizes": [[1, 1, 1]] + [[2, 2, 2]] * (len(FEATURES) - 1),
        "conv_kernel_sizes": [[3, 3, 3]] * len(FEATURES),
        **changes,
    }
    return {
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
    }


def dataset(**labels: int) -> dict[str, Any]:
    """Description of a dataset, of cords if nothing else is said."""
    named = {"background": 0, **(labels or {"sc": 1})}
    return {"channel_names": {"0": "acq"}, "labels": named, "file_ending": ".nii.gz", "numTraining": 1}


def write_checkpoint(path: Path, *, seed: int = 0, bare: bool = False, more: dict | None = None) -> Path:
    """Write a checkpoint of a network of two stages."""
    rng = np.random.default_rng(seed)
    storages, weights = {}, {}
    channels = 1
    for stage, features in enumerate(FEATURES):
        kernel = rng.standard_normal((features, channels, 3, 3, 3)).astype(np.float32)
        storages[str(stage)] = kernel
        weights[f"encoder.stages.{stage}.0.convs.0.conv.weight"] = tensor(kernel, str(stage))
        channels = features
    value: dict[str, Any] = {"network_weights": ordered(weights)}
    if not bare:
        value |= {
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": "3d_fullres", "plans": plans(), "dataset_json": dataset()},
            "current_epoch": 3,
            "inference_allowed_mirroring_axes": (0, 1, 2),
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_zip(path, {**value, **(more or {})}, storages)


def write_model(
    folder: Path, *, folds: tuple[str, ...] = ("0",), names: tuple[str, ...] = ("final",)
) -> Path:
    """Write the folder of a model, and what training leaves beside it."""
    for fold in folds:
        for number, name in enumerate(names):
            seed = 10 * (int(fold) if fold.isdecimal() else 9) + number
            write_checkpoint(folder / f"fold_{fold}" / f"checkpoint_{name}.pth", seed=seed)
        (folder / f"fold_{fold}" / "progress.png").write_bytes(b"picture")
    (folder / "plans.json").write_text(json.dumps(plans()))
    (folder / "dataset.json").write_text(json.dumps(dataset()))
    return folder


def zip_folder(folder: Path, path: Path, *, top: str = "", more: dict[str, bytes] | None = None) -> Path:
    """Zip a folder, below another one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{top}{file.relative_to(folder).as_posix()}")
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return path


@dataclass
class Server:
    """A web server with one file, and a list of what it is to do wrong, one item for each request.

    `faults`: "" for nothing; "cut" ends after half of what it promised; "stall" falls silent there; "short"
    says a length that is too small, "long" one too large, "huge" one of a TiB; "no-length" says none,
    "no-length-cut" neither says it nor sends all; "ignore-range" sends all when asked for a part;
    "wrong-range" sends another part; a number for that status; "redirect:URL"; "endless".
    """

    content: bytes
    url: str = ""
    etag: str = '"one"'
    faults: list[str] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    patience: threading.Event = field(default_factory=threading.Event)

    def next_fault(self) -> str:
        return self.faults.pop(0) if self.faults else ""


@contextmanager
def serve(content: bytes, name: str = "model.zip") -> Iterator[Server]:
    """Serve a file on this machine."""
    state = Server(content)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            fault = state.next_fault()
            state.requests.append(dict(self.headers))
            with suppress(BrokenPipeError, ConnectionResetError):
                answer(self, state, fault)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/{name}"
    try:
        yield state
    finally:
        state.patience.set()
        server.shutdown()
        server.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, state: Server, fault: str) -> None:
    """Answer one request, with that fault."""
    content, start, status = state.content, 0, 200
    asked = handler.headers.get("Range")
    fits = handler.headers.get("If-Range", state.etag) == state.etag
    if asked and fits and fault != "ignore-range":
        start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
    if fault.isdecimal():
        return handler.send_error(int(fault))
    if fault.startswith("redirect:"):
        handler.send_response(302)
        handler.send_header("Location", fault.removeprefix("redirect:"))
        handler.send_header("Content-Length", "0")
        return handler.end_headers()
    body = content[start:]
    handler.send_response(status)
    if status == 206:
        first = start + 1 if fault == "wrong-range" else start
        handler.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
    if state.etag:
        handler.send_header("ETag", state.etag)
    lies = {"short": -7, "long": 1000, "huge": 1 << 40}
    if not fault.startswith(("no-length", "endless")):
        handler.send_header("Content-Length", str(len(body) + lies.get(fault, 0)))
    handler.end_headers()
    if fault == "endless":
        while not state.patience.is_set():
            handler.wfile.write(bytes(1 << 16))
            time.sleep(0.001)
    handler.wfile.write(body[: len(body) // 2] if fault in ("cut", "stall", "no-length-cut") else body)
    if fault == "stall":
        state.patience.wait(20)
    return None
