"""How well two segmentations of the same grid agree."""

import math

import numpy as np

from softcord._typing import BoolArray, FloatArray
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


def _check_shapes(one: FloatArray | BoolArray, other: FloatArray | BoolArray) -> None:
    if one.shape != other.shape:
        raise GeometryError(
            f"Segmentations must be on one grid to be compared, got {one.shape} and {other.shape}."
        )
