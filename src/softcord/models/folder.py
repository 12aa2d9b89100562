"""A model folder: `model.json` and the graphs that it names, checked before they are used."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softcord.errors import ModelError

FORMAT = 1


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without loading it.

    Attributes
    ----------
    name, version, description : str
    sha256 : str
        Of the SHA-256 of all its graphs, in the order of their names: changes when any weight changes.
    folder : Path
    size_bytes : int
        Of the graphs.
    config : dict
        How it was trained.
    """

    name: str
    version: str
    description: str
    sha256: str
    folder: Path
    size_bytes: int
    config: dict[str, Any]


@dataclass(frozen=True)
class NetworkFile:
    """One graph of a model: its file, what its input's shape must be a multiple of, and its grid."""

    path: Path
    multiple: tuple[int, int, int]
    kind: str
    in_plane: float
    along: float


@dataclass(frozen=True)
class ModelFolder:
    """The checked content of a model folder."""

    info: ModelInfo
    networks: dict[str, NetworkFile]
    scale: float
    shift: float


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
    networks, digests, size = {}, [], 0
    for name, entry in sorted(content["networks"].items()):
        path = folder / Path(entry["file"]).name
        if not path.is_file():
            raise ModelError(
                f"{path}: this file of model {content['name']} is missing. Install the model again."
            )
        found = file_sha256(path)
        if found != entry["sha256"]:
            raise ModelError(
                f"{path}: SHA-256 is {found[:12]}…, expected {entry['sha256'][:12]}…: the file is damaged. "
                "Install the model again."
            )
        digests.append(found)
        size += path.stat().st_size
        i, j, k = (int(m) for m in entry["multiple"])
        grid = entry["grid"]
        networks[name] = NetworkFile(
            path, (i, j, k), str(grid["kind"]), float(grid["in_plane"]), float(grid["along"])
        )
    if set(networks) != {"locate", "refine"}:
        raise ValueError(f"networks must be locate and refine, got {sorted(networks)}")
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    info = ModelInfo(
        name=str(content["name"]),
        version=str(content["version"]),
        description=str(content["description"]),
        sha256=digest,
        folder=folder,
        size_bytes=size,
        config=dict(content["training"]),
    )
    calibration = content["calibration"]
    return ModelFolder(info, networks, float(calibration["scale"]), float(calibration["shift"]))
