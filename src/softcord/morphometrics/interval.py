"""How sure an area is: a 95 % interval from the soft rim and from the fit of the centreline.

The error of an area has five sources that can be seen in the segmentation: the rim, where voxels are partly
cord; rounding, where a binary mask decides them one way or the other; the angle of the cord, which is
uncertain by the scatter of the centres of mass and by the fit itself; and the size. The variance of the error
is a weighted sum of their squares. Weights and the quantiles of what remains were fitted on phantoms whose
area is known, and checked on others, by benchmarks/intervals.py, which prints the lines below; rounding and
angle weigh the same whoever has drawn the cord.
"""

import math
from typing import Final, Literal, TypeAlias

import numpy as np

from softcord._typing import FloatArray

Source: TypeAlias = Literal["mask", "network"]
"""Where a segmentation comes from: drawn, or otherwise taken as it is; or predicted by softcord's network."""

# Printed by benchmarks/intervals.py. Weights of the squares of rim, rounding, scatter, fit and size; then
# (true area - area) / deviation at 2.5 % and at 97.5 %.
WEIGHTS: Final = {
    "mask": (5.9e-8, 0.0498, 0.0191, 0.0, 1.23e-7),
    "network": (0.0197, 0.0498, 0.0191, 0.0, 1.72e-9),
}
QUANTILES: Final = {
    "mask": (-2.3, 2.78),
    "network": (-2.57, 1.84),
}

FIT_RAD = 0.02  # an angle is hardly better known than that
WINDOW_MM = 20.0  # length of cord that determines its angle


def error_sources(
    *,
    area: FloatArray,
    rim: FloatArray,
    perimeter: FloatArray,
    cosine: FloatArray,
    zooms: tuple[float, float, float],
    residual_mm: float,
) -> FloatArray:
    """What makes areas uncertain.

    Parameters
    ----------
    area : (K,) array of float, mm²
        Areas, corrected for the angle.
    rim : (K,) array of float, mm²
        Σ 4 s (1 − s) times the area of a pixel: area of the voxels that are partly cord.
    perimeter : (K,) array of float, mm
    cosine : (K,) array of float
        Of the angle that was corrected for; 1 for none.
    zooms : (3,) tuple of float, mm
    residual_mm : float, mm
        Distance of the centres of mass from the centreline.

    Returns
    -------
    sources : (5, K) array of float, mm²
        Deviations by rim, rounding, scatter of the centres, fit and size, before they are weighted.
    """
    pixel = zooms[0] * zooms[1]
    # a sharp edge leaves a rim of about a third of a pixel or more; a binary mask has none and is rounded
    hard = np.clip(1 - rim / np.maximum(perimeter * math.sqrt(pixel) / 3, 1e-9), 0, 1)
    rounding = hard * np.sqrt(perimeter) * pixel**0.75
    slope = np.sqrt(np.maximum(1 / np.maximum(cosine, 1e-3) ** 2 - 1, 0))
    scatter = residual_mm * math.sqrt(12 * zooms[2] / WINDOW_MM**3)
    sources: FloatArray = np.stack([rim, rounding, area * slope * scatter, area * slope * FIT_RAD, area])
    return sources


def area_interval(
    area: FloatArray, sources: FloatArray, *, source: Source = "mask"
) -> tuple[FloatArray, FloatArray]:
    """Interval that holds the true area in 95 of 100 cases.

    Parameters
    ----------
    area : (K,) array of float, mm²
    sources : (5, K) array of float, mm²
        From `error_sources`.
    source : {"mask", "network"}
        Whether the segmentation is taken as it is, or its maker's errors count too.

    Returns
    -------
    low, high : (K,) array of float, mm²
        At least 0.
    """
    deviation = np.sqrt(np.asarray(WEIGHTS[source]) @ sources**2)
    low, high = (area + quantile * deviation for quantile in QUANTILES[source])
    return np.maximum(low, 0), np.maximum(high, 0)
