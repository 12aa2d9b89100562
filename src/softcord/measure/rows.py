"""Rows of a table: means over slices, levels, or the slices of PAM50."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softcord import norms
from softcord._typing import FloatArray
from softcord.flags import Flag
from softcord.levels import PAM50_SLICES, Levels, level_name, to_pam50
from softcord.measure.options import CsaOptions
from softcord.morphometrics import METRICS, SliceMeasures

_SUMMED = "length_mm"
_NO_NORM_FLAG = {"eccentricity", "solidity"}  # they say more about the mask's edge than about the person


@dataclass(frozen=True)
class Row:
    """Measures of one slice, or the mean of several.

    Attributes
    ----------
    slices : tuple of int
        Indices of the slices, 0 the lowest; of PAM50's slices where that was asked for.
    levels : tuple of int
        Their vertebral levels; empty where they are unknown.
    distance_pmj_mm : float
        Distance from the pontomedullary junction; NaN where it is unknown.
    values : dict of str to float
        Mean of each of `softcord.morphometrics.METRICS` over the slices that have one, `length_mm` the sum.
        NaN where no slice has one. The mean of intervals is that of errors that go together.
    deviations : dict of str to float
        Standard deviations over the slices (of the population).
    n_used : int
        Number of slices in the means: those with cord that are not partly filled ends.
    norms : dict of str to Norm
        Healthy people's values, by measure, where there are any.
    """

    slices: tuple[int, ...]
    levels: tuple[int, ...]
    distance_pmj_mm: float
    values: dict[str, float]
    deviations: dict[str, float]
    n_used: int
    norms: dict[str, norms.Norm]


def make_rows(
    measures: SliceMeasures,
    options: CsaOptions,
    levels: Levels | None,
    distances: FloatArray | None,
    chosen: npt.NDArray[np.bool_],
) -> list[Row]:
    """The rows of a table, from the lowest slice.

    Parameters
    ----------
    measures : SliceMeasures
    options : CsaOptions
    levels : Levels or None
        Level of each slice.
    distances : (K,) array of float, mm, or None
        Distance of each slice from the pontomedullary junction.
    chosen : (K,) array of bool
        Slices that were asked for.

    Returns
    -------
    rows : list of Row
    """
    of_slice = levels.of_slice if levels is not None else np.zeros(measures.slices.size, dtype=int)
    if options.pam50:
        return _pam50_rows(measures, options, of_slice, chosen)
    index = np.flatnonzero(chosen)
    if options.rows == "slice":
        groups = [index[n : n + 1] for n in range(index.size)]
    elif options.rows == "level":
        wanted = sorted({int(level) for level in of_slice[index] if level}, reverse=True)
        groups = [index[of_slice[index] == level] for level in wanted]
    else:
        groups = [index]
    rows = []
    for group in groups:
        distance = np.nan
        if distances is not None:
            by_slice = options.rows == "slice" or options.pmj_distance_mm is None
            distance = float(distances[group].mean()) if by_slice else float(options.pmj_distance_mm or 0)
        # a partly filled end has its area in its own row, and does not count in a mean
        use = (
            group
            if options.rows == "slice" or options.definition == "sct"
            else group[~measures.is_partial[group]]
        )
        columns = {name: values[use] for name, values in measures.values.items()}
        rows.append(
            _row(measures.slices[group].tolist(), of_slice[group].tolist(), distance, columns, options)
        )
    return rows


def _pam50_rows(
    measures: SliceMeasures,
    options: CsaOptions,
    of_slice: npt.NDArray[np.int_],
    chosen: npt.NDArray[np.bool_],
) -> list[Row]:
    """Rows on the scale of PAM50: every slice of the levels, those beyond the mask without values."""
    held = chosen & measures.is_held
    usable = np.where(held | chosen, of_slice, 0)
    places = to_pam50(usable, measures.centerline.spacing_mm)
    at = np.arange(of_slice.size, dtype=float)
    rows = []
    for level in sorted(places, reverse=True):
        positions, slices = places[level]
        columns = {
            name: _interpolate(positions, at, values)
            for name, values in measures.values.items()
            if name != _SUMMED
        }
        if options.rows == "level":
            rows.append(_row(list(slices), [level] * len(slices), np.nan, columns, options))
            continue
        low, high = PAM50_SLICES[level]
        for slice_ in range(low, high + 1):
            n = slice_ - slices.start if slice_ in slices else len(slices)
            values = {name: column[n : n + 1] for name, column in columns.items()}
            rows.append(_row([slice_], [level], np.nan, values, options))
    if options.rows == "all":
        return [_join(rows, options)]
    return rows


def _join(rows: list[Row], options: CsaOptions) -> Row:
    """One row of many."""
    columns = {
        name: np.array([row.values.get(name, np.nan) for row in rows]) for name in METRICS if name != _SUMMED
    }
    slices = [slice_ for row in rows for slice_ in row.slices]
    return _row(slices, [level for row in rows for level in row.levels], np.nan, columns, options)


def _interpolate(positions: FloatArray, at: FloatArray, values: FloatArray) -> FloatArray:
    """Values at fractions of slices; NaN next to slices without one."""
    lower = np.clip(np.floor(positions + 1e-9).astype(int), 0, at.size - 1)
    upper = np.minimum(lower + 1, at.size - 1)
    share = np.clip(positions - lower, 0, 1)
    share = np.where(share < 1e-9, 0, share)
    between: FloatArray = np.where(
        share == 0, values[lower], values[lower] * (1 - share) + values[upper] * share
    )
    return between


def _row(
    slices: list[int],
    levels: list[int],
    distance: float,
    columns: Mapping[str, FloatArray],
    options: CsaOptions,
) -> Row:
    values: dict[str, float] = {}
    deviations: dict[str, float] = {}
    n_used = int(np.isfinite(columns["area_mm2"]).sum())
    for name in METRICS:
        column = columns.get(name, np.array([]))
        finite = column[np.isfinite(column)]
        if not finite.size:
            values[name] = deviations[name] = np.nan
        elif name == _SUMMED:
            values[name], deviations[name] = float(finite.sum()), np.nan
        else:
            values[name], deviations[name] = float(finite.mean()), float(finite.std())
    known = [level for level in levels if level]
    compared: dict[str, norms.Norm] = {}
    if options.norms is not None and len(known) == len(levels):
        for name in norms.METRICS:
            norm = norms.find_norm(name, known, sex=options.sex, dataset=options.norms)
            if norm is not None:
                compared[name] = norm
    return Row(tuple(slices), tuple(sorted(set(known))), distance, values, deviations, n_used, compared)


def norm_flags(rows: Iterable[Row]) -> list[Flag]:
    """One flag for each measure that is outside those of healthy people."""
    outside: dict[str, list[str]] = {}
    for row in rows:
        for name, norm in row.norms.items():
            value = row.values[name]
            if name not in _NO_NORM_FLAG and np.isfinite(value) and norm.is_outside(value):
                where = level_name(row.levels[0]) if len(row.levels) == 1 else "the chosen levels"
                outside.setdefault(name, []).append(where)
    return [
        Flag(
            "outside_norms",
            f"{name} is outside of 99.8 % of healthy people at {', '.join(dict.fromkeys(places))}.",
        )
        for name, places in outside.items()
    ]
