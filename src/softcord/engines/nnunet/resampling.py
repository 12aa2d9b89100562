"""nnU-Net's resampling: splines on half-pixel centres, each axis on its own.

nnU-Net calls scikit-image's ``resize`` (mode "edge", no anti-aliasing), which is scipy's ``zoom`` with
``grid_mode``. A tensor product of splines can be computed axis by axis, which is the same to the last bits of
float64, and much faster.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import spline_filter1d

from softcord._typing import BoolArray, FloatArray
from softcord.engines.nnunet.plans import Resampling

PAD = 12  # samples that scipy repeats at each end before its spline filter, where the mode is "nearest"


def new_shape(
    shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]
) -> tuple[int, int, int]:
    """Shape of a volume on a grid of another spacing, as nnU-Net rounds it: to the nearest, ties to even."""
    i, j, k = (round(s / t * n) for n, s, t in zip(shape, spacing, target, strict=True))
    return i, j, k


def separate_axis(how: Resampling, before: Sequence[float], after: Sequence[float]) -> int | None:
    """The axis that is resampled apart from the others by nearest neighbours; None if there is none."""
    for spacing in (before, after):
        wanted = how.separate
        if wanted is None:
            wanted = max(spacing) / min(spacing) > how.threshold
        if wanted:
            coarsest = [axis for axis in range(3) if spacing[axis] == max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
        if how.separate is not None:
            return None
    return None


def resample_to(
    data: npt.NDArray[np.floating],
    shape: Sequence[int],
    how: Resampling,
    before: Sequence[float],
    after: Sequence[float],
) -> npt.NDArray[np.floating]:
    """Bring one channel to another grid.

    Parameters
    ----------
    data : (I, J, K) array of float16 or float32
    shape : (3,) sequence of int
        Of the result.
    how : Resampling
    before, after : (3,) sequence of float, mm
        Spacing of both grids; they decide on `separate_axis`.

    Returns
    -------
    resampled : array of shape `shape`, of the type of `data`
    """
    if tuple(data.shape) == tuple(shape) or how.identity:
        return data
    axis = separate_axis(how, before, after)
    across = list(shape)
    if axis is not None:
        across[axis] = data.shape[axis]
    result = Sampler(data.shape, across, how, axis).sample(data, slice(0, across[0]))
    if how.clip and how.order > 1:  # to the range of the volume, or of each slice
        over = tuple(a for a in range(3) if a != axis)
        np.clip(result, data.min(axis=over, keepdims=True), data.max(axis=over, keepdims=True), out=result)
    if axis is not None:
        result = np.take(result, taps(data.shape[axis], shape[axis], 0)[0][0], axis=axis)
    return result.astype(data.dtype)


class Sampler:
    """The way of a volume from one grid to another, along each axis on its own.

    Parameters
    ----------
    shape, target : (3,) sequence of int
        Before and after.
    how : Resampling
    axis : int, optional
        See `separate_axis`.
    """

    def __init__(
        self, shape: Sequence[int], target: Sequence[int], how: Resampling, axis: int | None
    ) -> None:
        orders = [0 if a == axis else how.order for a in range(3)]
        self._orders = [0 if n == m else order for n, m, order in zip(shape, target, orders, strict=True)]
        self._taps = [taps(n, m, order) for n, m, order in zip(shape, target, self._orders, strict=True)]
        self.target = tuple(target)

    def sample(self, data: npt.NDArray[np.floating] | BoolArray, rows: slice) -> npt.NDArray[np.float64]:
        """Some of the planes of the result along the first axis.

        Parameters
        ----------
        data : (I, J, K) array
            Of bool: 1 where it is True.
        rows : slice

        Returns
        -------
        part : (rows, J', K') array of float64
        """
        index, weights = self._taps[0][0][:, rows], self._taps[0][1][:, rows]
        if self._orders[0] > 1:
            part = _coefficients(data.astype(np.float64), 0)
        else:  # the planes that are needed, and no others
            low = int(index.min())
            part, index = data[low : int(index.max()) + 1].astype(np.float64), index - low
        part = _apply(part, index, weights, 0)
        for axis in (1, 2):
            if self._orders[axis] > 1:
                part = _coefficients(part, axis)
            part = _apply(part, *self._taps[axis], axis)
        return part


def taps(n: int, m: int, order: int) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Input samples and their weights for each of `m` samples in the place of `n`, both (order + 1, m).

    With splines of order 3 the samples are coefficients, of which `PAD` more are at both ends.
    """
    centres = (np.arange(m) + 0.5) * (n / m) - 0.5
    if order <= 1:
        centres = np.clip(centres, 0, n - 1)
    if order == 0:
        nearest = np.floor(centres + 0.5).astype(np.intp)[None]
        return nearest, np.ones(nearest.shape)
    first = np.floor(centres).astype(np.intp)
    t = centres - first
    if order == 1:
        return np.stack([first, np.minimum(first + 1, n - 1)]), np.stack([1 - t, t])
    index = first + np.arange(-1, 3)[:, None] + PAD
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4, t**3])
    return index, weights / 6  # the cubic B-spline at its four knots


def _coefficients(data: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    pad = [(PAD, PAD) if a == axis else (0, 0) for a in range(3)]
    padded = np.pad(data, pad, mode="edge")
    filtered: npt.NDArray[np.float64] = spline_filter1d(padded, 3, axis=axis, mode="nearest")
    return filtered


def _apply(
    data: npt.NDArray[np.float64], index: npt.NDArray[np.intp], weights: FloatArray, axis: int
) -> npt.NDArray[np.float64]:
    if len(index) == 1:
        same = index.shape[1] == data.shape[axis] and np.array_equal(index[0], np.arange(index.shape[1]))
        return data if same else np.take(data, index[0], axis=axis)
    shape = [1] * 3
    shape[axis] = -1
    result: npt.NDArray[np.float64] = np.take(data, index[0], axis=axis)
    result *= weights[0].reshape(shape)
    for at, weight in zip(index[1:], weights[1:], strict=True):
        taken = np.take(data, at, axis=axis)
        taken *= weight.reshape(shape)
        result += taken
    return result
