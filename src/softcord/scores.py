"""How well two segmentations of the same grid agree."""

import math

import numpy as np
from scipy import ndimage

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.errors import GeometryError


def dice(mask: BoolArray, reference: BoolArray) -> float:
    """Dice coefficient of two masks: twice the overlap over the sum of their sizes.

    Parameters
    ----------
    mask, reference : (I, J, K) array of bool
        What is compared; the order does not matter.

    Returns
    -------
    dice : float in [0, 1]
        1 if both are empty.

    Raises
    ------
    GeometryError
        If the shapes differ.

    Examples
    --------
    >>> dice(np.array([True, True, False]), np.array([True, False, False])) == 2 / 3
    True
    """
    _check_shapes(mask, reference)
    sizes = int(np.count_nonzero(mask)) + int(np.count_nonzero(reference))
    return 2 * int(np.count_nonzero(mask & reference)) / sizes if sizes else 1.0


def soft_dice(soft: FloatArray, reference: FloatArray) -> float:
    """Dice coefficient of two soft segmentations, the overlap of a voxel being the smaller of its values.

    1 for equal segmentations, and `dice` for masks of 0 and 1 (Crum et al., IEEE Trans. Med. Imaging 2006).

    Parameters
    ----------
    soft, reference : (I, J, K) array of float in [0, 1]
        What is compared; the order does not matter.

    Returns
    -------
    dice : float in [0, 1]
        1 if both are empty.

    Raises
    ------
    GeometryError
        If the shapes differ.

    Examples
    --------
    >>> soft_dice(np.array([0.5, 1.0]), np.array([1.0, 1.0])) == 3 / 3.5
    True
    """
    _check_shapes(soft, reference)
    sizes = float(soft.sum(dtype=np.float64) + reference.sum(dtype=np.float64))
    return 2 * float(np.minimum(soft, reference).sum(dtype=np.float64)) / sizes if sizes else 1.0


def volume_ratio(soft: FloatArray, reference: FloatArray) -> float:
    """Volume of a segmentation over that of its reference.

    Parameters
    ----------
    soft, reference : (I, J, K) array of float in [0, 1], or of bool
        What is compared, on one grid.

    Returns
    -------
    ratio : float
        NaN if the reference is empty.

    Raises
    ------
    GeometryError
        If the shapes differ.

    Examples
    --------
    >>> volume_ratio(np.array([0.5, 1.0]), np.array([1.0, 1.0]))
    0.75
    """
    _check_shapes(soft, reference)
    volume = float(reference.sum(dtype=np.float64))
    return float(soft.sum(dtype=np.float64)) / volume if volume else math.nan


def surface_distances(mask: BoolArray, reference: BoolArray, zooms: Zooms) -> tuple[FloatArray, FloatArray]:
    """Distances of the surface of a mask from that of its reference, and the other way round.

    The surface is the voxels with a face neighbour outside of the mask; distances are between centres of
    voxels, in mm also where voxels are longer along one axis.

    Parameters
    ----------
    mask, reference : (I, J, K) array of bool
        Neither may be empty.
    zooms : (3,) tuple of float, mm
        Voxel size.

    Returns
    -------
    to_reference, to_mask : (N,) and (M,) arrays of float, mm
        One distance for each voxel of the mask's and of the reference's surface.

    Raises
    ------
    GeometryError
        If the shapes differ or one is empty.

    Examples
    --------
    >>> one, other = np.zeros((2, 5, 5, 5), dtype=bool)
    >>> one[2, 2, 1], other[2, 2, 3] = True, True
    >>> [distances.tolist() for distances in surface_distances(one, other, (1.0, 1.0, 3.0))]
    [[6.0], [6.0]]
    """
    _check_shapes(mask, reference)
    if not (mask.any() and reference.any()):
        raise GeometryError("Distances need two masks that hold something; one of them is empty.")
    box = ndimage.find_objects((mask | reference).view(np.uint8))[0]
    one, other = (np.pad(part[box], 1) for part in (mask, reference))
    edges = [part & ~ndimage.binary_erosion(part) for part in (one, other)]
    far = [ndimage.distance_transform_edt(~edge, sampling=zooms) for edge in edges]
    return far[1][edges[0]], far[0][edges[1]]


def average_surface_distance(to_reference: FloatArray, to_mask: FloatArray) -> float:
    """Mean of all distances in both directions (ASSD).

    Parameters
    ----------
    to_reference, to_mask : array of float, mm
        From `surface_distances`.

    Returns
    -------
    distance : float, mm
    """
    return float(np.concatenate([to_reference, to_mask]).mean())


def hausdorff_95(to_reference: FloatArray, to_mask: FloatArray) -> float:
    """The larger of the 95th percentiles of the two directions (HD95).

    Parameters
    ----------
    to_reference, to_mask : array of float, mm
        From `surface_distances`.

    Returns
    -------
    distance : float, mm
    """
    return max(float(np.percentile(to_reference, 95)), float(np.percentile(to_mask, 95)))


def _check_shapes(one: FloatArray | BoolArray, other: FloatArray | BoolArray) -> None:
    if one.shape != other.shape:
        raise GeometryError(
            f"Segmentations must be on one grid to be compared, got {one.shape} and {other.shape}."
        )
