"""An nnU-Net model that is ready to run: its plans, its labels, and one graph for each fold."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nibabel.orientations import axcodes2ornt

from softcord._typing import FloatArray
from softcord.engines.nnunet.labels import Labels
from softcord.engines.nnunet.margins import Margins
from softcord.engines.nnunet.plans import Plans
from softcord.engines.runtime import ChannelEngine
from softcord.errors import ModelError

_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


class Folds:
    """The engines of all folds, of which one at a time is loaded, as each takes the memory of a tile.

    Parameters
    ----------
    graphs : sequence of Path
    load : callable
        From the path of a graph to its engine.
    """

    def __init__(self, graphs: Sequence[Path], load: Callable[[Path], ChannelEngine]) -> None:
        self._graphs = tuple(graphs)
        self._load = load
        self._loaded: tuple[int, ChannelEngine] | None = None

    def __len__(self) -> int:
        return len(self._graphs)

    def engine(self, fold: int) -> ChannelEngine:
        """The engine of one fold."""
        if self._loaded is None or self._loaded[0] != fold:
            self._loaded = None  # first let go of the other one
            self._loaded = fold, self._load(self._graphs[fold])
        return self._loaded[1]


@dataclass(frozen=True)
class NnunetNetwork:
    """An nnU-Net model.

    Attributes
    ----------
    plans : Plans
    labels : Labels
    folds : Folds
    mirror_axes : tuple of int
        Axes of a tile along which it may be mirrored, by its training.
    engine_name : str
        Library that runs it.
    margins : Margins, optional
        For a model that was trained on crops around the cord: what lies around it in them.
    scale, shift : float
        Calibration of the soft map of a model with one label: its logit is multiplied and shifted by them.
    """

    plans: Plans
    labels: Labels
    folds: Folds
    mirror_axes: tuple[int, ...] = ()
    engine_name: str = "onnxruntime"
    margins: Margins | None = None
    scale: float = 1.0
    shift: float = 0.0
    ornt: npt.NDArray[np.float64] | None = field(init=False)

    def __post_init__(self) -> None:
        """Read the orientation that the labels or the reader name."""
        object.__setattr__(self, "ornt", training_ornt(self.labels, self.plans.reader))

    def tile_logits(self, image: FloatArray, fold: int, *, mirror: bool) -> FloatArray:
        """Logits of one tile.

        Parameters
        ----------
        image : (C, I, J, K) array of float32
        fold : int
        mirror : bool
            Mean over all mirrored copies along `mirror_axes`.

        Returns
        -------
        logits : (outputs, I, J, K) array of float32
        """
        engine = self.folds.engine(fold)
        logits = engine.run_channels(image)
        if not mirror or not self.mirror_axes:
            return logits
        axes = [axis + 1 for axis in self.mirror_axes]
        flips = [c for n in range(len(axes)) for c in itertools.combinations(axes, n + 1)]
        for flip in flips:
            logits = logits + np.flip(engine.run_channels(np.flip(image, flip)), flip)
        mean: FloatArray = logits / np.float32(len(flips) + 1)
        return mean

    def calibrated(self, probabilities: FloatArray) -> FloatArray:
        """The soft map of probabilities of the only label."""
        if (self.scale, self.shift) == (1.0, 0.0):
            return probabilities
        return rescale(probabilities, self.scale, self.shift)


def rescale(probabilities: FloatArray, scale: float, shift: float) -> FloatArray:
    """Probabilities whose logits are multiplied by `scale` and shifted by `shift`; 0 stays 0.

    Examples
    --------
    >>> rescale(np.array([0.0, 0.5, 0.9], dtype=np.float32), 2.0, 0.0).round(3).tolist()
    [0.0, 0.5, 0.9879999756813049]
    """
    p = np.clip(probabilities, 1e-7, 1 - 1e-7)
    logit = np.log(p / (1 - p)) * np.float32(scale) + np.float32(shift)
    rescaled: FloatArray = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return np.where(probabilities > 0, rescaled, np.float32(0))


def training_ornt(labels: Labels, reader: str) -> npt.NDArray[np.float64] | None:
    """Orientation of the images that the network was trained on; None if it is that of each file.

    Raises
    ------
    ModelError
        The letters that name it are none of an orientation.
    """
    letters = labels.orientation
    if letters is None and labels.image_orientation is not None:  # SCT names where axes come from
        letters = "".join(_OPPOSITE.get(letter, "?") for letter in labels.image_orientation.upper())
    if letters is None and reader.endswith("WithReorient"):
        letters = "RAS"
    if letters is None:
        return None
    if sorted(min(letter, _OPPOSITE.get(letter, letter)) for letter in letters) != ["A", "I", "L"]:
        raise ModelError(f"The orientation of this model's images is no orientation: {letters}.")
    ornt: npt.NDArray[np.float64] = axcodes2ornt(tuple(letters))  # type: ignore[no-untyped-call]
    return ornt
