"""Shares of cord on another grid, in one interpolation.

A voxel of the target that is larger than those of the source is the mean of several points in it, so that
areas are kept. Points beyond the source have no value: they are left out of the mean and do not count as
empty.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from softcord._typing import Affine, BoolArray, FloatArray

_MOST_POINTS = 6  # along an axis of a target voxel
_CHUNK = 1 << 20  # points at a time

Move = Callable[[FloatArray], FloatArray]
"""Moves points, (N, 3) in mm, from the target's space into the source's."""


@dataclass(frozen=True)
class Shares:
    """A map of shares where it is known.

    Attributes
    ----------
    data : (I, J, K) array of float32 in [0, 1]
        On canonical axes; values of slices that are not covered mean nothing.
    affine : (4, 4) array of float
        Index to RAS+ mm.
    covered : (K,) array of bool
        Slices along the third axis of which it is known what is cord.
    """

    data: FloatArray
    affine: Affine
    covered: BoolArray


def sample(
    source: Shares, shape: tuple[int, ...], affine: Affine, *, move: Move | None = None
) -> tuple[FloatArray, FloatArray]:
    """Shares and coverage on another grid.

    Parameters
    ----------
    source : Shares
    shape : (3,) tuple of int
        Of the target.
    affine : (4, 4) array of float
        Of the target.
    move : callable, optional
        Default: points stay where they are.

    Returns
    -------
    shares : (I, J, K) array of float32 in [0, 1]
        Mean over the covered part of each voxel; 0 where nothing is covered.
    coverage : (I, J, K) array of float32 in [0, 1]
        Which part of the voxel is covered.

    Notes
    -----
    Values are interpolated linearly between voxel centres. Half a voxel beyond the last covered slice, and
    beyond the field of view, the last value holds: a cord that is cut by the edge of the image keeps its
    shares up to the edge.
    """
    shares = np.zeros(shape, dtype=np.float32)
    coverage = np.zeros(shape, dtype=np.float32)
    if not source.covered.any():
        return shares, coverage
    filled = _fill(source)
    inverse = np.linalg.inv(source.affine)
    steps = _steps(inverse @ affine, shape)
    offsets = [(np.arange(n) + 0.5) / n - 0.5 for n in steps]
    per_slice = max(1, _CHUNK // (shape[0] * shape[1]))
    for start in range(0, shape[2], per_slice):
        part = slice(start, min(start + per_slice, shape[2]))
        index = np.stack(
            np.meshgrid(
                np.arange(shape[0]), np.arange(shape[1]), np.arange(part.start, part.stop), indexing="ij"
            ),
            axis=-1,
        ).reshape(-1, 3)
        total = np.zeros(len(index), dtype=np.float32)
        weight = np.zeros(len(index), dtype=np.float32)
        for offset in itertools.product(*offsets):
            world = (index + np.array(offset)) @ affine[:3, :3].T + affine[:3, 3]
            moved = world if move is None else move(world)
            at = moved @ inverse[:3, :3].T + inverse[:3, 3]
            inside = _is_covered(at, source)
            if inside.any():
                values = map_coordinates(filled, at[inside].T, order=1, mode="nearest", prefilter=False)
                total[inside] += values
                weight[inside] += 1
        known = weight > 0
        total[known] /= weight[known]
        size = (*shape[:2], part.stop - part.start)
        shares[:, :, part] = total.reshape(size)
        coverage[:, :, part] = (weight / np.prod(steps)).reshape(size)
    return np.clip(shares, 0, 1), coverage


def _fill(source: Shares) -> FloatArray:
    """Values in which a slice that is not covered repeats the nearest one that is."""
    covered = np.flatnonzero(source.covered)
    every = np.arange(source.covered.size)
    nearest = covered[np.abs(every[:, None] - covered).argmin(axis=1)]
    filled: FloatArray = np.nan_to_num(source.data[:, :, nearest], nan=0.0, posinf=0.0, neginf=0.0)
    return filled


def _is_covered(at: FloatArray, source: Shares) -> BoolArray:
    """Whether points, (N, 3) in voxels, lie in a covered slice and in the field of view."""
    edge = 0.5 + 1e-6
    inside = np.all((at >= -edge) & (at <= np.array(source.data.shape) - 1 + edge), axis=1)
    k = np.clip(np.round(at[:, 2]).astype(int), 0, source.covered.size - 1)
    covered: BoolArray = inside & source.covered[k]
    return covered


def _steps(to_source: Affine, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Points along each axis of a target voxel: as many as it spans voxels of the source."""
    spans = np.abs(to_source[:3, :3]).max(axis=0)
    return tuple(int(np.clip(np.ceil(span - 0.05), 1, _MOST_POINTS)) for span in spans[: len(shape)])


Box = tuple[slice, slice, slice]


def box_of(data: FloatArray, affine: Affine, shape: tuple[int, ...], to: Affine, *, margin: float) -> Box:
    """The part of a grid in which another grid has values above 0.

    Parameters
    ----------
    data : (I, J, K) array
        With a value above 0.
    affine : (4, 4) array of float
        Of `data`.
    shape, to : (3,) tuple of int, (4, 4) array of float
        Shape and affine of the grid that is asked about.
    margin : float, mm
        Added on every side.

    Returns
    -------
    box : tuple of slice
        Within `shape`; empty if the values lie outside.
    """
    found = np.argwhere(data > 0)
    low, high = found.min(axis=0) - 0.5, found.max(axis=0) + 0.5
    corners = np.array([[*corner, 1] for corner in itertools.product(*zip(low, high, strict=True))])
    at = (corners @ (np.linalg.inv(to) @ affine).T)[:, :3]
    sides = margin / np.linalg.norm(to[:3, :3], axis=0)
    start = np.clip(np.floor(at.min(axis=0) - sides), 0, shape).astype(int)
    stop = np.clip(np.ceil(at.max(axis=0) + sides) + 1, 0, shape).astype(int)
    i, j, k = (slice(int(one), int(max(one, two))) for one, two in zip(start, stop, strict=True))
    return i, j, k


def box_affine(affine: Affine, box: Box) -> Affine:
    """Affine of the part of a grid."""
    moved: Affine = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return moved
