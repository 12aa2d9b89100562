"""Checkpoints of nnU-Net v2, read without torch and without running anything that is in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from softcord.engines.nnunet.tensors import Tensor, read_tensors
from softcord.engines.nnunet.torchfile import open_torch_file
from softcord.engines.nnunet.unpickle import printable
from softcord.errors import ModelError

_LARGEST_DESCRIPTION = 10_000_000  # characters of the plans, or of the dataset
_DEEPEST = 40
_LARGEST_NUMBER = 2**63


@dataclass(frozen=True)
class Checkpoint:
    """One trained state of a network.

    Attributes
    ----------
    weights : dict of str to array
        By the names in the file, read-only. Names of one tensor share its memory. float16 stays so;
        bfloat16 becomes float32.
    trainer : str or None
        Class that trained it. None, as are those below, where the file does not say.
    configuration : str or None
        As `3d_fullres`.
    mirror_axes : tuple of int or None
        Axes along which the image may be mirrored at inference; None is also "none".
    plans, dataset : dict or None
        Content of `plans.json` and `dataset.json` at the time of training.
    epoch : int or None
        Number of epochs done.
    """

    weights: dict[str, npt.NDArray[Any]]
    trainer: str | None
    configuration: str | None
    mirror_axes: tuple[int, ...] | None
    plans: dict[str, Any] | None
    dataset: dict[str, Any] | None
    epoch: int | None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint: `fold_*/checkpoint_*.pth` of a model folder, or a bare set of weights.

    Parameters
    ----------
    path : Path
        File that `torch.save` wrote, in its zip format or the one before.

    Returns
    -------
    checkpoint : Checkpoint

    Raises
    ------
    ModelError
        The file is missing, damaged, of another kind, or asks for something to be run.
    """
    path = Path(path)
    if path.suffix == ".ckpt":
        raise _lightning(path)
    with open_torch_file(path) as content:
        return _read(path, content)


def _read(path: Path, content: object) -> Checkpoint:
    if not isinstance(content, Mapping):
        raise ModelError(f"{path}: expected weights by name, got a {type(content).__name__}.")
    if "network_weights" not in content and "state_dict" in content:
        raise _lightning(path)
    arguments = content.get("init_args")
    arguments = arguments if isinstance(arguments, Mapping) else {}
    return Checkpoint(
        weights=_weights(path, content.get("network_weights", content)),
        trainer=_text(content.get("trainer_name")),
        configuration=_text(arguments.get("configuration")),
        mirror_axes=_axes(path, content.get("inference_allowed_mirroring_axes")),
        plans=_description(path, arguments.get("plans"), "plans"),
        dataset=_description(path, arguments.get("dataset_json"), "dataset"),
        epoch=_number(content.get("current_epoch")),
    )


def _lightning(path: Path) -> ModelError:
    return ModelError(
        f"{path}: a checkpoint of PyTorch Lightning, as releases before v3.0 hold; only those of nnU-Net can "
        "be used. Take release v3.0 or later."
    )


def _weights(path: Path, named: object) -> dict[str, npt.NDArray[Any]]:
    if not isinstance(named, Mapping) or not named:
        raise ModelError(f"{path}: holds no weights. Give a checkpoint of nnU-Net.")
    tensors: dict[str, Tensor] = {}
    for name, value in named.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            kind, name = type(value).__name__, printable(str(name))
            raise ModelError(
                f"{path}: expected weights by name, got a {kind} called {name}. Give a checkpoint of nnU-Net."
            )
        tensors[name] = value
    return read_tensors(tensors)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and abs(value) < _LARGEST_NUMBER else None


def _axes(path: Path, value: object) -> tuple[int, ...] | None:
    if value is None:
        return None
    axes = value if isinstance(value, (tuple, list)) else (value,)
    if not all(type(axis) is int and 0 <= axis <= 2 for axis in axes):
        raise ModelError(f"{path}: mirroring axes must be 0, 1 or 2. Get the model again.")
    return tuple(axes)


def _description(path: Path, value: object, what: str) -> dict[str, Any] | None:
    """A description as JSON would have it, copied, so that nothing in it is shared or endless."""
    if value is None:
        return None
    left = [_LARGEST_DESCRIPTION]

    def plain(item: object, depth: int) -> Any:  # noqa: ANN401 - what JSON holds
        left[0] -= 10 + (len(item) if isinstance(item, str) else 0)
        if left[0] < 0 or depth > _DEEPEST:
            raise ModelError(f"{path}: its {what} are too large. Get the model again.")
        if isinstance(item, Mapping):
            return {plain(str(key), depth): plain(part, depth + 1) for key, part in item.items()}
        if isinstance(item, (list, tuple, set, frozenset)):
            return [plain(part, depth + 1) for part in item]
        if item is None or isinstance(item, (str, float)) or (_number(item) is not None):
            return item
        raise ModelError(f"{path}: its {what} hold a {type(item).__name__}. Get the model again.")

    copy = plain(value, 0)
    if not isinstance(copy, dict):
        raise ModelError(f"{path}: its {what} must be named values, got one {type(copy).__name__}.")
    return copy
