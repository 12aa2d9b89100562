"""A model folder: `model.json` and the graph that it names, checked before it is used."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softcord.checksum import file_sha256
from softcord.errors import ModelError

FORMAT = 1


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without loading it.

    Attributes
    ----------
    name, version, description : str
    sha256 : str
        Of its graph.
    folder : Path
    size_bytes : int
        Of the graph.
    config : dict
        How it was trained.
    classes : tuple of str
        What it finds, if that is more than the cord or has a name of its own.
    """

    name: str
    version: str
    description: str
    sha256: str
    folder: Path
    size_bytes: int
    config: dict[str, Any]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelFolder:
    """The checked content of a model folder; see `softcord.engines.Network` for the numbers.

    Attributes
    ----------
    info : ModelInfo
    graph : Path
        ONNX.
    multiple : (3,) tuple of int
    in_plane, along : float, mm
    coarse, scale, shift : float
    """

    info: ModelInfo
    graph: Path
    multiple: tuple[int, int, int]
    in_plane: float
    along: float
    coarse: float
    scale: float
    shift: float


def read_model_folder(folder: Path) -> ModelFolder:
    """Read and check a model folder.

    Raises
    ------
    ModelError
        It holds no `model.json`, one that cannot be understood, or a graph that is missing or is not the one
        described (by its SHA-256).
    """
    path = folder / "model.json"
    if not path.is_file():
        raise ModelError(
            f"{folder}: a model folder must hold model.json, and none is there. Give the folder of a model."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a model description ({error}). Install the model again.") from error
    if version != FORMAT:
        raise ModelError(
            f"{path}: format {version} is not known to this softcord ({FORMAT} is). Update softcord."
        )
    try:
        return _check(folder, content)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: incomplete or damaged ({error!r}). Install the model again.") from error


def _check(folder: Path, content: dict[str, Any]) -> ModelFolder:
    graph = folder / Path(content["graph"]).name
    if not graph.is_file():
        raise ModelError(
            f"{graph}: this file of model {content['name']} is missing. Install the model again."
        )
    found, expected = file_sha256(graph), str(content["sha256"])
    if found != expected:
        raise ModelError(
            f"{graph}: SHA-256 is {found[:12]}…, expected {expected[:12]}…: the file is damaged. "
            "Install the model again."
        )
    info = ModelInfo(
        name=str(content["name"]),
        version=str(content["version"]),
        description=str(content["description"]),
        sha256=found,
        folder=folder,
        size_bytes=graph.stat().st_size,
        config=dict(content["training"]),
    )
    i, j, k = (int(m) for m in content["multiple"])
    calibration = content["calibration"]
    return ModelFolder(
        info=info,
        graph=graph,
        multiple=(i, j, k),
        in_plane=float(content["in_plane_mm"]),
        along=float(content["along_mm"]),
        coarse=float(content["coarse"]),
        scale=float(calibration["scale"]),
        shift=float(calibration["shift"]),
    )
