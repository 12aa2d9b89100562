"""Two masks of one person, point by point along the cord: two times, or two methods."""

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import softcord
from softcord._typing import FloatArray
from softcord.errors import InputError, OutputError
from softcord.levels import level_name
from softcord.measure.image import Csa
from softcord.nifti import FileSet

_AGREEMENT = 1.96  # standard deviations: limits that hold 95 % of differences

_COLUMNS = {
    "distance_mm": (
        "Distance along the centreline, upwards, from the place where the two were aligned",
        "mm",
    ),
    "levels": ("Vertebral level, 1 is C1; missing where unknown", ""),
    "level_names": ("The same level by name", ""),
    "area_a_mm2": ("Area of the first", "mm2"),
    "area_b_mm2": ("Area of the second", "mm2"),
    "difference_mm2": ("Second minus first", "mm2"),
    "change_percent": ("Difference in percent of the first", "%"),
}


@dataclass(frozen=True, slots=True)
class PairedArea:
    """Areas of both at one point of the cord.

    Attributes
    ----------
    distance_mm : float, mm
        Along the centreline, upwards.
    level : int
        Vertebral level, 0 where unknown.
    area_a_mm2, area_b_mm2 : float, mm²
    """

    distance_mm: float
    level: int
    area_a_mm2: float
    area_b_mm2: float

    @property
    def difference_mm2(self) -> float:
        """Second minus first."""
        return self.area_b_mm2 - self.area_a_mm2

    @property
    def change_percent(self) -> float:
        """Difference in percent of the first."""
        return 100 * self.difference_mm2 / self.area_a_mm2


@dataclass(frozen=True)
class Comparison:
    """How two masks of one person differ.

    Attributes
    ----------
    points : tuple of PairedArea
        From the lowest; as far apart as the wider spaced slices of the two.
    aligned_by : str
        ``"slices"`` (one grid), ``"pmj"``, ``"levels"``, or ``"space"``: by scanner coordinates, which holds
        only if the person lay in the same place.
    mean_a_mm2, mean_b_mm2 : float, mm²
        Mean areas over the points.
    change_percent : float
        Change of the mean area.
    bias_mm2, low_mm2, high_mm2 : float, mm²
        Mean difference and its limits of agreement: mean ± 1.96 standard deviations over points. Neighbouring
        points are not independent.
    """

    points: tuple[PairedArea, ...]
    aligned_by: str
    mean_a_mm2: float
    mean_b_mm2: float
    change_percent: float
    bias_mm2: float
    low_mm2: float
    high_mm2: float


def compare_csa(one: Csa, other: Csa) -> Comparison:
    """Pair the areas of two masks by distance along the centreline.

    On one grid, slices are paired as they are. Otherwise both are aligned by the pontomedullary junction if
    both know it, else by borders of vertebral levels that both have, else by scanner coordinates. Areas of
    both are interpolated at the same points, so that neither is favoured.

    Parameters
    ----------
    one, other : Csa
        From `softcord.csa`; the chosen slices and levels are those of their options.

    Returns
    -------
    comparison : Comparison

    Raises
    ------
    InputError
        If they have less than two points in common.
    """
    if _same_grid(one, other):
        aligned_by, points = "slices", _by_slice(one, other)
    else:
        aligned_by, starts = _align(one, other)
        points = _by_distance(one, other, starts)
    if len(points) < 2:
        names = " and ".join(str(csa.source or "a mask") for csa in (one, other))
        raise InputError(
            f"{names} must share two points of the cord, got {len(points)} (aligned by {aligned_by}). "
            "Give labels of both (--discs, --levels, --pmj)."
        )
    a, b = (np.array([getattr(p, name) for p in points]) for name in ("area_a_mm2", "area_b_mm2"))
    spread = _AGREEMENT * float(np.std(b - a, ddof=1))
    bias = float(np.mean(b - a))
    return Comparison(
        points=tuple(points),
        aligned_by=aligned_by,
        mean_a_mm2=float(a.mean()),
        mean_b_mm2=float(b.mean()),
        change_percent=100 * float(b.mean() / a.mean() - 1),
        bias_mm2=bias,
        low_mm2=bias - spread,
        high_mm2=bias + spread,
    )


def write_comparison(
    comparison: Comparison, out: str | Path, *, inputs: tuple[Path, ...] = (), overwrite: bool = False
) -> None:
    """Write a table of the points, and a JSON file beside it with the summary.

    Parameters
    ----------
    comparison : Comparison
    out : path
        CSV if the name ends in .csv, else TSV.
    inputs : tuple of path
        Files that are never replaced.
    overwrite : bool
        Replace files that exist.

    Raises
    ------
    OutputError
        If a file exists or cannot be written.
    """
    out = Path(out)
    for path in (out, out.with_suffix(".json")):
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: exists already. Replace it (--overwrite) or name another.")
    facts: dict[str, object] = {
        name: {"Description": text, **({"Units": unit} if unit else {})}
        for name, (text, unit) in _COLUMNS.items()
    }
    facts["GeneratedBy"] = [{"Name": "softcord", "Version": softcord.__version__}]
    facts["Summary"] = {
        name: getattr(comparison, name)
        for name in ("aligned_by mean_a_mm2 mean_b_mm2 change_percent bias_mm2 low_mm2 high_mm2").split()
    }
    with FileSet(overwrite=overwrite, inputs=inputs) as files:
        files.add_text(comparison_text(comparison, is_csv=out.suffix.lower() == ".csv"), out)
        files.add_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", out.with_suffix(".json"))
        files.commit()


def comparison_text(comparison: Comparison, *, is_csv: bool = False) -> str:
    """The points as a table.

    Parameters
    ----------
    comparison : Comparison
    is_csv : bool
        CSV with empty cells for what is missing; default TSV with "n/a".
    """
    stream = io.StringIO()
    missing = "" if is_csv else "n/a"
    writer = csv.writer(stream, delimiter="," if is_csv else "\t", lineterminator="\n")
    writer.writerow(_COLUMNS)
    for point in comparison.points:
        level = [point.level, level_name(point.level)] if point.level else [missing, missing]
        numbers = (point.area_a_mm2, point.area_b_mm2, point.difference_mm2, point.change_percent)
        writer.writerow([f"{point.distance_mm:.6g}", *level, *(f"{number:.6g}" for number in numbers)])
    return stream.getvalue()


def _same_grid(one: Csa, other: Csa) -> bool:
    return one.zooms == other.zooms and np.allclose(one.affine, other.affine, atol=1e-3)


def _usable(csa: Csa) -> dict[int, float]:
    """Area of each slice that its rows use: with cord, and no partly filled end."""
    chosen = {slice_ for row in csa.rows for slice_ in row.slices}
    measures = csa.measures
    keep = measures.is_held & ~measures.is_partial
    areas = measures.values["area_mm2"]
    return {int(k): float(areas[n]) for n, k in enumerate(measures.slices) if keep[n] and int(k) in chosen}


def _levels(csa: Csa) -> dict[int, int]:
    if csa.levels is None:
        return {}
    return dict(zip(csa.measures.slices.tolist(), csa.levels.of_slice.tolist(), strict=True))


def _by_slice(one: Csa, other: Csa) -> list[PairedArea]:
    a, b, levels = _usable(one), _usable(other), _levels(one)
    line = one.measures.centerline
    arc = line.arc_mm()
    return [
        PairedArea(float(arc[k - line.first]), levels.get(k, 0), a[k], b[k])
        for k in sorted(a.keys() & b.keys())
    ]


def _by_distance(one: Csa, other: Csa, starts: tuple[float, float]) -> list[PairedArea]:
    """Areas of both at the same distances; `starts` are those of the common place."""
    tables = []
    for csa, start in zip((one, other), starts, strict=True):
        line, areas = csa.measures.centerline, _usable(csa)
        arc = line.arc_mm() - start
        use = np.array([k in areas for k in line.slices])
        tables.append((arc[use], np.array(list(areas.values())), csa))
    low = max(table[0].min() for table in tables)
    high = min(table[0].max() for table in tables)
    step = max(csa.measures.centerline.spacing_mm for csa in (one, other))
    if high < low:
        return []
    at = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
    a, b = (np.interp(at, arc, areas) for arc, areas, _ in tables)
    levels = _levels(one)
    line = one.measures.centerline
    nearest = line.slices[np.abs((line.arc_mm() - starts[0])[:, None] - at).argmin(axis=0)] if at.size else []
    return [
        PairedArea(float(distance), levels.get(int(k), 0), float(x), float(y))
        for distance, k, x, y in zip(at, nearest, a, b, strict=True)
    ]


def _align(one: Csa, other: Csa) -> tuple[str, tuple[float, float]]:
    """How two are aligned, and where on the arc of each the common place is."""
    if one.distance_pmj_mm is not None and other.distance_pmj_mm is not None:
        # the arc is 0 in the lowest slice, so that its distance from the junction is the junction's arc
        return "pmj", (float(one.distance_pmj_mm[0]), float(other.distance_pmj_mm[0]))
    borders = _borders(one), _borders(other)
    common = sorted(borders[0].keys() & borders[1].keys())
    if common:
        means = [float(np.mean([border[level] for level in common])) for border in borders]
        return "levels", (means[0], means[1])
    return "space", _nearest_places(one, other)


def _borders(csa: Csa) -> dict[int, float]:
    """Arc at the top of each level that ends in the mask, by level."""
    if csa.levels is None:
        return {}
    arc, of_slice = csa.measures.centerline.arc_mm(), csa.levels.of_slice
    return {
        int(of_slice[n]): float(arc[n] + arc[n + 1]) / 2
        for n in range(of_slice.size - 1)
        if of_slice[n] and of_slice[n + 1] == of_slice[n] - 1
    }


def _nearest_places(one: Csa, other: Csa) -> tuple[float, float]:
    """Arcs of the place where the two curves are nearest to each other in scanner coordinates."""
    curves: list[FloatArray] = []
    for csa in (one, other):
        index = csa.measures.centerline.points_mm / csa.zooms
        curves.append(index @ csa.affine[:3, :3].T + csa.affine[:3, 3])
    apart = np.sqrt(((curves[0][:, None] - curves[1]) ** 2).sum(axis=2))
    nearest = apart.argmin(axis=1)
    # a robust middle of all neighbours, not the one nearest pair
    arcs = [csa.measures.centerline.arc_mm() for csa in (one, other)]
    inside = (nearest > 0) & (nearest < arcs[1].size - 1)
    if not inside.any():
        inside = np.ones_like(inside)
    shift = float(np.median(arcs[1][nearest[inside]] - arcs[0][inside]))
    return 0.0, shift
