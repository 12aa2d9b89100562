"""Only those tiles that the cord passes through, with the values of all of them near the cord.

Tiles are computed near the seed, which is where something cheaper found the cord. Where they show foreground
that hangs together with it, all tiles that come within `REACH_MM` are computed too, and so on until nothing
is added: no box that was drawn beforehand can cut the cord. In the end every voxel that near to it has all
its tiles, which are summed in the order of the whole grid, so that its value is that of the whole grid to the
last bit. Foreground far from it, which is no cord, is not followed.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy.ndimage import label, maximum_filter1d

from softcord._typing import BoolArray, FloatArray
from softcord.engines.nnunet.labels import Labels
from softcord.engines.nnunet.preprocess import Box
from softcord.engines.nnunet.tiles import HalfArray

log = logging.getLogger(__name__)

REACH_MM = 10.0
LEAST_MM3 = 300.0  # what is smaller does not confirm a place to start: about 5 mm of a cord
_SLAB = 16

ComputeTiles = Callable[[Sequence[int]], None]
Combine = Callable[[], HalfArray]


def follow_tiles(
    grid: Sequence[Box],
    shape: Sequence[int],
    spacing: Sequence[float],
    labels: Labels,
    seed: BoolArray,
    compute: ComputeTiles,
    combine: Combine,
) -> tuple[HalfArray, BoolArray, list[int]]:
    """Compute tiles until no foreground lies near a tile that is missing.

    Parameters
    ----------
    grid : sequence of Box
        All tiles.
    shape : (3,) sequence of int
    spacing : (3,) sequence of float, mm
    labels : Labels
    seed : (I, J, K) array of bool
        Where to start. Empty, or not confirmed by any tile: at as few tiles as cover the volume.
    compute : callable
        Computes the tiles of the given numbers and keeps them.
    combine : callable
        The blended logits of all tiles that were kept.

    Returns
    -------
    logits : (outputs, I, J, K) array of float16
    known : (I, J, K) array of bool
        Where all tiles of the grid were computed.
    done : list of int
        Numbers of the tiles that were computed.
    """
    reach = [int(np.ceil(REACH_MM / s)) + 2 for s in spacing]  # and the samples that interpolation takes
    done: set[int] = set()
    wanted = tiles_near(grid, seed, reach)
    scanned = False
    logits, found = np.zeros((labels.outputs, *shape), dtype=np.float16), np.zeros(shape, dtype=bool)
    while True:
        if not wanted and not found.any() and not scanned:
            log.info("nothing was found where the cord was looked for: all of the image is looked at")
            wanted, scanned = covering_tiles(grid) - done, True
        if not wanted:
            break
        compute(sorted(wanted))
        done |= wanted
        logits = combine()
        found = _foreground(logits, labels, _covered(grid, done, shape))
        found = cord_chain(found, None if scanned else seed, spacing)
        wanted = tiles_near(grid, found, reach) - done
        log.debug("followed: %d of %d tiles, %d to come", len(done), len(grid), len(wanted))
    known = np.ones(shape, dtype=bool)
    for number, tile in enumerate(grid):
        if number not in done:
            known[tile] = False
    return logits, known, sorted(done)


def tiles_near(grid: Sequence[Box], mask: BoolArray, reach: Sequence[int]) -> set[int]:
    """Numbers of the tiles that come within `reach` voxels, along each axis, of the mask."""
    near = set()
    for number, tile in enumerate(grid):
        wider = tuple(slice(max(0, s.start - r), s.stop + r) for s, r in zip(tile, reach, strict=True))
        if mask[wider].any():
            near.add(number)
    return near


def covering_tiles(grid: Sequence[Box]) -> set[int]:
    """Numbers of as few tiles of the grid as cover the volume."""
    kept = [_covering({(tile[axis].start, tile[axis].stop) for tile in grid}) for axis in range(3)]
    return {
        number for number, tile in enumerate(grid) if all(tile[axis].start in kept[axis] for axis in range(3))
    }


def _covering(spans: Iterable[tuple[int, int]]) -> set[int]:
    """Starts of as few spans as cover what all cover."""
    ordered = sorted(spans)
    kept, reached = {ordered[0][0]}, ordered[0][1]
    for number in range(1, len(ordered)):
        start, stop = ordered[number]
        if number == len(ordered) - 1 or ordered[number + 1][0] > reached:
            kept.add(start)
            reached = stop
    return kept


def _covered(grid: Sequence[Box], done: Iterable[int], shape: Sequence[int]) -> BoolArray:
    covered = np.zeros(tuple(shape), dtype=bool)
    for number in done:
        covered[grid[number]] = True
    return covered


def cord_chain(found: BoolArray, seed: BoolArray | None, spacing: Sequence[float]) -> BoolArray:
    """The foreground that is followed: a chain of pieces, from one to the next within `REACH_MM`.

    Parameters
    ----------
    found : (I, J, K) array of bool
    seed : (I, J, K) array of bool, optional
        The chains that come as near to it are kept. Default: the largest chain.
    spacing : (3,) sequence of float, mm

    Returns
    -------
    kept : (I, J, K) array of bool
        Empty if what would be kept is less than `LEAST_MM3`.
    """
    chains, count = label(_thickened(found, spacing, REACH_MM / 2), structure=np.ones((3, 3, 3)))
    volumes = np.bincount(chains[found], minlength=count + 1) * float(np.prod(spacing))
    wanted = np.zeros(count + 1, dtype=bool)
    if seed is None:
        wanted[volumes.argmax()] = True
    else:
        wanted[chains[_thickened(seed, spacing, REACH_MM / 2)]] = True
    wanted[0] = False
    if volumes[wanted].sum() < LEAST_MM3:
        return np.zeros_like(found)
    kept: BoolArray = wanted[chains] & found
    return kept


def _thickened(mask: BoolArray, spacing: Sequence[float], reach_mm: float) -> BoolArray:
    """The mask grown along each axis (a box)."""
    grown = mask.astype(np.uint8)
    for axis, step in enumerate(spacing):
        grown = maximum_filter1d(grown, 2 * int(np.ceil(reach_mm / step)) + 1, axis=axis)
    return grown.astype(bool)


def _foreground(logits: HalfArray, labels: Labels, covered: BoolArray) -> BoolArray:
    """Voxels of the foreground."""
    found = np.zeros(covered.shape, dtype=bool)
    for start in range(0, covered.shape[0], _SLAB):
        rows = slice(start, start + _SLAB)
        if covered[rows].any():
            p: FloatArray = labels.probabilities(logits[:, rows])
            found[rows] = (p.max(axis=0) if labels.regions else p.sum(axis=0)) > 0.5
    found &= covered
    return found
