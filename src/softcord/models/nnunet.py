"""A folder of an nnU-Net model: what is in it, and its graphs, which are made once and kept beside it."""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import softcord
from softcord.checksum import file_sha256
from softcord.engines import ChannelEngine, load_engine
from softcord.engines.nnunet import NnunetNetwork
from softcord.engines.nnunet.checkpoint import Checkpoint, read_checkpoint
from softcord.engines.nnunet.labels import Labels, read_labels
from softcord.engines.nnunet.margins import Margins, read_margins
from softcord.engines.nnunet.network import Folds
from softcord.engines.nnunet.plans import read_plans
from softcord.engines.runtime import choose_large_engine
from softcord.errors import ModelError
from softcord.models.describing import content_sha256
from softcord.models.folder import ModelInfo
from softcord.models.layout import CROP
from softcord.models.results import read_json
from softcord.models.running import check_channels, find_checkpoints

log = logging.getLogger(__name__)

GRAPHS = "softcord-graphs"
_TEMPORARY: list[tempfile.TemporaryDirectory[str]] = []  # graphs that could not be kept; gone at the end


@dataclass(frozen=True)
class NnunetFolder:
    """The content of a model folder in nnU-Net's layout, as far as it is read without its weights.

    Attributes
    ----------
    info : ModelInfo
        Its SHA-256 is that of all files that decide on the result.
    folder : Path
        Holds `plans.json`.
    files : dict of str to str
        SHA-256 of each file that the model is of.
    plans, dataset : dict
        Content of `plans.json` and `dataset.json`.
    labels : Labels
    margins : Margins, optional
        Content of `crop_metadata.json`.
    checkpoints : tuple of Path
        One for each fold.
    """

    info: ModelInfo
    folder: Path
    files: dict[str, str]
    plans: dict[str, Any]
    dataset: dict[str, Any]
    labels: Labels
    margins: Margins | None
    checkpoints: tuple[Path, ...]


def read_nnunet_folder(folder: Path, *, name: str) -> NnunetFolder:
    """Read what is in a folder of an nnU-Net model.

    Parameters
    ----------
    folder : Path
        Holds `plans.json`, `dataset.json` and `fold_*/checkpoint_*.pth`.
    name : str
        Under which the model is known.

    Raises
    ------
    ModelError
        A file is missing, damaged or not supported.
    """
    plans, dataset = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
    crop = folder / CROP
    margins = read_margins(read_json(crop)) if crop.is_file() else None
    checkpoints = find_checkpoints(folder)
    used = [folder / "plans.json", folder / "dataset.json", *sorted(folder.glob("fold_*/checkpoint_*.pth"))]
    used += [crop] if margins else []
    files = {path.relative_to(folder).as_posix(): file_sha256(path) for path in used}
    sha256 = content_sha256(files)
    try:
        labels = read_labels(dataset)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error
    trainer = next((part for part in folder.name.split("__") if part.startswith("nnUNetTrainer")), None)
    info = ModelInfo(
        name=name,
        version=sha256[:12],
        description=f"nnU-Net model of {', '.join(labels.names)}",
        sha256=sha256,
        folder=folder,
        size_bytes=sum(path.stat().st_size for path in checkpoints),
        config={
            "plans": plans.get("plans_name"),
            "dataset": plans.get("dataset_name"),
            "trainer": trainer,
            "folds": [path.parent.name for path in checkpoints],
            "checkpoints": sorted({path.name for path in checkpoints}),
            "channels": list(labels.channels),
            "labels": dict(zip(labels.names, labels.values, strict=True)),
            "regions": labels.regions,
            "orientation": labels.orientation or labels.image_orientation,
        },
        classes=labels.names,
    )
    return NnunetFolder(info, folder, files, plans, dataset, labels, margins, checkpoints)


def load_nnunet(folder: NnunetFolder, *, device: str, threads: int | None) -> NnunetNetwork:
    """Make an nnU-Net model ready to run.

    Its graphs are taken from where they were kept, or made from its weights, which is done once.

    Parameters
    ----------
    folder : NnunetFolder
    device : {"cpu", "cuda"}
    threads : int, optional
        On the CPU. Default: one per processor.

    Raises
    ------
    ModelError
        Its network is not supported, or its weights do not belong to its plans.
    """
    engine_name = choose_large_engine() if device == "cpu" else "onnxruntime"
    try:
        made = [
            _facts(_kept_graph(folder, checkpoint)) or _make_graph(folder, number)
            for number, checkpoint in enumerate(folder.checkpoints)
        ]
        first = made[0]
        plans = read_plans(folder.plans, first.configuration)
    except ModelError as error:
        raise ModelError(f"{folder.folder}: {error}") from error
    calibration = (folder.dataset.get("softcord") or {}).get("calibration") or {}

    def load(graph: Path) -> ChannelEngine:
        return load_engine(graph, device=device, threads=threads, engine=engine_name)

    return NnunetNetwork(
        plans=plans,
        labels=folder.labels,
        folds=Folds([part.graph for part in made], load),
        mirror_axes=first.mirror_axes,
        engine_name=engine_name,
        margins=folder.margins,
        scale=float(calibration.get("scale", 1.0)),
        shift=float(calibration.get("shift", 0.0)),
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """A graph on disk, with what its checkpoint said beside the weights."""

    graph: Path
    configuration: str
    mirror_axes: tuple[int, ...]


def _kept_graph(folder: NnunetFolder, checkpoint: Path) -> Path:
    """Where the graph of a checkpoint is kept; its name tells of everything that it was made from."""
    parts = (folder.info.sha256, checkpoint.parent.name, softcord.__version__)
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return folder.folder / GRAPHS / f"{checkpoint.parent.name}-{key}.onnx"


def _facts(graph: Path) -> _Kept | None:
    """What is kept of a checkpoint; None if it is not there in full."""
    try:
        content = json.loads(graph.with_suffix(".json").read_text(encoding="utf-8"))
        size, axes = int(content["size_bytes"]), tuple(int(axis) for axis in content["mirror_axes"])
        if graph.stat().st_size != size:
            return None
        return _Kept(graph, str(content["configuration"]), axes)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _make_graph(folder: NnunetFolder, number: int) -> _Kept:
    """Read a checkpoint and write its graph beside the model, or for this process alone if that cannot be."""
    from softcord.engines.nnunet.graph import build_graph

    path = folder.checkpoints[number]
    log.info("reading the weights of %s", path)
    checkpoint = read_checkpoint(path)
    configuration = checkpoint.configuration or "3d_fullres"
    plans = read_plans(folder.plans, configuration)
    check_channels(folder.labels, plans)
    graph = build_graph(
        plans.topology,
        checkpoint.weights,
        channels=len(plans.normalisations),
        outputs=folder.labels.outputs,
        patch=plans.patch,
    ).SerializeToString()
    wanted = _kept_graph(folder, path)
    try:
        return _write(graph, wanted, checkpoint, configuration)
    except OSError as error:
        log.info("%s cannot be written (%s): the graph is made again next time", wanted.parent, error)
        _TEMPORARY.append(tempfile.TemporaryDirectory(prefix="softcord-"))
        return _write(graph, Path(_TEMPORARY[-1].name) / wanted.name, checkpoint, configuration)


def _write(content: bytes, graph: Path, checkpoint: Checkpoint, configuration: str) -> _Kept:
    graph.parent.mkdir(exist_ok=True)
    axes = checkpoint.mirror_axes or ()
    facts = {"size_bytes": len(content), "mirror_axes": axes, "configuration": configuration}
    for path, data in ((graph, content), (graph.with_suffix(".json"), json.dumps(facts).encode())):
        handle, temporary = tempfile.mkstemp(dir=graph.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    for other in graph.parent.glob(f"{graph.name.rpartition('-')[0]}-*"):  # of versions before
        if other.stem != graph.stem:
            with contextlib.suppress(OSError):
                other.unlink()
    return _Kept(graph, configuration, axes)
