"""Compare one segmentation with its reference, in memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from softcord._typing import BoolArray, FloatArray
from softcord.flags import Flag
from softcord.masks import Labels, Mask, Point, check_same_grid, find_levels, read_mask
from softcord.morphometrics import SliceMeasures, measure_slices
from softcord.nifti import Image
from softcord.scores import average_surface_distance, dice, hausdorff_95, soft_dice, surface_distances
from softcord.softseg import threshold as cut

HALF = 0.5


@dataclass(frozen=True, slots=True)
class SliceError:
    """Areas of one slice.

    Attributes
    ----------
    slice : int
        0 is the lowest.
    level : int
        Vertebral level, 0 where unknown.
    area_mm2, reference_mm2 : float, mm²
        Areas, each corrected for its own angle; NaN without cord.
    is_partial : bool
        Whether one of them ends in this slice and fills it partly: its error is unknown.
    """

    slice: int
    level: int
    area_mm2: float
    reference_mm2: float
    is_partial: bool = False

    @property
    def error_mm2(self) -> float:
        """Area minus that of the reference; NaN if one is missing or partial."""
        return math.nan if self.is_partial else self.area_mm2 - self.reference_mm2

    @property
    def error_percent(self) -> float:
        """Error in percent of the reference."""
        return 100 * self.error_mm2 / self.reference_mm2


@dataclass(frozen=True)
class Evaluation:
    """How well a segmentation agrees with its reference.

    Attributes
    ----------
    dice, soft_dice : float
        Overlap of the masks at the threshold, and of the values as they are. NaN if both are empty.
    volume_error_percent : float
        Sum of the values, against that of the reference.
    assd_mm, hd95_mm : float, mm
        Mean distance of surfaces, and the larger 95th percentile of the two directions. NaN if one is empty.
    slices : tuple of SliceError
        Every slice in which one of them has cord.
    n_slices : int
        Slices in which the reference has cord.
    n_missed, n_extra : int
        Slices with cord in the reference alone, and in the segmentation alone (voxels above the threshold).
    note : str
        ``"both_empty"``, ``"prediction_empty"``, ``"reference_empty"`` or nothing.
    flags : tuple of Flag
        What was odd about the files.
    """

    dice: float = math.nan
    soft_dice: float = math.nan
    volume_error_percent: float = math.nan
    assd_mm: float = math.nan
    hd95_mm: float = math.nan
    slices: tuple[SliceError, ...] = ()
    n_slices: int = 0
    n_missed: int = 0
    n_extra: int = 0
    note: str = ""
    flags: tuple[Flag, ...] = field(default=())

    @property
    def area_error_mm2(self) -> float:
        """Mean error of areas over the slices that both have; NaN if there is none."""
        return _mean([error.error_mm2 for error in self.slices])

    @property
    def area_error_percent(self) -> float:
        """Mean relative error of areas."""
        return _mean([error.error_percent for error in self.slices])

    @property
    def area_absolute_error_mm2(self) -> float:
        """Mean size of the errors of areas."""
        return _mean([abs(error.error_mm2) for error in self.slices])

    @property
    def area_absolute_error_percent(self) -> float:
        """Mean size of the relative errors of areas."""
        return _mean([abs(error.error_percent) for error in self.slices])

    def at_levels(self) -> dict[int, tuple[SliceError, ...]]:
        """Slices by vertebral level, from C1; those of unknown level are left out."""
        present = sorted({error.level for error in self.slices if error.level})
        return {level: tuple(e for e in self.slices if e.level == level) for level in present}


def evaluate(
    prediction: Image | str | Path,
    reference: Image | str | Path,
    *,
    threshold: float = HALF,
    levels: Labels | None = None,
    discs: Labels | Mapping[int, Point] | None = None,
    within_reference: bool = False,
) -> Evaluation:
    """Compare a segmentation with a reference on the same grid.

    Parameters
    ----------
    prediction, reference : nibabel image or path, (I, J, K)
        Soft segmentations or masks, in any orientation.
    threshold : float in [0, 1)
        Share of cord that a voxel of a mask exceeds, in both.
    levels, discs : nibabel image, path or mapping, optional
        Vertebral levels, as for `softcord.csa`; projected on the reference.
    within_reference : bool
        Compare only slices in which the reference has cord, as references often end before the image does.

    Returns
    -------
    evaluation : Evaluation

    Raises
    ------
    GeometryError
        If the two are not on one grid.
    InputError
        If one cannot be read.

    Examples
    --------
    >>> import nibabel as nib
    >>> share = np.zeros((12, 12, 5), dtype=np.float32)
    >>> share[3:9, 4:8, 1:4] = 1
    >>> truth = nib.Nifti1Image(share, np.eye(4))
    >>> result = evaluate(nib.Nifti1Image(share * np.float32(0.75), np.eye(4)), truth)
    >>> result.dice, result.hd95_mm, round(result.volume_error_percent, 3)
    (1.0, 0.0, -25.0)
    """
    one, other = (read_mask(image, allow_empty=True) for image in (prediction, reference))
    check_same_grid(one, other)
    soft, truth = one.soft, other.soft
    if within_reference and truth.any():
        covered = (
            (truth > threshold).any(axis=(0, 1)) if (truth > threshold).any() else truth.any(axis=(0, 1))
        )
        soft = np.where(covered, soft, np.float32(0))
    flags = tuple(dict.fromkeys((*one.flags, *other.flags)))
    masks = cut(soft, threshold), cut(truth, threshold)
    held = [mask.any(axis=(0, 1)) for mask in masks]
    counts = {
        "n_slices": int(held[1].sum()),
        "n_missed": int((held[1] & ~held[0]).sum()),
        "n_extra": int((held[0] & ~held[1]).sum()),
    }
    note = _note(bool(soft.any()), bool(truth.any()))
    if note == "both_empty":
        return Evaluation(note=note, flags=flags)
    volume = float(truth.sum(dtype=np.float64))
    error = 100 * (float(soft.sum(dtype=np.float64)) / volume - 1) if volume else math.nan
    hard = dice(*masks) if masks[0].any() or masks[1].any() else math.nan
    assd = hd95 = math.nan
    if masks[0].any() and masks[1].any():
        distances = surface_distances(*masks, one.zooms)
        assd, hd95 = average_surface_distance(*distances), hausdorff_95(*distances)
    slices = _slices(replace(one, soft=soft), other, levels, discs) if not note else ()
    return Evaluation(
        dice=hard,
        soft_dice=soft_dice(soft, truth),
        volume_error_percent=error,
        assd_mm=assd,
        hd95_mm=hd95,
        slices=slices,
        note=note,
        flags=flags,
        **counts,
    )


def _note(has_prediction: bool, has_reference: bool) -> str:  # noqa: FBT001
    if has_prediction and has_reference:
        return ""
    if has_prediction:
        return "reference_empty"
    return "prediction_empty" if has_reference else "both_empty"


def _slices(
    one: Mask, other: Mask, levels: Labels | None, discs: Labels | Mapping[int, Point] | None
) -> tuple[SliceError, ...]:
    """Areas of both in every slice where one has cord."""
    measured = [measure_slices(mask.soft, mask.zooms) for mask in (one, other)]
    n = one.soft.shape[2]
    areas = [_on_grid(measures, measures.values["area_mm2"], n) for measures in measured]
    partial = np.any([_on_grid(measures, measures.is_partial, n) == 1 for measures in measured], axis=0)
    of_slice = np.zeros(n, dtype=int)
    if levels is not None or discs is not None:
        found, _ = find_levels(other, measured[1].centerline, levels=levels, discs=discs)
        of_slice[measured[1].slices] = found.of_slice
    held = np.flatnonzero(np.isfinite(areas[0]) | np.isfinite(areas[1]))
    return tuple(
        SliceError(int(k), int(of_slice[k]), float(areas[0][k]), float(areas[1][k]), bool(partial[k]))
        for k in held
    )


def _on_grid(measures: SliceMeasures, values: FloatArray | BoolArray, n: int) -> FloatArray:
    """Values for all slices of the volume, NaN beyond the cord."""
    all_slices = np.full(n, np.nan)
    all_slices[measures.slices] = values
    return all_slices


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
