"""nnU-Net's own predictor and softcord on the original topology, side by side in one run.

    python benchmarks/nnunet.py [--threads N] [--images N] [--tiny] [--markdown FILE]

Needs torch and nnunetv2, and OpenVINO for the times that count. Weights are random. It prints

- seconds and peak memory of one tile, of both, each in processes of their own, in turn, and how much of the
  fastest matrix multiplication of this machine a tile of softcord reaches;
- for each image the tiles of the grid, those that `follow` computes, and how many times faster the image is.
  The tiles are those that the true cord passes through, as random weights find none; the compact network that
  says where to start is run and its time counted. Of nnU-Net, three tiles are timed and multiplied by those
  of the grid; its preprocessing and export are left out, softcord's are counted.

`--tiny` takes a network and images so small that all of it takes a minute: for trying the script itself.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SOFTCORD_TEST_DATA") or ROOT.parent / "shared") / "data"
sys.path.insert(0, str(ROOT / "tests"))

STRIDES = [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]
FEATURES = [32, 64, 128, 256, 320, 320]
PLANS = {  # patch and spacing along right-left, antero-posterior, cord
    "v2": {"patch": (64, 192, 320), "spacing": (1.0, 1.0, 1.0)},
    "v3": {"patch": (64, 224, 160), "spacing": (0.9, 0.7, 1.0)},
}
HEAD = {"shape": (192, 260, 320), "zooms": (1.0, 1.0, 1.0)}
RAS = np.array([[0.0, 1], [1, 1], [2, 1]])


def make_model(folder: Path, name: str, *, tiny: bool) -> Path:
    """A model of the original topology with random weights."""
    import random_nnunet as make

    options = dict(PLANS[name], transpose=(2, 1, 0))
    features, strides = FEATURES, STRIDES
    if tiny:
        options["patch"] = tuple(n // 4 for n in options["patch"])
        features, strides = [4, 8, 16, 16], STRIDES[:4]
    plans = make.make_plans(**options)
    architecture = make.architecture(features=features, strides=strides)
    architecture["arch_kwargs"]["kernel_sizes"] = [[3, 3, 3]] * len(strides)
    plans["configurations"]["3d_fullres"]["architecture"] = architecture
    return make.write_model(folder / name, plans, make.make_dataset())


def gigaflops(model: Path) -> float:
    """Multiplications and additions of one tile, in thousand millions."""
    from softcord.engines.nnunet.plans import read_plans

    plans = read_plans(json.loads((model / "plans.json").read_text(encoding="utf-8")))
    t, shape, total, sizes = plans.topology, np.array(plans.patch), 0.0, []
    channels = len(plans.normalisations)
    for features, kernel, stride, count in zip(t.features, t.kernels, t.strides, t.encoder, strict=True):
        shape = shape // stride
        sizes.append(float(np.prod(shape)))
        for _ in range(count):
            total += 2 * sizes[-1] * np.prod(kernel) * channels * features
            channels = features
    for stage in range(len(t.features) - 2, -1, -1):
        features, kernel = t.features[stage], t.kernels[stage]
        total += 2 * sizes[stage] * channels * features
        inside = 2 * features
        for _ in range(t.decoder[-1 - stage]):
            total += 2 * sizes[stage] * np.prod(kernel) * inside * features
            inside = features
        channels = features
    return float(total + 2 * sizes[0] * channels * 2) / 1e9


def matmul_peak(threads: int) -> float:
    """The fastest matrix multiplication in float32 of numpy and torch, GFLOP/s."""
    import torch

    torch.set_num_threads(threads)
    n, best = 3072, float("inf")
    a, b = (np.random.default_rng(seed).random((n, n), dtype=np.float32) for seed in (0, 1))
    c, d = torch.from_numpy(a), torch.from_numpy(b)
    for multiply in (lambda: a @ b, lambda: c @ d):
        for _ in range(5):
            start = time.perf_counter()
            multiply()
            best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best / 1e9


def time_nnunet(model: Path, threads: int, tiles: int) -> dict[str, float]:
    """Seconds of each tile in nnU-Net's predictor, and the peak memory of this process."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    torch.set_num_threads(threads)
    predictor = nnUNetPredictor(
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(model), ("all",), "checkpoint_final.pth")
    patch = predictor.configuration_manager.patch_size
    shape = (patch[0] * (tiles + 1) // 2, *patch[1:])  # steps of half a tile
    seconds, compute = [], predictor._internal_maybe_mirror_and_predict  # noqa: SLF001

    def timed(part: torch.Tensor) -> torch.Tensor:
        start = time.perf_counter()
        result = compute(part)
        seconds.append(time.perf_counter() - start)
        return result

    predictor._internal_maybe_mirror_and_predict = timed  # noqa: SLF001
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32))
    predictor.predict_logits_from_preprocessed_data(image)
    return {"seconds": median(seconds), "tiles": len(seconds), "peak_mb": peak_mb()}


def time_softcord(model: Path, threads: int, tiles: int) -> dict[str, float]:
    """The same of softcord."""
    from softcord import models
    from softcord.engines.nnunet.predict import _Tiling
    from softcord.engines.nnunet.preprocess import Prepared

    network = models.load(model, device="cpu", threads=threads).network
    patch = network.plans.patch
    shape = (patch[0] * (tiles + 1) // 2, *patch[1:])
    image = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    everything = tuple(slice(0, n) for n in shape)
    prepared = Prepared(image, everything, shape, network.plans.spacing, everything)
    network.folds.engine(0)
    moments = [time.perf_counter()]
    tiling = _Tiling(prepared, network, mirror=False, on_tile=lambda *_: moments.append(time.perf_counter()))
    tiling.all()
    seconds = np.diff(moments)
    return {
        "seconds": float(np.median(seconds)),
        "tiles": len(seconds),
        "peak_mb": peak_mb(),
        "engine": network.engine_name,
    }


def follow_image(model: Path, threads: int, image: Path) -> dict[str, float]:
    """Seconds of an image in `follow`, with the tiles that its true cord passes through."""
    from softcord import engines, models
    from softcord.engines.nnunet import NnunetOptions, follow, predict, predict_nnunet

    content = np.load(image)
    data, cord, zooms = content["data"], content["cord"], tuple(float(z) for z in content["zooms"])
    loaded = models.load(model, device="cpu", threads=threads)
    loaded.network.folds.engine(0)

    def find_cord() -> np.ndarray:
        engines.predict(data, zooms, loaded.guide)
        return cord

    real = predict.follow_tiles

    def along_the_truth(grid, shape, spacing, labels, seed, compute, combine):  # noqa: ANN001, ANN202
        follow.cord_chain = lambda *_: seed
        return real(grid, shape, spacing, labels, seed, compute, combine)

    predict.follow_tiles = along_the_truth
    start = time.perf_counter()
    made = predict_nnunet([data], zooms, RAS, loaded.network, NnunetOptions("follow"), find_cord=find_cord)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "tiles": made.tiles, "computed": made.computed, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Peak memory of this process."""
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)
    )


def in_process(action: str, model: Path, threads: int, extra: str) -> dict[str, float]:
    """One of the measurements above, in a process of its own."""
    command = [sys.executable, __file__, action, str(model), "--threads", str(threads), "--extra", extra]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)}\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def write_images(folder: Path, count: int, *, tiny: bool) -> dict[str, Path]:
    """The head phantom, and T2w images with their masks."""
    from softcord.phantoms import AnatomyOptions, make_phantom

    options = {"shape": (48, 96, 96), "zooms": (1.0, 1.0, 1.0)} if tiny else HEAD
    phantom = make_phantom(
        2, contrast="T1w", oversample=(1, 1, 1), anatomy=AnatomyOptions(ends=False), **options
    )
    name = "×".join(str(n) for n in options["shape"])
    images = {f"phantom {name}": folder / "head.npz"}
    np.savez(folder / "head.npz", data=phantom.image, cord=phantom.share > 0.5, zooms=phantom.zooms)
    if not (SHARED / "images.tsv").is_file():
        return images
    import nibabel as nib

    rows = [line.split("\t") for line in (SHARED / "images.tsv").read_text(encoding="utf-8").splitlines()]
    chosen = [row for row in rows[1:] if row[4] == "T2w" and row[3]][:count]
    for row in chosen:
        image, mask = (nib.as_closest_canonical(nib.load(SHARED / "bids" / row[column])) for column in (2, 3))
        path = folder / f"{Path(row[2]).name}.npz"
        data = np.ascontiguousarray(image.get_fdata(dtype=np.float32))
        np.savez(path, data=data, cord=mask.get_fdata() > 0.5, zooms=image.header.get_zooms()[:3])
        images[Path(row[2]).name.removesuffix(".nii.gz")] = path
    return images


def compare_tiles(model: Path, args: argparse.Namespace, peak: float, lines: list[str]) -> float:
    """Add the row of one plan; seconds of a tile of nnU-Net."""
    ours, theirs = [], []
    for _ in range(2):
        theirs.append(in_process("nnunet", model, args.threads, "3"))
        ours.append(in_process("softcord", model, args.threads, "3"))
    a, b = (median(r["seconds"] for r in rows) for rows in (theirs, ours))
    p, q = (median(r["peak_mb"] for r in rows) for rows in (theirs, ours))
    speed = gigaflops(model) / b
    lines.append(
        f"| {model.name} | {ours[0]['engine']} | {a:.2f} | {b:.2f} | {a / b:.2f} | {p:.0f} | {q:.0f} | "
        f"{100 * q / p:.0f} % | {gigaflops(model):.0f} | {100 * speed / peak:.0f} % |"
    )
    print(lines[-1], flush=True)
    return a


def measure(args: argparse.Namespace) -> None:
    """Print the tables, and write them as Markdown if asked."""
    lines = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        models = {name: make_model(folder, name, tiny=args.tiny) for name in PLANS}
        peak = matmul_peak(args.threads)
        lines += [
            f"Matrix multiplication on {args.threads} threads: {peak:.0f} GFLOP/s",
            "",
            "| plan | engine | nnU-Net, s | softcord, s | faster | MB | MB | memory | GFLOP | of peak |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        print("\n".join(lines), flush=True)
        tile = {name: compare_tiles(model, args, peak, lines) for name, model in models.items()}
        head = [
            "",
            "| image | plan | tiles | computed | nnU-Net, s (3 tiles × n) | softcord, s | faster | MB |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += head
        print("\n".join(head), flush=True)
        images = write_images(folder, args.images, tiny=args.tiny)
        for number, (name, path) in enumerate(images.items()):
            for plan in models if number == 0 else ["v3"]:
                made = in_process("follow", models[plan], args.threads, str(path))
                theirs = tile[plan] * made["tiles"]
                lines.append(
                    f"| {name} | {plan} | {made['tiles']} | {made['computed']} | {theirs:.0f} | "
                    f"{made['seconds']:.1f} | {theirs / made['seconds']:.1f} | {made['peak_mb']:.0f} |"
                )
                print(lines[-1], flush=True)
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Measure everything, or one thing in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", nargs="?", choices=["all", "nnunet", "softcord", "follow"], default="all")
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--extra", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.action == "all":
        measure(args)
    elif args.action == "follow":
        print(json.dumps(follow_image(args.model, args.threads, Path(args.extra))))
    else:
        time_one = time_nnunet if args.action == "nnunet" else time_softcord
        print(json.dumps(time_one(args.model, args.threads, int(args.extra))))


if __name__ == "__main__":
    main()
