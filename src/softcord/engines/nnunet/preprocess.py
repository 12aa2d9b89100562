"""nnU-Net's preprocessing: transposition, crop to what is not zero, normalisation, resampling, padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_fill_holes

from softcord._typing import BoolArray, FloatArray
from softcord.engines.nnunet.plans import Normalisation, Plans
from softcord.engines.nnunet.resampling import new_shape, resample_to
from softcord.errors import InputError

Box = tuple[slice, slice, slice]
LEAST_STD = np.float32(1e-8)


@dataclass(frozen=True)
class Prepared:
    """An image as the network's tiles are cut from it. Axes are nnU-Net's after its transposition.

    Attributes
    ----------
    data : (C, I, J, K) array of float32
        Normalised, on the plans' grid, padded with zeros to the size of a tile at least.
    inside : Box
        Where the image lies in it.
    shape : (3,) tuple of int
        Of the image as it came.
    spacing : (3,) tuple of float, mm
        Of the image as it came.
    box : Box
        Part of the image that is not zero, from which `data` was made.
    """

    data: FloatArray
    inside: Box
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    box: Box

    @property
    def cropped(self) -> tuple[int, ...]:
        """Shape of the part of the image that is not zero."""
        return tuple(part.stop - part.start for part in self.box)


def preprocess(image: FloatArray, spacing: Sequence[float], plans: Plans) -> Prepared:
    """Prepare an image as nnU-Net does.

    Parameters
    ----------
    image : (C, I, J, K) array of float32
        On the axes of nnU-Net's reader: those of the file in reverse. Not changed.
    spacing : (3,) sequence of float, mm
        In the same order.
    plans : Plans

    Returns
    -------
    prepared : Prepared

    Raises
    ------
    InputError
        The number of channels is not the model's.
    """
    if len(image) != len(plans.normalisations):
        raise InputError(
            f"The model takes {len(plans.normalisations)} channels, and {len(image)} came. "
            "Give one image for each."
        )
    axes = plans.transpose_forward
    data = np.array(image, dtype=np.float32, order="C").transpose(0, *(axis + 1 for axis in axes))
    before = tuple(float(spacing[axis]) for axis in axes)
    mask = np.any(data != 0, axis=0) if len(data) > 1 else data[0] != 0
    box, shape = _box(mask), data.shape[1:]
    if any(how.inside_only for how in plans.normalisations):  # holes do not move the box
        mask = binary_fill_holes(mask)
    in_box = (slice(None), *box)
    data, mask = data[in_box], mask[box]
    for channel, how in zip(data, plans.normalisations, strict=True):
        _normalise(channel, mask, how)
    target = new_shape(data.shape[1:], before, plans.spacing)
    padded_shape = tuple(max(n, p) for n, p in zip(target, plans.patch, strict=True))
    padded = np.zeros((len(data), *padded_shape), dtype=np.float32)
    inside = _centred(target, padded_shape)
    for number, channel in enumerate(data):
        padded[number][inside] = resample_to(channel, target, plans.data, before, plans.spacing)
    return Prepared(padded, inside, shape, before, box)


def _box(mask: BoolArray) -> Box:
    """Bounding box of a mask; all of it if the mask is empty."""
    parts = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        parts.append(slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, mask.shape[axis]))
    return parts[0], parts[1], parts[2]


def _centred(shape: Sequence[int], padded: Sequence[int]) -> Box:
    i, j, k = (slice((p - n) // 2, (p - n) // 2 + n) for n, p in zip(shape, padded, strict=True))
    return i, j, k


def _normalise(channel: FloatArray, mask: BoolArray, how: Normalisation) -> None:
    """Scale the grey levels in place, in float32 as nnU-Net does."""
    if how.scheme == "ZScoreNormalization":
        values = channel[mask] if how.inside_only else channel
        mean, std = values.mean(), max(values.std(), LEAST_STD)
        if how.inside_only:
            channel[mask] = (values - mean) / std
        else:
            channel -= mean
            channel /= std
    elif how.scheme == "CTNormalization":
        np.clip(channel, how.low, how.high, out=channel)
        channel -= how.mean
        channel /= max(how.std, LEAST_STD)
    elif how.scheme == "RescaleTo01Normalization":
        channel -= channel.min()
        channel /= max(channel.max(), LEAST_STD)
    elif how.scheme == "RGBTo01Normalization":
        if channel.min() < 0 or channel.max() > 255:
            raise InputError(
                "The model takes grey levels from 0 to 255, and others came. Give the images it was made for."
            )
        channel /= np.float32(255)
