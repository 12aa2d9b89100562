"""Where the edge of the cord lies by the grey levels: half-way between those of cord and surroundings.

A voxel at the edge is cord as far as its grey level lies from that of the surroundings towards that of the
cord. Both are taken nearby, from voxels that lie whole on one side. Where the two hardly differ against the
noise, the grey level says little, and the share stays what it was.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.engines.intensity import GreyScale
from softcord.softseg import EDGE_INSET_MM

# of each: mm, and voxels across where they are larger
BAND = 2.0, 1.45  # on either side of the edge: where shares may change in one pass
SURE = 1.2, 1.1  # from the edge on, voxels lie whole on one side …
AROUND = 2.8, 2.3  # … and up to here, they are the cord's surroundings
BESIDE = 1.1  # voxels from the edge, where the contrast of an image is taken
WITHIN_REACH, AROUND_REACH, ALONG_REACH = 3.0, 2.0, 4.0  # mm: standard deviations of the weights of "nearby"
ENOUGH = 4.0  # squared contrast over noise at which the grey level counts half
USUAL = 0.25, 0.6  # shares of an image's usual contrast below which the grey level counts nothing, and all
LARGEST_MM = 1.6  # across: in larger voxels, too few lie whole on one side
PASSES = 2  # the second one starts from a better edge


def place_edges(
    image: FloatArray,
    shares: FloatArray,
    zooms: Zooms,
    *,
    rim: float = EDGE_INSET_MM,
    scale: GreyScale | None = None,
) -> FloatArray:
    """Shares whose edge follows the grey levels.

    Parameters
    ----------
    image : (I, J, K) array of float32
        RAS+, any grey scale, finite.
    shares : (I, J, K) array of float32 in [0, 1]
        With an edge that is right to a millimetre or so: a drawn mask, or what a network says.
    zooms : (3,) tuple of float, mm
    rim : float, mm
        How far within the half-way grey level the cord ends.
    scale : GreyScale, optional
        Of `image`: its planes are made equally bright.

    Returns
    -------
    placed : (I, J, K) array of float32 in [0, 1]
        Shares near the edge come from the grey levels as far as these are to be trusted; all others are as
        they were. Where the cord is not darker (or brighter) than its surroundings by a good part of what it
        is elsewhere in the image, as where fluid is too thin to be seen before what lies behind it, they are
        not; nor in voxels of more than 1.6 mm across.
    """
    placed = shares.astype(np.float32)
    mask = placed > 0.5
    if max(zooms[:2]) > LARGEST_MM + 1e-3 or not mask.any():  # float32 in headers: 1.6 may be a little more
        return placed
    where, in_view = _windows(mask, zooms)
    seen = image[where].astype(np.float64)
    if scale is not None:
        seen = (seen - scale.low) * scale.gains[where[2]]
    seen -= seen.mean()
    grey = (seen / max(float(np.abs(seen).max()), np.finfo(float).tiny)).astype(np.float32)
    part = placed[where]  # beyond the view, the cord goes on as it is at its border
    for _ in range(PASSES):
        by_grey, trust = _by_grey(grey, part, in_view, zooms)
        part = part + trust * (by_grey - part)
    # the whole rim wherever the edge is known, so that noise does not make the cord larger
    part = inset(part, np.minimum(2 * trust, 1) * np.float32(rim), zooms)
    i, j, k = (np.broadcast_to(index, in_view.shape)[in_view] for index in where)
    placed[i, j, k] = part[in_view]
    return placed


def _windows(mask: BoolArray, zooms: Zooms) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], BoolArray]:
    """Windows of one size that follow the mask from slice to slice.

    Returns
    -------
    where : tuple of (W, 1, K), (1, V, K) and (1, 1, K) array of int
        Index of each voxel; what would lie out of view is that of the nearest voxel within.
    in_view : (W, V, K) array of bool
    """
    slices = np.flatnonzero(mask.any(axis=(0, 1)))
    planes = np.arange(slices[0], slices[-1] + 1)
    indices: list[np.ndarray] = []
    inside: list[BoolArray] = []
    for axis in (0, 1):
        seen = np.asarray(mask.any(axis=1 - axis))[:, slices]
        first, last = seen.argmax(axis=0), seen.shape[0] - 1 - seen[::-1].argmax(axis=0)
        middle = np.rint(np.interp(planes, slices, (first + last) / 2)).astype(int)
        half = int(((last - first) // 2).max()) + int(np.ceil(6 / zooms[axis])) + 2
        index = middle + np.arange(-half, half + 1)[:, None]
        inside.append((index >= 0) & (index < mask.shape[axis]))
        indices.append(np.clip(index, 0, mask.shape[axis] - 1))
    i, j = indices
    in_view: BoolArray = inside[0][:, None] & inside[1][None]
    return (i[:, None], j[None], planes[None, None]), in_view


def _by_grey(
    grey: FloatArray, shares: FloatArray, in_view: BoolArray, zooms: Zooms
) -> tuple[FloatArray, FloatArray]:
    """The share of each voxel by its grey level, and how far that is to be trusted (0 to 1)."""
    largest = max(zooms[:2])
    band, sure, far = (max(mm, voxels * largest) for mm, voxels in (BAND, SURE, AROUND))
    depth = _depth(shares > 0.5, zooms)
    within = ((depth > sure) & in_view).astype(np.float32)
    around = ((depth < -sure) & (depth > -far) & in_view).astype(np.float32)
    cord, cord_noise, cord_known = _local(grey, within, WITHIN_REACH, zooms)
    other, other_noise, other_known = _local(grey, around, AROUND_REACH, zooms)
    known = cord_known & other_known
    gap = cord - other
    contrast = gap**2 / (cord_noise + other_noise + 1e-12)
    usual = _usual_gap(gap[known & (np.abs(depth) < BESIDE * largest)])
    low, high = USUAL
    as_usual = np.clip((gap / usual - low) / (high - low), 0, 1)
    trust = contrast / (contrast + ENOUGH) * as_usual * (known & (np.abs(depth) < band))
    by_grey = np.clip((grey - other) / np.where(np.abs(gap) < 1e-6, 1e-6, gap), 0, 1)
    return by_grey, trust.astype(np.float32)


def _usual_gap(gaps: FloatArray) -> float:
    """How much brighter (or darker, below 0) the cord of an image is than its surroundings, as a rule."""
    if not gaps.size or gaps.sum() == 0:
        return np.inf
    sign = float(np.sign(gaps.sum()))
    alike = gaps[np.sign(gaps) == sign]
    return float(np.median(alike))


def inset(shares: FloatArray, distance: FloatArray | float, zooms: Zooms) -> FloatArray:
    """Shares whose edge is moved inwards, within slices.

    Parameters
    ----------
    shares : (I, J, K) array of float32 in [0, 1]
    distance : float, or (I, J, K) array of float32, mm
        0 or more, and small against a voxel.
    zooms : (3,) tuple of float, mm

    Returns
    -------
    moved : (I, J, K) array of float32 in [0, 1]
        The area of each slice falls by the distance times its circumference, which is the sum of the gradient
        (coarea formula); no voxel falls below its lowest neighbour.
    """
    moved: FloatArray = np.clip(shares - distance * _fall(shares, zooms), 0, 1).astype(np.float32)
    return moved


def _fall(shares: FloatArray, zooms: Zooms) -> FloatArray:
    """Length of the gradient within slices, per mm, from each voxel to its lower neighbours (upwind)."""
    squares = np.zeros(shares.shape, dtype=np.float32)
    for axis in (0, 1):
        if shares.shape[axis] > 1:
            step = np.diff(shares, axis=axis) / np.float32(zooms[axis])
            pad = [(0, 0)] * 3
            pad[axis] = (1, 0)
            before = np.pad(step, pad)  # from the neighbour before to this voxel
            pad[axis] = (0, 1)
            behind = np.pad(-step, pad)
            squares += np.maximum(np.maximum(before, behind), 0) ** 2
    return np.sqrt(squares)


def _depth(mask: BoolArray, zooms: Zooms) -> FloatArray:
    """How deep each voxel lies within the mask, in its slice, mm; negative outside."""
    apart = (zooms[0], zooms[1], 1e4)  # so that the nearest voxel is never one of another slice
    depth: FloatArray = distance_transform_edt(mask, sampling=apart) - distance_transform_edt(
        ~mask, sampling=apart
    )
    return depth


def _local(
    grey: FloatArray, weights: FloatArray, reach: float, zooms: Zooms
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Mean and variance of the grey levels nearby of the voxels that count, and where there are any."""
    sigma = [reach / zooms[0], reach / zooms[1], ALONG_REACH / zooms[2]]
    middle = np.float32(grey[weights > 0].mean()) if weights.any() else np.float32(0)
    grey = grey - middle
    count, total, squares = (
        gaussian_filter(values, sigma, truncate=2) for values in (weights, weights * grey, weights * grey**2)
    )
    known = count > 1e-4
    count = np.maximum(count, 1e-6)
    mean = total / count
    return mean + middle, np.maximum(squares / count - mean**2, 0), known
