"""A dataset in nnU-Net's raw layout, by `softcord dataset convert` or by others: what is in it, checked."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nibabel.orientations import aff2axcodes

from softcord.checksum import file_sha256
from softcord.errors import InputError
from softcord.nifti import load_image
from softcord.train.nnunet.layout import read_json

CORD_AXES = ("RL", "AP", "SI")  # the order in which the axes of images must run for patches along the cord
_AXIS_OF = {"R": "RL", "L": "RL", "A": "AP", "P": "AP", "S": "SI", "I": "SI"}
_ADVICE = "Give a folder as softcord dataset convert makes it, or a raw dataset of nnU-Net v2."


@dataclass(frozen=True, slots=True)
class Case:
    """One training case: an image file per channel, its label, and its soft label if there is one."""

    images: tuple[Path, ...]
    label: Path
    soft: Path | None


@dataclass(frozen=True, slots=True)
class RawDataset:
    """A dataset for training.

    Attributes
    ----------
    folder : Path
    content : dict
        Its dataset.json.
    cases : dict of str to Case
        By name, sorted.
    orientation : str
        Where the axes of all images run to, in nibabel's letters, as ``"LAS"``; ``""`` if images differ.
    orientations : dict of str to int
        How many images have each orientation.
    """

    folder: Path
    content: dict[str, Any]
    cases: dict[str, Case]
    orientations: dict[str, int] = field(default_factory=dict)

    @property
    def orientation(self) -> str:
        """Of all images; empty if they differ."""
        return next(iter(self.orientations)) if len(self.orientations) == 1 else ""

    @property
    def name(self) -> str:
        """A name that nnU-Net accepts: that of the folder, or one made of it."""
        name = self.folder.resolve().name
        if name.startswith("Dataset") and name[7:10].isdigit() and name[10:11] == "_":
            return name
        return "Dataset001_" + "".join(c if c.isalnum() else "-" for c in name)

    @property
    def channels(self) -> dict[str, str]:
        """Names of the channels by number."""
        return dict(self.content.get("channel_names") or self.content["modality"])

    @property
    def labels(self) -> dict[str, Any]:
        """Values of the labels by name, background included."""
        return dict(self.content["labels"])

    @property
    def is_soft(self) -> bool:
        """Whether every case has a soft label."""
        return all(case.soft is not None for case in self.cases.values())

    def fingerprint(self) -> str:
        """A digest that changes when a case or dataset.json does (by the size and time of its files)."""
        digest = hashlib.sha256(file_sha256(self.folder / "dataset.json").encode())
        for name, case in self.cases.items():
            for path in filter(None, (*case.images, case.label, case.soft)):
                status = path.stat()
                digest.update(f"{name} {path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def read_dataset(folder: Path) -> RawDataset:
    """Read and check a raw dataset; images are not loaded, only their headers.

    Raises
    ------
    InputError
        It is incomplete; the message names the file.
    """
    content = read_json(folder / "dataset.json", _ADVICE)
    for key in ("labels", "file_ending"):
        if key not in content:
            raise InputError(f"{folder / 'dataset.json'}: key {key} is missing. {_ADVICE}")
    if not (content.get("channel_names") or content.get("modality")):
        raise InputError(f"{folder / 'dataset.json'}: key channel_names is missing. {_ADVICE}")
    ending = content["file_ending"]
    if ending not in (".nii.gz", ".nii"):
        raise InputError(
            f"{folder / 'dataset.json'}: file_ending must be .nii.gz or .nii, got {ending!r}. "
            "Convert the images."
        )
    numbers = sorted(content.get("channel_names") or content["modality"], key=int)
    soft_folder = folder / (content.get("softcord") or {}).get("soft_labels", "softTr")
    listed = content.get("dataset") or _listed(folder, ending, numbers)
    cases = {}
    for name in sorted(listed):
        images = tuple(folder / path for path in listed[name]["images"])
        label, soft = folder / listed[name]["label"], soft_folder / f"{name}{ending}"
        for path in (*images, label):
            if not path.is_file():
                raise InputError(f"{path}: this file of case {name} is missing. {_ADVICE}")
        cases[name] = Case(images, label, soft if soft.is_file() else None)
    if not cases:
        raise InputError(f"{folder / 'imagesTr'}: holds no image NAME_0000{ending}. {_ADVICE}")
    missing = [name for name, case in cases.items() if case.soft is None]
    if missing and len(missing) < len(cases):
        raise InputError(f"{soft_folder / (missing[0] + ending)}: the soft label of this case is missing.")
    found = Counter(_orientation(path) for case in cases.values() for path in case.images[:1])
    return RawDataset(folder, content, cases, dict(found))


def _listed(folder: Path, ending: str, numbers: list[str]) -> dict[str, Any]:
    first = f"_{int(numbers[0]):04d}{ending}"
    names = [path.name[: -len(first)] for path in (folder / "imagesTr").glob(f"*{first}")]
    return {
        name: {
            "images": [f"imagesTr/{name}_{int(number):04d}{ending}" for number in numbers],
            "label": f"labelsTr/{name}{ending}",
        }
        for name in names
    }


def _orientation(path: Path) -> str:
    codes = aff2axcodes(load_image(path).affine)  # type: ignore[no-untyped-call]
    return "".join(str(code) for code in codes)


def axes_of(orientation: str) -> tuple[str, ...]:
    """Along what the axes run, whatever their sense.

    Examples
    --------
    >>> axes_of("LAS")
    ('RL', 'AP', 'SI')
    """
    return tuple(_AXIS_OF.get(letter, "?") for letter in orientation)


def check_cord_axes(dataset: RawDataset) -> None:
    """Raise InputError unless the axes of all images run along R-L, A-P and S-I, in one sense."""
    if dataset.orientation and axes_of(dataset.orientation) == CORD_AXES:
        return
    found = ", ".join(f"{name or 'none'} ({n})" for name, n in sorted(dataset.orientations.items()))
    raise InputError(
        f"{dataset.folder}: all images must have the same orientation, with axes along R-L, A-P and S-I, "
        f"such as LAS in nibabel's letters (SCT calls it RPI); found {found}. Convert them with softcord "
        "dataset convert, or reorient images and labels."
    )
