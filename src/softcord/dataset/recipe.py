"""What a recipe says: which datasets, which of their images and labels, and how people are split.

Values only; `softcord.dataset.reading` makes them from YAML.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from softcord.dataset.contrasts import parse_contrast

Orientation: TypeAlias = Literal["LAS", "RAS"]

SETS = ("train", "val", "test")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")


@dataclass(frozen=True)
class LabelRule:
    """Where the label of an image lies.

    The label of ``sub-01/anat/sub-01_T2w.nii.gz`` is
    ``FOLDER/sub-01/anat/sub-01_T2w_SUFFIX.nii.gz``.

    Attributes
    ----------
    suffix : tuple of str
        One suffix for each rater. Every label of an image that exists is used.
    folder : str
        Below the dataset.
    """

    suffix: tuple[str, ...]
    folder: str = "derivatives/labels"

    def __post_init__(self) -> None:
        _check(bool(self.suffix), "suffix must name at least one label.")


@dataclass(frozen=True)
class Pathology:
    """How the pathology of a person is known.

    Attributes
    ----------
    column : str
        Of participants.tsv. Empty: none.
    subjects : dict of str to str
        Pathology by pattern of the subject, such as ``sub-C*: HC``; comes before the column.
    default : str
        Where neither says anything.
    only : tuple of str
        Take people with one of these alone. Empty: everyone.
    """

    column: str = "pathology"
    subjects: dict[str, str] = field(default_factory=dict)
    default: str = "n/a"
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frozen:
    """Lists of people whose set is known and never changes.

    Attributes
    ----------
    file : str
        YAML or JSON with the keys `test` and, if wanted, `train` and `val`, each a list of subjects. Relative
        to the recipe.
    column : str
        Or a column of participants.tsv that holds train, val or test. Whoever has another word there, or
        none, is left out.
    """

    file: str = ""
    column: str = ""

    def __post_init__(self) -> None:
        _check(bool(self.file) != bool(self.column), "frozen must have either a file or a column.")


@dataclass(frozen=True)
class Source:
    """One dataset.

    Attributes
    ----------
    name : str
        Unique in the recipe; part of the names of cases.
    labels : LabelRule
    url : str
        From which DataLad clones it. Empty: it is a folder.
    version : str
        Commit, tag or branch of `url`; empty: whatever is current there, and is recorded.
    path : str
        The folder, relative to the recipe. Empty: it must be given when the dataset is got.
    images : str
        Folder of the images below the dataset. Empty: the dataset itself.
    soft : LabelRule or None
        Soft labels that the dataset has beside, or instead of, those of `labels`.
    contrasts : tuple of str
        Contrasts to take: suffixes of BIDS names, with entities in front where these tell them apart, as in
        ``mt-on_MTS``. Empty: every image that has a label.
    include, exclude : tuple of str
        Patterns (``*``, ``?``) of paths below `images`, of file names or of subjects. Empty: all; none.
    pathology : Pathology
    site_column, vendor_column : str
        Columns of participants.tsv. Empty: the site is the dataset; the vendor is what sidecars say.
    person_column : str
        Column of participants.tsv that names the person, where one has several subject names.
    people : str
        Name of the list of people from which the subject names come. Datasets with the same list may share
        people, and the same subject name in two of them is the same person. Default: one list for all
        datasets, which is safe. Give a dataset its own list only if its names have nothing to do with those
        of the others.
    ratios : (3,) tuple of float or None
        Shares of train, val and test; instead of the recipe's own.
    frozen : Frozen or None
    trust : {"affine", "voxels"}
        What holds if image and label have the same voxels in different places: the affines (the label is
        resampled), or the voxels (the header of the label is wrong).
    """

    name: str
    labels: LabelRule
    url: str = ""
    version: str = ""
    path: str = ""
    images: str = ""
    soft: LabelRule | None = None
    contrasts: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    pathology: Pathology = field(default_factory=Pathology)
    site_column: str = ""
    vendor_column: str = "manufacturer"
    person_column: str = ""
    people: str = ""
    ratios: tuple[float, float, float] | None = None
    frozen: Frozen | None = None
    trust: Literal["affine", "voxels"] = "affine"

    def __post_init__(self) -> None:
        _check(
            bool(_NAME.fullmatch(self.name)), f"name must be of letters, digits, - and ., got '{self.name}'."
        )
        _check(not (self.url and self.path), "url and path exclude each other: give one.")
        _check(bool(self.url) or not self.version, "version needs a url: a folder is taken as it is.")
        for folder in (self.images, self.labels.folder, self.soft.folder if self.soft else ""):
            escapes = Path(folder).is_absolute() or ".." in Path(folder).parts
            _check(not escapes, f"folders must lie below the dataset, got '{folder}'.")
        for name in self.contrasts:
            parse_contrast(name)
        check_ratios(self.ratios)


@dataclass(frozen=True)
class Recipe:
    """Datasets for one model.

    Attributes
    ----------
    name : str
        Of the recipe and of the nnU-Net dataset: letters and digits.
    datasets : tuple of Source
    description : str
    number : int
        Of the nnU-Net dataset, 1 to 999.
    seed : int
        Of the split.
    ratios : (3,) tuple of float
        Shares of train, val and test; they add up to 1.
    folds : int
        1: nnU-Net's fold 0 is train and val of the split. More: train and val together are split by person
        into so many folds.
    orientation : {"LAS", "RAS"}
        Order of axes of the converted images. LAS is what the Spinal Cord Toolbox calls RPI, the order of the
        released contrast-agnostic models.
    reference : str
        Contrast to which the others of a person are registered for soft labels.
    """

    name: str
    datasets: tuple[Source, ...]
    description: str = ""
    number: int = 999
    seed: int = 50
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    folds: int = 1
    orientation: Orientation = "LAS"
    reference: str = "T2w"

    def __post_init__(self) -> None:
        _check(
            bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", self.name)),
            f"name must be of letters and digits, got '{self.name}'.",
        )
        _check(1 <= self.number <= 999, f"number must be 1 to 999, got {self.number}.")
        _check(self.folds >= 1, f"folds must be 1 or more, got {self.folds}.")
        _check(bool(self.datasets), "datasets must name at least one.")
        names = [source.name for source in self.datasets]
        twice = sorted({name for name in names if names.count(name) > 1})
        _check(not twice, f"datasets must have different names, got {', '.join(twice)} twice.")
        check_ratios(self.ratios)


def check_ratios(ratios: tuple[float, float, float] | None) -> None:
    """Raise ValueError unless three shares add up to 1."""
    if ratios is not None:
        fine = min(ratios) >= 0 and abs(sum(ratios) - 1) < 1e-6 and ratios[0] > 0
        said = ", ".join(f"{ratio:g}" for ratio in ratios)
        _check(fine, f"ratios must be shares of train, val and test that add up to 1, got {said}.")


def _check(holds: bool, otherwise: str) -> None:  # noqa: FBT001  reads like assert
    if not holds:
        raise ValueError(otherwise)
