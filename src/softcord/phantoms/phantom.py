"""Whole phantoms: an image, the exact share of cord in every voxel, and the true area of every slice."""

from dataclasses import dataclass, replace

import numpy as np

from softcord._typing import Affine, FloatArray, Zooms
from softcord.phantoms.acquisition import add_noise, bias_field, thin_out
from softcord.phantoms.anatomy import Anatomy, AnatomyOptions, draw_anatomy
from softcord.phantoms.painting import Painter, Points
from softcord.phantoms.tissues import draw_palette

HEALTHY = AnatomyOptions(pathology=False, ends=False)
SLAB = 16  # slices painted at a time, so that memory stays small


@dataclass(frozen=True)
class Phantom:
    """A synthetic MRI whose truth is known.

    Attributes
    ----------
    image : (I, J, K) array of float32
        Grey levels.
    share : (I, J, K) array of float32 in [0, 1]
        Share of each voxel that is cord (partial volume).
    labels : (I, J, K) array of uint8
        The `Tissue` of each voxel.
    affine : (4, 4) array of float
        Voxel index to mm (RAS+).
    zooms : (3,) tuple of float, mm
    areas_mm2 : (K,) array of float, mm²
        True cross-sectional area in each slice, from the shape's formula and averaged over the slice's
        thickness. Known only where the grid is not tilted (`tilt_deg` 0); otherwise the areas are divided by
        the cosine of the tilt.
    anatomy : Anatomy
    """

    image: FloatArray
    share: FloatArray
    labels: np.ndarray
    affine: Affine
    zooms: Zooms
    areas_mm2: FloatArray
    anatomy: Anatomy


@dataclass(frozen=True, slots=True)
class PhantomOptions:
    """How a phantom is scanned.

    Attributes
    ----------
    shape : (3,) tuple of int
        Voxels along right, anterior and superior.
    zooms : (3,) tuple of float, mm
    contrast : str
        See `tissues.draw_palette`.
    oversample : (3,) tuple of int
        Sub-voxels along each axis over which image and share are averaged.
    noise : float
        Standard deviation of the Rician noise, as a share of the grey range.
    bias : float
        Standard deviation of the logarithm of the bias field.
    tilt_deg : float, degrees
        Rotation of the grid about the right-left axis.
    anatomy : AnatomyOptions
    """

    shape: tuple[int, int, int] = (64, 160, 160)
    zooms: Zooms = (1.0, 1.0, 1.0)
    contrast: str = "T2w"
    oversample: tuple[int, int, int] = (2, 2, 1)
    noise: float = 0.03
    bias: float = 0.2
    tilt_deg: float = 0.0
    anatomy: AnatomyOptions = HEALTHY


def make_phantom(seed: int = 0, options: PhantomOptions | None = None, **changes: object) -> Phantom:
    """Make a synthetic MRI of the cord and what surrounds it.

    Parameters
    ----------
    seed : int
        The same seed and options give the same phantom.
    options : PhantomOptions, optional
        How it is scanned.
    **changes
        Single fields of `PhantomOptions` that replace those of `options`.

    Returns
    -------
    phantom : Phantom

    Examples
    --------
    >>> phantom = make_phantom(1, shape=(48, 48, 8), zooms=(1.0, 1.0, 5.0))
    >>> phantom.image.shape
    (48, 48, 8)
    >>> bool(abs(phantom.share.sum() / phantom.areas_mm2.sum() - 1) < 0.02)
    True
    """
    # each field has its own type, which **changes cannot say
    options = replace(options or PhantomOptions(), **changes)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    anatomy = draw_anatomy(rng, options.anatomy)
    painter = Painter(anatomy, draw_palette(rng, options.contrast))
    affine = _affine(options)
    image, share, labels = _paint_slabs(painter, options, affine)
    image *= bias_field(rng, image.shape, options.bias)
    image = add_noise(rng, image, options.noise)
    return Phantom(image, share, labels, affine, options.zooms, _true_areas(anatomy, options), anatomy)


def _affine(options: PhantomOptions) -> Affine:
    """The grid centred on the phantom's origin, turned about the right-left axis."""
    tilt = np.deg2rad(options.tilt_deg)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.asarray(options.zooms)
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(options.shape) - 1) / 2)
    return affine


def sub_positions(n: int, parts: int, start: int = 0) -> FloatArray:
    """Centres of `parts` sub-voxels of each of `n` voxels, in voxels, from voxel `start` on."""
    positions: FloatArray = start - 0.5 + (np.arange(n * parts) + 0.5) / parts
    return positions


def _paint_slabs(
    painter: Painter, options: PhantomOptions, affine: Affine
) -> tuple[FloatArray, FloatArray, np.ndarray]:
    image = np.empty(options.shape, dtype=np.float32)
    share = np.empty(options.shape, dtype=np.float32)
    labels = np.empty(options.shape, dtype=np.uint8)
    f, g, h = options.oversample
    for start in range(0, options.shape[2], SLAB):
        stop = min(start + SLAB, options.shape[2])
        i = sub_positions(options.shape[0], f)[:, None, None]
        j = sub_positions(options.shape[1], g)[None, :, None]
        k = sub_positions(stop - start, h, start)[None, None, :]
        x, y, z = (
            (affine[row, 0] * i + affine[row, 1] * j + affine[row, 2] * k + affine[row, 3]).astype(np.float32)
            if options.tilt_deg
            else (affine[row, row] * index + affine[row, 3]).astype(np.float32)
            for row, index in enumerate((i, j, k))
        )
        across = (options.zooms[0] / f + options.zooms[1] / g) / 2
        fine, fine_share, fine_labels = painter.paint(Points(x, y, z, across, options.zooms[2] / h))
        image[..., start:stop] = thin_out(fine, options.oversample)
        share[..., start:stop] = thin_out(fine_share, options.oversample)
        labels[..., start:stop] = fine_labels[f // 2 :: f, g // 2 :: g, h // 2 :: h]
    return image, share, labels


def _true_areas(anatomy: Anatomy, options: PhantomOptions) -> FloatArray:
    parts = 16
    heights = (sub_positions(options.shape[2], parts) - (options.shape[2] - 1) / 2) * options.zooms[2]
    areas: FloatArray = anatomy.areas_mm2(heights).reshape(-1, parts).mean(axis=1) / np.cos(
        np.deg2rad(options.tilt_deg)
    )
    return areas
