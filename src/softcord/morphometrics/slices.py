"""Every measure of every slice."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.centerline import Centerline, fit_centerline, fit_sct_centerline
from softcord.morphometrics.interval import Source, area_interval, error_sources
from softcord.morphometrics.pieces import Pieces, choose_pieces, count_in_slices
from softcord.morphometrics.shape import measure_shape, shrink

Definition: TypeAlias = Literal["softcord", "sct"]
"""Whose definitions: softcord's, in which a slice's sum is its area; or SCT's to the digit."""

METRICS = (
    "area_mm2",
    "area_low_mm2",
    "area_high_mm2",
    "angle_ap_deg",
    "angle_rl_deg",
    "diameter_ap_mm",
    "diameter_ap_ellipse_mm",
    "diameter_rl_mm",
    "length_anterior_mm",
    "length_posterior_mm",
    "eccentricity",
    "orientation_deg",
    "solidity",
    "length_mm",
)
"""Names of the measures of a slice, with their units."""

_SHAPE = {
    "diameter_ap_mm": "diameter_ap",
    "diameter_ap_ellipse_mm": "diameter_ap_ellipse",
    "diameter_rl_mm": "diameter_rl",
    "length_anterior_mm": "length_anterior",
    "length_posterior_mm": "length_posterior",
    "eccentricity": "eccentricity",
    "orientation_deg": "orientation",
    "solidity": "solidity",
}

PARTIAL = 0.9  # an end slice whose highest value is below that share of the usual one is partly filled
_ABOVE_ZERO = 1e-6


@dataclass(frozen=True)
class SliceMeasures:
    """Measures of the slices from the lowest with cord to the highest.

    Attributes
    ----------
    values : dict of str to (K,) array of float
        One array for each of `METRICS`; NaN where the slice holds no cord.
    centerline : Centerline
        The curve that the angles were taken from; `centerline.slices` are the slices' indices.
    is_partial : (K,) array of bool
        Slices at an end of the cord that are partly filled along their thickness: their area is that share
        of the cord's.
    n_parts : (K,) array of int
        Separate parts of the cord in the slice; 0 where it holds none.
    pieces : Pieces
        What was measured and what was left out.
    """

    values: dict[str, FloatArray]
    centerline: Centerline
    is_partial: BoolArray
    n_parts: np.ndarray
    pieces: Pieces

    @property
    def slices(self) -> np.ndarray:
        """(K,) array of int: indices of the slices, 0 the lowest of the volume."""
        return self.centerline.slices

    @property
    def is_held(self) -> BoolArray:
        """(K,) array of bool: slices that hold cord."""
        held: BoolArray = np.isfinite(self.values["area_mm2"])
        return held


def measure_slices(
    soft: FloatArray,
    zooms: Zooms,
    *,
    definition: Definition = "softcord",
    angle_correction: bool = True,
    source: Source = "mask",
) -> SliceMeasures:
    """Areas, diameters, angles and shape of the cord in each slice.

    By softcord's definition, the area is the sum of the shares in the slice times the area of a pixel times
    the cosine of the angle between the cord and the slice's normal. The shape is that of the section at half
    of the slice's highest value, projected across the cord.

    Parameters
    ----------
    soft : (I, J, K) array of float in [0, 1]
        Soft segmentation, or a mask, in RAS+ order: slices along axis 2.
    zooms : (3,) tuple of float, mm
        Voxel size.
    definition : {"softcord", "sct"}
        ``"sct"`` follows SCT 7: each slice is stretched to the range 0 to 1, and two cosines shrink it.
    angle_correction : bool
        Measure across the cord (default), not in the plane of the slice.
    source : {"mask", "network"}
        Whether intervals are those of a mask taken as it is, or of one that softcord's network predicted.

    Returns
    -------
    measures : SliceMeasures

    Raises
    ------
    InputError
        If no voxel is above 0.

    Examples
    --------
    >>> soft = np.zeros((20, 20, 6), dtype=np.float32)
    >>> soft[4:16, 6:14] = 1  # 12 mm x 8 mm
    >>> measures = measure_slices(soft, (1.0, 1.0, 2.0))
    >>> measures.values["area_mm2"].round(6).tolist()
    [96.0, 96.0, 96.0, 96.0, 96.0, 96.0]
    >>> measures.values["diameter_ap_mm"].round(1).tolist()
    [8.0, 8.0, 8.0, 8.0, 8.0, 8.0]
    """
    cord, pieces = choose_pieces(soft, zooms)
    fit = fit_sct_centerline if definition == "sct" else fit_centerline
    line = fit(cord, zooms)
    part = cord[:, :, line.first : line.first + line.slices.size]
    n_slices = part.shape[2]
    values = {name: np.full(n_slices, np.nan) for name in METRICS}
    rim, perimeter = np.zeros(n_slices), np.zeros(n_slices)
    cosines = _cosines(line, definition, angle_correction=angle_correction)
    for k in range(n_slices):
        section = part[::-1, :, k]  # to the left, as in SCT
        if not section.max(initial=0) > _ABOVE_ZERO:
            continue
        if definition == "sct":
            section = _stretch(section)
            squeeze: FloatArray = np.eye(2)
            if angle_correction:
                section = shrink(section, _sct_factors(line, k))
        else:
            squeeze = _squeeze(line, k) if angle_correction else np.eye(2)
        area = float(section.sum(dtype=np.float64)) * zooms[0] * zooms[1] * float(np.linalg.det(squeeze))
        values["area_mm2"][k] = area
        values["length_mm"][k] = zooms[2] / cosines[k]
        rim[k] = float((4 * section * (1 - section)).sum(dtype=np.float64)) * zooms[0] * zooms[1]
        shape = measure_shape(section, zooms[:2], squeeze)
        perimeter[k] = shape.perimeter if shape else 2 * math.sqrt(math.pi * area)
        for name, attribute in _SHAPE.items():
            values[name][k] = getattr(shape, attribute) if shape else np.nan
    held = np.isfinite(values["area_mm2"])
    values["angle_ap_deg"][held] = line.angle_ap_deg[held] if angle_correction else 0.0
    values["angle_rl_deg"][held] = line.angle_rl_deg[held] if angle_correction else 0.0
    sources = error_sources(
        area=values["area_mm2"],
        rim=rim,
        perimeter=perimeter,
        cosine=cosines,
        zooms=zooms,
        residual_mm=line.residual_mm,
    )
    values["area_low_mm2"], values["area_high_mm2"] = area_interval(
        values["area_mm2"], sources, source=source
    )
    n_parts = np.where(held, count_in_slices(part), 0)
    return SliceMeasures(values, line, _partial(part, held), n_parts, pieces)


def _cosines(line: Centerline, definition: Definition, *, angle_correction: bool) -> FloatArray:
    """Cosine by which an area is corrected in each slice."""
    if not angle_correction:
        return np.ones(line.slices.size)
    if definition == "sct":
        product: FloatArray = np.cos(np.radians(line.angle_ap_deg)) * np.cos(np.radians(line.angle_rl_deg))
        return product
    return line.cosine


def _sct_factors(line: Centerline, k: int) -> tuple[float, float]:
    """Factors by which SCT shrinks a slice from right to left and from front to back."""
    return math.cos(math.atan(line.slope_x[k])), math.cos(math.atan(line.slope_y[k]))


def _squeeze(line: Centerline, k: int) -> FloatArray:
    """(2, 2) matrix that projects the plane of the slice onto the plane across the cord.

    Lengths in the direction of the lean shrink by the cosine; those across it stay.
    """
    lean = np.array([-line.slope_x[k], line.slope_y[k]])
    size = float(np.hypot(*lean))
    if size < 1e-9:
        return np.eye(2)
    lean = lean / size
    squeeze: FloatArray = np.eye(2) - (1 - float(line.cosine[k])) * np.outer(lean, lean)
    return squeeze


def _stretch(section: FloatArray) -> FloatArray:
    """SCT's rule for soft masks: the slice from its lowest to its highest value as 0 to 1."""
    section = section.astype(np.float64)
    low, high = float(section.min()), float(section.max())
    stretched: FloatArray = (section - low) / (high - low) if high > low else section / high
    return stretched


def _partial(part: FloatArray, held: BoolArray) -> BoolArray:
    """Slices at the ends of each run of slices with cord that are partly filled."""
    peaks = part.max(axis=(0, 1))
    is_partial = np.zeros_like(held)
    if not held.any():
        return is_partial
    low = held & (peaks < PARTIAL * np.median(peaks[held]))
    for order in (slice(None), slice(None, None, -1)):
        inwards, is_low, found = held[order], low[order], is_partial[order]
        is_end = False
        for k in range(inwards.size):
            starts = inwards[k] and (k == 0 or not inwards[k - 1])
            is_end = bool(is_low[k]) and bool(starts or is_end)
            found[k] |= is_end
    return is_partial
