"""Which segmentation belongs to which reference: by what their names say of subject, session and contrast."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from softcord.bids import image_stem
from softcord.errors import InputError

# entities that say how a file was made, not of which image
_MADE = {"space", "label", "desc", "seg", "atlas", "res", "den", "split", "rater"}
_KINDS = {"probseg", "softseg", "mask", "seg", "dseg", "manual", "gt"}
_SOFT = {"probseg", "softseg"}
_CONTRASTS = (
    "T1w T2w T2starw T2star T2starmap PDw PDT2 FLAIR inplaneT1 inplaneT2 UNIT1 MP2RAGE MTS MTR MTw dwi bold "
    "epi sbref PSIR STIR angio MEGRE MESE SWI"
).split()
_LATER = re.compile(r"uncertainty", re.IGNORECASE)
_ENTITY = re.compile(r"([A-Za-z]+)-([A-Za-z0-9+]+)")


@dataclass(frozen=True, slots=True)
class Pair:
    """A segmentation and its reference.

    Attributes
    ----------
    name : str
        What both are of.
    prediction : Path or None
        None if there is none for this reference.
    reference : Path
    """

    name: str
    prediction: Path | None
    reference: Path


def key_of(path: str | Path) -> str:
    """What a segmentation is of: entities of its image, then the contrast.

    Examples
    --------
    >>> key_of("sub-01_acq-crop_space-orig_label-SC_desc-T2w_probseg.nii.gz")
    'acq-crop_sub-01_T2w'
    >>> key_of("sub-01_acq-crop_T2w_label-SC_desc-auto_seg.nii.gz")
    'acq-crop_sub-01_T2w'
    >>> key_of("t2_seg-manual.nii.gz"), key_of("t2_softseg.nii.gz")
    ('t2', 't2')
    """
    entities, words, contrast = {}, [], ""
    for part in image_stem(path).split("_"):
        match = _ENTITY.fullmatch(part)
        if match and match[1] == "seg":  # seg-manual: a suffix of old names
            continue
        if match:
            entities[match[1]] = match[2]
        elif part in _CONTRASTS:
            contrast = part
        elif part not in _KINDS:
            words.append(part)
    described = entities.get("desc", "")
    if not contrast:
        contrast = next((name for name in _CONTRASTS if described.endswith(name)), "")
    kept = sorted(f"{key}-{value}" for key, value in entities.items() if key not in _MADE)
    return "_".join([*kept, *words, *([contrast] if contrast else [])])


def match_folders(predictions: str | Path, references: str | Path) -> tuple[list[Pair], list[Path]]:
    """Pairs of two folders, searched with all folders in them.

    Of several files of one image, a soft map is taken rather than a mask. Files with another `label` than SC,
    such as grey matter or lesions, and maps of uncertainty are left out.

    Parameters
    ----------
    predictions, references : path
        Folders.

    Returns
    -------
    pairs : list of Pair
        One for each reference, by name.
    unmatched : list of Path
        Predictions without a reference.

    Raises
    ------
    InputError
        If a folder holds no segmentation, two files of one kind are of the same image, or nothing matches.
    """
    ours, theirs = (_find(Path(folder)) for folder in (predictions, references))
    pairs = [Pair(key, ours.get(key), path) for key, path in sorted(theirs.items())]
    if not any(pair.prediction for pair in pairs):
        some = f"{next(iter(sorted(ours)))} and {next(iter(sorted(theirs)))}"
        raise InputError(
            f"{predictions} and {references}: no names match, as {some}. Give files that are named alike."
        )
    return pairs, [path for key, path in sorted(ours.items()) if key not in theirs]


def _find(folder: Path) -> dict[str, Path]:
    """Segmentations of the cord in a folder, by what they are of."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Check the name.")
    found: dict[str, Path] = {}
    for path in sorted(_segmentations(folder.rglob("*"))):
        key = key_of(path)
        other = found.get(key)
        if other is None or (_is_soft(path) and not _is_soft(other)):
            found[key] = path
        elif _is_soft(path) == _is_soft(other):
            raise InputError(f"{other} and {path} are of the same image ({key}). Leave one out.")
    if not found:
        raise InputError(f"{folder}: holds no segmentation of the cord (.nii, .nii.gz). Check the name.")
    return found


def _segmentations(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        is_image = path.name.lower().endswith((".nii", ".nii.gz")) and not path.name.startswith(".")
        label = re.search(r"_label-([A-Za-z0-9]+)", path.name)
        if is_image and not _LATER.search(path.name) and (label is None or label[1] == "SC"):
            yield path


def _is_soft(path: Path) -> bool:
    return image_stem(path).rpartition("_")[2] in _SOFT
