"""How much of each voxel is cord: the network at full resolution, in windows that follow the cord.

The volume is divided along the cord's axis into blocks of planes that overlap. A block's window across is
the box around the cord that is known there, with a margin; where the network finds cord near a side of its
window, the window grows and is computed again; where cord leaves a block above or below, the next block is
added. So a curved, oblique or scoliotic cord is followed as far as it goes, no box cuts it, and the rest of
the body costs nothing.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from softcord._typing import FloatArray
from softcord.engines.intensity import GreyScale, scale_grey
from softcord.engines.network import Network
from softcord.engines.pieces import cord_pieces
from softcord.resample import Grid, crop_grid, resample

log = logging.getLogger(__name__)

BLOCK = 40  # planes
OVERLAP = 8  # planes on each side, blended
MARGIN_MM = 18.0  # around the known cord
NEAR_SIDE_MM = 6.0  # cord this near a window's side makes it grow …
GROWTH_MM = 18.0  # … by this much
CORD = 0.5  # share above which a sample counts as cord for following it

Box = tuple[slice, slice, slice]
Look = Callable[[FloatArray], list[FloatArray]]


@dataclass(frozen=True)
class Window:
    """What was computed in one box of the working grid: one array for each look at it."""

    box: Box
    looks: list[FloatArray]
    core: tuple[int, int]


@dataclass(frozen=True)
class Refined:
    """Shares on a part of the working grid.

    Attributes
    ----------
    looks : list of (I, J, K) array of float32 in [0, 1]
        The first is the plain one, the others are under test-time augmentation.
    grid : Grid
        That part, as a grid on the input.
    """

    looks: list[FloatArray]
    grid: Grid


class Guide:
    """The box across that the cord takes in each plane of the working grid, as far as it is known.

    Parameters
    ----------
    planes : int
        Number of planes.
    """

    def __init__(self, planes: int) -> None:
        self.sides = np.full((planes, 4), np.nan)  # lowest and highest i, lowest and highest j

    def add(self, plane: int, i: FloatArray, j: FloatArray) -> None:
        """Widen the box of a plane to hold these positions."""
        new = np.array([i.min(), i.max(), j.min(), j.max()])
        old = np.where(np.isnan(self.sides[plane]), new, self.sides[plane])
        low, high = np.minimum(old, new), np.maximum(old, new)
        self.sides[plane] = low[0], high[1], low[2], high[3]

    def known(self) -> np.ndarray:
        """Planes in which the cord is known."""
        return np.flatnonzero(~np.isnan(self.sides[:, 0]))

    def across(self, first: int, last: int) -> tuple[float, float, float, float]:
        """The box over planes first … last - 1, or that of the nearest plane that is known."""
        known = self.known()
        inside = known[(known >= first) & (known < last)]
        if inside.size == 0:
            middle = (first + last - 1) / 2
            inside = known[[np.abs(known - middle).argmin()]]
        part = self.sides[inside]
        return (
            float(part[:, 0].min()),
            float(part[:, 1].max()),
            float(part[:, 2].min()),
            float(part[:, 3].max()),
        )


def guide_from(found: np.ndarray, found_grid: Grid, grid: Grid) -> Guide:
    """The guide that voxels found on one grid give for another grid on the same volume."""
    guide = Guide(grid.shape[2])
    i_axis, j_axis, k_axis = found_grid.axes
    place = [
        lambda index, a=a, w=w: (a.start + a.step * index - w.start) / w.step
        for a, w in zip((i_axis, j_axis), grid.axes[:2], strict=True)
    ]
    positions = grid.axes[2].start + grid.axes[2].step * np.arange(grid.shape[2])
    nearest = np.clip(np.rint((positions - k_axis.start) / k_axis.step).astype(int), 0, k_axis.n - 1)
    for plane, k in enumerate(nearest):
        i, j = np.nonzero(found[:, :, k])
        if i.size:
            guide.add(plane, place[0](i), place[1](j))
    return guide


def follow_cord(
    data: FloatArray, grey: GreyScale, grid: Grid, guide: Guide, network: Network, look: Look
) -> Refined | None:
    """Compute shares along the cord.

    Parameters
    ----------
    data : (I, J, K) array of float32
        RAS+.
    grey : GreyScale
        Of `data`.
    grid : Grid
        Of the network, on `data`.
    guide : Guide
        Where the cord is, by planes of `grid`.
    network : Network
    look : callable
        Maps scaled grey levels to one or more arrays of shares.

    Returns
    -------
    refined : Refined or None
        None if the guide knows of no cord.
    """
    if not guide.known().size:
        return None
    return _merge(list(_follow(data, grey, grid, guide, network.multiple, look)), grid)


def compute_whole(data: FloatArray, grey: GreyScale, grid: Grid, look: Look) -> Refined:
    """Compute shares everywhere, block by block; parameters as for `follow_cord`."""
    windows = []
    for block in range(_count(grid.shape[2])):
        first, last, low, high = _planes(block, grid.shape[2])
        box = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(first, last))
        windows.append(Window(box, look(_image(data, grey, grid, box)), (low, high)))
    return _merge(windows, grid)


def _count(planes: int) -> int:
    """Number of blocks; a volume that is little longer than one block is one block."""
    return 1 if planes <= BLOCK + 4 * OVERLAP else -(-planes // BLOCK)


def _planes(block: int, planes: int) -> tuple[int, int, int, int]:
    """First and last plane (exclusive) of a block, and of its core without the overlap."""
    if _count(planes) == 1:
        return 0, planes, 0, planes
    low, high = block * BLOCK, min(planes, (block + 1) * BLOCK)
    return max(0, low - OVERLAP), min(planes, high + OVERLAP), low, high


def _image(data: FloatArray, grey: GreyScale, grid: Grid, box: Box) -> FloatArray:
    part = crop_grid(grid, box)
    return scale_grey(resample(data, part), grey.low, grey.high, grey.on(part.axes[2]))


def _follow(
    data: FloatArray,
    grey: GreyScale,
    grid: Grid,
    guide: Guide,
    multiple: tuple[int, int, int],
    look: Look,
) -> Iterable[Window]:
    planes = grid.shape[2]
    known = guide.known()
    reach = max(1, round(12.0 / grid.zooms[2]))
    waiting = set()
    for block in range(_count(planes)):
        _, _, low, high = _planes(block, planes)
        if ((known >= low - reach) & (known < high + reach)).any():
            waiting.add(block)
    done: set[int] = set()
    middle = float(np.median(known))
    while waiting:  # outwards from the middle, so that neighbours guide
        block = min(waiting, key=lambda b: abs((b + 0.5) * BLOCK - middle))
        waiting.remove(block)
        done.add(block)
        first, last, low, high = _planes(block, planes)
        window, here = _grown_window(data, grey, grid, guide, multiple, look, (first, last, low, high))
        yield window
        if here.size and here[0] <= low and block > 0:
            waiting |= {block - 1} - done
        if here.size and here[-1] >= high - 1 and block < _count(planes) - 1:
            waiting |= {block + 1} - done


def _grown_window(
    data: FloatArray,
    grey: GreyScale,
    grid: Grid,
    guide: Guide,
    multiple: tuple[int, int, int],
    look: Look,
    planes: tuple[int, int, int, int],
) -> tuple[Window, np.ndarray]:
    """One block, its window grown until no cord lies near a side, and the planes of the grid with cord.

    The guide learns of what was found.
    """
    first, last, low, high = planes
    margin = [MARGIN_MM / z for z in grid.zooms[:2]]
    known = guide.across(first, last)
    sides = np.array([known[0] - margin[0], known[1] + margin[0], known[2] - margin[1], known[3] + margin[1]])
    while True:
        box = _box(sides, grid.shape, multiple, first, last)
        looks = look(_image(data, grey, grid, box))
        cord = cord_pieces(looks[0], grid.zooms, level=CORD)
        grown = _grow(sides, cord, box, grid)
        if not grown:
            break
        log.debug("planes %d to %d: the window grows", first, last)
    here = np.flatnonzero(cord.any(axis=(0, 1))) + first
    for plane in here:
        i, j = np.nonzero(cord[:, :, plane - first])
        guide.add(int(plane), i + box[0].start, j + box[1].start)
    return Window(box, looks, (low, high)), here


def _box(
    sides: FloatArray, shape: tuple[int, int, int], multiple: tuple[int, int, int], first: int, last: int
) -> Box:
    """A box of the wanted sides, enlarged to what the network takes where the volume has room."""
    slices = []
    for axis in (0, 1):
        low, high = int(np.floor(sides[2 * axis])), int(np.ceil(sides[2 * axis + 1])) + 1
        size = -(-(high - low) // multiple[axis]) * multiple[axis]
        low -= (size - (high - low)) // 2
        low = max(0, min(low, shape[axis] - size))
        slices.append(slice(low, min(shape[axis], low + size)))
    return slices[0], slices[1], slice(first, last)


def _grow(sides: FloatArray, cord: np.ndarray, box: Box, grid: Grid) -> bool:
    """Move the sides (in place) that cord comes near and that are not the volume's own; True if any moved."""
    grown = False
    for axis in (0, 1):
        near = max(1, round(NEAR_SIDE_MM / grid.zooms[axis]))
        step = GROWTH_MM / grid.zooms[axis]
        found = np.flatnonzero(cord.any(axis=(1 - axis, 2)))
        if not found.size:
            continue
        part = box[axis]
        if part.start > 0 and found[0] < near:
            sides[2 * axis], grown = part.start - step, True
        if part.stop < grid.shape[axis] and found[-1] >= part.stop - part.start - near:
            sides[2 * axis + 1], grown = part.stop - 1 + step, True
    return grown


def _merge(windows: list[Window], grid: Grid) -> Refined:
    """The windows in one array around all of them; where two overlap, a ramp leads from one to the other."""
    low = [min(w.box[axis].start for w in windows) for axis in range(3)]
    high = [max(w.box[axis].stop for w in windows) for axis in range(3)]
    shape = tuple(stop - start for start, stop in zip(low, high, strict=True))
    sums = [np.zeros(shape, dtype=np.float32) for _ in windows[0].looks]
    weights = np.zeros(shape, dtype=np.float32)
    for window in windows:
        inside = tuple(
            slice(s.start - first, s.stop - first) for s, first in zip(window.box, low, strict=True)
        )
        ramp = _ramp(window)
        weights[inside] += ramp
        for total, look in zip(sums, window.looks, strict=True):
            total[inside] += ramp * look
    np.maximum(weights, 1e-6, out=weights)
    for total in sums:
        total /= weights
    box = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
    return Refined(sums, crop_grid(grid, (box[0], box[1], box[2])))


def _ramp(window: Window) -> FloatArray:
    """Weight of each plane of a window: 1 in its core, falling towards the ends of the overlap."""
    planes = np.arange(window.box[2].start, window.box[2].stop)
    low, high = window.core
    beyond = np.maximum(np.maximum(low - planes, planes - (high - 1)), 0)
    ramp: FloatArray = np.clip(1 - beyond / (OVERLAP + 1), 0, 1).astype(np.float32)
    inner = np.minimum(planes - low, high - 1 - planes)
    ramp *= np.where((inner >= 0) & (inner < OVERLAP), 0.5 + 0.5 * (inner + 1) / (OVERLAP + 1), 1).astype(
        np.float32
    )
    return ramp
