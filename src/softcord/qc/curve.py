"""Areas along the cord, as the page draws them: with the range of healthy people, and what is odd where."""

import math
from dataclasses import dataclass

import numpy as np

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.centerline import fit_centerline
from softcord.flags import AREA_JUMP, LARGEST_AREA_JUMP
from softcord.morphometrics import choose_pieces
from softcord.norms import CAUTION, find_norm
from softcord.softseg import LEAST_AREA_MM2, bounding_box, slice_areas

_LEVELS = range(1, 17)  # C1 to T9: below, the cord tapers to nothing and a range says little


@dataclass(frozen=True, slots=True)
class Curve:
    """Areas of the slices from the lowest that holds cord to the highest.

    Attributes
    ----------
    first : int
        Index of the lowest slice.
    spacing_mm : float, mm
        Distance of slices.
    areas_mm2 : (K,) array of float, mm²
        Across the cord, as `softcord csa` gives them; 0 where a slice holds none.
    cosines : (K,) array of float
        By which areas in the slice were multiplied.
    low, high : (K,) array of float, mm²
        Healthy people's range in each slice; of all levels where the level is not known.
    levels : (K,) array of int
        Vertebral level, 0 where it is not known.
    marks : dict of str to list of int
        Slices that are odd, by why: ``gaps``, ``area_jump``, ``area_out_of_range``.
    """

    first: int
    spacing_mm: float
    areas_mm2: FloatArray
    cosines: FloatArray
    low: FloatArray
    high: FloatArray
    levels: np.ndarray
    marks: dict[str, list[int]]

    def as_json(self) -> dict[str, object]:
        """What the page takes."""
        return {
            "first": self.first,
            "spacing_mm": round(self.spacing_mm, 4),
            "areas": self.areas_mm2.round(2).tolist(),
            "low": self.low.round(1).tolist(),
            "high": self.high.round(1).tolist(),
            "levels": self.levels.tolist(),
            "marks": self.marks,
            "caution": CAUTION,
        }


def area_curve(soft: FloatArray, zooms: Zooms, levels: np.ndarray | None = None) -> Curve | None:
    """Areas along the cord; None without cord.

    Parameters
    ----------
    soft : (I, J, K) array of float in [0, 1]
        Soft segmentation, RAS+.
    zooms : (3,) tuple of float, mm
        Voxel size.
    levels : (K,) array of int, optional
        Vertebral level of every slice of the volume, 0 where it is not known.
    """
    if bounding_box(soft) is None:
        return None
    cord, _ = choose_pieces(soft, zooms)
    line = fit_centerline(cord, zooms)
    here = slice(line.first, line.first + line.x_mm.size)
    cosines = 1 / np.sqrt(1 + line.slope_x**2 + line.slope_y**2)
    areas = slice_areas(cord[:, :, here], zooms) * cosines
    known = np.zeros(areas.size, dtype=int) if levels is None else np.asarray(levels)[here].astype(int)
    low, high = _healthy(known)
    return Curve(
        line.first, zooms[2], areas, cosines, low, high, known, _marks(areas, low, high, line.first, zooms[2])
    )


def _healthy(levels: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Range of 99.8 % of healthy people in each slice."""
    norms = {level: find_norm("area_mm2", [level]) for level in _LEVELS}
    ranges = {level: (norm.low, norm.high) for level, norm in norms.items() if norm}
    anywhere = (min(low for low, _ in ranges.values()), max(high for _, high in ranges.values()))
    pairs = np.array([ranges.get(int(level), anywhere) for level in levels], dtype=float).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _marks(
    areas: FloatArray, low: FloatArray, high: FloatArray, first: int, spacing: float
) -> dict[str, list[int]]:
    held = areas >= LEAST_AREA_MM2
    inner = held.copy()
    inner[: max(1, math.ceil(3 / spacing))] = False
    inner[-max(1, math.ceil(3 / spacing)) :] = False
    allowed = min(LARGEST_AREA_JUMP, AREA_JUMP * math.sqrt(max(1.0, spacing)))
    below, above = areas[:-1], areas[1:]
    step = np.abs(above - below) / np.maximum(np.minimum(below, above), LEAST_AREA_MM2)
    jumps = np.flatnonzero((step > allowed) & inner[:-1] & inner[1:]) + 1
    found: dict[str, BoolArray | np.ndarray] = {
        "gaps": np.flatnonzero(~held),
        "area_jump": jumps,
        "area_out_of_range": np.flatnonzero(inner & ((areas < low) | (areas > high))),
    }
    return {name: [int(k) + first for k in slices] for name, slices in found.items() if slices.size}
