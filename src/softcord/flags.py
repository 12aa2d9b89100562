"""Why a result may be wrong: checks on a soft segmentation, from numbers alone.

A flag is a reason to look, not a verdict: it drops no data, and a diseased cord may rightly have some. What
is doubtful in a header is found in `softcord.nifti`. Vertebral levels are not known here, so the ranges of
area and diameter are those of the whole cord, wider than those of any level.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.errors import GeometryError
from softcord.softseg import LEAST_AREA_MM2, Box, bounding_box, slice_areas

# Norms of healthy people, per slice of the PAM50 space, measured with SCT (spine-generic multi-subject, 203
# people, and whole-spine, 58): between 0.1 and 99.9 % of people, the area goes from 22.7 mm² at T4 to 123 mm²
# at C1, the diameters from 4.0 to 11.5 mm (front to back) and from 5.8 to 15.7 mm (right to left), down to
# T9. The limits lie a little outside, for cords that are cut obliquely.
AREA_MM2 = (20.0, 130.0)
DIAMETER_AP_MM = (3.5, 12.5)
DIAMETER_RL_MM = (5.0, 17.0)
OUT_OF_RANGE_SHARE = 0.05  # of the slices that are looked at; a smaller share is noise

# In healthy people, 99.9 % of neighbouring slices 0.5 mm apart differ by less than 5.6 % of their area, after
# the smoothing of the PAM50 space. Hand-drawn masks at 1 mm differ by up to 18 %, and steps grow with the
# distance of the slices, as those of a random walk do.
AREA_JUMP = 0.2  # of the smaller area, between slices 1 mm apart or nearer
LARGEST_AREA_JUMP = 0.6  # however far apart

# Slices so near to an end of the segmentation may be partial; most jumps of healthy areas are found there.
END_MM = 3.0

NEARLY_EMPTY_MM3 = 150.0  # 2 mm of a cervical cord
PIECE_MM3 = 10.0  # smaller pieces are specks

# A sharp edge on pixels of 1 mm gives a rim 1 mm wide. The limit is about twice what a sharp edge, a cord
# that is oblique by 15 to 20 degrees to thick slices, and a network on its own grid give together.
RIM_MM = 1.0
RIM_PER_PIXEL = 1.5
RIM_PER_SLICE = 0.3

# Masks drawn on T1w, T2w, T2*w and MT images give 1.4 to 14; the fluid next to the cord is 1 to 5 mm wide.
CONTRAST = 0.5  # difference between cord and surroundings over the deviation of intensities in the cord
RING_MM = 1.5  # how far the surroundings go

_CORD = 0.5  # a voxel with more than that counts as cord
_CORE = 0.9  # a voxel with more than that has hardly any partial volume
_RIM = 0.1  # a voxel with more than that belongs to the rim


@dataclass(frozen=True, slots=True)
class Flag:
    """One reason to look at a result before using it.

    Attributes
    ----------
    code : str
        Short name in snake_case, the same in tables, sidecars and pages.
    reason : str
        One sentence for a person, with the numbers behind it.
    """

    code: str
    reason: str


def check_segmentation(
    soft: FloatArray, zooms: Zooms, *, image: FloatArray | None = None
) -> tuple[Flag, ...]:
    """Flags of a soft segmentation.

    Parameters
    ----------
    soft : (I, J, K) array of float32 in [0, 1]
        Soft segmentation in RAS+ order: axis 2 runs to the head, a slice is axial.
    zooms : (3,) tuple of float, mm
        Voxel size.
    image : (I, J, K) array of float32, optional
        Intensities; without them, contrast is not looked at.

    Returns
    -------
    flags : tuple of Flag
        Those that apply, in this order: `no_cord` (then alone), `nearly_empty`, `several_pieces`, `gaps`,
        `touches_edge`, `area_out_of_range`, `diameter_out_of_range`, `area_jump`, `blurred_rim`,
        `low_contrast`.

    Raises
    ------
    GeometryError
        If `soft` is not 3-D, or `image` has another shape.

    Examples
    --------
    >>> [flag.code for flag in check_segmentation(np.zeros((4, 4, 4), dtype=np.float32), (1.0, 1.0, 1.0))]
    ['no_cord']
    """
    if soft.ndim != 3 or (image is not None and image.shape != soft.shape):
        other = "" if image is None else f" and an image of shape {image.shape}"
        raise GeometryError(f"A segmentation is 3-D and on the grid of its image, got {soft.shape}{other}.")
    box = bounding_box(soft)
    if box is None:
        return (Flag("no_cord", "No voxel holds cord."),)
    cord = _look_at(soft, zooms, box)
    flags = [
        _nearly_empty(cord),
        _several_pieces(cord),
        _gaps(cord),
        _touches_edge(cord),
        _area_out_of_range(cord),
        _diameter_out_of_range(cord),
        _area_jump(cord),
        _blurred_rim(cord),
        None if image is None else _low_contrast(cord, image),
    ]
    return tuple(flag for flag in flags if flag)


@dataclass(frozen=True, slots=True)
class _Cord:
    """What the checks share.

    Attributes
    ----------
    part : (I', J', K') array of float
        The block `box` of the segmentation, which holds all of the cord.
    is_cord : (I', J', K') array of bool
        Its voxels that are more than half cord.
    areas : (K',) array of float, mm²
    is_held : (K',) array of bool
        Slices that hold cord.
    is_inner : (K',) array of bool
        Those of them that are not at an end of the cord, where slices are partial or the cord tapers.
    """

    zooms: Zooms
    shape: tuple[int, ...]
    box: Box
    part: FloatArray
    is_cord: BoolArray
    areas: FloatArray
    is_held: BoolArray
    is_inner: BoolArray


def _look_at(soft: FloatArray, zooms: Zooms, box: Box) -> _Cord:
    part = soft[box]
    areas = slice_areas(part, zooms)
    is_held: BoolArray = areas >= LEAST_AREA_MM2
    is_inner = is_held & ~_ends(areas, is_held, zooms[2])
    return _Cord(zooms, soft.shape, box, part, part > _CORD, areas, is_held, is_inner)


def _ends(areas: FloatArray, is_held: BoolArray, spacing: float) -> BoolArray:
    """Slices within `END_MM` of an end of the cord, one at least; and all of an end that is thin.

    Thin slices, as those of the conus, are no end if they make up half of the cord.
    """
    ends = np.zeros_like(is_held)
    held = np.flatnonzero(is_held)
    is_thin = areas[held] < AREA_MM2[0]
    n_partial = max(1, math.ceil(END_MM / spacing - 1e-6))
    n_thin = [int(np.logical_and.accumulate(inwards).sum()) for inwards in (is_thin, is_thin[::-1])]
    if 2 * sum(n_thin) >= held.size:
        n_thin = [0, 0]
    bottom, top = (max(n_partial, n) for n in n_thin)
    ends[held[:bottom]] = True
    ends[held[max(0, held.size - top) :]] = True
    return ends


def _nearly_empty(cord: _Cord) -> Flag | None:
    volume = float(cord.areas.sum()) * cord.zooms[2]
    least = min(NEARLY_EMPTY_MM3, AREA_MM2[0] * cord.shape[2] * cord.zooms[2])
    if volume < least:
        return Flag(
            "nearly_empty", f"The cord has {volume:.0f} mm³; less than {least:.0f} mm³ is hardly any."
        )
    if not cord.is_cord.any():
        highest = float(cord.part.max())
        return Flag("nearly_empty", f"No voxel is more than half cord; the highest value is {highest:.2f}.")
    return None


def _several_pieces(cord: _Cord) -> Flag | None:
    pieces, n_pieces = ndimage.label(cord.is_cord, np.ones((3, 3, 3), dtype=bool))
    if n_pieces < 2:
        return None
    volumes = np.bincount(pieces.ravel())[1:] * math.prod(cord.zooms)
    large = volumes[volumes >= PIECE_MM3]
    if large.size < 2:
        return None
    share = 100 * large.max() / large.sum()
    return Flag("several_pieces", f"The cord is in {large.size} pieces; the largest has {share:.0f} % of it.")


def _gaps(cord: _Cord) -> Flag | None:
    held = np.flatnonzero(cord.is_held)
    if not held.size:
        return None
    n_slices = int(held[-1] - held[0]) + 1
    n_empty = n_slices - held.size
    if not n_empty:
        return None
    length = n_empty * cord.zooms[2]
    return Flag("gaps", f"{n_empty} of {n_slices} slices along the cord hold none of it ({length:.1f} mm).")


def _touches_edge(cord: _Cord) -> Flag | None:
    """Flag for a cord that leaves the view sideways; at its ends it may."""
    edges = []
    for axis, (low, high) in enumerate((("left", "right"), ("back", "front"))):
        span, planes = cord.box[axis], np.moveaxis(cord.is_cord, axis, 0)
        if span.start == 0:
            edges.append((low, int(np.count_nonzero(planes[0].any(axis=0)))))
        if span.stop == cord.shape[axis]:
            edges.append((high, int(np.count_nonzero(planes[-1].any(axis=0)))))
    where = " and ".join(f"the {name} edge of the view in {n} slices" for name, n in edges if n)
    if not where:
        return None
    return Flag("touches_edge", f"The cord reaches {where}, so that part of it may be missing.")


def _area_out_of_range(cord: _Cord) -> Flag | None:
    return _out_of_range("area_out_of_range", "an area", cord.areas[cord.is_inner], AREA_MM2, "mm²")


def _diameter_out_of_range(cord: _Cord) -> Flag | None:
    code, part = "diameter_out_of_range", cord.part[:, :, cord.is_inner]
    along, across = _diameters(part, 1, cord.zooms[1]), _diameters(part, 0, cord.zooms[0])
    flag = _out_of_range(code, "a diameter from front to back", along, DIAMETER_AP_MM, "mm")
    return flag or _out_of_range(code, "a diameter from right to left", across, DIAMETER_RL_MM, "mm")


def _out_of_range(
    code: str, what: str, values: FloatArray, limits: tuple[float, float], unit: str
) -> Flag | None:
    low, high = limits
    n_out = int(np.count_nonzero((values < low) | (values > high)))
    if n_out <= OUT_OF_RANGE_SHARE * values.size:
        return None
    found = f"all: {values.min():.1f} to {values.max():.1f} {unit}"
    reason = f"{n_out} of {values.size} slices have {what} outside {low:g} to {high:g} {unit} ({found})."
    return Flag(code, reason)


def _diameters(part: FloatArray, axis: int, zoom: float) -> FloatArray:
    """(K,) array, mm: diameter along an axis of the ellipse with the spread of the values in each slice.

    A pixel's own width adds a twelfth of its square to the variance, which is taken off.
    """
    weights = part.sum(axis=1 - axis, dtype=np.float64)
    total = weights.sum(axis=0)
    place = (np.arange(weights.shape[0]) * zoom)[:, None]
    mean = (weights * place).sum(axis=0) / total
    variance = (weights * (place - mean) ** 2).sum(axis=0) / total - zoom**2 / 12
    diameters: FloatArray = 4 * np.sqrt(np.maximum(variance, 0))
    return diameters


def _area_jump(cord: _Cord) -> Flag | None:
    below, above = cord.areas[:-1], cord.areas[1:]
    pairs = cord.is_inner[:-1] & cord.is_inner[1:]
    jumps = np.where(pairs, np.abs(above - below) / np.maximum(np.minimum(above, below), LEAST_AREA_MM2), 0)
    allowed = min(LARGEST_AREA_JUMP, AREA_JUMP * math.sqrt(max(1.0, cord.zooms[2])))
    n_jumps = int(np.count_nonzero(jumps > allowed))
    if not n_jumps:
        return None
    worst = int(jumps.argmax())
    reason = (
        f"The area changes by more than {100 * allowed:.0f} % from slice to slice {n_jumps} times, at worst "
        f"from {below[worst]:.0f} to {above[worst]:.0f} mm² over {cord.zooms[2]:.1f} mm."
    )
    return Flag("area_jump", reason)


def _blurred_rim(cord: _Cord) -> Flag | None:
    """Flag for a rim wider than sharp edges give.

    Across an edge where values fall evenly from 1 to 0 over a width w, ``4 s (1 - s)`` integrates to
    ``2 w / 3``. The length of the edge is that of an ellipse with the area of the slice and axes as 2 to 3.
    """
    if not cord.is_inner.any():
        return None
    part = cord.part[:, :, cord.is_inner]
    partial = 4 * float((part * (1 - part)).sum(dtype=np.float64)) * cord.zooms[0] * cord.zooms[1]
    edge = 1.03 * float(np.sqrt(4 * math.pi * cord.areas[cord.is_inner]).sum())
    width = 1.5 * partial / edge
    limit = RIM_MM + RIM_PER_PIXEL * max(cord.zooms[:2]) + RIM_PER_SLICE * cord.zooms[2]
    if width <= limit:
        return None
    return Flag("blurred_rim", f"The edge of the cord is {width:.1f} mm wide; up to {limit:.1f} mm is usual.")


def _low_contrast(cord: _Cord, image: FloatArray) -> Flag | None:
    """Flag for a cord whose intensities are like those around it."""
    reach = [max(1, math.ceil(RING_MM / zoom - 1e-6)) for zoom in cord.zooms[:2]]
    margins = [
        (min(span.start, n), min(size - span.stop, n))
        for span, n, size in zip(cord.box, [*reach, 0], cord.shape, strict=True)
    ]
    i, j, k = (
        slice(span.start - before, span.stop + after)
        for span, (before, after) in zip(cord.box, margins, strict=True)
    )
    near = np.pad(cord.part > _RIM, margins).view(np.uint8)
    around = near
    for axis, n in enumerate(reach):
        around = ndimage.maximum_filter1d(around, 2 * n + 1, axis=axis, mode="constant")
    core = np.pad(cord.part > (_CORE if cord.part.max() > _CORE else _CORD), margins)
    used = cord.is_inner if cord.is_inner.any() else cord.is_held
    contrasts = _contrasts(image[i, j, k][:, :, used], core[:, :, used], (around > near)[:, :, used])
    if not contrasts.size or np.median(contrasts) >= CONTRAST:
        return None
    found = f"{np.median(contrasts):.1f} times the deviation within the cord"
    return Flag("low_contrast", f"Cord and surroundings differ by {found}; above {CONTRAST:g} is usual.")


def _contrasts(voxels: FloatArray, core: BoolArray, ring: BoolArray) -> FloatArray:
    """Difference of the means of ring and core over the deviation in the core, for slices that have both."""
    n_core, n_ring = core.sum(axis=(0, 1)), ring.sum(axis=(0, 1))
    usable = (n_core > 4) & (n_ring > 4)
    voxels, core, ring = voxels[:, :, usable], core[:, :, usable], ring[:, :, usable]
    mean_core = np.where(core, voxels, 0).sum(axis=(0, 1), dtype=np.float64) / n_core[usable]
    mean_ring = np.where(ring, voxels, 0).sum(axis=(0, 1), dtype=np.float64) / n_ring[usable]
    squares = np.where(core, voxels - mean_core, 0) ** 2
    deviation = np.sqrt(squares.sum(axis=(0, 1)) / n_core[usable])
    difference = np.abs(mean_ring - mean_core)
    contrasts: FloatArray = difference / np.maximum(deviation, 1e-6 * difference + 1e-12)
    return contrasts
