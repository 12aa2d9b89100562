"""Resampling along the axes of a voxel array: the working grid of the network and the way back.

Everything is separable: an output sample along one axis is a weighted sum of a few input samples, so that a
volume is resampled axis by axis without any index arrays of its size. Positions are voxel centres, counted in
input voxels. Where the output is coarser than the input, samples are averaged over the output voxel (each
input voxel counts by the share of it that is covered), so that sums, and with them areas, are kept.
"""

from dataclasses import dataclass

import numpy as np

from softcord._typing import FloatArray, Zooms


@dataclass(frozen=True, slots=True)
class Axis:
    """Sample positions along one axis: ``start + step * arange(n)``, in voxels of the input.

    Attributes
    ----------
    n_in : int
        Number of input samples.
    n : int
        Number of output samples.
    start : float
        Position of the first output sample, in input voxels (0 is the centre of the first input voxel).
    step : float
        Distance between output samples, in input voxels.
    """

    n_in: int
    n: int
    start: float
    step: float

    @property
    def is_identity(self) -> bool:
        """True if the output samples are the input samples."""
        return self.n == self.n_in and self.start == 0 and self.step == 1

    def inverse(self) -> "Axis":
        """Positions of the input samples among the output samples."""
        return Axis(n_in=self.n, n=self.n_in, start=-self.start / self.step, step=1 / self.step)


@dataclass(frozen=True, slots=True)
class Grid:
    """A resampled grid: one `Axis` for each array axis, and the voxel size that results.

    Attributes
    ----------
    axes : tuple of three Axis
    zooms : (3,) tuple of float, mm
        Distance between neighbouring samples of the grid.
    """

    axes: tuple[Axis, Axis, Axis]
    zooms: Zooms

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of samples along each axis."""
        i, j, k = (axis.n for axis in self.axes)
        return i, j, k

    def inverse(self, zooms: Zooms) -> "Grid":
        """The grid this one was made from, seen from this one (`zooms` are its voxel sizes, mm)."""
        i, j, k = (axis.inverse() for axis in self.axes)
        return Grid((i, j, k), zooms)


def _taps(axis: Axis, *, average: bool) -> tuple[np.ndarray, FloatArray]:
    """Input indices and weights, both (taps, n), of every output sample along `axis`."""
    centres = axis.start + axis.step * np.arange(axis.n)
    if average and axis.step > 1:
        # edges of the output voxels; input voxel m spans m … m+1
        low, high = centres - axis.step / 2 + 0.5, centres + axis.step / 2 + 0.5
        first = np.floor(low + 1e-9).astype(int)
        index = first + np.arange(int(np.ceil(axis.step)) + 1)[:, None]
        weights = np.minimum(index + 1, high) - np.maximum(index, low)
        weights = np.clip(weights, 0, None) / axis.step
    else:
        first = np.floor(centres + 1e-9).astype(int)
        share = np.clip(centres - first, 0, 1)
        index = np.stack([first, first + 1])
        weights = np.stack([1 - share, share])
    keep = weights.max(axis=1) > 1e-7
    return np.clip(index[keep], 0, axis.n_in - 1), weights[keep].astype(np.float32)


def resample_axis(data: FloatArray, axis: Axis, dim: int, *, average: bool = True) -> FloatArray:
    """Resample one array axis; samples beyond the ends repeat the last voxel.

    Parameters
    ----------
    data : (...) array of float32
    axis : Axis
        Where the output samples lie.
    dim : int
        The array axis that is resampled.
    average : bool
        Average over the output voxel where the output is coarser (default). False: linear interpolation
        throughout.

    Returns
    -------
    resampled : (...) array of float32, with ``axis.n`` samples along `dim`
    """
    if axis.is_identity:
        return data
    index, weights = _taps(axis, average=average)
    shape = [1] * data.ndim
    shape[dim] = axis.n
    first = np.take(data, index[0], axis=dim)
    result: FloatArray = np.multiply(first, weights[0].reshape(shape), dtype=np.float32)
    for taken, weight in zip(index[1:], weights[1:], strict=True):
        result += np.take(data, taken, axis=dim) * weight.reshape(shape)
    return result


def resample(data: FloatArray, grid: Grid, *, average: bool = True) -> FloatArray:
    """Resample a volume onto `grid`, the axis that shrinks most first.

    Parameters
    ----------
    data : (I, J, K) array of float32
    grid : Grid
        Made for an array of this shape.
    average : bool
        As in `resample_axis`.

    Returns
    -------
    resampled : array of float32 of shape ``grid.shape``
    """
    if data.shape != tuple(axis.n_in for axis in grid.axes):
        raise ValueError(f"data must have the shape the grid was made for, {grid.axes}, got {data.shape}.")
    memory = sorted(
        range(3), key=lambda dim: -abs(data.strides[dim])
    )  # axes as they lie in memory: much faster
    data, axes = data.transpose(memory), [grid.axes[dim] for dim in memory]
    for dim in sorted(range(3), key=lambda dim: axes[dim].n / axes[dim].n_in):
        data = resample_axis(data, axes[dim], dim, average=average)
    resampled: FloatArray = data.transpose(np.argsort(memory))
    return resampled


def crop_grid(grid: Grid, box: tuple[slice, slice, slice]) -> Grid:
    """The part of `grid` within `box` (slices of its own samples), as a grid on the same input."""
    axes = tuple(
        Axis(axis.n_in, part.stop - part.start, axis.start + part.start * axis.step, axis.step)
        for axis, part in zip(grid.axes, box, strict=True)
    )
    return Grid((axes[0], axes[1], axes[2]), grid.zooms)


def working_grid(shape: tuple[int, ...], zooms: Zooms, *, in_plane: float, along: float) -> Grid:
    """The grid on which the network works: near `in_plane` across the cord and near `along` along it.

    Voxels of nearly that size are taken as they are, finer ones are averaged, coarser ones are split into an
    integer number of samples that include the voxel's centre: so what the network predicts there is read off
    without a second interpolation. A slice distance above four times `along` is split into four, whatever it
    measures: between slices that far apart there is nothing to interpolate.

    Parameters
    ----------
    shape : (3,) tuple of int
        Shape of a RAS+ array.
    zooms : (3,) tuple of float, mm
        Its voxel size.
    in_plane, along : float, mm
        Wanted distance of samples along the first two axes and along the third.
    """
    (i, di), (j, dj) = (
        _working_axis(n, z, in_plane, least=0.78, most=8) for n, z in zip(shape[:2], zooms[:2], strict=True)
    )
    k, dk = _working_axis(shape[2], zooms[2], along, least=0.65, most=4)
    return Grid((i, j, k), (di, dj, dk))


def _split_axis(n: int, zoom: float, parts: int) -> tuple[Axis, float]:
    """Each voxel split into `parts` samples, its centre among them."""
    margin = parts // 2
    return Axis(n, (n - 1) * parts + 1 + 2 * margin, -margin / parts, 1 / parts), zoom / parts


def _even_axis(n: int, zoom: float, spacing: float) -> tuple[Axis, float]:
    """Samples `spacing` mm apart, centred on the field of view."""
    step = spacing / zoom
    count = max(1, int(np.ceil(n / step - 1e-6)))
    return Axis(n, count, (n - 1) / 2 - step * (count - 1) / 2, step), spacing


def _working_axis(n: int, zoom: float, wanted: float, *, least: float, most: int) -> tuple[Axis, float]:
    """As it is from `least` to 1.4 times `wanted`; else split, or averaged over whole voxels where that fits.

    A single voxel fits, too: down to two thirds of `wanted` nothing is averaged, whatever `least` says.
    """
    if least * wanted <= zoom <= 1.4 * wanted:
        return Axis(n, n, 0.0, 1.0), zoom
    if zoom > wanted:
        return _split_axis(n, zoom, min(most, max(2, round(zoom / wanted))))
    pooled = round(wanted / zoom)
    if pooled * zoom <= 1.25 * wanted:
        return _even_axis(n, zoom, pooled * zoom)
    return _even_axis(n, zoom, wanted)
