"""Where the edge of the cord lies by the grey levels: half-way between those of cord and surroundings.

From the edge that a network has found, grey levels are read along directions from the middle of the cord. The
cord's own are taken well within, those of its surroundings where they first differ most from it: fluid, which
may be thinner than a voxel before something else begins. Where the two hardly differ, the grey level says
little, and the edge stays where it was.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.special import ndtr

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.engines.intensity import GreyScale
from softcord.engines.outline import ANGLES, LEAST_MM, MARGIN_MM, Outline, draw, in_view, outline_of, step_mm
from softcord.softseg import EDGE_INSET_MM

LARGEST_MM = 2.0  # across: in larger voxels, grey levels say no more than the network does
PASSES = 3  # each starts from a better edge
# mm from the edge, outwards
WITHIN = -1.8, -0.9  # the cord; voxels where these are larger than a millimetre …
SEEN_MM = 3.4  # … from its first place up to here, grey levels are read
BEYOND = 0.4, 2.2  # where the surroundings differ most from the cord
FLANK_MM = 2.5  # so far beyond that place, they may have changed to something else …
FALLEN = 0.5  # … to less than that of the difference
FARTHEST_MM = 2.0  # no edge is further from where it was
# standard deviations of Gaussian weights of "nearby", mm around and along the cord
CORD_NEAR = 1.5, 3.0  # its grey level
GAP_NEAR = 1.5, 1.5  # the difference of its surroundings
NOISE_NEAR = 0.7, 1.5  # what is averaged against noise
EDGE_NEAR = 1.0, 1.5  # the edge
SHIFT_NEAR = 8.0  # along: by how much edges that are seen were off
ROUND_NEAR = 4.0  # along: the round outline that goes on where the edge is not seen
ASTRAY_MM = 0.4  # from edges nearby, at which an edge counts half
ENOUGH = 2.0, 4.0  # standard deviations within the cord below which a difference counts nothing, and all
USUAL = 0.25, 0.6  # shares of an image's usual difference below which a grey level counts nothing, and all
LARGEST = 1.5  # upper quartiles of all: what differs more is something else beside the cord, as a vessel
STAIRS_MM = 0.7  # around the cord: what is smoothed away before
LEAST_COUNT = 0.01  # places of the cord nearby without which its grey level is not known
FEW = 0.1  # weight of the round outline beside edges that are seen
PART_SEEN = 0.15  # of the edge, seen: half as sure is the round outline then
FEW_ALL = 0.035  # weight, in the round outline, of the edge as it was
BLUR = 0.5  # of a voxel: standard deviation of what a voxel and its interpolation see
THICKEST_MM = 5.0  # slices further apart are taken to be this thick, with gaps
LEAN_NEAR = 5.0  # mm along the cord in which it leans much the same
MOST_LEANING_MM = 0.6  # of blur, by the cord's lean within a slice: what leans more is no small blur
# whether surroundings are brighter: near a logistic regression on rods in thin fluid, phantoms and images
KNOWN, STEEP = 1.0, 0.25  # mm: worth of an edge known all around, and of a logarithm of steepness
STEEPEST = 3.0  # of that logarithm
SLOPE_MM, SLOPE_NEAR_MM = 0.4, 0.5  # how fine, and how near to the edge, slopes are taken
BENT = -0.2, 0.6  # per mm: least and most curvature that an edge may have, for what blur has done to it
SURE = 0.6, 0.85  # upper quartile of a slice's shares below which it stays, and from which on it does not


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
        As far as the grey levels are to be trusted, a voxel has the share that lies within their edge; others
        are as they were. The grey levels are not trusted where the cord is not darker (or brighter) than its
        surroundings by a good part of what it is elsewhere in the image, as where fluid is too thin to be
        seen before what lies behind it; nor in voxels of more than 2 mm across; nor in slices whose section
        is not one piece that can be seen whole from its middle.
    """
    placed = shares.astype(np.float32)
    if max(zooms[:2]) > LARGEST_MM + 1e-3:  # float32 in headers: 2.0 may be a little more
        return placed
    outline = outline_of(placed, zooms)
    if outline is None:
        return placed
    found, known = _edge_by_grey(image, outline, scale)
    clear = np.minimum(2 * known, 1)  # the whole rim wherever the edge is known
    inwards = rim * clear * found.slant()
    edge = replace(found, radius=np.maximum(found.radius - inwards, 0))
    for drawn in draw(edge, clear, (shares.shape[0], shares.shape[1])):
        old = placed[drawn.where]
        counts = drawn.extra * (drawn.distance < MARGIN_MM) * _sureness(old)
        placed[drawn.where] = old + counts * (drawn.share - old)
    return placed


def _sureness(shares: FloatArray) -> float:
    """How sure it is that a slice holds cord, and all across it: at an end, it may hold some."""
    low, high = SURE
    cord = np.sort(shares[shares > 0.5])
    return float(np.clip((cord[3 * cord.size // 4] - low) / (high - low), 0, 1)) if cord.size else 0.0


def _edge_by_grey(image: FloatArray, outline: Outline, scale: GreyScale | None) -> tuple[Outline, FloatArray]:
    """The edge by the grey levels, and how far it is known (N, K), 0 to 1, be it by others around it.

    Whether the surroundings are brighter or darker than the cord is not said. Both are tried. For one speaks
    that it moves the edge less where it is known, that more of it is known, and that grey levels change by
    more near the edge as it came.
    """
    held = outline.held
    counted = np.broadcast_to(held, outline.radius.shape).astype(np.float64)
    smooth = outline.smooth(outline.radius, counted, STAIRS_MM, 0.0)  # a mask has stairs
    start = replace(outline, radius=np.maximum(smooth, LEAST_MM))
    first = _read(image, start, counted, scale)
    brighter, darker = (_followed(image, first, counted, scale, sign) for sign in (1.0, -1.0))
    steeper = float(np.clip(_steeper(first), -STEEPEST, STEEPEST))
    (far, much), (other_far, other_much) = (
        _moved(start, edge, known) for edge, known, _ in (brighter, darker)
    )
    says_brighter = other_far - far + KNOWN * (much - other_much) + STEEP * steeper
    edge, _, known_at_all = brighter if says_brighter >= 0 else darker
    return edge, known_at_all


def _moved(start: Outline, edge: Outline, known: FloatArray) -> tuple[float, float]:
    """How far an edge moved where it is known, mm, and how much of it is known, 0 to 1."""
    held = start.held
    much = float(known[:, held].mean())
    far = float((known * np.abs(edge.radius - start.radius))[:, held].mean())
    return far / max(much, 1e-9), much


def _followed(
    image: FloatArray, first: "_Profiles", counted: FloatArray, scale: GreyScale | None, sign: float
) -> tuple[Outline, FloatArray, FloatArray]:
    """The edge, if surroundings are brighter (sign 1) or darker (-1) than cord.

    And how far it is known, see `_agreed`.
    """
    start = edge = first.edge
    known = known_at_all = np.zeros_like(counted)
    for number in range(PASSES):
        profiles = _read(image, edge, counted, scale) if number else first
        moved, known, known_at_all = _agreed(*_find(profiles, sign), edge)
        radius = np.clip(edge.radius + moved, start.radius - FARTHEST_MM, start.radius + FARTHEST_MM)
        edge = replace(edge, radius=np.maximum(radius, LEAST_MM))
    # blur moves the half-way grey level of a convex edge inwards
    outwards = np.clip(edge.curvature(), *BENT) * _blur(edge) ** 2 / 2
    radius = edge.radius + known_at_all * outwards * edge.slant()
    return replace(edge, radius=radius), known, known_at_all


def _blur(edge: Outline) -> FloatArray:
    """Standard deviation (N, 1), mm, of what a voxel and its interpolation see in each direction."""
    blur: FloatArray = BLUR * np.hypot(edge.zooms[0] * np.cos(ANGLES), edge.zooms[1] * np.sin(ANGLES))
    return blur[:, None]


def _blur_of_fluid(edge: Outline) -> FloatArray:
    """Standard deviation (N, K), mm, of what blurs a thin layer around the cord in each direction.

    Within a slice, a leaning layer also goes some way.
    """
    way = np.abs(edge.lean(LEAN_NEAR)) * min(edge.zooms[2], THICKEST_MM)
    blur: FloatArray = np.hypot(_blur(edge), np.minimum(way / np.sqrt(12), MOST_LEANING_MM))
    return blur


def _agreed(
    shift: FloatArray, weights: FloatArray, outline: Outline
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shifts (N, K) on which neighbours agree, mm; how far they are known there, and how far by any around.

    What lies astray of its neighbours, as at a root beside the cord, counts less and less. Where little
    counts, as where the cord lies against the wall of its canal, the edge goes on as a round outline through
    the edges that are seen, in its slice and those nearby; where none are seen, it stays.
    """
    room = np.maximum(outline.spread(np.ones_like(weights), *EDGE_NEAR), 1e-9)
    counts, moved = weights, np.zeros_like(shift)
    known = known_at_all = np.zeros_like(shift)
    for _ in range(3):
        share = outline.spread(counts, *EDGE_NEAR) / room
        known = share / (share + FEW)
        count = counts.mean(axis=0)
        on_the_whole = (counts * shift).mean(axis=0) / (count + FEW_ALL)
        weight = outline.along((counts + FEW_ALL * outline.held).T, SHIFT_NEAR).T
        shifts = outline.along((counts * shift + FEW_ALL * on_the_whole).T, SHIFT_NEAR).T
        nearby = shifts / np.maximum(weight, 1e-9)
        through = outline.rounded(outline.radius + nearby, weight * outline.held, ROUND_NEAR)
        around = outline.along(count, SHIFT_NEAR)
        others = (1 - known) * around**2 / (around**2 + PART_SEEN**2)
        moved = known * outline.smooth(shift, counts, *EDGE_NEAR) + others * (through - outline.radius)
        known_at_all = known + others
        counts = weights / (1 + ((shift - moved) / ASTRAY_MM) ** 2)
    return moved, known, known_at_all


@dataclass(frozen=True, eq=False)
class _Profiles:
    """Grey levels along the directions of an outline, from within the cord to beyond its edge.

    Attributes
    ----------
    edge : Outline
    reach : (T,) array of float, mm
        Places along a direction, from the edge outwards.
    grey : (N, K, T) array of float
        Averaged over those beside.
    seen : (N, K, T) array of bool
        Places in the view, and not beyond the middle.
    counted : (N, K) array of float
        1 where the cord's grey level is known, in slices that the outline describes; 0 elsewhere.
    cord, noise : (N, K) array of float
        Grey level of the cord nearby, and how far `grey` scatters about it within the cord.
    """

    edge: Outline
    reach: FloatArray
    grey: FloatArray
    seen: BoolArray
    counted: FloatArray
    cord: FloatArray
    noise: FloatArray

    @property
    def beyond(self) -> BoolArray:
        """Places (T,) where the surroundings may differ most from the cord."""
        beyond: BoolArray = (self.reach >= BEYOND[0]) & (self.reach <= BEYOND[1])
        return beyond

    @property
    def step(self) -> float:
        """Distance of places, mm."""
        return float(self.reach[1] - self.reach[0])


def _read(image: FloatArray, edge: Outline, counted: FloatArray, scale: GreyScale | None) -> _Profiles:
    """Read an image along the directions of an outline."""
    step, unit = step_mm(edge.zooms), max(1.0, *edge.zooms[:2])
    deep, shallow = (place * unit for place in WITHIN)
    reach = step * np.arange(np.floor(deep / step), np.floor(SEEN_MM / step) + 1)
    distance = edge.radius[..., None] + reach
    places = edge.places(np.maximum(distance, 0))
    grey = map_coordinates(image, places, order=1, mode="nearest", output=np.float64)
    if scale is not None:
        grey = (grey - scale.low) * scale.gains[edge.planes][:, None]
    grey -= grey.mean()
    grey /= max(float(np.abs(grey).max()), np.finfo(float).tiny)
    seen = in_view(places, image.shape) & (distance >= 0)
    weights = seen * counted[..., None]
    within = (reach >= deep) & (reach <= shallow)
    count = weights[..., within].sum(axis=2)

    def nearby(values: FloatArray) -> FloatArray:
        mean = (values * weights)[..., within].sum(axis=2) / np.maximum(count, 1)
        return edge.smooth(mean, count, *CORD_NEAR)

    smooth = edge.smooth(grey, weights, *NOISE_NEAR)
    cord = nearby(grey)
    noise = np.sqrt(nearby((smooth - cord[..., None]) ** 2))
    known = counted * (edge.spread(count, *CORD_NEAR) > LEAST_COUNT)
    return _Profiles(edge, reach, smooth, seen, known, cord, noise)


def _steeper(profiles: _Profiles) -> float:
    """Logarithm of how much steeper grey levels rise than fall, near the edge."""
    slope = gaussian_filter1d(profiles.grey, SLOPE_MM / profiles.step, axis=2, order=1)
    slope *= np.exp(-0.5 * (profiles.reach / SLOPE_NEAR_MM) ** 2)
    held = profiles.edge.held
    rise, fall = (float(s.max(axis=2)[:, held].clip(0).sum()) for s in (slope, -slope))
    tiny = np.finfo(float).tiny
    return float(np.log(max(rise, tiny)) - np.log(max(fall, tiny)))


def _find(profiles: _Profiles, sign: float) -> tuple[FloatArray, FloatArray]:
    """How far outwards the edge lies by the grey levels (N, K), mm, and how far to trust it (0 to 1)."""
    reach, seen, counted = profiles.reach, profiles.seen, profiles.counted
    if not counted.any():
        return np.zeros_like(counted), np.zeros_like(counted)
    differs = sign * (profiles.grey - profiles.cord[..., None])
    beyond = profiles.beyond
    most = np.where(seen[..., beyond], differs[..., beyond], 0).max(axis=2).clip(0)
    most = np.minimum(most, LARGEST * np.percentile(most[counted > 0], 75))
    # of what lies nearby, the larger differences count more
    gap = np.sqrt(profiles.edge.smooth(most**2, counted, *GAP_NEAR))
    level = gap[..., None] / 2
    rises = (differs[..., :-1] < level) & (differs[..., 1:] >= level) & seen[..., 1:]
    at = _crossings(differs, level, reach)
    away = np.where(rises, np.abs(at), np.inf)
    nearest = away.argmin(axis=2)[..., None]
    found = np.isfinite(np.take_along_axis(away, nearest, axis=2)[..., 0])
    shift = np.where(found, np.take_along_axis(at, nearest, axis=2)[..., 0], 0)
    thin = _thin_fluid(profiles, differs, gap, shift)
    shift += profiles.edge.smooth(thin, counted * found, *CORD_NEAR)
    return shift, _trust(profiles, gap) * found


def _trust(profiles: _Profiles, gap: FloatArray) -> FloatArray:
    """How far a difference (N, K) of grey levels is to be trusted, 0 to 1."""
    usual = float(np.median(gap[profiles.counted > 0]))
    if usual <= 0:
        return np.zeros_like(gap)
    (few, many), (low, high) = ENOUGH, USUAL
    contrast = gap / np.maximum(profiles.noise, 1e-9)
    trust: FloatArray = profiles.counted * np.clip((contrast - few) / (many - few), 0, 1)
    trust *= np.clip((gap / usual - low) / (high - low), 0, 1)
    return trust


def _thin_fluid(profiles: _Profiles, differs: FloatArray, gap: FloatArray, shift: FloatArray) -> FloatArray:
    """How much further out the edge lies (N, K), mm, where fluid is so thin that blur makes it wider."""
    reach = profiles.reach
    places = np.arange(reach.size)
    peak = np.where(profiles.beyond, differs, -np.inf).argmax(axis=2)[..., None]
    behind = (places > peak) & profiles.seen
    flank = behind & (places <= peak + round(FLANK_MM / profiles.step))
    lowest = np.minimum(np.where(flank, differs, np.inf).min(axis=2), gap)
    level = ((gap + lowest) / 2)[..., None]
    falls = behind[..., 1:] & (differs[..., :-1] >= level) & (differs[..., 1:] < level)
    first = falls.argmax(axis=2)[..., None]
    end = np.take_along_axis(_crossings(differs, level, reach), first, axis=2)[..., 0]
    ends = falls.any(axis=2) & (lowest < FALLEN * gap)
    blur = _blur_of_fluid(profiles.edge)
    seen, further = _widening()
    thin: FloatArray = np.where(ends, np.interp((end - shift) / blur, seen, further, right=0) * blur, 0)
    return thin


def _crossings(differs: FloatArray, level: FloatArray, reach: FloatArray) -> FloatArray:
    """Where (N, K, T - 1), mm, each step of profiles would reach a level (N, K, 1)."""
    rise = np.diff(differs, axis=2)
    rise = np.where(np.abs(rise) < 1e-12, 1e-12, rise)
    part = np.clip((level - differs[..., :-1]) / rise, 0, 1)
    crossings: FloatArray = reach[:-1] + (reach[1] - reach[0]) * part
    return crossings


@cache
def _widening() -> tuple[FloatArray, FloatArray]:
    """By how much blur moves either edge of a thin layer outwards, for each width at which it is seen.

    The width is that at half its height. Both in standard deviations of the blur.
    """
    place = np.linspace(-8, 8, 6401)
    true = np.linspace(0.5, 7, 60)
    layers = [ndtr(place + width / 2) - ndtr(place - width / 2) for width in true]
    halves = (place[layer >= layer.max() / 2] for layer in layers)
    seen = np.array([half[-1] - half[0] for half in halves])
    return seen, (seen - true) / 2
