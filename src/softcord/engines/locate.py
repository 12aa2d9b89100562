"""Where the cord is: one look at the whole volume at low resolution."""

import logging

import numpy as np

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.engines.intensity import GreyScale
from softcord.engines.network import Network
from softcord.engines.pieces import cord_pieces
from softcord.engines.refine import compute_whole
from softcord.resample import Grid, crop_grid

log = logging.getLogger(__name__)

SURE = 0.5  # some sample must reach this for the volume to hold a cord
LIKELY = 0.2  # and what reaches this, near it, is looked at closely
FEWEST_MM3 = 60.0  # of samples above LIKELY
AIR = 0.1  # of the grey range: rows that are nowhere brighter are not looked at …
AROUND_MM = 10.0  # … unless they are this near to one that is


def locate_cord(data: FloatArray, zooms: Zooms, grey: GreyScale, network: Network) -> tuple[BoolArray, Grid]:
    """Find the cord at low resolution.

    Parameters
    ----------
    data : (I, J, K) array of float32
        RAS+.
    zooms : (3,) tuple of float, mm
    grey : GreyScale
        Of `data`.
    network : Network

    Returns
    -------
    found : array of bool of shape ``grid.shape``
        Empty if there is no cord.
    grid : Grid
        The coarse grid, as far as it holds something else than air across the cord.
    """
    grid = _around_body(data, grey, network.coarse_grid(data.shape, zooms))
    shares = compute_whole(data, grey, grid, lambda image: [network.shares(image)]).looks[0]
    found = cord_pieces(shares, grid.zooms, level=LIKELY)
    highest, volume = float(shares.max()), float(found.sum()) * float(np.prod(grid.zooms))
    log.debug("located: highest %.2f, %.0f mm3 likely", highest, volume)
    if highest < SURE or volume < FEWEST_MM3:
        found[:] = False
    return found, grid


def _around_body(data: FloatArray, grey: GreyScale, grid: Grid) -> Grid:
    """The grid without the air at its four sides across; some of the planes tell where that is."""
    step = min(8, max(1, data.shape[2] // 16))
    brightest = data[:, :, ::step].max(axis=2) > grey.low + AIR * (grey.high - grey.low)
    box = []
    for axis in (0, 1):
        bright = np.flatnonzero(brightest.any(axis=1 - axis))
        places = (
            (bright[[0, -1]] - grid.axes[axis].start) / grid.axes[axis].step if bright.size else np.zeros(2)
        )
        margin = AROUND_MM / grid.zooms[axis]
        low, high = int(max(0, places[0] - margin)), int(min(grid.shape[axis], places[1] + margin + 1))
        box.append(slice(low, high) if bright.size else slice(0, grid.shape[axis]))
    return crop_grid(grid, (box[0], box[1], slice(0, grid.shape[2])))
