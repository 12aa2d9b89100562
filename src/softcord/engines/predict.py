"""From grey levels to the share of cord in every voxel: find the cord, refine around it, come back."""

import logging
import time
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.engines.edges import place_edges
from softcord.engines.intensity import grey_scale
from softcord.engines.locate import locate_cord
from softcord.engines.network import Network
from softcord.engines.pieces import cord_pieces, weigh
from softcord.engines.refine import Look, Refined, compute_whole, follow_cord, guide_from
from softcord.resample import Axis, Grid, resample

log = logging.getLogger(__name__)

SMALL_MM = 72.0  # across: a field of view this small shows too little to find the cord in at low resolution
SMALL_SAMPLES = 1_500_000  # and so many are computed at full resolution if the cord was not found otherwise
NARROW_MM = 50.0  # across: a view narrower than this fades out on its sides …
FADE_MM = 15.0  # … over this length
KEPT = 0.3  # pieces of the cord are parts above this share
FAINTEST = 0.01  # shares below this are set to 0


@dataclass(frozen=True)
class PredictOptions:
    """How a volume is segmented.

    Attributes
    ----------
    uncertainty : bool
        Also compute the spread over test-time augmentation.
    whole : bool
        The network at full resolution over the whole volume, without finding the cord first (for comparison).
    follow_edges : bool
        Let the edge follow the grey levels of the image, see `edges`; False: the network's word alone.
    """

    uncertainty: bool = False
    whole: bool = False
    follow_edges: bool = True


@dataclass(frozen=True)
class Prediction:
    """What was found in a volume.

    Attributes
    ----------
    soft : (I, J, K) array of float32 in [0, 1]
        Share of each voxel that is cord, on the grid of the input.
    uncertainty : (I, J, K) array of float32, or None
        Standard deviation over test-time augmentation of what the network says, before the edge is placed.
    seconds : dict of str to float
        Time of each step: ``find`` and ``segment``.
    """

    soft: FloatArray
    uncertainty: FloatArray | None
    seconds: dict[str, float]


def predict(
    data: FloatArray,
    zooms: Zooms,
    network: Network,
    options: PredictOptions = PredictOptions(),
) -> Prediction:
    """Segment the cord in a volume.

    Parameters
    ----------
    data : (I, J, K) array of float32
        Grey levels, RAS+ axes, finite.
    zooms : (3,) tuple of float, mm
    network : Network
    options : PredictOptions

    Returns
    -------
    prediction : Prediction
        `soft` is 0 everywhere if no cord was found.
    """
    start = time.perf_counter()
    seen, grey = data, grey_scale(data)
    data, inside = fade_out(data, zooms, grey.low)
    grid = network.fine_grid(data.shape, zooms)
    whole = options.whole or _is_small(data.shape, zooms, grid)
    guide = None if whole else guide_from(*locate_cord(data, zooms, grey, network), grid)
    found = time.perf_counter()
    look = _augmented_looks(network) if options.uncertainty else _plain_look(network)
    if guide is None:
        cord = _cord_in(compute_whole(data, grey, grid, look))
    else:
        cord = _cord_in(follow_cord(data, grey, grid, guide, network, look))
        if cord is None and np.prod(grid.shape) <= SMALL_SAMPLES:
            log.debug("looked for again, at full resolution everywhere")
            cord = _cord_in(compute_whole(data, grey, grid, _plain_look(network)))
            if cord is not None and options.uncertainty:
                cord = _cord_in(compute_whole(data, grey, grid, look))
    soft = np.zeros(data.shape, dtype=np.float32)
    uncertainty = np.zeros(data.shape, dtype=np.float32) if options.uncertainty else None
    if cord is not None:
        _write_back(*cord, zooms, soft, uncertainty)
    if data is not seen:
        soft = np.ascontiguousarray(soft[inside])
        uncertainty = None if uncertainty is None else np.ascontiguousarray(uncertainty[inside])
    if options.follow_edges:
        soft = place_edges(seen, soft, zooms, scale=grey)
        soft[soft < FAINTEST] = 0
    return Prediction(soft, uncertainty, {"find": found - start, "segment": time.perf_counter() - found})


def fade_out(data: FloatArray, zooms: Zooms, dark: float) -> tuple[FloatArray, tuple[slice, slice, slice]]:
    """Let a narrow view fade out on its sides instead of ending at a wall.

    A network that has hardly seen a cord beside a wall of zeros doubts it. Along each of the first two axes
    along which the view is narrower than `NARROW_MM`, `FADE_MM` are added on both sides, over which the
    outermost grey levels fall to `dark`.

    Parameters
    ----------
    data : (I, J, K) array of float32
        RAS+.
    zooms : (3,) tuple of float, mm
    dark : float
        The lowest grey level.

    Returns
    -------
    faded : array of float32
        `data` itself if it is wide.
    inside : (3,) tuple of slice
        Where `data` lies in it.
    """
    pad = [
        (round(FADE_MM / zoom), round(FADE_MM / zoom)) if size * zoom < NARROW_MM else (0, 0)
        for size, zoom in zip(data.shape[:2], zooms[:2], strict=True)
    ]
    across, along = (slice(n, n + size) for (n, _), size in zip(pad, data.shape[:2], strict=True))
    inside = (across, along, slice(0, data.shape[2]))
    if pad == [(0, 0), (0, 0)]:
        return data, inside
    faded: FloatArray = np.pad(data, [*pad, (0, 0)], mode="linear_ramp", end_values=dark)
    return faded, inside


def _is_small(shape: tuple[int, ...], zooms: Zooms, grid: Grid) -> bool:
    """Whether the view is so small that all of it is computed at once."""
    across = max(n * z for n, z in zip(shape[:2], zooms[:2], strict=True))
    return bool(across <= SMALL_MM and np.prod(grid.shape) <= SMALL_SAMPLES)


def _cord_in(refined: Refined | None) -> tuple[Refined, BoolArray] | None:
    """What was computed, and where in it the cord and its soft rim lie; None if nothing in it is one."""
    if refined is None:
        return None
    plain = refined.looks[0]
    pieces = cord_pieces(plain, refined.grid.zooms, level=KEPT)
    near = binary_dilation(pieces, iterations=3)
    evidence = weigh(plain, pieces, near, refined.grid.zooms)
    log.debug("%s", evidence)
    return (refined, near) if evidence.is_cord else None


def _write_back(
    refined: Refined, near: BoolArray, zooms: Zooms, soft: FloatArray, uncertainty: FloatArray | None
) -> None:
    """Put the cord's pieces with their soft rim on the input's grid."""
    box, back = _way_back(refined.grid, zooms)
    values = resample(np.where(near, refined.looks[0], np.float32(0)), back, average=False)
    values[values < FAINTEST] = 0
    soft[box] = np.clip(values, 0, 1)
    if uncertainty is not None:
        spread = np.std(np.stack(refined.looks), axis=0, dtype=np.float32)
        uncertainty[box] = resample(np.where(near, spread, np.float32(0)), back, average=False)


def _way_back(grid: Grid, zooms: Zooms) -> tuple[tuple[slice, slice, slice], Grid]:
    """The box of input voxels that `grid` covers, and the grid that samples them from it."""
    slices, axes = [], []
    for axis in grid.axes:
        low = max(0, int(np.ceil(axis.start - axis.step / 2 - 1e-6)))
        high = min(axis.n_in, int(np.floor(axis.start + (axis.n - 0.5) * axis.step + 1e-6)) + 1)
        high = max(high, low + 1)
        slices.append(slice(low, high))
        axes.append(Axis(axis.n, high - low, (low - axis.start) / axis.step, 1 / axis.step))
    return (slices[0], slices[1], slices[2]), Grid((axes[0], axes[1], axes[2]), zooms)


def _plain_look(network: Network) -> Look:
    return lambda image: [network.shares(image)]


def _augmented_looks(network: Network) -> Look:
    """Six looks at an image: as it is, mirrored, and with the grey scale bent; the first one is plain."""

    def look(image: FloatArray) -> list[FloatArray]:
        looks = []
        for power, gain in ((1.0, 1.0), (0.8, 1.0), (1.25, 0.9)):
            seen = (image ** np.float32(power)) * np.float32(gain)
            looks.append(network.shares(seen))
            looks.append(network.shares(seen[::-1])[::-1])
        return looks

    return look
