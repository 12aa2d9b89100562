"""Vertebral levels along the cord: from labels of discs or of vertebrae, and on the scale of PAM50.

Levels are counted as in SCT: 1 is C1, 8 is T1, 20 is L1. Disc n lies at the top of level n: disc 3 is C2–C3.
A slice belongs to level n if it lies at disc n or below, and above disc n + 1.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from softcord._typing import FloatArray
from softcord.errors import InputError, UsageError

PMJ = 50
"""Label of the pontomedullary junction in files of SCT; 49 is the groove beside it."""

LAST_LEVEL = 25

NAMES = [
    *(f"C{n}" for n in range(1, 8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 6)),
    "S1",
]

# Lowest and highest slice of each level in PAM50, the template of SCT (slices of 0.5 mm, counted from below),
# as in the published norms. Below L1 there is no cord.
PAM50_SLICES = {
    1: (939, 984), 2: (908, 938), 3: (871, 907), 4: (834, 870), 5: (801, 833), 6: (770, 800), 7: (736, 769),
    8: (693, 735), 9: (647, 692), 10: (601, 646), 11: (552, 600), 12: (501, 551), 13: (450, 500),
    14: (397, 449), 15: (343, 396), 16: (290, 342), 17: (232, 289), 18: (169, 231), 19: (106, 168),
    20: (51, 105),
}  # fmt: skip
PAM50_MM = 0.5
OPEN_END = 1.3  # beyond the outermost disc, a level goes on for at most that many times its length in PAM50

# discs in label maps of TotalSpineSeg -> disc
TOTALSPINESEG_DISCS = {
    **{63 + n: 3 + n for n in range(5)},
    **{71 + n: 8 + n for n in range(12)},
    **{91 + n: 20 + n for n in range(5)},
    100: 25,
}
_TOTALSPINESEG = {1, 2, *range(11, 18), *range(21, 33), *range(41, 48), 50, *TOTALSPINESEG_DISCS}

_SMALL = 30  # voxels of a label in a file of points; SCT paints them as one, some programs as a small ball


def level_name(level: int) -> str:
    """Name of a level.

    Examples
    --------
    >>> level_name(3), level_name(8), level_name(0)
    ('C3', 'T1', '')
    """
    return NAMES[level - 1] if 1 <= level <= len(NAMES) else ""


def parse_levels(text: str) -> tuple[int, ...]:
    """Levels that a text such as ``2:4``, ``C2:C4``, ``2,5`` or ``T1`` means.

    Raises
    ------
    UsageError
        If it means none.

    Examples
    --------
    >>> parse_levels("2:4"), parse_levels("C7:T2"), parse_levels("3;5")
    ((2, 3, 4), (7, 8, 9), (3, 5))
    """
    numbers = {name: n for n, name in enumerate(NAMES, start=1)}
    levels: list[int] = []
    for part in re.split(r"[,;]", text.upper()):
        ends = [
            numbers.get(end.strip(), int(end) if end.strip().isdecimal() else 0) for end in part.split(":")
        ]
        if len(ends) > 2 or not all(1 <= end <= LAST_LEVEL for end in ends) or ends[0] > ends[-1]:
            raise UsageError(
                f"Levels must be like 3, 2:5, C2:C5 or 2,3, from 1 (C1) to 25 (S1); got {text!r}."
            )
        levels += range(ends[0], ends[-1] + 1)
    return tuple(dict.fromkeys(levels))


@dataclass(frozen=True, slots=True)
class Levels:
    """Level of each slice.

    Attributes
    ----------
    of_slice : (K,) array of int
        0 where it is unknown.
    missing_discs : tuple of int
        Discs between the highest and the lowest that are given and that are not given themselves.
    is_open : (K,) array of bool
        Slices beyond the outermost discs, whose level ends nowhere.
    """

    of_slice: npt.NDArray[np.int_]
    missing_discs: tuple[int, ...]
    is_open: npt.NDArray[np.bool_]


def kind_of_labels(counts: Mapping[int, int]) -> str:
    """What a file of labels holds: ``"discs"``, ``"levels"`` or ``"totalspineseg"``.

    Parameters
    ----------
    counts : mapping of int to int
        Number of voxels of each label above 0.

    Raises
    ------
    InputError
        If the labels are none of these.

    Examples
    --------
    >>> kind_of_labels({3: 1, 4: 1}), kind_of_labels({2: 900, 3: 1100}), kind_of_labels({1: 9000, 63: 300})
    ('discs', 'levels', 'totalspineseg')
    """
    labels = set(counts)
    if not labels:
        raise InputError("holds no label above 0. Give the file that has them.")
    if labels <= {*range(1, LAST_LEVEL + 1), PMJ - 1, PMJ} and max(counts.values()) <= _SMALL:
        return "discs"
    if labels <= set(range(1, LAST_LEVEL + 1)):
        return "levels"
    if labels <= _TOTALSPINESEG and labels & set(TOTALSPINESEG_DISCS):
        return "totalspineseg"
    some = ", ".join(map(str, sorted(labels)[:8]))
    raise InputError(
        f"holds labels that are neither discs, nor vertebral levels (1 to 25), nor TotalSpineSeg's: {some}. "
        "Give another file."
    )


def project(points: FloatArray, curve: FloatArray, spacing_mm: float) -> float:
    """Slice of the curve's point that is nearest to one of some points.

    Parameters
    ----------
    points : (N, 3) array of float, mm
        Points along the axes of the grid, as those of the curve.
    curve : (K, 3) array of float, mm
        One point per slice, from the lowest (`Centerline.points_mm`).
    spacing_mm : float, mm
        Distance of slices.

    Returns
    -------
    k : float
        A whole slice within the curve; beyond its ends, the height of the nearest point.

    Examples
    --------
    >>> curve = np.array([[0.0, 0.0, 4.0], [0.0, 2.0, 8.0], [0.0, 4.0, 12.0]])
    >>> project(np.array([[0.0, 12.0, 8.0]]), curve, 4.0), project(np.array([[0.0, 0.0, 22.0]]), curve, 4.0)
    (3.0, 5.5)
    """
    distances = np.sqrt(((points[:, None] - curve) ** 2).sum(axis=2))
    n, nearest = np.unravel_index(int(distances.argmin()), distances.shape)
    height = float(points[n, 2])
    if not curve[0, 2] - spacing_mm / 2 <= height < curve[-1, 2] + spacing_mm / 2:
        return height / spacing_mm
    return float(round(curve[nearest, 2] / spacing_mm))


def distance_aside_mm(points: FloatArray, curve: FloatArray) -> float:
    """Smallest distance of some points from a curve, sideways, within the slice.

    Parameters
    ----------
    points : (N, 3) array of float, mm
    curve : (K, 3) array of float, mm

    Returns
    -------
    distance : float, mm
        From the curve's end, for points above or below it.
    """
    nearest = np.abs(points[:, None, 2] - curve[:, 2]).argmin(axis=1)
    return float(np.hypot(*(points[:, :2] - curve[nearest, :2]).T).min())


def levels_from_discs(
    discs: Mapping[int, float], slices: npt.NDArray[np.int_], *, spacing_mm: float, guess: bool = False
) -> Levels:
    """Level of each slice from the slices of discs.

    Parameters
    ----------
    discs : mapping of int to float
        Slice of each disc.
    slices : (K,) array of int
    spacing_mm : float, mm
        Distance of slices.
    guess : bool
        SCT's rule: between discs that are not neighbours, all slices have the upper level, and the outermost
        levels go on without end. Default: such slices are unknown, and the outermost levels end at
        `OPEN_END` times their usual length.

    Returns
    -------
    levels : Levels

    Examples
    --------
    >>> levels_from_discs({3: 6, 4: 3}, np.arange(10), spacing_mm=5.0).of_slice.tolist()
    [4, 4, 4, 4, 3, 3, 3, 2, 2, 2]
    """
    order = sorted(discs)
    heights = [discs[disc] for disc in order]
    if any(low >= high for high, low in pairwise(heights)):
        found = ", ".join(f"{disc} at slice {discs[disc]:g}" for disc in order)
        raise InputError(f"Discs must lie one below the other, got {found}. Check the labels.")
    of_slice = np.zeros(slices.size, dtype=int)
    is_open = np.zeros(slices.size, dtype=bool)
    tops = {order[0] - 1: np.inf, **dict(zip(order, heights, strict=True))}
    bottoms = {**dict(zip(tops, heights, strict=False)), order[-1]: -np.inf}
    for level, top in tops.items():
        bottom = bottoms[level]
        inside = (slices <= top) & (slices > bottom)
        closes = level + 1 in discs
        if not guess:
            reach = OPEN_END * _usual_length_mm(level) / spacing_mm
            if np.isinf(top):
                inside &= slices <= bottom + reach
            elif np.isinf(bottom):
                inside &= slices > top - reach
            elif not closes:
                inside &= False
        if level >= 1:
            of_slice[inside] = level
            is_open[inside] = np.isinf(top) or np.isinf(bottom)
    missing = tuple(disc for disc in range(order[0], order[-1]) if disc not in discs)
    return Levels(of_slice, missing, is_open)


def choose_levels(levels: Levels, wanted: Iterable[int]) -> tuple[int, ...]:
    """Those of the wanted levels that some slice has.

    Raises
    ------
    InputError
        If there is none.
    """
    present = {int(level) for level in np.unique(levels.of_slice) if level}
    wanted = tuple(wanted)
    chosen = tuple(level for level in wanted if level in present)
    if chosen:
        return chosen
    have = ", ".join(f"{level} ({level_name(level)})" for level in sorted(present)) or "none"
    note = f" (disc {', '.join(map(str, levels.missing_discs))} is missing)" if levels.missing_discs else ""
    asked = ", ".join(map(str, wanted))
    raise InputError(f"No slice of the cord is at level {asked}; levels that are there: {have}{note}.")


def to_pam50(levels: npt.NDArray[np.int_], spacing_mm: float) -> dict[int, tuple[FloatArray, range]]:
    """Where each level's slices lie in PAM50, the same number for everybody.

    A level between others is stretched to its number of slices in PAM50. The lowest and the highest may be
    cut: they are stretched like the others on average (by the distance of slices alone, if there are no
    others), and lie against their neighbour.

    Parameters
    ----------
    levels : (K,) array of int
        Level of each slice, 0 where unknown; from the lowest slice.
    spacing_mm : float, mm
        Distance of slices.

    Returns
    -------
    places : dict of int to (array, range)
        For each level: positions among the slices (fractions, to interpolate at) and slices of PAM50.

    Examples
    --------
    >>> places = to_pam50(np.repeat([5, 4, 3], [4, 37, 6]), 0.5)
    >>> {level: (int(at[0]), slices) for level, (at, slices) in places.items()}
    {3: (41, range(871, 877)), 4: (4, range(834, 871)), 5: (0, range(830, 834))}
    """
    present = [int(level) for level in np.unique(levels) if level in PAM50_SLICES]
    inner = present[1:-1]
    where = {level: np.flatnonzero(levels == level) for level in present}
    sizes = {level: PAM50_SLICES[level][1] - PAM50_SLICES[level][0] + 1 for level in present}
    scales = [sizes[level] / where[level].size for level in inner]
    scale = float(np.mean(scales)) if scales else spacing_mm / PAM50_MM
    places: dict[int, tuple[FloatArray, range]] = {}
    for level in present:
        low, high = PAM50_SLICES[level]
        n = sizes[level]
        if level not in inner:
            n = min(n, max(1, int(where[level].size * scale + 1e-9)))
            low, high = (low, low + n - 1) if level == present[0] else (high - n + 1, high)
        at = np.linspace(where[level][0], where[level][-1], n)
        places[level] = (at, range(low, high + 1))
    return places


def _usual_length_mm(level: int) -> float:
    low, high = PAM50_SLICES.get(level, (0, 63))
    return (high - low + 1) * PAM50_MM
