"""Names of results: which files `softcord segment` writes for which image.

Paths only: nothing is read or written here, except that folders are told from files. Names follow BIDS
derivatives or, if asked for or if the image is outside BIDS, the habits of the Spinal Cord Toolbox (SCT).
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from softcord.errors import InputError, UsageError

Naming: TypeAlias = Literal["bids", "sct"]

# order of the entities in a BIDS name (BIDS 1.11); one that is not here goes before `space`
_ORDER = (
    "sub tpl ses cohort sample task tracksys acq nuc voi ce trc stain rec dir run mod echo flip inv mt part "
    "proc hemi * space split recording chunk atlas seg scale res den label desc"
).split()
_ENTITY = re.compile(r"([A-Za-z]+)-([A-Za-z0-9+]+)")
_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
# last word of the name of a segmentation: BIDS, SCT, and the pairs of `-o FILE`
_SEGMENTATION_SUFFIXES = frozenset({"probseg", "dseg", "mask", "seg", "softseg", "uncertainty"})


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the results of one image go.

    Attributes
    ----------
    soft : Path
        Soft map.
    mask : Path
        Binary mask.
    sidecar : Path
        JSON file that says how the soft map was made.
    uncertainty : Path
        Map of uncertainty.
    new_folder : Path or None
        Folder that was asked for and may have to be made first; its parent must exist.
    """

    soft: Path
    mask: Path
    sidecar: Path
    uncertainty: Path
    new_folder: Path | None = None


def class_path(soft: Path, name: str) -> Path:
    """Where the soft map of one more class goes that a model found, beside that of the cord.

    Examples
    --------
    >>> class_path(Path("sub-01_space-orig_label-SC_desc-T2w_probseg.nii.gz"), "lesion").name
    'sub-01_space-orig_label-lesion_desc-T2w_probseg.nii.gz'
    >>> class_path(Path("t2_softseg.nii.gz"), "white matter").name
    't2_whitematter_softseg.nii.gz'
    >>> class_path(Path("cord.nii"), "lesion").name
    'cord_lesion.nii'
    """
    stem, label = image_stem(soft), re.sub(r"[^A-Za-z0-9]", "", name) or "class"
    ending = soft.name[len(stem) :]
    parsed = parse_name(stem)
    if parsed is not None and parsed[1] == "probseg" and "label" in parsed[0]:
        return soft.with_name(format_name({**parsed[0], "label": label}, "probseg") + ending)
    base, mark, _ = stem.rpartition("_softseg") if stem.endswith("_softseg") else (stem, "", "")
    return soft.with_name(f"{base}_{label}{mark}{ending}")


def image_stem(path: str | os.PathLike[str]) -> str:
    """Name of an image file without its folder and without ``.nii`` or ``.nii.gz``.

    Examples
    --------
    >>> image_stem("sub-01/anat/sub-01_T2w.nii.gz")
    'sub-01_T2w'
    >>> image_stem("scan.v2.nii")
    'scan.v2'
    """
    return _NIFTI.sub("", Path(path).name)


def parse_name(stem: str) -> tuple[dict[str, str], str] | None:
    """Entities and suffix of a BIDS name; None for a name outside BIDS.

    Examples
    --------
    >>> parse_name("sub-01_acq-crop_T2w")
    ({'sub': '01', 'acq': 'crop'}, 'T2w')
    >>> parse_name("patient7_T2w") is None
    True
    """
    *parts, suffix = stem.split("_")
    matches = [_ENTITY.fullmatch(part) for part in parts]
    entities = {match[1]: match[2] for match in matches if match}
    is_bids = len(entities) == len(parts) and parts and parts[0].startswith("sub-") and suffix.isalnum()
    return (entities, suffix) if is_bids else None


def format_name(entities: Mapping[str, str], suffix: str) -> str:
    """BIDS name from entities, in whatever order they come, and a suffix.

    Examples
    --------
    >>> format_name({"label": "SC", "sub": "01", "space": "orig"}, "probseg")
    'sub-01_space-orig_label-SC_probseg'
    """
    ranks = {key: rank for rank, key in enumerate(_ORDER)}
    ordered = sorted(entities, key=lambda key: ranks.get(key, ranks["*"]))
    return "_".join([*(f"{key}-{entities[key]}" for key in ordered), suffix])


def is_output_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file is named like a segmentation, by either convention, and so is no image to segment.

    Examples
    --------
    >>> is_output_name("sub-01_space-orig_label-SC_desc-T2w_probseg.nii.gz"), is_output_name("t2_seg.nii.gz")
    (True, True)
    >>> is_output_name("sub-01_T2w.nii.gz")
    False
    """
    return image_stem(path).rpartition("_")[2] in _SEGMENTATION_SUFFIXES


def output_paths(
    input_path: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    naming: Naming = "bids",
    several: bool = False,
    volume: int | None = None,
) -> Outputs:
    """Where the results of one image go.

    Parameters
    ----------
    input_path : path
        The image.
    out : path, optional
        A file for the soft map (``.nii`` or ``.nii.gz``), with the other results beside it; or a folder for
        default names: one that exists, or whose name ends in a slash, or any when there are several images.
        Default: default names beside the image.
    naming : {"bids", "sct"}
        Convention of the default names. An image outside BIDS always has SCT names.
    several : bool
        Whether there are other images in the same run.
    volume : int, optional
        The one volume of a 4-D image that was segmented; it becomes part of the default names.

    Returns
    -------
    outputs : Outputs

    Raises
    ------
    UsageError
        If `out` is one file for several images, or can be neither a file nor a folder.
    """
    if naming not in ("bids", "sct"):
        raise UsageError(f"naming must be 'bids' or 'sct', got '{naming}'.")
    source = Path(input_path)
    if out is None:
        return _default_outputs(source, source.parent, naming, volume)
    if _is_folder(out, several=several):
        folder = Path(out)
        return _default_outputs(source, folder, naming, volume, new_folder=folder)
    if several:
        raise UsageError(
            f"{os.fspath(out)}: one file cannot hold the results of several images. Name a folder."
        )
    return _outputs_beside(Path(out))


def plan_outputs(
    input_paths: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    naming: Naming = "bids",
    volume: int | None = None,
) -> list[Outputs]:
    """Where the results of all images of one run go, checked before any of them is read.

    Parameters
    ----------
    input_paths : sequence of paths
        The images.
    out, naming, volume
        As in `output_paths`.

    Returns
    -------
    outputs : list of Outputs
        One for each image, in the same order.

    Raises
    ------
    UsageError
        If an image is named like a segmentation, two images would write one file, or a result would
        overwrite an image.
    """
    _check_are_images(input_paths)
    several = len(input_paths) > 1
    plan = [
        output_paths(path, out=out, naming=naming, several=several, volume=volume) for path in input_paths
    ]
    _check_are_distinct(input_paths, plan)
    return plan


def _default_outputs(
    source: Path, folder: Path, naming: Naming, volume: int | None, *, new_folder: Path | None = None
) -> Outputs:
    """Default names in a folder."""
    stem = image_stem(source)
    parsed = parse_name(stem)
    if parsed is None or naming == "sct":
        base = stem if volume is None else f"{stem}_vol-{volume}"
        soft, mask, uncertainty = f"{base}_softseg", f"{base}_seg", f"{base}_uncertainty"
    else:
        entities, suffix = parsed
        # the suffix tells contrasts apart and has to go: it moves into `desc`, as do a label or desc
        # of the image itself, so that images with different names never share a result
        described = entities.pop("label", "") + entities.pop("desc", "") + suffix
        described += "" if volume is None else f"Volume{volume}"
        entities = {"space": "orig", **entities, "label": "SC"}
        soft = format_name({**entities, "desc": described}, "probseg")
        mask = format_name({**entities, "desc": described}, "mask")
        uncertainty = format_name({**entities, "desc": f"{described}Uncertainty"}, "probseg")
    return Outputs(
        soft=folder / f"{soft}.nii.gz",
        mask=folder / f"{mask}.nii.gz",
        sidecar=folder / f"{soft}.json",
        uncertainty=folder / f"{uncertainty}.nii.gz",
        new_folder=new_folder,
    )


def _outputs_beside(soft: Path) -> Outputs:
    """The soft map where it was asked for, the other results beside it."""
    ending = _NIFTI.search(soft.name)
    if ending is None:
        raise UsageError(
            f"{soft}: an output file must end in .nii or .nii.gz. "
            f"For a folder that does not exist yet, end the name in a slash: {soft}/"
        )
    stem = image_stem(soft)
    return Outputs(
        soft=soft,
        mask=soft.with_name(f"{stem}_mask{ending[0]}"),
        sidecar=soft.with_name(f"{stem}.json"),
        uncertainty=soft.with_name(f"{stem}_uncertainty{ending[0]}"),
    )


def _is_folder(out: str | os.PathLike[str], *, several: bool) -> bool:
    """Whether `out` is meant as a folder."""
    separators = tuple(filter(None, ("/", os.sep, os.altsep)))
    if os.fspath(out).endswith(separators) or Path(out).is_dir():
        return True
    return several and not _NIFTI.search(Path(out).name)


def _check_are_images(input_paths: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse segmentations, which a pattern like ``*.nii.gz`` finds on a second run."""
    for path in input_paths:
        if is_output_name(path):
            raise UsageError(
                f"{os.fspath(path)}: expected an image to segment, but this is named like a segmentation. "
                "Leave it out, or rename it if it is an image."
            )


def _check_are_distinct(input_paths: Sequence[str | os.PathLike[str]], plan: Iterable[Outputs]) -> None:
    """Refuse a plan in which a file would be written twice or an image be overwritten."""
    images = {_identity(path): path for path in input_paths}
    writers: dict[str, str | os.PathLike[str]] = {}
    for path, outputs in zip(input_paths, plan, strict=True):
        for result in (outputs.soft, outputs.mask, outputs.sidecar, outputs.uncertainty):
            identity = _identity(result)
            if identity in images:
                raise UsageError(
                    f"{result}: the result would overwrite an image of this run. Name another file."
                )
            if identity in writers:
                raise UsageError(
                    f"{os.fspath(writers[identity])} and {os.fspath(path)} would both write {result}. "
                    "Segment them into different folders, one at a time."
                )
            writers[identity] = path


def _identity(path: str | os.PathLike[str]) -> str:
    """The same text for two spellings of one path."""
    try:
        return os.path.normcase(Path(path).resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links, before Python 3.13
        raise InputError(f"{os.fspath(path)}: cannot follow this path ({error}).") from error
