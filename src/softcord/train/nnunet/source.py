"""A model that a fine-tuning begins with: found by name, folder or archive, and checked against a dataset."""

import contextlib
import logging
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from softcord.checksum import file_sha256
from softcord.engines.nnunet.checkpoint import read_checkpoint
from softcord.errors import InputError, ModelError
from softcord.models.archive import open_archive
from softcord.train.nnunet.dataset import RawDataset, axes_of
from softcord.train.nnunet.layout import read_json
from softcord.train.nnunet.topology import CONFIGURATION, check_patch

log = logging.getLogger(__name__)

_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_ADVICE = "Give an nnU-Net model: the folder with plans.json, or the archive of a release."
_OPPOSITE = str.maketrans("RLAPSI", "LRPAIS")


@dataclass(frozen=True, slots=True)
class Source:
    """A model to fine-tune.

    Attributes
    ----------
    name : str
        As it was given.
    plans, dataset : dict
        Its plans.json and dataset.json.
    configuration : str
    weights : dict of str to array
    sha256 : str
        Of the checkpoint.
    """

    name: str
    plans: dict[str, Any]
    dataset: dict[str, Any]
    configuration: str
    weights: dict[str, Any]
    sha256: str

    @property
    def channels(self) -> int:
        """Number of channels of an image."""
        return len(self.dataset.get("channel_names") or self.dataset.get("modality") or {"0": ""})

    @property
    def orientation(self) -> str:
        """Where the axes of its images run to, in nibabel's letters; empty if it does not say."""
        own = (self.dataset.get("softcord") or {}).get("orientation")
        if own:
            return str(own)
        return str(self.dataset.get("image_orientation") or "").translate(_OPPOSITE)  # SCT's letters

    def settings(self) -> dict[str, Any]:
        """The configuration, complete, in the format of nnU-Net 2.3.1 and later."""
        manager = PlansManager(self.plans)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the format is an old one
            return dict(manager.get_configuration(self.configuration).configuration)

    @property
    def multiple(self) -> tuple[int, ...]:
        """What a patch must be a multiple of, in the order of axes of the plans."""
        strides = np.asarray(self.settings()["architecture"]["arch_kwargs"]["strides"])
        return tuple(int(n) for n in strides.prod(axis=0))

    def labels_agree(self, dataset: RawDataset) -> bool:
        """Whether the dataset has the labels that the model's last layers are for."""
        return dict(self.dataset.get("labels") or {}) == dataset.labels


def read_source(model: str | Path, *, fold: str | None = None) -> Source:
    """Read a model.

    Parameters
    ----------
    model : str or Path
        Name of an installed model, a folder of nnU-Net's layout, or the archive of a release.
    fold : str, optional
        As ``"0"`` or ``"all"``. Default: the first.

    Returns
    -------
    source : Source

    Raises
    ------
    ModelError
        There is no such model, or it has no plans, no weights, or no 3-D configuration.
    """
    with unpacked(model) as root:
        plans = _read(root / "plans.json", str(model))
        dataset = _read(root / "dataset.json", str(model))
        path = _find_checkpoint(root, str(model), fold)
        checkpoint = read_checkpoint(path)
        configuration = checkpoint.configuration or CONFIGURATION
        if configuration not in plans.get("configurations", {}):
            raise ModelError(
                f"{model}: its plans have no configuration {configuration}. Get the model again."
            )
        source = Source(str(model), plans, dataset, configuration, checkpoint.weights, file_sha256(path))
    settings = source.settings()
    if len(settings["patch_size"]) != 3:
        raise ModelError(
            f"{model}: its configuration is {configuration}, which works on 2-D slices. Fine-tuning needs a "
            f"3-D model, such as {CONFIGURATION}."
        )
    if settings.get("previous_stage"):
        raise ModelError(
            f"{model}: its configuration {configuration} refines the result of another network. Fine-tuning "
            f"needs a model that works alone, such as {CONFIGURATION}."
        )
    return source


def check_fit(source: Source, dataset: RawDataset, patch: Sequence[int] | None) -> list[int]:
    """The patch to train with, in the order of axes of the plans, if the dataset fits the model.

    Parameters
    ----------
    source : Source
    dataset : RawDataset
    patch : (3,) sequence of int, optional
        Voxels along R-L, A-P, S-I. Default: that of the model.

    Raises
    ------
    InputError
        Images have another number of channels or another orientation than the model's.
    UsageError
        The network cannot be trained on the patch.
    """
    if len(dataset.channels) != source.channels:
        raise InputError(
            f"{dataset.folder}: images have {len(dataset.channels)} channel(s), those of {source.name} have "
            f"{source.channels}. Give images with the channels of the model."
        )
    _check_orientation(source, dataset)
    size = [int(n) for n in source.settings()["patch_size"]]
    order = anatomical_order(source.plans, dataset.orientation)
    given = [size[axis] for axis in order] if patch is None else list(patch)
    checked = check_patch(given, [source.multiple[axis] for axis in order])
    for axis, n in zip(order, checked, strict=True):
        size[axis] = n
    return size


def _check_orientation(source: Source, dataset: RawDataset) -> None:
    found = ", ".join(f"{name} ({n})" for name, n in sorted(dataset.orientations.items()))
    advice = "Reorient images and labels, or convert them with softcord dataset convert."
    if not dataset.orientation or "?" in axes_of(dataset.orientation):
        raise InputError(f"{dataset.folder}: all images must have one orientation; found {found}. {advice}")
    if not source.orientation:
        log.warning(
            "%s does not say the orientation of its images; they are taken to run to %s, as these do.",
            source.name,
            dataset.orientation,
        )
    elif dataset.orientation != source.orientation:
        wanted = source.orientation
        raise InputError(
            f"{dataset.folder}: the axes of all images must run to {wanted}, as those of {source.name} do "
            f"(SCT calls it {wanted.translate(_OPPOSITE)}); found {found}. {advice}"
        )


def anatomical_order(plans: dict[str, Any], orientation: str) -> list[int]:
    """Axes of the plans that run along R-L, A-P and S-I, in this order.

    Examples
    --------
    >>> anatomical_order({"transpose_forward": [2, 1, 0]}, "LAS")
    [0, 1, 2]
    >>> anatomical_order({"transpose_forward": [0, 1, 2]}, "LAS")
    [2, 1, 0]
    """
    transpose = list(plans["transpose_forward"])
    axes = axes_of(orientation)
    return [transpose.index(2 - axes.index(name)) for name in ("RL", "AP", "SI")]


@contextlib.contextmanager
def unpacked(model: str | Path) -> Iterator[Path]:
    """The folder with plans.json of a model; that of an archive is there for the time of the block.

    Parameters
    ----------
    model : str or Path
        Name of an installed model, folder, or archive.
    """
    with _folder_of(model) as folder:
        yield _with_plans(folder, str(model))


@contextlib.contextmanager
def _folder_of(model: str | Path) -> Iterator[Path]:
    """The folder of a model; of an archive, only what is needed is unpacked, for the time of the block."""
    path = Path(model)
    if path.is_file() and zipfile.is_zipfile(path):
        with tempfile.TemporaryDirectory() as temporary:
            _unpack(path, Path(temporary))
            yield Path(temporary)
        return
    if path.is_dir():
        yield path
        return
    from softcord.models import store

    installed = store.find_installed(str(model))
    if installed is None:
        raise ModelError(f"{model}: neither an installed model, nor a folder, nor an archive. {_ADVICE}")
    yield installed / "model"


def _unpack(archive: Path, folder: Path) -> None:
    """Plans, dataset and checkpoints, under names of our own choice."""
    with open_archive(archive, shown=str(archive)) as content:
        for member in content.infolist():
            path = PurePosixPath(member.filename)
            if path.name in ("plans.json", "dataset.json"):
                target = folder / path.name
            elif path.name in _CHECKPOINTS and path.parent.name.startswith("fold_"):
                target = folder / path.parent.name / path.name
            else:
                continue
            target.parent.mkdir(exist_ok=True)
            with content.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _with_plans(folder: Path, name: str) -> Path:
    """The folder that holds plans.json: this one, or the only one below that does."""
    if (folder / "plans.json").is_file():
        return folder
    found = sorted(
        {path.parent for path in folder.glob("*/plans.json")}
        | {path.parent for path in folder.glob("*/*/plans.json")}
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelError(
            f"{name}: holds no plans.json, without which the topology of the network is not known. {_ADVICE}"
        )
    raise ModelError(
        f"{name}: holds several models: {', '.join(p.name for p in found)}. Give the folder of one."
    )


def _find_checkpoint(root: Path, name: str, fold: str | None) -> Path:
    folds = [root / f"fold_{fold}"] if fold is not None else sorted(root.glob("fold_*"))
    for folder in folds:
        for checkpoint in _CHECKPOINTS:
            if (folder / checkpoint).is_file():
                return folder / checkpoint
    raise ModelError(f"{name}: holds no fold_*/checkpoint_final.pth or checkpoint_best.pth. {_ADVICE}")


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        return read_json(path, _ADVICE)
    except InputError as error:
        raise ModelError(f"{name}: {error}") from error
