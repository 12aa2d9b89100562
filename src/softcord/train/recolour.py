"""New appearances for real images, so that one contrast teaches others."""

import numpy as np
from scipy.ndimage import convolve, gaussian_filter

from softcord._typing import FloatArray


def recolour(rng: np.random.Generator, image: FloatArray, *, keep: float = 0.25) -> FloatArray:
    """Change the grey levels of an image at random, or keep them.

    Parameters
    ----------
    rng : numpy.random.Generator
    image : (I, J, K) array of float32
        Grey levels near 0 to 1.
    keep : float
        How often they are kept.

    Returns
    -------
    recoloured : (I, J, K) array of float32
        Grey levels near 0 to 1.
    """
    draw = rng.random()
    if draw < keep:
        return image
    draw = 0.25 + 0.75 * (draw - keep) / (1 - keep)
    if draw < 0.5:
        return _remap(rng, image, monotone=True)
    if draw < 0.7:
        return _remap(rng, image, monotone=False)
    if draw < 0.8:
        return np.clip(1 - image, 0, 1)
    return _random_convolution(rng, image)


def _remap(rng: np.random.Generator, image: FloatArray, *, monotone: bool) -> FloatArray:
    """Grey levels through a random piecewise linear curve."""
    knots = int(rng.integers(3, 7))
    x = np.sort(np.concatenate([[0, 1], rng.uniform(0, 1, knots - 2)]))
    y = rng.uniform(0, 1, knots)
    if monotone:
        y = np.sort(y)
        y = y[::-1] if rng.random() < 0.3 else y
    curve: FloatArray = np.interp(image, x, y).astype(np.float32)
    return curve


def _random_convolution(rng: np.random.Generator, image: FloatArray) -> FloatArray:
    """Two random 3×3×3 convolutions with a rectifier between, mixed with the image."""
    result = image
    for _ in range(2):
        kernel = rng.normal(0, 1, (3, 3, 1 if image.shape[2] < 3 else 3)).astype(np.float32)
        result = convolve(result, kernel / np.abs(kernel).sum(), mode="nearest")
        result = np.where(result > 0, result, np.float32(0.1) * result)
    result = gaussian_filter(result, 0.3)
    low, high = np.percentile(result[::2, ::2], [1, 99])
    result = np.clip((result - low) / max(high - low, 1e-6), 0, 1)
    share = np.float32(rng.uniform(0, 0.7))
    mixed: FloatArray = (share * image + (1 - share) * result).astype(np.float32)
    return mixed
