"""Models that were trained on crops around the cord see such crops: ``crop_metadata.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from softcord._typing import BoolArray, Zooms
from softcord.engines.nnunet.preprocess import Box
from softcord.errors import ModelError

_FACES = ("left", "right", "posterior", "anterior", "inferior", "superior")  # two for each RAS+ axis


@dataclass(frozen=True, slots=True)
class Margins:
    """How far a crop reaches beyond the cord on each side, in mm."""

    left: float
    right: float
    posterior: float
    anterior: float
    inferior: float
    superior: float

    def box(self, cord: BoolArray, zooms: Zooms) -> Box:
        """The part of a RAS+ volume that holds the cord and its margins.

        Parameters
        ----------
        cord : (I, J, K) array of bool
            Not empty.
        zooms : (3,) tuple of float, mm

        Returns
        -------
        box : Box
        """
        parts = []
        sides = ((self.left, self.right), (self.posterior, self.anterior), (self.inferior, self.superior))
        for axis, (below, above) in enumerate(sides):
            found = np.flatnonzero(cord.any(axis=tuple(a for a in range(3) if a != axis)))
            low = int(found[0]) - int(np.ceil(below / zooms[axis]))
            high = int(found[-1]) + 1 + int(np.ceil(above / zooms[axis]))
            parts.append(slice(max(0, low), min(cord.shape[axis], high)))
        return parts[0], parts[1], parts[2]


def read_margins(metadata: Mapping[str, Any]) -> Margins:
    """Read the content of a ``crop_metadata.json``: one number of mm for each of the six faces.

    The faces are found by their names (a key that holds the word, as ``pad_superior_mm``), at the top or one
    level below it.

    Raises
    ------
    ModelError
        A face is missing, is there twice, or is no length.
    """
    entries = dict(metadata)
    for value in metadata.values():
        if isinstance(value, Mapping):
            entries.update(value)
    found = {}
    for face in _FACES:
        numbers = [
            value
            for key, value in entries.items()
            if face in str(key).lower() and isinstance(value, int | float) and not isinstance(value, bool)
        ]
        if len(numbers) != 1 or not 0 <= numbers[0] < 10_000:
            raise ModelError(
                f"crop_metadata.json must say one margin in mm for each face, got {numbers} for {face}. "
                "Install the model again."
            )
        found[face] = float(numbers[0])
    return Margins(**found)
