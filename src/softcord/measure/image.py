"""Measure one mask in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from softcord import norms
from softcord._typing import Affine, FloatArray, Zooms
from softcord.centerline import arc_length, extend_to
from softcord.errors import InputError, UsageError
from softcord.flags import Flag, check_segmentation
from softcord.levels import Levels, choose_levels, level_name
from softcord.masks import Labels, Mask, Point, find_levels, find_pmj, read_mask
from softcord.measure.options import CsaOptions
from softcord.measure.rows import Row, make_rows, norm_flags
from softcord.morphometrics import SliceMeasures, measure_slices
from softcord.morphometrics.pieces import SPECK_MM3
from softcord.nifti import Image

STEEP_DEG = 40.0
"""A cord that leans more than that is hardly measured by slices of this image."""


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
    rows = make_rows(measures, options, found, distances, chosen)
    flags += norm_flags(rows)
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
