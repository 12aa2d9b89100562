"""From an anatomy to tissues at points in space: which share of each voxel is what.

Structures are painted over one another from the outside in, each with the share of the voxel that it covers,
as follows from the distance to its surface and the voxel's size. The cord's share comes from the same
distance; sub-voxels (see `phantom.py`) make it as exact as is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from softcord._typing import FloatArray
from softcord.phantoms.anatomy import HALF_LENGTH, Anatomy, Lesion
from softcord.phantoms.noise import NoiseField
from softcord.phantoms.tissues import Palette, Tissue

T = Tissue


@dataclass(frozen=True, slots=True)
class Points:
    """Voxel centres in the phantom's frame (mm, broadcastable arrays) and the voxel size across (mm)."""

    x: FloatArray
    y: FloatArray
    z: FloatArray
    voxel: float
    voxel_z: float


class Painter:
    """Paints one anatomy in one palette, any number of points at a time.

    Parameters
    ----------
    anatomy : Anatomy
    palette : Palette
    """

    def __init__(self, anatomy: Anatomy, palette: Palette) -> None:
        rng = np.random.default_rng(anatomy.seed)
        self._anatomy = anatomy
        self._palette = palette
        self._regions = [NoiseField(rng, anatomy.tissue_scale) for _ in range(2)]
        count = int(rng.integers(10, 30))  # of the roots below the conus
        places = rng.uniform([-0.85, -0.9], [0.85, 0.3], (count, 2))
        self._filaments = places, rng.uniform(0.35, 0.9, count)
        self._textures = [NoiseField(rng, wavelength) for wavelength in palette.wavelength]

    def paint(self, points: Points) -> tuple[FloatArray, FloatArray, np.ndarray]:
        """Grey level, cord share and tissue.

        Parameters
        ----------
        points : Points

        Returns
        -------
        image : (I, J, K) array of float32
            Grey levels, about 0 to 1.
        share : (I, J, K) array of float32 in [0, 1]
            Share of each voxel that is cord.
        labels : (I, J, K) array of uint8
            The `Tissue` that covers most of what is seen of the voxel.
        """
        palette = self._palette
        shape = np.broadcast_shapes(points.x.shape, points.y.shape, points.z.shape)
        texture = sum(field(points.x, points.y, points.z) for field in self._textures)
        image = np.full(shape, palette.level[T.AIR], dtype=np.float32)
        labels = np.full(shape, T.AIR, dtype=np.uint8)
        share: FloatArray | None = None
        for tissue, alpha in self._layers(points):
            rim = tissue == T.WHITE and share is not None  # what is painted white after the cord is its rim
            if tissue == T.WHITE and share is None:
                share = np.broadcast_to(alpha, shape).astype(np.float32)
            if not np.any(alpha > 0):
                continue
            value = palette.level[tissue] + palette.texture[tissue] * texture
            image += alpha * (value - image)
            if not rim:
                labels = np.where(alpha > 0.5, np.uint8(tissue), labels)
        return image, np.zeros(shape, dtype=np.float32) if share is None else share, labels

    def _layers(self, points: Points) -> Iterator[tuple[Tissue, FloatArray]]:
        """Tissues from the outside in, each with the share of the voxel that it covers."""
        a = self._anatomy

        def table(values: FloatArray) -> FloatArray:
            return np.interp(points.z, a.table_z, values).astype(np.float32)

        u = points.x - table(a.centre_x)
        v = points.y - table(a.centre_y)
        half_rl, half_ap = table(a.half_rl), table(a.half_ap)
        canal = _Canal(
            u=u - table(a.canal_shift_u),
            v=v - table(a.canal_shift_v),
            rl=half_rl + table(a.gap_rl),
            ap=half_ap + table(a.gap_ap),
            epidural=table(a.epidural),
        )
        yield from self._body(points, u, v)
        if a.has_spine:
            yield from self._spine(points, canal)
            yield from self._canal(points, canal)
        if a.has_cord:
            yield from self._cord(points, u, v, half_rl, half_ap)
        for mu, mv, mz, radius in a.metal:
            distance = np.sqrt((u - mu) ** 2 + (v - mv) ** 2 + (points.z - mz) ** 2) - radius
            yield T.METAL, _cover(distance, points.voxel)

    def _body(self, points: Points, u: FloatArray, v: FloatArray) -> Iterator[tuple[Tissue, FloatArray]]:
        a, h = self._anatomy, points.voxel
        x, y = points.x, points.y - a.outline_shift
        outline = _ellipse(x, y, a.outline_rl, a.outline_ap, 2.5)
        yield T.SKIN, _cover(outline, h)
        yield T.FAT, _cover(outline + 2.0, h)
        inside = _cover(outline + 2.0 + a.fat, h)
        yield T.MUSCLE, inside
        first, second = (field(points.x, points.y, points.z) for field in self._regions)
        soft = h / a.tissue_scale
        for tissue, value in (
            (T.SOFT_A, first - 0.35),
            (T.SOFT_B, -first - 0.4),
            (T.SOFT_C, second - 0.5),
            (T.FAT, -second - 0.6),
        ):
            yield tissue, inside * _cover(-value / 2, soft)
        cx, cy, radius = a.airway
        yield T.AIRWAY, inside * _cover(_ellipse(u - cx, v - cy, radius, radius * 0.8), h)
        for vu, vv, radius in a.vessels:
            yield T.VESSEL, inside * _cover(np.hypot(u - vu, v - vv) - radius, h)
        if a.top_z < HALF_LENGTH:
            brain = _ball(points.x, points.y - 25, points.z - a.top_z - 75, 62.0, 78.0, 72.0)
            yield T.CSF, _cover(brain - 3.0, h)
            fold = NoiseField(np.random.default_rng(a.seed + 1), 9.0)(points.x, points.y, points.z)
            yield T.BRAIN, _cover(brain + 1.5 * fold, h)
            yield T.GREY, _cover(np.abs(brain + 4 * fold) - 2.0, h)

    def _spine(self, points: Points, canal: "_Canal") -> Iterator[tuple[Tissue, FloatArray]]:
        a, h, hz = self._anatomy, points.voxel, points.voxel_z
        along = points.z / a.period + a.phase
        u, v = canal.u, canal.v - canal.ap - canal.epidural
        outside = _ellipse(
            canal.u, canal.v + canal.epidural / 2, canal.rl + canal.epidural, canal.ap + canal.epidural
        )
        body_v = v - a.body_ap - 1.0
        bone = _wave(along, a.period, 1 - a.disc_share) if a.period else along
        below_top = _cover(points.z - a.top_z, hz) if a.top_z < HALF_LENGTH else np.float32(1)
        column = _ellipse(u, body_v, a.body_rl, a.body_ap, 2.8)
        yield T.DISC, below_top * _cover(column - a.disc_bulge * (bone > 0), h)
        yield T.CORTEX, below_top * _cover(np.maximum(column, bone), h)
        yield T.MARROW, below_top * _cover(np.maximum(column, bone) + 1.2, h)
        yield T.LIGAMENT, below_top * _cover(np.maximum(np.abs(v) - 0.7, np.abs(u) - canal.rl), h)
        sloped = along + a.spinous_slope * canal.v / a.period
        lamina = _wave(sloped, a.period, 0.62)
        ring = np.maximum(
            np.maximum(np.abs(outside - a.arch / 2) - a.arch / 2, canal.v - 0.3 * canal.ap), lamina
        )
        process = np.maximum(
            np.maximum(np.abs(u) - a.arch * 0.6, np.abs(canal.v + canal.ap + a.spinous / 2) - a.spinous / 2),
            lamina,
        )
        facet = np.maximum(
            _ellipse(np.abs(u) - canal.rl - 8.0, canal.v - 1.0, 6.0, 5.0), _wave(sloped, a.period, 0.8)
        )
        posterior = np.minimum(np.minimum(ring, process), facet)
        yield (
            T.LIGAMENT,
            below_top * _cover(np.maximum(np.abs(u) - 0.8, np.abs(canal.v + canal.ap + 20) - 20), h),
        )
        yield T.CORTEX, below_top * _cover(posterior, h)
        yield T.MARROW, below_top * _cover(posterior + 1.0, h)
        yield T.EPIDURAL, below_top * _cover(outside, h)

    def _canal(self, points: Points, canal: "_Canal") -> Iterator[tuple[Tissue, FloatArray]]:
        a, h = self._anatomy, points.voxel
        sac = _ellipse(canal.u, canal.v, canal.rl, canal.ap)
        if a.dura:
            yield T.DURA, _cover(sac - a.dura, h)
        yield T.CSF, _cover(sac, h)
        if a.roots:
            along = np.mod(points.z / a.period + a.phase + 0.3, 1.0)
            for side in (-1, 1):
                for level in (-0.45, 0.35)[: a.roots]:
                    out = 0.45 + 0.6 * along
                    yield (
                        T.ROOT,
                        _cover(
                            np.hypot(canal.u - side * out * canal.rl, canal.v - level * canal.ap) - 0.7, h
                        ),
                    )
        if a.conus_z > -HALF_LENGTH or not a.has_cord:
            below = _cover(points.z - a.conus_z - 25.0, 10.0) if a.has_cord else np.float32(1)
            places, radii = self._filaments
            for (pu, pv), radius in zip(places, radii, strict=True):
                filament = np.hypot(canal.u - pu * canal.rl * 0.9, canal.v - pv * canal.ap * 0.9) - radius
                yield T.ROOT, below * _cover(np.maximum(filament, sac), h)

    def _cord(
        self, points: Points, u: FloatArray, v: FloatArray, half_rl: FloatArray, half_ap: FloatArray
    ) -> Iterator[tuple[Tissue, FloatArray]]:
        a, h = self._anatomy, points.voxel
        turn = np.interp(points.z, a.table_z, a.turn)
        cos, sin = np.cos(turn), np.sin(turn)
        u, v = u * cos + v * sin, v * cos - u * sin
        v = v - a.bend * half_ap * ((u / half_rl) ** 2 - 0.25)
        if a.top_z < HALF_LENGTH:  # the brainstem: wider, and no cord by definition
            wide = np.clip((points.z - a.top_z) / 25, 0, 1)
            stem = _cover(_ellipse(u, v, half_rl + 6 * wide, half_ap + 5 * wide), h)
            yield T.BRAIN, stem * _cover(a.top_z - points.z, points.voxel_z)
        ends = _cover(a.conus_z - points.z, points.voxel_z) * _cover(points.z - a.top_z, points.voxel_z)
        distance = _ellipse(u, v, half_rl, half_ap, a.exponent)
        cord = _cover(distance, h) * ends
        yield T.WHITE, cord
        seen = _cover(distance - a.rim, h) * ends
        yield T.WHITE, (seen - cord) / np.maximum(1 - cord, np.float32(1e-6))
        p, q = u / half_rl, v / half_ap
        horn = np.abs(np.abs(p) - 0.3 + 0.1 * q) - np.where(q > 0, 0.15, 0.09) * a.grey_matter
        grey = np.minimum(
            np.maximum(horn, np.abs(q - 0.02) - 0.6), np.maximum(np.abs(q) - 0.1, np.abs(p) - 0.32)
        )
        yield T.GREY, cord * _cover(grey * half_rl, h)
        for lesion in a.lesions:
            yield T.LESION, cord * _spot(lesion, p, q, points.z, h)
        if a.syrinx is not None:
            yield T.SYRINX, cord * _spot(a.syrinx, p, q, points.z, h)


@dataclass(frozen=True, slots=True)
class _Canal:
    """The dural sac: coordinates from its centre, half diameters, and the epidural space behind it (mm)."""

    u: FloatArray
    v: FloatArray
    rl: FloatArray
    ap: FloatArray
    epidural: FloatArray


def _cover(distance: FloatArray, size: float) -> FloatArray:
    """Share of a voxel of `size` that lies on the negative side of a surface at `distance`."""
    share: FloatArray = np.clip(np.float32(0.5) - distance / np.float32(size), 0, 1)
    return share


def _ellipse(
    u: FloatArray, v: FloatArray, a: FloatArray | float, b: FloatArray | float, exponent: float = 2.0
) -> FloatArray:
    """Signed distance (first order; negative inside) to the superellipse |u/a|^p + |v/b|^p = 1."""
    p, q = np.abs(u / a), np.abs(v / b)
    if exponent == 2.0:
        radius = np.sqrt(p * p + q * q)
        slope = np.sqrt((p / a) ** 2 + (q / b) ** 2) / np.maximum(radius, 1e-6)
    else:
        total = p**exponent + q**exponent
        radius = total ** (1 / exponent)
        weight = np.maximum(radius, 1e-6) ** (1 - exponent)
        slope = weight * np.sqrt((p ** (exponent - 1) / a) ** 2 + (q ** (exponent - 1) / b) ** 2)
    distance: FloatArray = (radius - 1) / np.maximum(slope, 1e-6)
    return np.where(radius < 1e-3, -np.minimum(a, b), distance)


def _ball(x: FloatArray, y: FloatArray, z: FloatArray, a: float, b: float, c: float) -> FloatArray:
    """About the signed distance to an ellipsoid, mm."""
    ball: FloatArray = (np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2) - 1) * min(a, b, c)
    return ball


def _wave(along: FloatArray, period: float, share: float) -> FloatArray:
    """Signed distance (mm) along z to the intervals that take `share` of each period (negative inside)."""
    distance: FloatArray = (np.abs(np.mod(along, 1.0) - 0.5) - share / 2) * period
    return distance


def _spot(lesion: Lesion, p: FloatArray, q: FloatArray, z: FloatArray, size: float) -> FloatArray:
    radius = np.sqrt(
        ((p - lesion.u) / lesion.radius_u) ** 2
        + ((q - lesion.v) / lesion.radius_v) ** 2
        + ((z - lesion.z) / lesion.radius_z) ** 2
    )
    return _cover((radius - 1) * 2.0, size)
