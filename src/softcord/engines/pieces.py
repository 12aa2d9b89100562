"""Which of the found voxels belong to the cord: the largest chain of pieces that lie near one another."""

import numpy as np
from scipy.ndimage import find_objects, label

from softcord._typing import BoolArray, FloatArray, Zooms

NEAR_ACROSS = 6.0  # mm: pieces this near are one cord, which slices far apart or an artefact may part
NEAR_ALONG = 12.0


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
