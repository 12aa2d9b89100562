"""How a result was made: the JSON sidecar of a soft map, in the words of BIDS derivatives."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import softcord
from softcord.checksum import file_sha256
from softcord.flags import Flag


class ModelIdentity(Protocol):
    """What is recorded of a model."""

    @property
    def name(self) -> str:
        """Name under which it is loaded."""

    @property
    def version(self) -> str:
        """Version of its weights."""

    @property
    def sha256(self) -> str:
        """SHA-256 of its weights, in hexadecimal."""


def sidecar(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    model: ModelIdentity,
    device: str,
    engine: str = "onnxruntime",
    seconds: Mapping[str, float],
    flags: Sequence[Flag],
    threads: int | None = None,
    threshold: float | None = None,
    volumes: int | str = "mean",
) -> dict[str, object]:
    """How the soft map of one image was made, ready to be written as JSON.

    Parameters
    ----------
    source : path
        The image.
    output : path
        The soft map; where it lies decides how the image is referred to.
    model : ModelIdentity
        The model that was used.
    device : str
        Where it ran, as ``"cpu"``.
    engine : str
        The library that ran it.
    seconds : mapping of str to float, s
        Time taken by each step.
    flags : sequence of Flag
        Why the result may be wrong.
    threads : int, optional
        Number of threads asked for. Default: left to the engine.
    threshold : float, optional
        Threshold of the mask written beside the map. Default: none was written.
    volumes : int, "mean" or "each"
        How a 4-D image was read.

    Returns
    -------
    sidecar : dict
        Only what JSON knows.

    Raises
    ------
    InputError
        If the image cannot be read.
    """
    reference = _refer_to(Path(source), Path(output))
    return {
        "Description": "Share of each voxel's volume that is spinal cord, from 0 to 1",
        "Units": "1",
        "Manual": False,
        "GeneratedBy": [{"Name": "softcord", "Version": softcord.__version__}],
        "Date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "Sources": [reference],
        "SourceSHA256": file_sha256(source),
        "SpatialReference": reference,
        "ModelName": model.name,
        "ModelVersion": model.version,
        "ModelSHA256": model.sha256,
        "Threshold": threshold,
        "VolumesMode": volumes,
        "Device": device,
        "Engine": engine,
        "Threads": threads,
        "Seconds": {step: round(float(duration_s), 3) for step, duration_s in seconds.items()},
        "Flags": [{"code": flag.code, "reason": flag.reason} for flag in flags],
    }


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Whole path of a file; links are not followed, as in a DataLad dataset a file is one into .git/annex."""
    return Path(os.path.normpath(Path(path).absolute()))


def _refer_to(source: Path, output: Path) -> str:
    """How a file beside `output` names the source: a BIDS URI within one dataset, else a relative path."""
    source, output = absolute_path(source), absolute_path(output)
    root = _dataset_root(source)
    if root is not None and root == _dataset_root(output):
        return f"bids::{source.relative_to(root).as_posix()}"
    try:
        return Path(os.path.relpath(source, output.parent)).as_posix()
    except ValueError:  # on another drive of Windows there is no relative path
        return source.name


def _dataset_root(path: Path) -> Path | None:
    """The nearest folder above that is a BIDS dataset."""
    for folder in path.parents:
        if (folder / "dataset_description.json").is_file():
            return folder
    return None
