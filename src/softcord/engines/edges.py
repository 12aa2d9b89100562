"""Where the edge of the cord lies by the grey levels: half-way between those of cord and surroundings.

From the edge that a network has found, grey levels are read along directions from the middle of the cord. The
cord's own are taken well within, those of its surroundings where they first differ most from it: fluid, which
may be thinner than a voxel before something else begins. Where the two hardly differ, the grey level says
little, and the edge stays where it was.
"""

from dataclasses import replace
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.special import ndtr

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.engines.intensity import GreyScale
from softcord.engines.outline import LEAST_MM, Outline, draw, in_view, outline_of, step_mm
from softcord.softseg import EDGE_INSET_MM

LARGEST_MM = 2.0  # across: in larger voxels, too few lie whole on one side
PASSES = 3  # each starts from a better edge
# from the edge outwards
WITHIN = -1.8, -0.9  # the cord; mm, and voxels where they are larger …
SEEN_MM = 3.4  # … from its first place up to here, grey levels are read
BEYOND = 0.4, 2.2  # mm: where its surroundings differ most from it
FLANK = 2.5  # mm: from there on, they may change back
# standard deviations of Gaussian weights of "nearby", mm around and along the cord
CORD_NEAR = 3.0, 3.0  # its grey level
GAP_NEAR = 1.5, 1.5  # the difference of its surroundings
NOISE_NEAR = 0.7, 1.5  # what is averaged against noise
EDGE_NEAR = 1.0, 1.5  # the edge
ASTRAY_MM = 0.4  # from edges nearby, at which an edge counts half
ENOUGH = 2.0, 4.0  # standard deviations within the cord below which a difference counts nothing, and all
USUAL = 0.25, 0.6  # shares of an image's usual difference below which a grey level counts nothing, and all
STAIRS_MM = 0.7  # around the cord: what is smoothed away before
FEW = 0.05  # weight of an edge that stays where it was
SIGN_MM, SLOPE_MM = 0.5, 0.4  # how near to the edge, and how fine, the sign of the difference is looked for
BLUR = 0.5  # of a voxel: standard deviation of what a voxel and its interpolation see
KNOWN_MM = 3.0  # from the edge on, shares stay as they were
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
    edge = replace(outline, radius=np.maximum(found - rim * clear, 0))
    for drawn in draw(edge, clear, (shares.shape[0], shares.shape[1])):
        old = placed[drawn.where]
        counts = drawn.extra * (drawn.distance < KNOWN_MM) * _sureness(old)
        placed[drawn.where] = old + counts * (drawn.share - old)
    return placed


def _sureness(shares: FloatArray) -> float:
    """How sure it is that a slice holds cord, and all across it: at an end, it may hold some."""
    low, high = SURE
    cord = np.sort(shares[shares > 0.5])
    return float(np.clip((cord[3 * cord.size // 4] - low) / (high - low), 0, 1)) if cord.size else 0.0


def _edge_by_grey(
    image: FloatArray, outline: Outline, scale: GreyScale | None
) -> tuple[FloatArray, FloatArray]:
    """Distance (N, K) of the edge from the middle, mm, and how far it is known (0 to 1)."""
    voxel = max(outline.zooms[:2])
    step = step_mm(outline.zooms)
    first = np.floor(WITHIN[0] * max(1.0, voxel) / step)
    reach = step * np.arange(first, np.floor(SEEN_MM / step) + 1)
    counted = np.broadcast_to(outline.held, outline.radius.shape).astype(np.float64)
    smooth = outline.smooth(outline.radius, counted, STAIRS_MM, 0.0)  # a mask has stairs
    edge, sign = replace(outline, radius=np.maximum(smooth, LEAST_MM)), 0.0
    known: FloatArray = np.zeros_like(counted)
    for _ in range(PASSES):
        profile = _Profile.read(image, edge, reach, counted, scale)
        sign = sign or profile.sign()
        shift, trust = profile.edge(sign)
        moved, known = _agreed(shift, trust * counted, outline)
        edge = replace(edge, radius=np.maximum(edge.radius + moved, LEAST_MM))
    # blur moves the half-way grey level of a convex edge inwards
    inwards = np.clip(edge.curvature(), -0.2, 0.6) * (BLUR * voxel) ** 2 / 2
    return edge.radius + known * inwards, known


def _agreed(shift: FloatArray, weights: FloatArray, outline: Outline) -> tuple[FloatArray, FloatArray]:
    """Shifts (N, K) on which neighbours agree, mm, and how far they are known.

    What lies astray of its neighbours, as at a root beside the cord, counts less and less; where little
    counts, the edge stays.
    """
    room = np.maximum(outline.spread(np.ones_like(weights), *EDGE_NEAR), 1e-9)
    counts, moved, known = weights, np.zeros_like(shift), np.zeros_like(shift)
    for _ in range(3):
        share = outline.spread(counts, *EDGE_NEAR) / room
        known = share / (share + FEW)
        moved = outline.smooth(shift, counts, *EDGE_NEAR) * known
        counts = weights / (1 + ((shift - moved) / ASTRAY_MM) ** 2)
    return moved, known


class _Profile:
    """Grey levels along the directions of an outline, from within the cord to beyond its edge.

    Parameters
    ----------
    edge : Outline
    reach : (T,) array of float, mm
        Places along a direction, from the edge outwards.
    grey : (N, K, T) array of float
    seen : (N, K, T) array of bool
        Places in the view, and not beyond the middle.
    counted : (N, K) array of float
        1 for slices that the outline describes, 0 for others.
    """

    def __init__(
        self, edge: Outline, reach: FloatArray, grey: FloatArray, seen: BoolArray, counted: FloatArray
    ) -> None:
        self._edge, self._reach, self._seen, self._counted = edge, reach, seen, counted
        weights = seen * counted[..., None]
        deep, shallow = (place * max(1.0, *edge.zooms[:2]) for place in WITHIN)
        within = (reach >= deep) & (reach <= shallow)

        def nearby(values: FloatArray) -> FloatArray:
            count = weights[..., within].sum(axis=2)
            mean = (values * weights)[..., within].sum(axis=2) / np.maximum(count, 1)
            return edge.smooth(mean, count, *CORD_NEAR)

        self._grey = edge.smooth(grey, weights, *NOISE_NEAR)
        self._cord = nearby(grey)
        self._variance = nearby((self._grey - self._cord[..., None]) ** 2)

    @classmethod
    def read(
        cls,
        image: FloatArray,
        edge: Outline,
        reach: FloatArray,
        counted: FloatArray,
        scale: GreyScale | None,
    ) -> "_Profile":
        """Read an image along the directions of an outline."""
        distance = edge.radius[..., None] + reach
        places = edge.places(np.maximum(distance, 0))
        grey = map_coordinates(image, places, order=1, mode="nearest", output=np.float64)
        if scale is not None:
            grey = (grey - scale.low) * scale.gains[edge.planes][:, None]
        grey -= grey.mean()
        grey /= max(float(np.abs(grey).max()), np.finfo(float).tiny)
        return cls(edge, reach, grey, in_view(places, image.shape) & (distance >= 0), counted)

    def sign(self) -> float:
        """1 if the surroundings are brighter than the cord, -1 if darker: what is steeper near the edge."""
        step = self._reach[1] - self._reach[0]
        slope = gaussian_filter1d(self._grey, SLOPE_MM / step, axis=2, order=1)
        slope *= np.exp(-0.5 * (self._reach / SIGN_MM) ** 2)
        held = self._counted[0] > 0
        rise, fall = (float(s.max(axis=2)[:, held].clip(0).sum()) for s in (slope, -slope))
        return 1.0 if rise >= fall else -1.0

    def edge(self, sign: float) -> tuple[FloatArray, FloatArray]:
        """How far outwards the edge lies by the grey levels (N, K), mm, and how far to trust it (0 to 1)."""
        differs = sign * (self._grey - self._cord[..., None])
        beyond = (self._reach >= BEYOND[0]) & (self._reach <= BEYOND[1])
        most = differs[..., beyond].max(axis=2).clip(0)
        # of what lies nearby, the larger differences count more
        gap = np.sqrt(self._edge.smooth(most**2, self._counted, *GAP_NEAR))
        rises = (differs[..., :-1] < gap[..., None] / 2) & (differs[..., 1:] >= gap[..., None] / 2)
        rises &= self._seen[..., 1:]
        at = self._crossings(differs, gap[..., None] / 2)
        away = np.where(rises, np.abs(at), np.inf)
        nearest = away.argmin(axis=2)[..., None]
        found = np.isfinite(np.take_along_axis(away, nearest, axis=2)[..., 0])
        edge = np.where(found, np.take_along_axis(at, nearest, axis=2)[..., 0], 0)
        edge += self._thin_fluid(differs, gap, edge, found, beyond)
        return edge, self._trust(gap) * found

    def _trust(self, gap: FloatArray) -> FloatArray:
        """How far a difference (N, K) of grey levels is to be trusted, 0 to 1."""
        usual = float(np.median(gap[:, self._counted[0] > 0]))
        if usual <= 0:
            return np.zeros_like(gap)
        low, high = USUAL
        few, many = ENOUGH
        contrast = gap / np.maximum(np.sqrt(self._variance), 1e-9)
        trust: FloatArray = np.clip((contrast - few) / (many - few), 0, 1)
        trust *= np.clip((gap / usual - low) / (high - low), 0, 1)
        return trust

    def _crossings(self, differs: FloatArray, level: FloatArray) -> FloatArray:
        """Where (N, K, T - 1), mm, each step of the profile would reach a level."""
        step = self._reach[1] - self._reach[0]
        rise = np.diff(differs, axis=2)
        rise = np.where(np.abs(rise) < 1e-12, 1e-12, rise)
        crossings: FloatArray = self._reach[:-1] + step * np.clip((level - differs[..., :-1]) / rise, 0, 1)
        return crossings

    def _thin_fluid(
        self, differs: FloatArray, gap: FloatArray, edge: FloatArray, found: BoolArray, beyond: BoolArray
    ) -> FloatArray:
        """How much further out the edge lies (N, K), mm, where fluid is so thin that blur makes it wider."""
        places = np.arange(self._reach.size)
        peak = np.where(beyond, differs, -np.inf).argmax(axis=2)[..., None]
        behind = places > peak
        flank = behind & (places <= peak + round(FLANK / (self._reach[1] - self._reach[0])))
        lowest = np.minimum(np.where(flank, differs, np.inf).min(axis=2), gap)
        level = ((gap + lowest) / 2)[..., None]
        falls = behind[..., 1:] & (differs[..., :-1] >= level) & (differs[..., 1:] < level)
        first = falls.argmax(axis=2)[..., None]
        end = np.take_along_axis(self._crossings(differs, level), first, axis=2)[..., 0]
        ends = falls.any(axis=2) & (lowest < 0.7 * gap)
        blur = BLUR * max(self._edge.zooms[:2])
        seen, further = _widening()
        thin = np.where(ends & found, np.interp((end - edge) / blur, seen, further, right=0) * blur, 0)
        return self._edge.smooth(thin, self._counted * found, *CORD_NEAR)


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
