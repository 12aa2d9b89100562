"""One training sample: a random scan, brought to the network's grid as an image is to be segmented."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates

from softcord._typing import BoolArray, FloatArray
from softcord.engines.intensity import grey_range, scale_grey
from softcord.engines.network import SLAB, pad_view
from softcord.phantoms import AnatomyOptions
from softcord.phantoms.acquisition import bend_grey_scale, degrade, thin_out
from softcord.phantoms.labelmaps import draw_centre, scan_label_map
from softcord.phantoms.noise import NoiseField
from softcord.phantoms.patches import Scan, draw_geometry, draw_nothing, draw_scan, rotation
from softcord.resample import crop_grid, resample, working_grid
from softcord.train.config import GridConfig, MixConfig
from softcord.train.recolour import recolour
from softcord.train.sources import RealImage, Sources

MOST_SLICES = 10  # of a slab


@dataclass(frozen=True, slots=True)
class Sample:
    """What the network sees and should say, (I, J, K) float16; the weight is 0 where nobody knows."""

    image: np.ndarray
    share: np.ndarray
    weight: np.ndarray


def draw_sample(rng: np.random.Generator, sources: Sources, mix: MixConfig, grid: GridConfig) -> Sample:
    """Draw a scan of a random kind and bring a patch of it to the network's grid.

    Parameters
    ----------
    rng : numpy.random.Generator
    sources : Sources
    mix : MixConfig
    grid : GridConfig

    Returns
    -------
    sample : Sample
        Of the shape ``grid.patch``; zero beside the field of view, and beyond its ends as `grid` says.
    """
    if rng.random() < mix.coarse:
        grid = replace(grid, in_plane=grid.in_plane * grid.coarse, along=grid.along * grid.coarse)
    shares = [mix.phantoms, mix.maps * bool(sources.maps), mix.images * bool(sources.images), mix.nothing]
    kind = rng.choice(4, p=np.array(shares) / sum(shares))
    # no number is drawn for what a recipe has none of, so that earlier recipes give what they gave
    slices = int(rng.integers(1, MOST_SLICES + 1)) if mix.slabs > 0 and rng.random() < mix.slabs else None
    weight: FloatArray | None = None
    if kind == 2:
        real = sources.images[rng.integers(len(sources.images))]
        scan, weight = _scan_image(rng, real, mix, _extent(rng, grid), slices)
    else:
        extent = _extent(rng, grid)
        geometry = draw_geometry(rng, extent, (0.8 * grid.in_plane, 0.8 * grid.along))
        if slices is not None:
            i, j, k = geometry.shape
            geometry = replace(geometry, shape=(i, j, min(k, slices)))
        if kind == 1:
            label_map = sources.maps[rng.integers(len(sources.maps))]
            centre = draw_centre(rng, label_map, mix.near_cord, 0.15 * min(extent))
            scan = scan_label_map(rng, label_map, geometry, centre)
        elif kind == 3:
            scan = draw_nothing(rng, geometry)
        else:
            anatomy = AnatomyOptions(cord=bool(rng.random() >= mix.without_cord), rim_mm=mix.rim_mm)
            clean = mix.clean > 0 and bool(rng.random() < mix.clean)
            scan = draw_scan(rng, geometry, anatomy, clean=clean)
    return _to_patch(rng, scan, weight, grid)


def _extent(rng: np.random.Generator, grid: GridConfig) -> tuple[float, float, float]:
    """Field of view, mm: at times smaller than the patch (crops, slabs)."""
    sizes = np.array([grid.in_plane, grid.in_plane, grid.along])
    extent = sizes * grid.patch * 1.3
    draw = rng.random()
    if draw < 0.15:
        extent[:2] = rng.uniform(12, 35, 2)
    elif draw < 0.4:
        extent[:2] *= rng.uniform(0.4, 1.0, 2)
    if rng.random() < 0.3:
        extent[2] *= rng.uniform(0.03, 0.7)
    x, y, z = (float(e) for e in extent)
    return x, y, z


def _scan_image(
    rng: np.random.Generator,
    real: RealImage,
    mix: MixConfig,
    field_mm: tuple[float, float, float],
    slices: int | None,
) -> tuple[Scan, FloatArray]:
    """A warped, rescaled, recoloured and degraded part of a real image, and how much each voxel counts."""
    zooms, extent = np.asarray(real.zooms), np.asarray(field_mm)
    shape = np.maximum(1, np.minimum(np.round(extent / zooms), 1.3 * np.asarray(real.image.shape))).astype(
        int
    )
    if slices is not None:
        shape[2] = min(shape[2], slices)
    near = rng.random() < mix.near_cord
    inside = np.flatnonzero(real.share > 0.5) if near else np.arange(real.share.size)
    centre = np.array(np.unravel_index(int(rng.choice(inside)), real.share.shape), dtype=float)
    centre[:2] += rng.normal(0, 0.12 * extent[:2]) / zooms[:2]
    where = _turned_positions(rng, shape, zooms, centre)
    image = map_coordinates(real.image, where, order=1, mode="constant", cval=0.0, prefilter=False)
    share = map_coordinates(real.share, where, order=1, mode="constant", cval=0.0, prefilter=False)
    last = np.asarray(real.image.shape, dtype=np.float32)[:, None, None, None] - 0.5
    in_view: BoolArray = np.all((where > -0.5) & (where < last), axis=0)
    weight = map_coordinates(real.weight, where, order=0, mode="nearest")
    factors = _coarser(rng, image.shape, zooms)
    known = (weight > 0).astype(np.float32)
    image, share, weight, known, seen = (
        thin_out(values, factors) for values in (image, share, weight, known, in_view.astype(np.float32))
    )
    weight = weight * (known > 0.99)
    zooms = zooms * factors * rng.uniform(0.8, 1.25) * rng.uniform(0.94, 1.06, 3)
    image = recolour(rng, scale_grey(image, *grey_range(image)), keep=mix.keep_contrast)
    if rng.random() < 0.8:
        image = degrade(rng, image, (zooms[0], zooms[1], zooms[2]))
    image = bend_grey_scale(rng, image) * (seen > 0.5)
    return Scan(image, share, (float(zooms[0]), float(zooms[1]), float(zooms[2]))), weight


def _turned_positions(
    rng: np.random.Generator, shape: np.ndarray, zooms: np.ndarray, centre: FloatArray
) -> FloatArray:
    """Voxels of a real image (3, I, J, K) to look at; thick slices are turned in their plane only."""
    thick = zooms[2] > 2 * zooms[0]
    degrees = rng.normal(0, [0 if thick else 7, 0 if thick else 5, 7])
    turn = rotation(*np.deg2rad(degrees)) if rng.random() < 0.6 else np.eye(3)
    if rng.random() < 0.5:
        turn[:, 0] *= -1
    axes = [((np.arange(n) - (n - 1) // 2) * z).astype(np.float32) for n, z in zip(shape, zooms, strict=True)]
    if thick:
        centre = np.array([centre[0], centre[1], np.round(centre[2])])
    i, j, k = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    wave, strength = NoiseField(rng, float(rng.uniform(20, 50))), float(rng.uniform(0, 1.5))
    bent = rng.random() < 0.5
    rows = []
    for r in range(3):
        place = turn[r, 0] * i + turn[r, 1] * j + turn[r, 2] * k
        if bent and not (thick and r == 2):
            place = place + strength * wave(i + 500.0 * r, j, k)
        rows.append(place / zooms[r] + centre[r])
    return np.stack(np.broadcast_arrays(*rows)).astype(np.float32)


def _coarser(rng: np.random.Generator, shape: tuple[int, ...], zooms: np.ndarray) -> tuple[int, int, int]:
    """Voxels to average along each axis: at times thick axial or sagittal slices, or larger pixels."""
    factors = (1, 1, 1)
    draw = rng.random()
    if zooms[2] < 2 and draw < 0.35:
        factors = (1, 1, int(rng.integers(2, 7)))
    elif zooms[2] < 2 and draw < 0.5:
        factors = (int(rng.integers(2, 5)), 1, 1)
    elif draw < 0.6 and zooms[0] < 0.9:
        factors = (2, 2, 1)
    i, j, k = (min(f, n) for f, n in zip(factors, shape, strict=True))
    return i, j, k


def _to_patch(rng: np.random.Generator, scan: Scan, counts: FloatArray | None, config: GridConfig) -> Sample:
    grid = working_grid(scan.image.shape, scan.zooms, in_plane=config.in_plane, along=config.along)
    low, high = grey_range(scan.image)
    span = max(high - low, 1e-6)
    low, high = low - span * abs(rng.normal(0, 0.03)), high + span * rng.normal(0, 0.12)
    box, pad = [], []
    for size, wanted in zip(grid.shape, config.patch, strict=True):
        start = int(rng.integers(0, size - wanted + 1)) if size > wanted else 0
        box.append(slice(start, min(size, start + wanted)))
        before = int(rng.integers(0, wanted - size + 1)) if size < wanted else 0
        pad.append((before, wanted - min(size, wanted) - before))
    part = crop_grid(grid, (box[0], box[1], box[2]))
    image = scale_grey(resample(scan.image, part), low, high)
    share = resample(scan.share, part)
    weight = np.ones_like(share)
    if counts is not None:  # beyond the ends of what was drawn, only the absence of a mask is known
        known = resample((counts > 0).astype(np.float32), part) > 0.99
        weight = resample(counts, part) * known
    if rng.random() < 0.5:
        image, share, weight = image[::-1], share[::-1], weight[::-1]
    goes_on = config.ends_go_on and image.shape[2] < SLAB
    arrays = (pad_view(a, pad, goes_on=goes_on) for a in (image, share, weight))
    return Sample(*(a.astype(np.float16) for a in arrays))
