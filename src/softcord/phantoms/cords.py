"""Bare cords whose shares and areas are known: straight, tilted, curved, tapered, with ends partly filled.

Whole phantoms (`make_phantom`) have a body around the cord and an image. These have a cord alone, whose
section *across* it is an ellipse of known area in every slice, and shares to any accuracy.
"""

import math
from dataclasses import dataclass

import numpy as np

from softcord._typing import FloatArray, Zooms


@dataclass(frozen=True, slots=True)
class CordOptions:
    """Shape of a cord and where it lies. Right and front are the directions of the grid.

    Attributes
    ----------
    half_rl, half_ap : float, mm
        Half axes of the section across the cord, in the middle of its length.
    turn_deg : float, degrees
        Rotation of the section about the cord.
    tilt_deg : float, degrees
        Angle between the middle of the cord and the slices' normal.
    lean_deg : float, degrees
        Direction in which it is tilted: 0 to the right, 90 to the front.
    bend_mm : float, mm
        Amplitude of a wave of 200 mm in which the cord runs to the front and back.
    taper : float
        Half axes grow by that share from the middle to the top, and shrink as much to the bottom.
    shift : (2,) tuple of float, mm
        Place of the cord's middle, right and front of the grid's.
    length_mm : float, mm
        Height of the volume.
    fill : (2,) tuple of float in [0, 1]
        Share of the lowest and of the highest slice's thickness that the cord fills.
    """

    half_rl: float = 6.0
    half_ap: float = 4.2
    turn_deg: float = 0.0
    tilt_deg: float = 0.0
    lean_deg: float = 90.0
    bend_mm: float = 0.0
    taper: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    length_mm: float = 60.0
    fill: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Cord:
    """A cord on a grid.

    Attributes
    ----------
    share : (I, J, K) array of float32 in [0, 1]
        Share of each voxel that is cord, in RAS+ order.
    zooms : (3,) tuple of float, mm
    areas_mm2 : (K,) array of float, mm²
        Area across the cord, averaged over the slice's thickness (0 where it is not filled).
    """

    share: FloatArray
    zooms: Zooms
    areas_mm2: FloatArray


def make_cord(zooms: Zooms, options: CordOptions = CordOptions(), *, fine_mm: float = 0.15) -> Cord:
    """Make a cord.

    Parameters
    ----------
    zooms : (3,) tuple of float, mm
        Voxel size.
    options : CordOptions
        What it looks like.
    fine_mm : float, mm
        Voxels are divided until their parts are not larger than that, and into 4 at least; along the cord,
        into parts of 3 times that.

    Returns
    -------
    cord : Cord

    Examples
    --------
    >>> cord = make_cord((1.0, 1.0, 5.0), CordOptions(tilt_deg=30.0))
    >>> sums = cord.share.sum(axis=(0, 1)) * np.cos(np.radians(30))
    >>> bool(np.allclose(sums, np.pi * 6.0 * 4.2, rtol=0.005))
    True
    """
    o = options
    parts = [max(4, math.ceil(zoom / fine_mm)) for zoom in zooms[:2]]
    layers = max(4, math.ceil(zooms[2] / (3 * fine_mm)))
    n_slices = max(1, round(o.length_mm / zooms[2]))
    height = n_slices * zooms[2]
    z = (np.arange(n_slices * layers) + 0.5) * zooms[2] / layers - height / 2
    lean, slope = math.radians(o.lean_deg), math.tan(math.radians(o.tilt_deg))
    wave = 2 * math.pi / 200
    x = o.shift[0] + slope * math.cos(lean) * z
    y = o.shift[1] + slope * math.sin(lean) * z + o.bend_mm * np.sin(wave * z)
    slope_x = np.full_like(z, slope * math.cos(lean))
    slope_y = slope * math.sin(lean) + o.bend_mm * wave * np.cos(wave * z)
    scale = 1 + o.taper * z / (height / 2)
    steep = np.sqrt(1 + slope_x**2 + slope_y**2)
    reach = max(o.half_rl, o.half_ap) * scale.max() * steep.max() + 2 * max(zooms[:2])
    sizes = [
        2 * math.ceil((np.abs(middle).max() + reach) / zoom)
        for middle, zoom in ((x, zooms[0]), (y, zooms[1]))
    ]
    at_x, at_y = (
        (np.arange(n * p) + 0.5) * zoom / p - n * zoom / 2
        for n, p, zoom in zip(sizes, parts, zooms[:2], strict=True)
    )
    share = np.zeros((sizes[0], sizes[1], n_slices), dtype=np.float32)
    filled = _filled(n_slices, layers, o.fill)
    turn = math.radians(o.turn_deg)
    for layer in np.flatnonzero(filled):
        near_x, near_y = (
            _near(middle[layer], reach, n, zoom)
            for middle, n, zoom in ((x, sizes[0], zooms[0]), (y, sizes[1], zooms[1]))
        )
        dx = at_x[near_x.start * parts[0] : near_x.stop * parts[0], None] - x[layer]
        dy = at_y[None, near_y.start * parts[1] : near_y.stop * parts[1]] - y[layer]
        # to the plane across the cord: lengths along the lean shrink by the cosine
        lean_size = math.hypot(slope_x[layer], slope_y[layer])
        if lean_size > 0:
            ux, uy = slope_x[layer] / lean_size, slope_y[layer] / lean_size
            along = (1 - 1 / steep[layer]) * (dx * ux + dy * uy)
            dx, dy = dx - along * ux, dy - along * uy
        p = (math.cos(turn) * dx + math.sin(turn) * dy) / (o.half_rl * scale[layer])
        q = (math.cos(turn) * dy - math.sin(turn) * dx) / (o.half_ap * scale[layer])
        inside = (p * p + q * q <= 1).reshape(-1, parts[0], p.shape[1] // parts[1], parts[1])
        share[near_x, near_y, layer // layers] += inside.mean(axis=(1, 3), dtype=np.float32) / layers
    areas = math.pi * o.half_rl * o.half_ap * scale**2 * filled
    return Cord(np.minimum(share, 1), zooms, areas.reshape(n_slices, layers).mean(axis=1))


def _near(middle: float, reach: float, n: int, zoom: float) -> slice:
    """Voxels along an axis that the cord may touch in a layer."""
    low, high = (middle + sign * reach + n * zoom / 2 for sign in (-1, 1))
    return slice(max(0, math.floor(low / zoom)), min(n, math.ceil(high / zoom)))


def _filled(n_slices: int, layers: int, fill: tuple[float, float]) -> np.ndarray:
    """(n_slices * layers,) array of bool: layers that hold cord."""
    filled = np.ones(n_slices * layers, dtype=bool)
    filled[: layers - round(fill[0] * layers)] = False
    if fill[1] < 1:
        filled[(n_slices - 1) * layers + round(fill[1] * layers) :] = False
    return filled
