"""Vertebral levels and the pontomedullary junction: from files or by hand to the slices of a mask.

Labels may lie on another grid than the mask: they are placed by their affine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from softcord._typing import Affine, FloatArray
from softcord.centerline import Centerline
from softcord.errors import InputError
from softcord.flags import Flag
from softcord.levels import (
    PMJ,
    TOTALSPINESEG_DISCS,
    Levels,
    distance_aside_mm,
    kind_of_labels,
    levels_from_discs,
    project,
)
from softcord.masks.reading import Mask
from softcord.nifti import Image, check_image, load_image, read_volume

Point: TypeAlias = Sequence[float]
"""Voxel of the mask's file: three indices from 0."""

Labels: TypeAlias = Image | str | Path
"""A file or an image of labels."""

FAR_DISC_MM = 60.0  # sideways: a disc is 10 to 25 mm in front of the cord's middle
FAR_PMJ_MM = 100.0  # from the end of the mask to the junction; beyond that, its course is a guess


@dataclass(frozen=True)
class _Voxels:
    """Labelled voxels of a file: values, and places in mm along the axes of the mask's grid."""

    name: str
    values: np.ndarray
    places: FloatArray
    data: np.ndarray
    from_mask: Affine  # canonical index of the mask to index of the file
    is_other_grid: bool


def find_levels(
    mask: Mask,
    line: Centerline,
    *,
    levels: Labels | None = None,
    discs: Labels | Mapping[int, Point] | None = None,
    guess: bool = False,
) -> tuple[Levels, tuple[Flag, ...]]:
    """Level of each slice of the centreline.

    Parameters
    ----------
    mask : Mask
    line : Centerline
    levels : path or image, optional
        A label map of vertebral levels, or one of TotalSpineSeg, or discs: told apart by what it holds.
    discs : path, image or mapping of int to voxel, optional
        Single voxels labelled by disc, or their places in the mask's file.
    guess : bool
        SCT's rule for discs that are missing, see `softcord.levels.levels_from_discs`.

    Returns
    -------
    levels : Levels
    flags : tuple of Flag

    Raises
    ------
    InputError
        If the labels cannot be used with this mask.
    """
    if isinstance(discs, Mapping):
        points = {disc: _to_mm(mask, point)[None] for disc, point in discs.items()}
        return _from_points(mask, line, points, guess=guess, name="the discs")
    source = discs if discs is not None else levels
    if source is None:
        raise InputError(f"{mask.name}: no labels were given for its levels.")
    voxels = _read_labels(source, mask)
    counts = dict(zip(*(v.tolist() for v in np.unique(voxels.values, return_counts=True)), strict=True))
    try:
        kind = kind_of_labels(counts)
    except InputError as error:
        raise InputError(f"{voxels.name}: {error}") from error
    flags = _grid_flags(voxels)
    if discs is not None and kind == "levels":
        raise InputError(
            f"{voxels.name}: expected discs, one voxel each, got a map of levels. Give it as --levels."
        )
    if kind == "levels":
        found, more = _from_map(voxels, mask, line)
    else:
        names = {n: n for n in range(1, 26)} if kind == "discs" else TOTALSPINESEG_DISCS
        points = {
            disc: voxels.places[voxels.values == label] for label, disc in names.items() if label in counts
        }
        if not points:
            raise InputError(f"{voxels.name}: holds no disc between vertebrae (labels 1 to 25).")
        found, more = _from_points(mask, line, points, guess=guess, name=voxels.name)
    return found, (*flags, *more)


def find_pmj(mask: Mask, line: Centerline, pmj: Labels | Point) -> tuple[FloatArray, tuple[Flag, ...]]:
    """Place of the pontomedullary junction.

    Parameters
    ----------
    mask : Mask
    line : Centerline
    pmj : path, image or voxel
        A file with one labelled voxel (of several labels, 50 is the junction), or a voxel of the mask's file.

    Returns
    -------
    place : (3,) array of float, mm
        Along the axes of the mask's grid.
    flags : tuple of Flag

    Raises
    ------
    InputError
        If there is no such label, or if it lies below the top of the cord and beside it, or far away.
    """
    flags: tuple[Flag, ...] = ()
    if isinstance(pmj, Sequence) and not isinstance(pmj, str):
        place, name = _to_mm(mask, pmj), "the pontomedullary junction"
    else:
        voxels = _read_labels(pmj, mask)
        labels = np.unique(voxels.values)
        if PMJ not in labels and labels.size != 1:
            raise InputError(
                f"{voxels.name}: expected one label, that of the pontomedullary junction, got {labels.size}."
            )
        label = PMJ if PMJ in labels else labels[0]
        place, name = voxels.places[voxels.values == label].mean(axis=0), voxels.name
        flags = _grid_flags(voxels)
    top = line.points_mm[-1]
    middle = line.points_mm[line.slices.size // 2]
    if place[2] < middle[2]:
        raise InputError(
            f"{name}: the pontomedullary junction must lie at the head's end of the cord, got one "
            f"{top[2] - place[2]:.0f} mm below the top of the mask. Check the label."
        )
    distance = float(np.sqrt(((place - top) ** 2).sum()))
    if distance > FAR_PMJ_MM:
        raise InputError(
            f"{name}: the pontomedullary junction is {distance:.0f} mm from the top of the mask; it must be "
            f"within {FAR_PMJ_MM:.0f} mm. Check the label, or segment the cord up to the head."
        )
    return place, flags


def _to_mm(mask: Mask, point: Point) -> FloatArray:
    """Place of a voxel of the mask's file along the axes of the canonical grid, in mm."""
    index = np.asarray(point, dtype=float)
    if index.shape != (3,) or not np.all((index >= 0) & (index <= np.array(mask.shape) - 1)):
        size = " × ".join(map(str, mask.shape))
        found = ",".join(f"{n:g}" for n in point)
        raise InputError(f"{mask.name}: has no voxel {found}; its size is {size}, counted from 0.")
    world = mask.file_affine @ np.append(index, 1)
    place: FloatArray = (np.linalg.inv(mask.affine) @ world)[:3] * mask.zooms
    return place


def _read_labels(source: Labels, mask: Mask) -> _Voxels:
    image = load_image(source) if isinstance(source, str | Path) else source
    check_image(image)
    name = str(source) if isinstance(source, str | Path) else image.get_filename() or "the labels"
    if len(image.shape) == 4 and image.shape[3] > 1:
        raise InputError(f"{name}: expected labels in 3-D, got {image.shape[3]} volumes. Extract one.")
    data, _ = read_volume(image, volume=0)
    labels = np.round(data).astype(int)
    if np.abs(data - labels).max() > 0.01:
        raise InputError(
            f"{name}: expected labels, whole numbers, got values in between. Give a file of labels."
        )
    index = np.argwhere(labels > 0)
    to_mask = np.linalg.inv(mask.affine) @ image.affine
    places = (index @ to_mask[:3, :3].T + to_mask[:3, 3]) * mask.zooms
    same = labels.shape == mask.shape and np.allclose(image.affine, mask.file_affine, atol=1e-3)
    return _Voxels(name, labels[labels > 0], places, labels, np.linalg.inv(to_mask), not same)


def _grid_flags(voxels: _Voxels) -> tuple[Flag, ...]:
    if not voxels.is_other_grid:
        return ()
    reason = f"{Path(voxels.name).name} is on another grid than the mask; it was placed by its affine."
    return (Flag("labels_on_another_grid", reason),)


def _from_points(
    mask: Mask, line: Centerline, points: Mapping[int, FloatArray], *, guess: bool, name: str
) -> tuple[Levels, tuple[Flag, ...]]:
    """Levels from the places of discs."""
    curve = line.points_mm
    for disc, places in points.items():
        aside = distance_aside_mm(places, curve)
        if aside > FAR_DISC_MM:
            raise InputError(
                f"{name}: disc {disc} lies {aside:.0f} mm beside the cord of {mask.name}; it must be within "
                f"{FAR_DISC_MM:.0f} mm. Check that both are of the same image."
            )
    heights = {disc: project(places, curve, line.spacing_mm) for disc, places in points.items()}
    try:
        levels = levels_from_discs(heights, line.slices, spacing_mm=line.spacing_mm, guess=guess)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    flags = []
    if levels.missing_discs:
        missing = ", ".join(map(str, levels.missing_discs))
        said = "have the level above" if guess else "have no level"
        flags.append(
            Flag("disc_missing", f"Disc {missing} is missing; slices between its neighbours {said}.")
        )
    if not levels.of_slice.any():
        raise InputError(
            f"{name}: the discs lie beyond the cord of {mask.name}, so that no slice has a level."
        )
    return levels, tuple(flags)


def _from_map(voxels: _Voxels, mask: Mask, line: Centerline) -> tuple[Levels, tuple[Flag, ...]]:
    """Levels from a map: the label at the centreline, or the commonest one among the cord of the slice."""
    n = line.slices.size
    of_slice = np.zeros(n, dtype=int)
    shape = np.array(voxels.data.shape)
    for k in range(n):
        centre = np.array([[*line.points_mm[k]]]) / mask.zooms
        cord = np.argwhere(mask.soft[:, :, line.slices[k]] > 0.5)
        around = np.column_stack([cord, np.full(len(cord), line.slices[k])])
        for index in (centre, around):
            at = np.round(index @ voxels.from_mask[:3, :3].T + voxels.from_mask[:3, 3]).astype(int)
            at = at[np.all((at >= 0) & (at < shape), axis=1)]
            labels = voxels.data[tuple(at.T)]
            labels = labels[labels > 0]
            if labels.size:
                of_slice[k] = np.bincount(labels).argmax()
                break
    if not of_slice.any():
        raise InputError(f"{voxels.name}: no label lies on the cord of {mask.name}. Check that both match.")
    return Levels(of_slice, (), np.zeros(n, dtype=bool)), ()
