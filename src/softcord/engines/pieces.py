"""Which of the found voxels belong to the cord, and whether what they make up is one.

The cord is the largest chain of pieces that lie near one another. What is no cord, the network sees with
doubts: shares stay low in the middle, and the rim is wide.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects, label

from softcord._typing import BoolArray, FloatArray, Zooms

NEAR_ACROSS = 6.0  # mm: pieces this near are one cord, which slices far apart or an artefact may part
NEAR_ALONG = 12.0


LEAST_MM3 = 40.0  # less than one slice of 1 mm
SURE = 0.95  # of the highest share
FULL = 0.7  # of the mean share
CRISP = 0.45  # of the samples that hold some cord, those that hold half and more


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for pieces being a cord.

    Attributes
    ----------
    volume_mm3 : float, mm³
    highest, mean : float in [0, 1]
        Of the shares in the pieces.
    crisp : float in [0, 1]
        Samples with more than 0.5 over samples with more than 0.05, in and near the pieces.
    """

    volume_mm3: float
    highest: float
    mean: float
    crisp: float

    @property
    def is_cord(self) -> bool:
        """Whether it is enough."""
        sure = self.highest >= SURE and self.mean >= FULL and self.crisp >= CRISP
        return self.volume_mm3 >= LEAST_MM3 and sure


def weigh(shares: FloatArray, pieces: BoolArray, near: BoolArray, zooms: Zooms) -> Evidence:
    """What speaks for pieces being a cord.

    Parameters
    ----------
    shares : (I, J, K) array of float32
    pieces, near : (I, J, K) array of bool
        The pieces, and the pieces with their rim.
    zooms : (3,) tuple of float, mm

    Returns
    -------
    evidence : Evidence
    """
    inside, around = shares[pieces], shares[near]
    if not inside.size:
        return Evidence(0.0, 0.0, 0.0, 0.0)
    return Evidence(
        volume_mm3=inside.size * float(np.prod(zooms)),
        highest=float(inside.max()),
        mean=float(inside.mean()),
        crisp=float((around > 0.5).sum()) / max(1.0, float((around > 0.05).sum())),
    )


def cord_pieces(probability: FloatArray, zooms: Zooms, *, level: float) -> BoolArray:
    """The voxels above `level` that belong to the largest chain of pieces.

    Two pieces are of one chain if they come within 6 mm across and 12 mm (or the next slice) along the cord.
    The chain with the largest sum is kept.

    Parameters
    ----------
    probability : (I, J, K) array of float32
        RAS+.
    zooms : (3,) tuple of float, mm
    level : float

    Returns
    -------
    kept : (I, J, K) array of bool
    """
    found = probability > level
    kept = np.zeros_like(found)
    if not found.any():
        return kept
    box = find_objects(found.astype(np.int8))[0]
    part = found[box]
    chains, count = label(_thickened(part, zooms), structure=np.ones((3, 3, 3)))
    if count == 1:
        return found
    sums = np.bincount(chains[part], weights=probability[box][part], minlength=count + 1)
    kept[box] = part & (chains == sums[1:].argmax() + 1)
    return kept


def _thickened(mask: BoolArray, zooms: Zooms) -> BoolArray:
    """The mask grown by half the distance that still counts as near, along each axis in turn (a box)."""
    reach = (NEAR_ACROSS / 2, NEAR_ACROSS / 2, max(NEAR_ALONG / 2, zooms[2] / 2))
    steps = [max(1, round(r / z)) if n > 1 else 0 for r, z, n in zip(reach, zooms, mask.shape, strict=True)]
    for axis, step in enumerate(steps):
        grown = mask.copy()
        for shift in range(1, min(step, mask.shape[axis] - 1) + 1):
            ahead = tuple(slice(shift, None) if a == axis else slice(None) for a in range(3))
            behind = tuple(slice(None, -shift) if a == axis else slice(None) for a in range(3))
            grown[ahead] |= mask[behind]
            grown[behind] |= mask[ahead]
        mask = grown
    return mask
