"""What the scanner does to a painted volume: coil, blur, noise, thick slices, field of view."""

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from softcord._typing import FloatArray


def bias_field(rng: np.random.Generator, shape: tuple[int, ...], strength: float) -> FloatArray:
    """A smooth positive field, the exponential of coarse random values with standard deviation `strength`."""
    coarse = rng.normal(0, strength, (4, 4, 4)).astype(np.float32)
    field: FloatArray = zoom(coarse, [n / 4 for n in shape], order=1, mode="nearest", grid_mode=True)
    return np.exp(field)


def coil_falloff(rng: np.random.Generator, shape: tuple[int, ...], zooms: tuple[float, ...]) -> FloatArray:
    """Sensitivity that falls off from the back, and towards both ends of the array of coils."""
    j = np.arange(shape[1], dtype=np.float32) * zooms[1]
    k = np.arange(shape[2], dtype=np.float32) * zooms[2]
    depth = np.exp(-j / rng.uniform(40, 150))
    centre, width = rng.uniform(0, k[-1] + 1), rng.uniform(40, 150)
    reach = np.exp(-0.5 * ((k - centre) / width) ** 2)
    least = np.float32(rng.uniform(0.03, 0.3))
    falloff: FloatArray = (depth[:, None] * (least + reach[None, :]))[None].astype(np.float32)
    return falloff


def add_noise(
    rng: np.random.Generator, image: FloatArray, sigma: float, *, rician: bool = True
) -> FloatArray:
    """Noise with standard deviation `sigma`: of the magnitude of a complex signal (Rician), or Gaussian."""
    real: FloatArray = image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
    if not rician:
        return real
    imaginary = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
    noisy: FloatArray = np.hypot(real, imaginary)
    return noisy


def degrade(rng: np.random.Generator, image: FloatArray, zooms: tuple[float, float, float]) -> FloatArray:
    """Bias, coil, ghosts, blur, noise and a change of the grey scale, each at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    image : (I, J, K) array of float32
        Grey levels near 0 to 1.
    zooms : (3,) tuple of float, mm

    Returns
    -------
    degraded : (I, J, K) array of float32
    """
    if rng.random() < 0.7:
        image = image * bias_field(rng, image.shape, rng.uniform(0.05, 0.5))
    if rng.random() < 0.35:
        image = image * coil_falloff(rng, image.shape, zooms)
    if rng.random() < 0.1:  # a ghost along the phase-encoding axis
        shift = int(rng.integers(3, max(4, image.shape[1] // 2)))
        image = image + np.float32(rng.uniform(0.02, 0.2)) * np.roll(
            image, shift, axis=int(rng.integers(0, 2))
        )
    if rng.random() < 0.4:
        width = rng.uniform(0.2, 0.9)
        image = gaussian_filter(image, [width * rng.uniform(0.6, 1.2), width, width * rng.uniform(0.3, 1)])
    if rng.random() < 0.15:
        width = rng.uniform(0.5, 1.0)
        image = image + np.float32(rng.uniform(0.3, 1)) * (
            image - gaussian_filter(image, width)
        )  # edges enhanced
    if rng.random() < 0.9:
        level = float(np.percentile(image[::2, ::2, ::2], 95))
        image = add_noise(
            rng, image, level * rng.uniform(0.003, 0.1) * rng.uniform(0.3, 1.3), rician=rng.random() < 0.7
        )
    return image


def bend_grey_scale(rng: np.random.Generator, image: FloatArray) -> FloatArray:
    """Gamma, and at times a second bend, on grey levels near 0 to 1 (negative ones become 0)."""
    bent: FloatArray = np.maximum(image, 0) ** np.float32(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.2:
        knee = np.float32(rng.uniform(0.3, 0.8))
        bent = np.where(bent > knee, knee + (bent - knee) * np.float32(rng.uniform(0.1, 1.0)), bent)
    return bent


def thin_out(share_or_image: FloatArray, factors: tuple[int, int, int]) -> FloatArray:
    """Average blocks of ``factors`` voxels: how a scanner with larger voxels sees the volume.

    Parameters
    ----------
    share_or_image : (I f, J g, K h) array of float32
    factors : (f, g, h) tuple of int

    Returns
    -------
    averaged : (I, J, K) array of float32
    """
    f, g, h = factors
    i, j, k = (n // m for n, m in zip(share_or_image.shape, factors, strict=True))
    blocks = share_or_image[: i * f, : j * g, : k * h].reshape(i, f, j, g, k, h)
    averaged: FloatArray = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return averaged
