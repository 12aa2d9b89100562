"""The mean of one person's labels over contrasts, on the grid of each image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from softcord._typing import FloatArray
from softcord.dataset.registration import Alignment, align_centers, align_rigidly, chain, stay
from softcord.dataset.sampling import Shares, box_affine, box_of, sample
from softcord.flags import Flag
from softcord.nifti import zooms_of

Method: TypeAlias = Literal["centermass", "rigid", "none"]

_MARGIN_MM = 8.0  # around a label: no aligned label of the same cord reaches farther
_POOR_DICE = 0.8
_LARGE_SHIFT_MM = 10.0
_AREAS_DIFFER = 0.15
_WORSE_DICE = 0.02  # by which a rigid alignment may be worse than none


@dataclass(frozen=True)
class Member:
    """One image of a person with its label.

    Attributes
    ----------
    name, contrast : str
    image : (I, J, K) array of float or None
        On canonical axes; only rigid registration needs it.
    label : Shares
        On the grid of the image.
    """

    name: str
    contrast: str
    image: np.ndarray | None
    label: Shares


@dataclass(frozen=True)
class SoftLabel:
    """What became of one image's label.

    Attributes
    ----------
    shares : (I, J, K) array of float32 in [0, 1]
        On the grid of the image; 0 outside the slices that its own label covers.
    n_contrasts : int
        Images whose labels had a part in it.
    shift_mm : float, mm
        How far its cord was moved to that of the reference.
    dice : float
        Soft Dice of its own label with the mean.
    area_mm2, mean_area_mm2 : float, mm²
        Mean area over the covered slices: of its own label, and of the mean.
    flags : tuple of Flag
    """

    shares: FloatArray
    n_contrasts: int
    shift_mm: float
    dice: float
    area_mm2: float
    mean_area_mm2: float
    flags: tuple[Flag, ...]


def average_contrasts(
    members: Sequence[Member], *, reference: str = "T2w", method: Method = "centermass"
) -> list[SoftLabel]:
    """Mean label of one person on every grid.

    Parameters
    ----------
    members : sequence of Member
        Images of one person in one session.
    reference : str
        Contrast onto which the others are aligned; if there is none, the image that shows most of the cord.
    method : {"centermass", "rigid", "none"}
        Centres of mass slice by slice; a rigid movement of the whole image; or the scanner's coordinates.

    Returns
    -------
    labels : list of SoftLabel
        One for each member, in their order.

    Notes
    -----
    A voxel's value is the mean of what the labels say of its place, over those that cover it: those in whose
    field of view and labelled slices it lies. Each label is interpolated once, straight from its own grid to
    that of the image, and the image's own label not at all; a voxel that is larger than those of a label is
    averaged over. A label that covers part of a voxel counts by that part.
    """
    first = _reference(members, reference)
    aligned = [_align(member, first, method) for member in members]
    return [_mean(n, members, [one for one, _ in aligned], aligned[n][1]) for n in range(len(members))]


def _reference(members: Sequence[Member], contrast: str) -> Member:
    wanted = [member for member in members if member.contrast == contrast] or list(members)
    return max(wanted, key=lambda member: (_length_mm(member.label), member.name))


def _length_mm(label: Shares) -> float:
    return float(label.covered.sum()) * zooms_of(label.affine)[2]


def _align(member: Member, reference: Member, method: Method) -> tuple[Alignment, tuple[Flag, ...]]:
    """How a member is moved onto the reference, and what is odd about it."""
    if member is reference or method == "none":
        return stay(), ()
    if method == "centermass":
        found = align_centers(member.label, reference.label)
    else:
        assert member.image is not None and reference.image is not None  # noqa: S101, PT018  read for this
        found = align_rigidly(member.image, member.label.affine, reference.image, reference.label)
        if found.is_known:
            before, after = (_overlap(member, reference, one) for one in (stay(), found))
            if after < before - _WORSE_DICE:
                reason = (
                    f"Aligned, labels overlap by {after:.2f} instead of {before:.2f}; it was left as it is."
                )
                return stay(), (Flag("registration_rejected", reason),)
    if not found.is_known:
        reason = f"{member.name} and {reference.name} show no common part of the cord; it was left as it is."
        return stay(), (Flag("registration_impossible", reason),)
    if found.shift_mm > _LARGE_SHIFT_MM:
        reason = f"The cord was moved by up to {found.shift_mm:.1f} mm onto that of {reference.name}."
        return found, (Flag("large_shift", reason),)
    return found, ()


def _overlap(member: Member, reference: Member, alignment: Alignment) -> float:
    """Soft Dice of two labels on the grid of the reference, where both cover it."""
    target = reference.label
    box = box_of(target.data, target.affine, target.data.shape, target.affine, margin=_MARGIN_MM)
    affine = box_affine(target.affine, box)
    size = tuple(part.stop - part.start for part in box)
    shares, coverage = sample(member.label, size, affine, move=alignment.from_reference)
    return _dice(shares, target.data[box] * target.covered[box[2]], coverage > 0)


def _mean(
    own: int, members: Sequence[Member], alignments: Sequence[Alignment], flags: tuple[Flag, ...]
) -> SoftLabel:
    """Mean over the members on the grid of one of them."""
    target = members[own].label
    box = box_of(target.data, target.affine, target.data.shape, target.affine, margin=_MARGIN_MM)
    affine = box_affine(target.affine, box)
    size = tuple(part.stop - part.start for part in box)
    covered = target.covered[box[2]]
    mine = target.data[box] * covered
    total = mine.astype(np.float64)
    weight = np.broadcast_to(covered.astype(np.float64), size).copy()
    n_contrasts = 1
    for n, member in enumerate(members):
        if n != own:
            move = chain(alignments[own].to_reference, alignments[n].from_reference)
            shares, coverage = sample(member.label, size, affine, move=move)
            coverage = coverage * covered
            n_contrasts += bool(np.any(coverage[mine > 0]))
            total += shares * coverage
            weight += coverage
    mean = np.divide(total, weight, out=np.zeros(size), where=weight > 0) * covered
    mean = np.clip(mean, 0, 1).astype(np.float32)
    whole = np.zeros(target.data.shape, dtype=np.float32)
    whole[box] = mean
    pixel = float(np.prod(zooms_of(target.affine)[:2]))
    areas = [float(one.sum(dtype=np.float64)) * pixel / covered.sum() for one in (mine, mean)]
    dice = _dice(mine, mean, np.ones(size, dtype=bool))
    more = _doubts(n_contrasts, len(members), dice, areas[0], areas[1])
    shift = alignments[own].shift_mm
    return SoftLabel(whole, n_contrasts, shift, dice, areas[0], areas[1], (*flags, *more))


def _doubts(n_contrasts: int, n_images: int, dice: float, area: float, mean_area: float) -> list[Flag]:
    flags = []
    if n_contrasts == 1:
        why = "no other image" if n_images == 1 else "no other image covers this cord"
        flags.append(Flag("single_contrast", f"The label is that of the image alone: {why}."))
    if dice < _POOR_DICE:
        flags.append(
            Flag(
                "poor_overlap",
                f"Soft Dice of the own label with the mean is {dice:.2f}, below {_POOR_DICE:g}.",
            )
        )
    if abs(area / mean_area - 1) > _AREAS_DIFFER:
        reason = f"The mean area of the own label is {area:.1f} mm², that of the mean {mean_area:.1f} mm²."
        flags.append(Flag("areas_differ", reason))
    return flags


def _dice(one: FloatArray, other: FloatArray, where: np.ndarray) -> float:
    both = 2 * float(np.minimum(one, other)[where].sum(dtype=np.float64))
    either = float(one[where].sum(dtype=np.float64) + other[where].sum(dtype=np.float64))
    return both / either if either else 0.0
