"""The grey scale that the network sees."""

import numpy as np

from softcord._typing import FloatArray

HIGHEST = 1.5  # of the scaled grey levels; brighter voxels are cut
BRIGHT = 99.0  # percentile of a plane that tells how bright it is …
PLANE_SAMPLES = 20_000  # … from about so many voxels
GAINS = 0.5, 30.0  # least and most by which a plane is multiplied


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


def level_planes(data: FloatArray) -> FloatArray:
    """A volume whose planes across the cord are equally bright.

    Coils see less towards the ends of a long view, by ten times and more in the last slices. Each plane is
    multiplied, about the volume's lowest grey level, so that the 99th percentile of what is brighter than
    that becomes the median over planes, by 0.5 to 30 at most.

    Parameters
    ----------
    data : (I, J, K) array of float32
        RAS+.

    Returns
    -------
    levelled : (I, J, K) array of float32
        `data` itself if fewer than two planes hold anything.
    """
    low = np.float32(grey_range(data)[0])
    step = max(1, round((data.shape[0] * data.shape[1] / PLANE_SAMPLES) ** 0.5))
    few = tuple(slice(None, None, min(step, max(1, n // 4))) for n in data.shape[:2])
    lit = [plane[plane > low] for plane in np.moveaxis(data[few], 2, 0)]  # what a mask has emptied is not lit
    held = np.array([values.size > 0 for values in lit])
    if held.sum() < 2:
        return data
    bright = np.array([np.percentile(values - low, BRIGHT) for values in lit if values.size])
    gain = np.ones(data.shape[2], dtype=np.float32)
    gain[held] = np.clip(np.median(bright) / bright, *GAINS)
    levelled: FloatArray = data - low
    levelled *= gain
    levelled += low
    return levelled


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
