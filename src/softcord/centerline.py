"""The curve through the middle of the cord: one point per slice, smoothed, and how oblique it is there.

Slices are along the last axis of a volume in RAS+ order. Positions are in mm from voxel (0, 0, 0) along the
axes of the grid, which are taken as perpendicular.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial
from scipy.interpolate import CubicSpline, make_smoothing_spline, splev, splrep

from softcord._typing import FloatArray, Zooms
from softcord.errors import InputError

SMOOTHING_MM = 40.0
"""Waves of the centreline shorter than that are smoothed away: half of the amplitude at this length."""

SCT_SMOOTHING = 30.0
"""Smoothing of SCT's centreline, in its own unit."""

_ABOVE_ZERO = 1e-6  # SCT's least value of a voxel that counts


@dataclass(frozen=True, slots=True)
class Centerline:
    """Centre and direction of the cord in each slice, from the lowest that holds cord to the highest.

    Attributes
    ----------
    first : int
        Index of the lowest slice.
    x_mm, y_mm : (K,) array of float, mm
        Centre to the right and to the front, smoothed; interpolated in slices without cord.
    slope_x, slope_y : (K,) array of float
        How far the centre moves to the right and to the front per mm upwards.
    residual_mm : float, mm
        Root of the mean square distance, per axis, of the slices' centres of mass from the curve.
    spacing_mm : float, mm
        Distance of slices.
    """

    first: int
    x_mm: FloatArray
    y_mm: FloatArray
    slope_x: FloatArray
    slope_y: FloatArray
    residual_mm: float
    spacing_mm: float

    @property
    def slices(self) -> np.ndarray:
        """(K,) array of int: the slices, from the lowest."""
        return np.arange(self.first, self.first + self.x_mm.size)

    @property
    def angle_ap_deg(self) -> FloatArray:
        """(K,) array, degrees: rotation about the antero-posterior axis; positive if the cord leans left.

        As in SCT, whose first axis runs to the left.
        """
        angles: FloatArray = np.degrees(np.arctan(-self.slope_x))
        return angles

    @property
    def angle_rl_deg(self) -> FloatArray:
        """(K,) array, degrees: rotation about the right-left axis; positive if it leans to the front."""
        angles: FloatArray = np.degrees(np.arctan(self.slope_y))
        return angles

    @property
    def cosine(self) -> FloatArray:
        """(K,) array: cosine of the angle between the cord and the normal of the slice."""
        cosines: FloatArray = 1 / np.sqrt(1 + self.slope_x**2 + self.slope_y**2)
        return cosines

    @property
    def points_mm(self) -> FloatArray:
        """(K, 3) array, mm: the curve, one point per slice, along the axes of the grid."""
        return np.stack([self.x_mm, self.y_mm, self.slices * self.spacing_mm], axis=1)

    def arc_mm(self) -> FloatArray:
        """Length along the curve from its lowest point.

        Returns
        -------
        arc : (K,) array of float, mm
            0 in the lowest slice.
        """
        return arc_length(self.x_mm, self.y_mm, self.spacing_mm)


def arc_length(x_mm: FloatArray, y_mm: FloatArray, spacing_mm: float) -> FloatArray:
    """Length along a curve with one point per slice, from its first point.

    Parameters
    ----------
    x_mm, y_mm : (K,) array of float, mm
    spacing_mm : float, mm

    Returns
    -------
    arc : (K,) array of float, mm

    Examples
    --------
    >>> arc_length(np.array([0.0, 3.0, 6.0]), np.zeros(3), 4.0).tolist()
    [0.0, 5.0, 10.0]
    """
    steps = np.sqrt(np.diff(x_mm) ** 2 + np.diff(y_mm) ** 2 + spacing_mm**2)
    return np.concatenate([[0.0], np.cumsum(steps)])


def fit_centerline(soft: FloatArray, zooms: Zooms) -> Centerline:
    """Smooth curve through the centres of mass of the slices.

    A cubic polynomial, and of what it leaves, c, the smoothing spline f in mm that minimises
    Σ w (c − f)² h + λ ∫ f″², with the distance of slices h and λ = (`SMOOTHING_MM` / 2π)⁴: the same curve at
    every resolution, wherever the cord lies in the field of view. A slice's weight w is its area over the
    median area, at most 1.

    Parameters
    ----------
    soft : (I, J, K) array of float in [0, 1]
        Soft segmentation in RAS+ order.
    zooms : (3,) tuple of float, mm
        Voxel size.

    Returns
    -------
    centerline : Centerline
        Straight through two to four slices with cord; without direction through one.

    Raises
    ------
    InputError
        If no voxel is above 0.
    """
    held, x, y, areas = _centres(soft, zooms, weighted=True)
    weights = np.minimum(areas / np.median(areas), 1.0)
    heights = held * zooms[2]
    first, n = int(held[0]), int(held[-1] - held[0]) + 1
    at = np.arange(first, first + n) * zooms[2]
    curves = [_smooth(heights, values, weights, at) for values in (x, y)]
    return _as_centerline(first, zooms[2], curves, held, (x, y))


def fit_sct_centerline(soft: FloatArray, zooms: Zooms) -> Centerline:
    """Curve by SCT's definition: a cubic smoothing spline (FITPACK) through centres of non-zero voxels.

    The sum of the squared residuals, in squared voxels, is at most (number of slices with cord / number of
    slices along it)² × `SCT_SMOOTHING` × (distance of slices in mm) / 3.

    Parameters
    ----------
    soft : (I, J, K) array of float
        Segmentation in RAS+ order.
    zooms : (3,) tuple of float, mm
        Voxel size.

    Returns
    -------
    centerline : Centerline

    Raises
    ------
    InputError
        If no voxel is above 0.
    """
    held, x, y, _ = _centres(soft, zooms, weighted=False)
    first, n = int(held[0]), int(held[-1] - held[0]) + 1
    limit = (held.size / n) ** 2 * SCT_SMOOTHING * zooms[2] / 3
    at = np.arange(n, dtype=float)
    curves: list[tuple[FloatArray, FloatArray]] = []
    for values, zoom in ((x, zooms[0]), (y, zooms[1])):
        if held.size < 2:
            curves.append((np.full(n, values[0]), np.zeros(n)))
            continue
        offset = values.mean()
        spline = splrep(held - first, (values - offset) / zoom, k=min(3, held.size - 1), s=limit)
        curves.append(
            (np.asarray(splev(at, spline)) * zoom + offset, splev(at, spline, der=1) * zoom / zooms[2])
        )
    return _as_centerline(first, zooms[2], curves, held, (x, y))


def extend_to(centerline: Centerline, x_mm: float, y_mm: float, k: int) -> Centerline:
    """Centreline that goes on to a point above or below it, such as the pontomedullary junction.

    Beyond its end, it follows the cubic that starts in the direction of the last 10 mm and ends at the point.

    Parameters
    ----------
    centerline : Centerline
    x_mm, y_mm : float, mm
        The point.
    k : int
        Slice of the point.

    Returns
    -------
    centerline : Centerline
        Itself if the point lies in one of its slices.
    """
    slices = centerline.slices
    if slices[0] <= k <= slices[-1]:
        return centerline
    spacing = centerline.spacing_mm
    n_near = min(slices.size, max(2, round(10 / spacing)))
    end = -1 if k > slices[-1] else 0
    near = slice(-n_near, None) if end else slice(0, n_near)
    added = np.arange(slices[-1] + 1, k + 1) if end else np.arange(k, slices[0])
    parts = []
    for values, slopes, target in (
        (centerline.x_mm, centerline.slope_x, x_mm),
        (centerline.y_mm, centerline.slope_y, y_mm),
    ):
        slope = float(np.mean(slopes[near]))
        knots = np.array([slices[end], k]) * spacing
        ends = np.array([values[end], target])
        if end:
            spline = CubicSpline(knots, ends, bc_type=((1, slope), (2, 0.0)))
        else:
            spline = CubicSpline(knots[::-1], ends[::-1], bc_type=((2, 0.0), (1, slope)))
        new = (spline(added * spacing), spline(added * spacing, 1))
        old = (values, slopes)
        parts.append([np.concatenate([a, b] if end else [b, a]) for a, b in zip(old, new, strict=True)])
    first = int(min(slices[0], k))
    (x, slope_x), (y, slope_y) = parts
    return Centerline(first, x, y, slope_x, slope_y, centerline.residual_mm, spacing)


def _centres(
    soft: FloatArray, zooms: Zooms, *, weighted: bool
) -> tuple[np.ndarray, FloatArray, FloatArray, FloatArray]:
    """Slices with cord, their centres (mm) and areas (mm²)."""
    weights = soft if weighted else (soft > _ABOVE_ZERO).astype(np.float32)
    rows, columns = weights.sum(axis=1, dtype=np.float64), weights.sum(axis=0, dtype=np.float64)
    totals = rows.sum(axis=0)
    held = np.flatnonzero(totals > 0)
    if not held.size:
        raise InputError("The segmentation must hold some cord, got none: every voxel is 0.")
    x = (np.arange(soft.shape[0]) * zooms[0]) @ rows[:, held] / totals[held]
    y = (np.arange(soft.shape[1]) * zooms[1]) @ columns[:, held] / totals[held]
    return held, x, y, totals[held] * zooms[0] * zooms[1]


def _smooth(
    heights: FloatArray, values: FloatArray, weights: FloatArray, at: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Smoothed values and slopes at other heights."""
    if heights.size == 1:
        return np.full(at.size, values[0]), np.zeros(at.size)
    base, middle = float(heights[0]), float(values.mean())
    if heights.size < 5:
        slope, offset = np.polyfit(heights - base, values - middle, 1, w=np.sqrt(weights))
        return slope * (at - base) + offset + middle, np.full(at.size, slope)
    weights = np.maximum(weights, 1e-3)
    span = float(heights[-1] - base)
    course = Polynomial.fit(heights - base, values - middle, 3, domain=[0, span], w=np.sqrt(weights))
    rest = values - middle - course(heights - base)
    spacing = float(np.median(np.diff(heights)))
    penalty = (SMOOTHING_MM / (2 * math.pi)) ** 4 / spacing
    spline = make_smoothing_spline(heights - base, rest, w=weights, lam=penalty)
    at = at - base
    return course(at) + spline(at) + middle, course.deriv()(at) + spline.derivative()(at)


def _as_centerline(
    first: int,
    spacing: float,
    curves: list[tuple[FloatArray, FloatArray]],
    held: np.ndarray,
    centres: tuple[FloatArray, FloatArray],
) -> Centerline:
    (x, slope_x), (y, slope_y) = curves
    off = [curve[held - first] - centre for curve, centre in zip((x, y), centres, strict=True)]
    residual = float(np.sqrt(np.mean(np.concatenate(off) ** 2)))
    return Centerline(first, x, y, np.asarray(slope_x), np.asarray(slope_y), residual, spacing)
