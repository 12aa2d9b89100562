"""Shape of the cord's section in one slice.

The slice is enlarged to pixels of about 0.1 mm by bilinear interpolation; what lies above half of its highest
value is the section. Its moments give the ellipse with the same spread, as in scikit-image's regionprops.
Everything is seen from below with the first axis running to the left, as in SCT.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

from softcord._typing import BoolArray, FloatArray

FINE_MM = 0.1
BAND_MM = 3.0  # width of the band in which the antero-posterior diameter is measured

_MARGIN = 3  # empty pixels around the section
_TIE = 1e-6  # rounding must not decide on voxels that are exactly at the threshold


@dataclass(frozen=True, slots=True)
class Shape:
    """One section; lengths in mm, areas in mm², angles in degrees.

    Attributes
    ----------
    diameter_ap, length_anterior, length_posterior : float, mm
        Mean length from front to back in a band of 3 mm through the centroid, and its parts before and behind
        it.
    diameter_ap_ellipse, diameter_rl : float, mm
        Axes of the ellipse with the same second moments.
    eccentricity, solidity : float
    orientation : float, degrees
        Angle between the long axis and the right-left axis.
    perimeter : float, mm
        Of the ellipse.
    """

    diameter_ap: float
    length_anterior: float
    length_posterior: float
    diameter_ap_ellipse: float
    diameter_rl: float
    eccentricity: float
    orientation: float
    solidity: float
    perimeter: float


def measure_shape(section: FloatArray, zooms: tuple[float, float], squeeze: FloatArray) -> Shape | None:
    """Shape of one slice.

    Parameters
    ----------
    section : (I, J) array of float in [0, 1]
        Shares of cord; i runs to the left, j to the front.
    zooms : (2,) tuple of float, mm
        Pixel size.
    squeeze : (2, 2) array of float
        Maps the plane of the slice to the plane that is measured: the identity, or a projection.

    Returns
    -------
    shape : Shape or None
        None if nothing is left, or too little for a shape.
    """
    rows, columns = np.flatnonzero(section.any(axis=1)), np.flatnonzero(section.any(axis=0))
    if not rows.size:
        return None
    section = np.pad(section[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], _MARGIN)
    across, fine_x = _enlarger(section.shape[0], zooms[0])
    along, fine_y = _enlarger(section.shape[1], zooms[1])
    fine: FloatArray = across @ section.astype(np.float64) @ along.T
    inside: BoolArray = fine > section.max() / 2 + _TIE
    in_rows, in_columns = inside.sum(axis=1, dtype=np.float64), inside.sum(axis=0, dtype=np.float64)
    n = float(in_rows.sum())
    if n < 9:
        return None
    x, y = np.arange(fine.shape[0], dtype=np.float64), np.arange(fine.shape[1], dtype=np.float64)
    x, y = (x - in_rows @ x / n) * fine_x, (y - in_columns @ y / n) * fine_y
    mixed = x @ inside @ y
    spread = squeeze @ (np.array([[in_rows @ x**2, mixed], [mixed, in_columns @ y**2]]) / n) @ squeeze.T
    long_axis, short_axis, turn = _ellipse(spread)
    is_wide = abs(turn) < math.pi / 4
    pixel = fine_x * fine_y * abs(float(np.linalg.det(squeeze)))
    # the axis that is nearest to right-left is the short one in a section that is deeper than wide
    upright = turn if is_wide else turn - math.copysign(math.pi / 2, turn)
    anterior, posterior = _band(fine / section.max(), x, y, squeeze, upright, pixel)
    return Shape(
        diameter_ap=anterior + posterior,
        length_anterior=anterior,
        length_posterior=posterior,
        diameter_ap_ellipse=short_axis if is_wide else long_axis,
        diameter_rl=long_axis if is_wide else short_axis,
        eccentricity=math.sqrt(max(0.0, 1 - (short_axis / long_axis) ** 2)),
        orientation=math.degrees(turn),
        solidity=n / _hull_size(inside, in_rows),
        perimeter=_perimeter(long_axis / 2, short_axis / 2),
    )


def shrink(section: FloatArray, factors: tuple[float, float]) -> FloatArray:
    """Slice shrunk towards its first pixel by bilinear interpolation, as SCT does before it measures.

    Parameters
    ----------
    section : (I, J) array of float
    factors : (2,) tuple of float in (0, 1]

    Returns
    -------
    shrunk : (I, J) array of float64
        0 where a pixel comes from outside.
    """
    along, across = (_sampler(np.arange(n) / f, n) for n, f in zip(section.shape, factors, strict=True))
    shrunk: FloatArray = along @ section.astype(np.float64) @ across.T
    return shrunk


def _enlarger(n: int, zoom: float) -> tuple[FloatArray, float]:
    """Matrix that interpolates n pixels at the centres of finer ones, and the size of these."""
    parts = max(1, round(zoom / FINE_MM))
    return _sampler((np.arange(n * parts) + 0.5) / parts - 0.5, n), zoom / parts


def _sampler(positions: FloatArray, n: int) -> FloatArray:
    """(P, n) matrix of linear interpolation at positions in pixels; beyond the pixels there is 0."""
    lower = np.floor(positions + 1e-12).astype(int)
    share = positions - lower
    matrix = np.zeros((positions.size, n))
    rows = np.arange(positions.size)
    for pixels, weights in ((lower, 1 - share), (lower + 1, share)):
        inside = (pixels >= 0) & (pixels < n)
        matrix[rows[inside], pixels[inside]] = weights[inside]
    return matrix


def _ellipse(spread: FloatArray) -> tuple[float, float, float]:
    """Long and short axis of the ellipse with these second moments, and its turn in rad."""
    xx, xy, yy = float(spread[0, 0]), float(spread[0, 1]), float(spread[1, 1])
    difference = math.hypot(xx - yy, 2 * xy)
    long_axis, short_axis = (4 * math.sqrt(max(0.0, (xx + yy + sign * difference) / 2)) for sign in (1, -1))
    is_round = difference < 1e-9 * (xx + yy)
    return long_axis, short_axis, 0.0 if is_round else 0.5 * math.atan2(2 * xy, xx - yy)


def _perimeter(a: float, b: float) -> float:
    """Perimeter of an ellipse (Ramanujan's first formula)."""
    return math.pi * (3 * (a + b) - math.sqrt((3 * a + b) * (a + 3 * b)))


def _band(
    fine: FloatArray, x: FloatArray, y: FloatArray, squeeze: FloatArray, turn: float, pixel: float
) -> tuple[float, float]:
    """Mean lengths before and behind the centroid, in the band along the section's own front-to-back axis."""
    cosine, sine = math.cos(turn), math.sin(turn)
    across, along = np.array([[cosine, sine], [-sine, cosine]]) @ squeeze
    step = math.sqrt(pixel)
    aside = np.abs(across[0] * x[:, None] + across[1] * y)
    near = np.clip((BAND_MM / 2 - aside) / step + 0.5, 0, 1) * fine
    before = np.clip((along[0] * x[:, None] + along[1] * y) / step + 0.5, 0, 1)
    total = float(near.sum()) * pixel / BAND_MM
    anterior = float((near * before).sum()) * pixel / BAND_MM
    return anterior, total - anterior


def _hull_size(inside: BoolArray, in_rows: FloatArray) -> float:
    """Number of pixels in the convex hull of a section, each pixel being a diamond from edge to edge."""
    rows = np.flatnonzero(in_rows)
    low = inside[rows].argmax(axis=1).astype(float)
    high = inside.shape[1] - 1.0 - inside[rows][:, ::-1].argmax(axis=1)
    sides = [(rows - 0.5, low), (rows + 0.5, low), (rows, low - 0.5)]
    sides += [(rows, high + 0.5), (rows - 0.5, high), (rows + 0.5, high)]
    points = np.concatenate([np.stack(side, axis=1) for side in sides])
    corners = points[ConvexHull(points).vertices]
    # the two chains from the first row to the last; a chain's ends in one row may be two corners
    first, last = corners[:, 0].min(), corners[:, 0].max()
    lowest = _chain(corners, first, last, -1)
    highest = _chain(corners, first, last, 1)
    at = np.arange(rows[0], rows[-1] + 1)
    bottom, top = np.interp(at, *lowest.T), np.interp(at, *highest.T)
    return float((np.floor(top + _TIE) - np.ceil(bottom - _TIE) + 1).sum())


def _chain(corners: FloatArray, first: float, last: float, side: int) -> FloatArray:
    """Corners of a convex polygon on one side, by row: those not on the other side of the chord."""
    ends = []
    for row in (first, last):
        columns = corners[corners[:, 0] == row, 1]
        ends.append((row, columns.max() if side > 0 else columns.min()))
    (r0, c0), (r1, c1) = ends
    chord = c0 + (corners[:, 0] - r0) * (c1 - c0) / (r1 - r0)
    keep = (side * (corners[:, 1] - chord) > 0) & (corners[:, 0] > first) & (corners[:, 0] < last)
    chain = np.concatenate([[ends[0]], corners[keep], [ends[1]]])
    return chain[np.argsort(chain[:, 0], kind="stable")]
