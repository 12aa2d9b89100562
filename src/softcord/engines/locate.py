"""Where the cord is: one look at the whole volume at low resolution."""

import logging

import numpy as np

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.engines.network import Network
from softcord.engines.pieces import cord_pieces
from softcord.engines.refine import compute_whole
from softcord.resample import Grid

log = logging.getLogger(__name__)

SURE = 0.5  # some sample must reach this for the volume to hold a cord
LIKELY = 0.2  # and what reaches this, near it, is looked at closely
FEWEST_MM3 = 60.0  # of samples above LIKELY


def locate_cord(
    data: FloatArray, zooms: Zooms, grey: tuple[float, float], network: Network
) -> tuple[BoolArray, Grid]:
    """Find the cord at low resolution.

    Parameters
    ----------
    data : (I, J, K) array of float32
        RAS+.
    zooms : (3,) tuple of float, mm
    grey : (2,) tuple of float
        See `intensity.grey_range`.
    network : Network

    Returns
    -------
    found : array of bool of shape ``grid.shape``
        Empty if there is no cord.
    grid : Grid
    """
    grid = network.coarse_grid(data.shape, zooms)
    shares = compute_whole(data, grey, grid, lambda image: [network.shares(image)]).looks[0]
    found = cord_pieces(shares, grid.zooms, level=LIKELY)
    highest, volume = float(shares.max()), float(found.sum()) * float(np.prod(grid.zooms))
    log.debug("located: highest %.2f, %.0f mm3 likely", highest, volume)
    if highest < SURE or volume < FEWEST_MM3:
        found[:] = False
    return found, grid
