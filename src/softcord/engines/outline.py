"""The outline of the cord in each slice: how far it reaches from its middle, in directions all around.

A section of the cord is seen whole from its middle, so one distance in each direction says where it ends, to
a fraction of a voxel. Slices in which that is not so, as where the cord bends and is cut twice, are not held.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.softseg import Box, bounding_box

DIRECTIONS = 48  # less than a millimetre apart on a cord
ANGLES = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
STEP_MM = 0.2  # along a direction …
STEPS = 4  # … or, where that is finer, as many to a voxel
FARTHEST_MM = 25.0  # no cord reaches as far from its middle
PARTS = 3  # sub-voxels along each axis in which an outline is drawn
HARMONICS = 4  # of a round outline: nearly any ellipse
STIFF = 0.0005  # weight of the squared bending of harmonics, against that of an edge that is seen all around
SMOOTH = 0.7  # of a voxel: what is smoothed before shape is told
STEEPEST = 1.6  # slant of the flattest sections; what is more is where a view cuts the cord
ALIKE = 0.85  # Dice of a slice and its outline drawn, from which on the outline stands for it
MARGIN_MM = 3.5  # in which an outline is drawn, and by which it leaves the view with the cord
LEAST_FILTER = 0.05  # standard deviation below which a filter changes nothing
LEAST_MM = 0.3  # a cord does not reach less far than that from its middle


@dataclass(frozen=True, eq=False)
class Outline:
    """Where the cord ends, in directions all around its middle.

    Attributes
    ----------
    radius : (N, K) array of float, mm
        Distance of the edge from the middle, in each direction and slice; `ANGLES` are the directions, from
        the first axis towards the second.
    middle : (2, K) array of float, voxels
    planes : (K,) array of int
        Index of each slice in the volume, without gaps.
    held : (K,) array of bool
        Slices whose cord `radius` describes.
    zooms : (3,) tuple of float, mm
    """

    radius: FloatArray
    middle: FloatArray
    planes: np.ndarray
    held: BoolArray
    zooms: Zooms

    @property
    def size(self) -> float:
        """Mean distance of the edge, mm."""
        return float(self.radius[:, self.held].mean())

    def places(self, reach: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Voxel coordinates of places at a distance from the middle.

        Parameters
        ----------
        reach : (N, K, T) array of float, mm

        Returns
        -------
        i, j, k : (N, K, T) array of float32
        """
        cosine, sine = (turn(ANGLES)[:, None, None] for turn in (np.cos, np.sin))
        i = self.middle[0, :, None] + reach * (cosine / self.zooms[0])
        j = self.middle[1, :, None] + reach * (sine / self.zooms[1])
        k = np.broadcast_to(self.planes[:, None], reach.shape)
        return i.astype(np.float32), j.astype(np.float32), k.astype(np.float32)

    def smooth(self, values: FloatArray, weights: FloatArray, arc: float, along: float) -> FloatArray:
        """Weighted mean over neighbours on the outline.

        Parameters
        ----------
        values, weights : (N, K, ...) array of float
        arc, along : float, mm
            Standard deviations around the cord and along it.

        Returns
        -------
        mean : (N, K, ...) array of float
            0 where nothing nearby has any weight.
        """
        total, weight = (self.spread(array, arc, along) for array in (values * weights, weights))
        return np.where(weight > 1e-6, total / np.maximum(weight, 1e-6), 0)

    def spread(self, values: FloatArray, arc: float, along: float) -> FloatArray:
        """Gaussian filter on the outline; beyond its ends, there is nothing. Parameters as for `smooth`."""
        around = arc / (2 * np.pi * self.size / DIRECTIONS)
        spread = values
        if around > LEAST_FILTER:
            spread = gaussian_filter1d(spread, around, axis=0, mode="wrap", truncate=3)
        if along / self.zooms[2] > LEAST_FILTER:
            spread = gaussian_filter1d(spread, along / self.zooms[2], axis=1, mode="constant", truncate=3)
        return spread

    def along(self, values: FloatArray, reach: float) -> FloatArray:
        """Gaussian filter along the cord; beyond its ends, it goes on as it ends.

        Parameters
        ----------
        values : (K, ...) array of float
        reach : float, mm
            Standard deviation.
        """
        slices = reach / self.zooms[2]
        if slices <= LEAST_FILTER:
            return values
        filtered: FloatArray = gaussian_filter1d(values, slices, axis=0, mode="nearest", truncate=3)
        return filtered

    def lean(self, reach: float) -> FloatArray:
        """How far (N, K) the cord moves in each direction along the cord, mm per mm.

        Parameters
        ----------
        reach : float, mm
            Standard deviation of the Gaussian weights of slices nearby.
        """
        if self.planes.size < 2:
            return np.zeros((DIRECTIONS, self.planes.size))
        across = self.along(self.middle.T * np.asarray(self.zooms[:2]), reach)
        slope = np.gradient(across, self.zooms[2], axis=0)
        lean: FloatArray = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1) @ slope.T
        return lean

    def rounded(self, radius: FloatArray, weights: FloatArray, along: float) -> FloatArray:
        """The round outline that is nearest to an edge: a few harmonics of the angle, hardly bent.

        Parameters
        ----------
        radius, weights : (N, K) array of float
            Distance of the edge from the middle, mm, and how much it counts.
        along : float, mm
            Standard deviation of the Gaussian weights of slices nearby.

        Returns
        -------
        rounded : (N, K) array of float
            mm.
        """
        terms, stiff = _harmonics()
        counts = (weights + 1e-6) / DIRECTIONS
        products = self.along(np.einsum("np,nk,nq->kpq", terms, counts, terms), along)
        sums = self.along(np.einsum("np,nk->kp", terms, counts * radius), along)
        rounded: FloatArray = terms @ np.linalg.solve(products + np.diag(stiff), sums[..., None])[..., 0].T
        return rounded

    def curvature(self) -> FloatArray:
        """Curvature (N, K) of the outline, per mm, smoothed over a voxel; more than 0 where it is convex."""
        r, first, second = self._derivatives()
        curvature: FloatArray = (r**2 + 2 * first**2 - r * second) / (r**2 + first**2) ** 1.5
        return curvature

    def slant(self) -> FloatArray:
        """How much longer (N, K) than across the outline a way is in the direction from the middle."""
        r, first, _ = self._derivatives()
        slant: FloatArray = np.minimum(np.hypot(1, first / r), STEEPEST)
        return slant

    def _derivatives(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The radius, smoothed over a voxel or a millimetre, and its derivatives by the angle."""
        arc = max(1.0, SMOOTH * max(self.zooms[:2])) / (2 * np.pi * self.size / DIRECTIONS)
        r = np.maximum(gaussian_filter1d(self.radius, arc, axis=0, mode="wrap"), LEAST_MM)
        step = 2 * np.pi / DIRECTIONS
        before, behind = np.roll(r, 1, axis=0), np.roll(r, -1, axis=0)
        return r, (behind - before) / (2 * step), (behind - 2 * r + before) / step**2


@cache
def _harmonics() -> tuple[FloatArray, FloatArray]:
    """Terms (N, P) of a round outline: 1, cosines and sines; and how stiff (P,) each is."""
    orders = np.arange(1, HARMONICS + 1)
    waves = [turn(order * ANGLES) for order in orders for turn in (np.cos, np.sin)]
    stiff = STIFF * np.repeat([0.0, *orders], [1, *[2] * HARMONICS]) ** 4
    return np.stack([np.ones(DIRECTIONS), *waves], axis=1), stiff


@dataclass(frozen=True, eq=False)
class Drawn:
    """An outline, drawn in a window of one slice.

    Attributes
    ----------
    where : (3,) tuple of slice and int
        The window and the slice, in the volume.
    share : (I, J) array of float in [0, 1]
        Share of each voxel within the outline.
    distance : (I, J) array of float, mm
        From the outline, along the direction from the middle; less than 0 inside.
    extra : (I, J) array of float
        What goes with each direction.
    """

    where: tuple[slice, slice, int]
    share: FloatArray
    distance: FloatArray
    extra: FloatArray


def outline_of(shares: FloatArray, zooms: Zooms) -> Outline | None:
    """The outline of a cord at a share of one half.

    Parameters
    ----------
    shares : (I, J, K) array of float32 in [0, 1]
    zooms : (3,) tuple of float, mm

    Returns
    -------
    outline : Outline or None
        None if no slice has one.
    """
    mask = shares > 0.5
    box = bounding_box(mask)
    if box is None:
        return None
    inside = np.where(mask[box], shares[box], 0).astype(np.float64)
    total = inside.sum(axis=(0, 1))
    here = total > 0
    planes = np.arange(box[2].start, box[2].stop)
    middle = np.empty((2, planes.size))
    for axis in (0, 1):
        at = np.arange(box[axis].start, box[axis].stop)
        mean = (inside.sum(axis=1 - axis) * at[:, None]).sum(axis=0) / np.maximum(total, 1e-9)
        middle[axis] = np.interp(planes, planes[here], mean[here])
    outline = Outline(np.zeros((DIRECTIONS, planes.size)), middle, planes, here, zooms)
    outline = replace(outline, radius=_first_fall(shares, outline, zooms, box))
    held, whole = here.copy(), mask[box].sum(axis=(0, 1))
    for drawn in draw(outline, np.ones_like(outline.radius), (shares.shape[0], shares.shape[1]), parts=1):
        n = drawn.where[2] - planes[0]
        like = drawn.share > 0.5
        shared = np.count_nonzero(like & mask[drawn.where])
        held[n] = 2 * shared >= ALIKE * (np.count_nonzero(like) + whole[n])  # Dice with all of the slice
    return replace(outline, held=held) if held.any() else None


def step_mm(zooms: Zooms) -> float:
    """Distance of samples along a direction, mm."""
    return min(STEP_MM, max(zooms[:2]) / STEPS)


def _first_fall(shares: FloatArray, outline: Outline, zooms: Zooms, box: Box) -> FloatArray:
    """Distance (N, K) from the middle at which the share falls below one half for the first time."""
    step = 2 * step_mm(zooms)
    sides = [(part.stop - part.start + 1) * zoom for part, zoom in zip(box[:2], zooms[:2], strict=True)]
    reach = np.arange(0, min(FARTHEST_MM, float(np.hypot(*sides)) + MARGIN_MM) + step, step)
    places = outline.places(np.broadcast_to(reach, (*outline.radius.shape, reach.size)))
    along = map_coordinates(shares, places, order=1, mode="nearest", output=np.float32)
    # beyond the view it goes on as at its border, by a little
    inside = in_view(places, shares.shape)
    margin = round(MARGIN_MM / step)
    inside[..., margin:] = inside[..., :-margin]
    inside[..., :margin] = True
    low = (along < 0.5) | ~inside
    low[..., -1] = True
    first = np.maximum(low.argmax(axis=2), 1)[..., None]
    above, below = (np.take_along_axis(along, first - n, axis=2)[..., 0] for n in (1, 0))
    part = np.clip((above - 0.5) / np.maximum(above - below, 1e-6), 0, 1)
    radius: FloatArray = reach[first[..., 0] - 1] + step * part
    return np.maximum(radius, LEAST_MM)


def in_view(places: tuple[FloatArray, ...], shape: tuple[int, ...]) -> BoolArray:
    """Whether places lie within the outermost voxels across."""
    i, j = ((at >= -0.5) & (at <= n - 0.5) for at, n in zip(places[:2], shape[:2], strict=True))
    inside: BoolArray = i & j
    return inside


def draw(
    outline: Outline, extra: FloatArray, shape: tuple[int, int], *, parts: int = PARTS
) -> Iterator[Drawn]:
    """Draw an outline, slice by slice, with a margin; slices that it does not describe are left out.

    Parameters
    ----------
    outline : Outline
    extra : (N, K) array of float
        What goes with each direction.
    shape : (2,) tuple of int
        Voxels across the volume.
    parts : int
        Sub-voxels along each axis.

    Yields
    ------
    drawn : Drawn
    """
    zooms = outline.zooms
    closed = [np.concatenate([array, array[:1]]) for array in (outline.radius, extra)]
    for n in np.flatnonzero(outline.held):
        reach = float(outline.radius[:, n].max()) + MARGIN_MM
        window, at = [], []
        for axis in (0, 1):
            half = int(np.ceil(reach / zooms[axis])) + 1
            middle = outline.middle[axis, n]
            first = max(0, round(middle) - half)
            last = max(first + 1, min(shape[axis], round(middle) + half + 1))
            fine = first - 0.5 + (np.arange((last - first) * parts) + 0.5) / parts
            window.append(slice(first, last))
            at.append((fine - middle) * zooms[axis])
        x, y = at[0][:, None], at[1][None]
        turn = np.mod(np.arctan2(y, x), 2 * np.pi) * (DIRECTIONS / (2 * np.pi))
        before = np.minimum(turn.astype(int), DIRECTIONS - 1)
        part = turn - before
        edge, beside = (array[before, n] * (1 - part) + array[before + 1, n] * part for array in closed)
        distance = np.hypot(x, y) - edge
        sub_voxel = (zooms[0] + zooms[1]) / (2 * parts)
        share = np.clip(0.5 - distance / sub_voxel, 0, 1)
        yield Drawn(
            (window[0], window[1], int(outline.planes[n])),
            _thin(share, parts),
            _thin(distance, parts),
            _thin(beside, parts),
        )


def _thin(fine: FloatArray, parts: int) -> FloatArray:
    """Mean over the sub-voxels of each voxel."""
    rows, columns = fine.shape
    mean: FloatArray = fine.reshape(rows // parts, parts, columns // parts, parts).mean(axis=(1, 3))
    return mean
