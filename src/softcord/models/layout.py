"""Which of many files make a model, in whatever folders its makers packed them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath as Name
from typing import Literal, TypeAlias

from softcord.errors import ModelError

Kind: TypeAlias = Literal["nnunet", "weights", "compact"]

WEIGHTS = "checkpoint.pth"
CROP = "crop_metadata.json"
_FOLD = re.compile(r"fold_(\d{1,3}|all)")
_CHECKPOINT = re.compile(r"checkpoint_\w{1,40}\.pth")
_PREFERRED = ("checkpoint_final.pth", "checkpoint_best.pth")
_BESIDE = ("dataset_fingerprint.json", "provenance.json")
_MOST_NAMED = 5


@dataclass(frozen=True)
class Layout:
    """A model among files.

    Attributes
    ----------
    kind : {"nnunet", "weights", "compact"}
        A results folder of nnU-Net; a checkpoint alone; a model of softcord's own format.
    files : dict of str to str
        Where each file goes in the installed model: its name among the files.
    """

    kind: Kind
    files: dict[str, str]


def find_layout(names: Iterable[str], *, place: str, inside: str | None = None) -> Layout:
    """Find the one model among files.

    Parameters
    ----------
    names : iterable of str
        Paths relative to one root, with forward slashes.
    place : str
        Where they are, for messages.
    inside : str, optional
        Folder to look in, if there are several models.

    Raises
    ------
    ModelError
        There is none, or more than one, or one of a kind that cannot be used.
    """
    files = {Name(name) for name in names if not _is_clutter(Name(name))}
    if inside is not None:
        files = {name for name in files if Name(inside) in name.parents}
        if not files:
            raise ModelError(f"{place}: holds no folder {inside}. Look into it and name another.")
    found = {root: "nnunet" for root in _roots(files, "plans.json") if _is_complete(root, files)}
    found |= dict.fromkeys(_roots(files, "model.json"), "compact")
    if not found:
        return _without_plans(files, place)
    root = _the_one(list(found), place)
    if found[root] == "compact":
        return Layout("compact", {n.name: str(n) for n in files if n.parent == root and n.suffix in _COMPACT})
    return Layout("nnunet", _nnunet_files(root, files))


_COMPACT = (".json", ".onnx")


def _is_clutter(name: Name) -> bool:
    """Whether this is what macOS leaves in zips."""
    return "__MACOSX" in name.parts or name.name.startswith("._") or name.name == ".DS_Store"


def _roots(files: set[Name], marker: str) -> list[Name]:
    return sorted(name.parent for name in files if name.name == marker)


def _is_complete(root: Name, files: set[Name]) -> bool:
    return root / "dataset.json" in files and bool(_checkpoints(root, files))


def _checkpoints(root: Name, files: set[Name]) -> list[Name]:
    """Checkpoints of all folds: the last and the best one, or what there is."""
    folds: dict[str, list[Name]] = {}
    for name in sorted(files):
        is_in_fold = name.parent.parent == root and _FOLD.fullmatch(name.parent.name)
        if is_in_fold and _CHECKPOINT.fullmatch(name.name):
            folds.setdefault(name.parent.name, []).append(name)
    kept = []
    for checkpoints in folds.values():
        kept += [name for name in checkpoints if name.name in _PREFERRED] or checkpoints
    return kept


def _nnunet_files(root: Name, files: set[Name]) -> dict[str, str]:
    wanted = [root / "plans.json", root / "dataset.json", *_checkpoints(root, files)]
    wanted += [root / name for name in _BESIDE if root / name in files]
    chosen = {str(name.relative_to(root)): str(name) for name in wanted}
    crop = next((folder / CROP for folder in (root, *root.parents) if folder / CROP in files), None)
    return chosen if crop is None else {**chosen, CROP: str(crop)}


def _the_one(roots: list[Name], place: str) -> Name:
    full = [root for root in roots if root.name.endswith("3d_fullres")]
    if len(roots) == 1 or len(full) == 1:
        return (full or roots)[0]
    named = ", ".join(map(str, roots[:_MOST_NAMED])) + (", …" if len(roots) > _MOST_NAMED else "")
    raise ModelError(f"{place}: holds {len(roots)} models: {named}. Choose one (--inside FOLDER).")


def _without_plans(files: set[Name], place: str) -> Layout:
    """A checkpoint alone, or the reason why there is no model."""
    checkpoints = sorted(name for name in files if name.suffix == ".pth")
    if any(name.suffix == ".ckpt" for name in files):
        raise ModelError(
            f"{place}: holds a checkpoint of PyTorch Lightning (.ckpt), as releases before v3.0 do, which is "
            "not read. Install v3.0 or later."
        )
    if _roots(files, "plans.json") or _roots(files, "dataset.json"):
        missing = [name for name in ("plans.json", "dataset.json") if not _roots(files, name)]
        lacks = " and ".join(missing) or "fold_*/checkpoint_*.pth beside plans.json and dataset.json"
        raise ModelError(f"{place}: an incomplete model of nnU-Net: {lacks} cannot be found. Get it again.")
    if len(checkpoints) == 1:
        return Layout("weights", {WEIGHTS: str(checkpoints[0])})
    if checkpoints:
        raise ModelError(
            f"{place}: holds {len(checkpoints)} checkpoints and no plans.json. "
            "Give a model folder, or one of them."
        )
    raise ModelError(
        f"{place}: holds no model: plans.json, dataset.json and fold_*/checkpoint_*.pth cannot be found."
    )
