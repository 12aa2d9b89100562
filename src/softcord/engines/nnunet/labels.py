"""What the outputs of an nnU-Net model mean: the labels or regions of its ``dataset.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from softcord._typing import FloatArray
from softcord.errors import ModelError


@dataclass(frozen=True, slots=True)
class Labels:
    """The outputs of a network.

    Attributes
    ----------
    names : tuple of str
        Of the foreground: labels, or regions.
    values : tuple of int
        What each writes into a label map. Of regions, later ones write over earlier ones.
    regions : bool
        Whether the outputs are regions that overlap: one sigmoid each, instead of one softmax with the
        background.
    channels : tuple of str
        Names of the inputs.
    image_orientation : str, optional
        The key of that name, which is no key of nnU-Net: orientation of the training images in the letters of
        the Spinal Cord Toolbox, such as "RPI".
    orientation : str, optional
        The same in nibabel's letters, such as "LAS", as softcord writes it.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    regions: bool
    channels: tuple[str, ...]
    image_orientation: str | None = None
    orientation: str | None = None

    @property
    def outputs(self) -> int:
        """How many channels the network's last layer has."""
        return len(self.names) + (not self.regions)

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """Probability of each part of the foreground.

        Parameters
        ----------
        logits : (outputs, ...) array

        Returns
        -------
        probabilities : (len(names), ...) array of float32
        """
        logits = np.asarray(logits, dtype=np.float32)
        if self.regions:
            sigmoid: FloatArray = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
            return sigmoid
        shares = np.exp(logits - logits.max(axis=0))
        shares /= shares.sum(axis=0)
        foreground: FloatArray = shares[1:]
        return foreground

    def label_map(self, probabilities: FloatArray) -> np.ndarray:
        """The label of each voxel.

        Parameters
        ----------
        probabilities : (len(names), ...) array of float32

        Returns
        -------
        labels : (...) array of uint8 or uint16
            0 where nothing wins.
        """
        kind = np.uint8 if max(self.values) < 256 else np.uint16
        found = np.zeros(probabilities.shape[1:], dtype=kind)
        if self.regions:
            for value, part in zip(self.values, probabilities, strict=True):
                found[part > 0.5] = value
            return found
        best = 1 - probabilities.sum(axis=0)
        for value, part in zip(self.values, probabilities, strict=True):
            wins = part > best
            found[wins] = value
            best = np.where(wins, part, best)
        return found


def read_labels(dataset: Mapping[str, Any]) -> Labels:
    """Read the content of a ``dataset.json``.

    Raises
    ------
    ModelError
        Something is missing or contradicts itself.
    """
    try:
        return _read(dataset)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ModelError(
            f"The dataset.json of this nnU-Net model is incomplete or damaged ({type(error).__name__}: "
            f"{error}). Install the model again."
        ) from error


def _read(dataset: Mapping[str, Any]) -> Labels:
    labels = {str(name): value for name, value in dataset["labels"].items() if name != "ignore"}
    channels = dataset.get("channel_names") or dataset["modality"]
    if labels.get("background") != 0:
        raise ValueError("label background must be 0")
    regions = any(isinstance(value, list | tuple) and len(value) > 1 for value in labels.values())
    flat = {
        name: tuple(int(v) for v in value) if isinstance(value, list | tuple) else (int(value),)
        for name, value in labels.items()
    }
    foreground = {name: value for name, value in flat.items() if set(value) != {0}}
    if not foreground:
        raise ValueError("no label but background")
    if regions:
        values = tuple(int(v) for v in dataset["regions_class_order"])
        names = tuple(foreground)
        if len(values) != len(names):
            raise ValueError(f"{len(names)} regions, but {len(values)} in regions_class_order")
    else:
        names = tuple(sorted(foreground, key=lambda name: foreground[name]))
        values = tuple(range(1, len(names) + 1))  # nnU-Net writes the index of the winning output
    softcord = dataset.get("softcord") or {}
    return Labels(
        names=names,
        values=values,
        regions=regions,
        channels=tuple(str(channels[key]) for key in sorted(channels, key=int)),
        image_orientation=_text(dataset.get("image_orientation")),
        orientation=_text(softcord.get("orientation")),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
