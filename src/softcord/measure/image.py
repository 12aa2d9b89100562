"""Measure one mask in memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from softcord import norms
from softcord._typing import Affine, FloatArray, Zooms
from softcord.centerline import arc_length, extend_to
from softcord.errors import InputError, UsageError
from softcord.flags import Flag, check_segmentation
from softcord.levels import PAM50_SLICES, Levels, choose_levels, level_name, to_pam50
from softcord.masks import Labels, Mask, Point, find_levels, find_pmj, read_mask
from softcord.measure.options import CsaOptions
from softcord.morphometrics import METRICS, SliceMeasures, measure_slices
from softcord.morphometrics.pieces import SPECK_MM3
from softcord.nifti import Image

STEEP_DEG = 40.0
"""A cord that leans more than that is hardly measured by slices of this image."""

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


@dataclass(frozen=True)
class Csa:
    """Morphometrics of one mask.

    Attributes
    ----------
    rows : tuple of Row
        What was asked for, from the lowest slice.
    flags : tuple of Flag
        Why the numbers may be wrong.
    measures : SliceMeasures
        Every slice, whatever the rows.
    levels : Levels or None
        Level of each slice in `measures`; None if levels are unknown.
    distance_pmj_mm : (K,) array of float, mm, or None
        Distance of each slice from the pontomedullary junction along the centreline.
    options : CsaOptions
        How it was made.
    interval : str
        ``"mask"`` or ``"network"``: whose errors the intervals hold.
    source : Path or None
        File that was measured.
    zooms : (3,) tuple of float, mm
        Voxel size on canonical axes.
    affine : (4, 4) array of float
        Index on canonical axes to RAS+ mm.
    """

    rows: tuple[Row, ...]
    flags: tuple[Flag, ...]
    measures: SliceMeasures
    levels: Levels | None
    distance_pmj_mm: FloatArray | None
    options: CsaOptions
    interval: str
    source: Path | None
    zooms: Zooms
    affine: Affine


def csa(
    mask: Image | str | Path,
    options: CsaOptions | None = None,
    *,
    levels: Labels | None = None,
    discs: Labels | Mapping[int, Point] | None = None,
    pmj: Labels | Point | None = None,
) -> Csa:
    """Cross-sectional area and shape of the cord, per slice, per vertebral level or on average.

    Parameters
    ----------
    mask : nibabel image or path, (I, J, K)
        Soft segmentation or mask, in any orientation.
    options : CsaOptions, optional
        What to measure. Default: the mean over all slices.
    levels : nibabel image or path, optional
        Labels of vertebral levels on the cord (1 is C1), labels of TotalSpineSeg, or single voxels for discs.
    discs : nibabel image, path or mapping, optional
        Single voxels, each with the number of its disc (3 is C2–C3); or by hand: ``{3: (i, j, k)}``, voxels
        of the mask's file.
    pmj : nibabel image, path or (3,) sequence, optional
        Label or voxel of the pontomedullary junction.

    Returns
    -------
    csa : Csa

    Raises
    ------
    InputError
        If a file cannot be used, or no slice is left.
    UsageError
        If options contradict each other.

    Examples
    --------
    >>> import nibabel as nib
    >>> share = np.zeros((20, 20, 8), dtype=np.float32)
    >>> share[4:16, 6:14] = 1
    >>> result = csa(nib.Nifti1Image(share, np.diag([1.0, 1.0, 2.0, 1.0])))
    >>> round(result.rows[0].values["area_mm2"], 3)
    96.0
    """
    options = options or CsaOptions()
    options = replace(options, definition=options.definition or "softcord")
    if options.sex != "all" and options.norms is None:
        options = replace(options, norms=norms.DATASETS[0])
    if levels is not None and discs is not None:
        raise UsageError("Levels come from one source: give levels (--levels) or discs (--discs, --disc).")
    has_levels = levels is not None or discs is not None
    options.check(has_levels=has_levels, has_pmj=pmj is not None)
    read = read_mask(mask, volume=options.volume)
    interval = options.interval
    if interval == "auto":
        interval = "network" if read.is_network else "mask"
    try:
        measures = measure_slices(
            read.soft,
            read.zooms,
            definition=options.definition or "softcord",
            angle_correction=options.angle_correction,
            source="network" if interval == "network" else "mask",
        )
    except InputError as error:
        raise InputError(f"{read.name}: {error}") from error
    flags = [*read.flags, *check_segmentation(read.soft, read.zooms), *_own_flags(measures)]
    found: Levels | None = None
    if has_levels:
        guess = options.definition == "sct"
        found, more = find_levels(read, measures.centerline, levels=levels, discs=discs, guess=guess)
        flags += more
    distances: FloatArray | None = None
    if pmj is not None:
        distances, more = _distances(read, measures, pmj)
        flags += more
    chosen = _choose(measures, options, found, distances, read.name)
    absent = sorted(set(options.vert) - set(found.of_slice.tolist())) if found is not None else []
    if absent:
        names = ", ".join(level_name(level) for level in absent)
        flags.append(Flag("levels_absent", f"No slice of the cord is at {names}."))
    rows = _rows(measures, options, found, distances, chosen)
    flags += _norm_flags(rows)
    return Csa(
        rows=tuple(rows),
        flags=tuple(dict.fromkeys(flags)),
        measures=measures,
        levels=found,
        distance_pmj_mm=distances,
        options=options,
        interval=interval,
        source=read.path,
        zooms=read.zooms,
        affine=read.affine,
    )


def _own_flags(measures: SliceMeasures) -> list[Flag]:
    """What is odd about the measures."""
    flags = []
    pieces = measures.pieces
    if pieces.n_stray and pieces.stray_mm3 >= SPECK_MM3:
        flags.append(
            Flag(
                "stray_pieces",
                f"{pieces.n_stray} pieces beside the cord ({pieces.stray_mm3:.0f} mm³) were left out.",
            )
        )
    n_partial = int(measures.is_partial.sum())
    if n_partial:
        flags.append(
            Flag("partial_ends", f"{n_partial} slices at the ends are partly filled; means leave them out.")
        )
    n_split = int((measures.n_parts > 1).sum())
    if n_split:
        flags.append(Flag("split_slices", f"In {n_split} slices, the cord is in several parts."))
    n_held = int(measures.is_held.sum())
    if n_held == 1:
        flags.append(
            Flag("single_slice", "One slice holds cord, so that its angle is unknown and taken as 0.")
        )
    steep = float(np.degrees(np.arccos(measures.centerline.cosine)).max())
    if steep > STEEP_DEG:
        flags.append(
            Flag(
                "steep_cord",
                f"The cord leans by up to {steep:.0f}°; above {STEEP_DEG:.0f}° areas are doubtful.",
            )
        )
    return flags


def _distances(
    mask: Mask, measures: SliceMeasures, pmj: Labels | Point
) -> tuple[FloatArray, tuple[Flag, ...]]:
    """Distance of each slice from the pontomedullary junction, along the centreline."""
    line = measures.centerline
    place, flags = find_pmj(mask, line, pmj)
    k = round(float(place[2]) / mask.zooms[2])
    longer = extend_to(line, float(place[0]), float(place[1]), k)
    arc = arc_length(longer.x_mm, longer.y_mm, longer.spacing_mm)
    at = int(np.clip(k - longer.first, 0, arc.size - 1))
    here = line.first - longer.first
    distances: FloatArray = arc[at] - arc[here : here + line.slices.size]
    return distances, flags


def _choose(
    measures: SliceMeasures,
    options: CsaOptions,
    levels: Levels | None,
    distances: FloatArray | None,
    name: str,
) -> npt.NDArray[np.bool_]:
    """(K,) array of bool: the slices that were asked for.

    Raises
    ------
    InputError
        If there is none.
    """
    slices = measures.slices
    chosen = np.ones(slices.size, dtype=bool)
    span = f"{slices[0]}:{slices[-1]}"
    if options.slices:
        chosen &= np.any([(slices >= low) & (slices <= high) for low, high in options.slices], axis=0)
        if not (chosen & measures.is_held).any():
            asked = ",".join(f"{low}:{high}" for low, high in options.slices)
            raise InputError(f"{name}: no cord in slices {asked}; it is in {span}. Choose among these (-z).")
    if options.vert and levels is not None:
        try:
            wanted = choose_levels(levels, options.vert)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        chosen &= np.isin(levels.of_slice, wanted)
    if distances is not None and options.pmj_distance_mm is not None:
        chosen &= _near_pmj(distances, options, name)
    if not (chosen & measures.is_held).any():
        raise InputError(
            f"{name}: no slice with cord is left by these choices. Ask for more slices or levels."
        )
    return chosen


def _near_pmj(distances: FloatArray, options: CsaOptions, name: str) -> npt.NDArray[np.bool_]:
    """Slices around a distance from the junction.

    As in SCT, from the one nearest to the far end of the extent to the one before that nearest to its near
    end.
    """
    near, far = ((options.pmj_distance_mm or 0) + sign * options.pmj_extent_mm / 2 for sign in (-1, 1))
    if far > distances.max() + 1 or near < distances.min() - 1:
        raise InputError(
            f"{name}: {near:g} to {far:g} mm from the pontomedullary junction must lie in the mask, that is "
            f"from {max(0, distances.min()):.0f} to {distances.max():.0f} mm. Change --pmj-distance."
        )
    low, high = int(np.abs(distances - far).argmin()), int(np.abs(distances - near).argmin())
    chosen = np.zeros(distances.size, dtype=bool)
    chosen[low : max(high, low + 1)] = True
    return chosen


def _rows(
    measures: SliceMeasures,
    options: CsaOptions,
    levels: Levels | None,
    distances: FloatArray | None,
    chosen: npt.NDArray[np.bool_],
) -> list[Row]:
    """The rows of the table, from the lowest slice."""
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


def _norm_flags(rows: Iterable[Row]) -> list[Flag]:
    """One flag for the measures that are outside those of healthy people."""
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
