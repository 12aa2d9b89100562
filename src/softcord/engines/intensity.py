"""The grey scale that the network sees."""

import numpy as np

from softcord._typing import FloatArray

HIGHEST = 1.5  # of the scaled grey levels; brighter voxels are cut


def grey_range(data: FloatArray) -> tuple[float, float]:
    """The 0.5th and the 99.5th percentile of a volume, from at most about a quarter of a million voxels.

    Parameters
    ----------
    data : (I, J, K) array of float32

    Returns
    -------
    low, high : float
    """
    step = max(1, round((data.size / 250_000) ** (1 / 3)))
    few = tuple(slice(None, None, min(step, max(1, n // 4))) for n in data.shape)
    low, high = np.percentile(data[few], [0.5, 99.5])
    if high <= low:  # a small bright object in a dark field: percentiles see nothing of it
        low, high = float(data.min()), float(data.max())
    return float(low), float(high)


def scale_grey(data: FloatArray, low: float, high: float) -> FloatArray:
    """Grey levels scaled so that `low` is 0 and `high` is 1, cut at 0 and `HIGHEST`.

    Parameters
    ----------
    data : (I, J, K) array of float32
    low, high : float

    Returns
    -------
    scaled : (I, J, K) array of float32 in [0, HIGHEST]
    """
    scaled: FloatArray = (data - np.float32(low)) * np.float32(1 / max(high - low, 1e-12))
    np.clip(scaled, 0, HIGHEST, out=scaled)
    return scaled
