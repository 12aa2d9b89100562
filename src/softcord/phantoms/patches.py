"""Small random scans for training: any contrast, resolution, place and field of view."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from softcord._typing import FloatArray, Zooms
from softcord.phantoms.acquisition import add_noise, bend_grey_scale, bias_field, degrade, thin_out
from softcord.phantoms.anatomy import AnatomyOptions, draw_anatomy
from softcord.phantoms.noise import NoiseField
from softcord.phantoms.painting import Painter, Points
from softcord.phantoms.phantom import sub_positions
from softcord.phantoms.tissues import draw_palette

ANY_BODY = AnatomyOptions()


@dataclass(frozen=True, slots=True)
class Scan:
    """A random scan: voxels as acquired, with their size (mm), and the cord's share in each."""

    image: FloatArray
    share: FloatArray
    zooms: Zooms


@dataclass(frozen=True, slots=True)
class ScanGeometry:
    """Voxels of a random scan: their number and size (mm), and how many sub-voxels are painted for each."""

    shape: tuple[int, int, int]
    zooms: Zooms
    parts: tuple[int, int, int]


def draw_geometry(
    rng: np.random.Generator, extent: tuple[float, float, float], finest: tuple[float, float]
) -> ScanGeometry:
    """Draw the resolution of a scan that covers `extent` mm.

    Parameters
    ----------
    rng : numpy.random.Generator
    extent : (3,) tuple of float, mm
        Field of view wanted along right, anterior and superior.
    finest : (2,) tuple of float, mm
        Sub-voxels are not painted finer than this across and along the cord: what the network would not see.

    Returns
    -------
    geometry : ScanGeometry
    """
    across, along = finest
    kind = rng.choice(["isotropic", "axial", "sagittal", "gaps", "coronal"], p=[0.3, 0.37, 0.2, 0.1, 0.03])
    if kind == "isotropic":
        size = rng.uniform(0.6, 1.4)
        zooms = [size, size, size]
    elif kind == "axial":
        zooms = [
            *(np.full(2, rng.uniform(0.4, 1.3) if rng.random() < 0.85 else rng.uniform(1.3, 2.2))),
            rng.uniform(2, 8),
        ]
    elif kind == "gaps":
        zooms = [*(np.full(2, rng.uniform(0.5, 1.1))), rng.uniform(8, 18)]
    elif kind == "sagittal":
        size = rng.uniform(0.5, 1.1)
        zooms = [rng.uniform(1.2, 4.5), size, size]
    else:
        size = rng.uniform(0.6, 1.2)
        zooms = [size, rng.uniform(1.2, 4.0), size]
    zooms = [max(z, f) for z, f in zip(zooms, (across, across, along), strict=True)]
    parts = [
        max(1, round(z / f)) for z, f in zip(zooms, (across * 1.3, across * 1.3, along * 1.3), strict=True)
    ]
    shape = [max(1, round(e / z)) for e, z in zip(extent, zooms, strict=True)]
    i, j, k = shape
    return ScanGeometry(
        (i, j, k), (float(zooms[0]), float(zooms[1]), float(zooms[2])), (parts[0], parts[1], parts[2])
    )


def draw_scan(
    rng: np.random.Generator,
    geometry: ScanGeometry,
    options: AnatomyOptions = ANY_BODY,
    *,
    clean: bool = False,
) -> Scan:
    """Draw a body and scan a part of it, at times with the distortion of EPI.

    Parameters
    ----------
    rng : numpy.random.Generator
    geometry : ScanGeometry
    options : AnatomyOptions
        Default: any body with a cord.
    clean : bool
        A good scan: little noise, a weak bias field, and no artefacts.

    Returns
    -------
    scan : Scan
        Grey levels are as acquired, about 0 to 1.
    """
    anatomy = draw_anatomy(rng, options)
    painter = Painter(anatomy, draw_palette(rng))
    x, y, z = _place(rng, geometry)
    if not clean and rng.random() < 0.25:  # along the phase-encoding axis, differently from slice to slice
        bend = NoiseField(rng, float(rng.uniform(10, 40)))
        y = y + np.float32(rng.uniform(0.5, 3.0)) * bend(x, y, z)
    voxel = float(np.mean([geometry.zooms[a] / geometry.parts[a] for a in (0, 1)]))
    fine, share, _ = painter.paint(Points(x, y, z, voxel, geometry.zooms[2] / geometry.parts[2]))
    image = thin_out(fine, geometry.parts)
    if clean:
        image = image * bias_field(rng, image.shape, float(rng.uniform(0, 0.25)))
        image = add_noise(rng, image, float(rng.uniform(0.003, 0.05)))
    else:
        image = bend_grey_scale(rng, degrade(rng, image, geometry.zooms))
    return Scan(image, thin_out(share, geometry.parts), geometry.zooms)


def draw_nothing(rng: np.random.Generator, geometry: ScanGeometry) -> Scan:
    """Scan what is no body: noise of several kinds and grains, ramps, and bare balls and boxes.

    Parameters
    ----------
    rng : numpy.random.Generator
    geometry : ScanGeometry

    Returns
    -------
    scan : Scan
        Without cord.
    """
    image = np.zeros(geometry.shape, dtype=np.float32)
    x, y, z = (
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * size
        for n, size in zip(geometry.shape, geometry.zooms, strict=True)
    )
    points = x[:, None, None], y[None, :, None], z[None, None, :]
    if rng.random() < 0.3:
        for slope, place in zip(rng.normal(0, 0.01, 3), points, strict=True):
            image += np.float32(slope) * place
    for _ in range(rng.integers(0, 4)):
        middle, radii = rng.uniform(-40, 40, 3), rng.uniform(5, 60, 3)
        if rng.random() < 0.5:
            radii[:] = radii[0]
        u, v, w = (np.abs(p - m) / r for p, m, r in zip(points, middle, radii, strict=True))
        size = np.sqrt(u**2 + v**2 + w**2) if rng.random() < 0.6 else np.maximum(np.maximum(u, v), w)
        image = np.where(size < 1, np.float32(rng.uniform(0, 1)), image)
    image = image + _empty_noise(rng, geometry) * np.float32(10 ** rng.uniform(-2, 0.5))
    image = bend_grey_scale(rng, image - image.min()).astype(np.float32)
    return Scan(image, np.zeros_like(image), geometry.zooms)


def _empty_noise(rng: np.random.Generator, geometry: ScanGeometry) -> FloatArray:
    """Noise of one of four distributions, with a grain of up to 4 mm and a standard deviation near 1."""
    kind = int(rng.integers(4))
    noise = (
        rng.standard_normal(geometry.shape),
        rng.uniform(0, 3, geometry.shape),
        rng.rayleigh(1.5, geometry.shape),
        rng.exponential(1.0, geometry.shape),
    )[kind].astype(np.float32)
    if rng.random() < 0.6:
        noise = gaussian_filter(noise, rng.uniform(0.3, 4.0) / np.asarray(geometry.zooms))
        noise /= np.float32(max(float(noise.std()), 1e-6))
    return noise


def _place(rng: np.random.Generator, geometry: ScanGeometry) -> list[FloatArray]:
    """Coordinates (mm) of the sub-voxels of a scan that is tilted and shifted against the body."""
    spread = 20.0 if rng.random() < 0.15 else 7.0
    middle = np.array([rng.normal(0, spread), rng.normal(0, spread), rng.uniform(-60, 60)])
    largest = 35.0 if rng.random() < 0.3 else 12.0
    axes = [
        (sub_positions(n, f) - (n - 1) / 2) * size
        for n, f, size in zip(geometry.shape, geometry.parts, geometry.zooms, strict=True)
    ]
    turn = rotation(*np.deg2rad(rng.normal(0, largest / 2, 3) * [1, 0.5, 0.5]))
    i, j, k = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    return [
        (turn[r, 0] * i + turn[r, 1] * j + turn[r, 2] * k + middle[r]).astype(np.float32) for r in range(3)
    ]


def rotation(about_x: float, about_y: float, about_z: float) -> FloatArray:
    """A rotation matrix (3, 3) from three angles (rad)."""
    matrix = np.eye(3)
    for axis, angle in enumerate((about_x, about_y, about_z)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrix = turn @ matrix
    return matrix
