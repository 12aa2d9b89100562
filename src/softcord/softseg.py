"""Soft segmentations as arrays: the largest piece, masks, areas and volume.

A voxel's value is the share of its volume that is cord, so that sums are areas and volumes.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from softcord._typing import BoolArray, FloatArray, Zooms

_TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26 neighbours: faces, edges and corners

Box = tuple[slice, slice, slice]
"""Index of a block of voxels."""


def threshold(soft: FloatArray, level: float) -> BoolArray:
    """Mask of the voxels with more than `level` cord.

    Parameters
    ----------
    soft : (I, J, K) array of float in [0, 1]
        Soft segmentation.
    level : float
        Share of cord that a voxel of the mask exceeds.

    Returns
    -------
    mask : (I, J, K) array of bool
    """
    mask: BoolArray = soft > np.asarray(level, dtype=soft.dtype)
    return mask


def bounding_box(soft: FloatArray) -> Box | None:
    """Smallest block that holds every voxel above 0, or None if there is none.

    Parameters
    ----------
    soft : (I, J, K) array
        Soft segmentation or mask.

    Returns
    -------
    box : tuple of three slice, or None
        Index into `soft`.
    """
    remaining: BoolArray = soft > 0
    spans = [slice(0)] * 3
    # the axis with the longest stride first: numpy then works along memory, and the others are shorter
    for axis in sorted(range(3), key=lambda axis: -abs(soft.strides[axis])):
        others = tuple(other for other in range(3) if other != axis)
        hits = np.flatnonzero(remaining.any(axis=others))
        if not hits.size:
            return None
        spans[axis] = slice(int(hits[0]), int(hits[-1]) + 1)
        cut = [slice(None)] * 3
        cut[axis] = spans[axis]
        remaining = remaining[tuple(cut)]
    return spans[0], spans[1], spans[2]


def largest_piece(soft: FloatArray, *, level: float) -> FloatArray:
    """The largest connected piece of a soft segmentation, with its soft rim.

    Pieces are the 26-connected groups of voxels above `level`; the largest is the one with the largest sum.
    A voxel of the rim, at or below `level`, belongs to the piece to which it is connected through voxels
    above 0; where the rims of pieces meet, to the nearest piece.

    Parameters
    ----------
    soft : (I, J, K) array of float in [0, 1]
        Soft segmentation.
    level : float
        Share of cord above which voxels make a piece.

    Returns
    -------
    largest : (I, J, K) array
        `soft` with 0 everywhere else; all 0 if nothing is above `level`. `soft` itself, not a copy, if there
        is nothing to take away.
    """
    box = bounding_box(soft)
    if box is None:
        return soft
    part = soft[box]
    pieces, n_pieces = ndimage.label(part > level, _TOUCHING)
    if n_pieces == 0:
        return np.zeros_like(soft)
    largest = _heaviest(part, pieces, n_pieces)
    regions, n_regions = ndimage.label(part > 0, _TOUCHING)
    if n_pieces == n_regions == 1:
        return soft
    region = regions == regions[pieces == largest][0]
    if np.any(region & (pieces > 0) & (pieces != largest)):
        keep = _nearest_to(largest, pieces, region)
    else:
        keep = region
    result = np.zeros_like(soft)
    np.copyto(result[box], part, where=keep)
    return result


def _heaviest(part: FloatArray, pieces: npt.NDArray[np.int32], n_pieces: int) -> int:
    """Label of the piece with the largest sum."""
    return 1 + int(np.argmax(np.bincount(pieces.ravel(), part.ravel(), n_pieces + 1)[1:]))


def _nearest_to(label: int, pieces: npt.NDArray[np.int32], region: BoolArray) -> BoolArray:
    """Voxels of `region` that belong to the piece `label` or lie nearest to it, counted in voxels."""
    keep: BoolArray = pieces == label
    rim = np.argwhere(region & (pieces == 0))
    owners = np.argwhere(region & (pieces > 0))
    _, nearest = cKDTree(owners).query(rim)
    own = rim[keep[tuple(owners[nearest].T)]]
    keep[tuple(own.T)] = True
    return keep


def slice_areas(soft: FloatArray, zooms: Zooms) -> FloatArray:
    """Cross-sectional area of the cord in each slice along the last axis.

    The sum of the values in the slice times the area of a pixel; not corrected for a cord that runs obliquely
    through the slice.

    Parameters
    ----------
    soft : (I, J, K) array of float in [0, 1]
        Soft segmentation, slices along axis 2.
    zooms : (3,) tuple of float, mm
        Voxel size.

    Returns
    -------
    areas : (K,) array of float64, mm²
        0 where the slice holds no cord.

    Examples
    --------
    >>> soft = np.zeros((3, 3, 2), dtype=np.float32)
    >>> soft[1, :, 0] = 0.5, 1.0, 0.5
    >>> slice_areas(soft, (1.0, 0.5, 3.0)).tolist()
    [1.0, 0.0]
    """
    areas = np.zeros(soft.shape[2])
    box = bounding_box(soft)
    if box is not None:
        areas[box[2]] = soft[box].sum(axis=(0, 1), dtype=np.float64) * (zooms[0] * zooms[1])
    return areas


def volume_mm3(soft: FloatArray, zooms: Zooms) -> float:
    """Volume of the cord: the sum of the values times the volume of a voxel.

    Parameters
    ----------
    soft : (I, J, K) array of float in [0, 1]
        Soft segmentation.
    zooms : (3,) tuple of float, mm
        Voxel size.

    Returns
    -------
    volume : float, mm³

    Examples
    --------
    >>> volume_mm3(np.full((2, 2, 2), 0.5, dtype=np.float32), (1.0, 1.0, 3.0))
    12.0
    """
    return float(slice_areas(soft, zooms).sum()) * zooms[2]
