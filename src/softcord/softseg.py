"""Soft segmentations as arrays: masks, boxes and areas.

A voxel's value is the share of its volume that is cord, so that sums are areas and volumes.
"""

import numpy as np

from softcord._typing import BoolArray, FloatArray, Zooms

LEAST_AREA_MM2 = 5.0
"""A slice with less cord than that holds none: at its ends, a soft map fades out."""

EDGE_INSET_MM = 0.3
"""The cord ends this far within the place where the grey level is half-way between cord and surroundings."""

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


def bounding_box(soft: FloatArray | BoolArray) -> Box | None:
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


def mean_area(areas: FloatArray) -> float:
    """Mean area of the slices that hold cord: those of at least `LEAST_AREA_MM2`.

    Parameters
    ----------
    areas : array of float, mm²
        Areas of slices, of one volume or of several.

    Returns
    -------
    area : float, mm²
        0 if no slice holds cord.

    Examples
    --------
    >>> mean_area(np.array([0.0, 0.2, 60.0, 80.0]))
    70.0
    """
    held = areas[areas >= LEAST_AREA_MM2]
    return float(held.mean()) if held.size else 0.0
