"""The grey scale that the network sees."""

from dataclasses import dataclass

import numpy as np

from softcord._typing import FloatArray
from softcord.resample import Axis, resample_axis

HIGHEST = 1.5  # of the scaled grey levels; brighter voxels are cut
RANGE = 0.5, 99.5  # percentiles of a volume that are its grey range …
VOLUME_SAMPLES = 250_000  # … from about so many voxels
BRIGHT = 99.0  # percentile of a plane that tells how bright it is …
PLANE_SAMPLES = 10_000  # … from about so many
FEWEST = 200  # of them: where a mask has left fewer, all voxels of the plane tell
SLACK = 1.1  # planes within this factor of the median stay: anatomy alone differs by as much
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
    low, high, _ = _range(data)
    return low, high


def _range(data: FloatArray) -> tuple[float, float, bool]:
    """Lowest and highest grey level, and whether these are percentiles and not extremes."""
    low, high = np.percentile(data[_few(data.shape, VOLUME_SAMPLES)], RANGE)
    if high <= low:  # a small bright object in a dark field: percentiles see nothing of it
        return float(data.min()), float(data.max()), False
    return float(low), float(high), True


def _few(shape: tuple[int, ...], samples: int) -> tuple[slice, ...]:
    """Every so many voxels along each axis, about so many samples in all."""
    step = max(1, round((np.prod(shape) / samples) ** (1 / len(shape))))
    return tuple(slice(None, None, min(step, max(1, n // 4))) for n in shape)


@dataclass(frozen=True, eq=False)
class GreyScale:
    """What grey levels of a volume mean.

    Attributes
    ----------
    low, high : float
        The range, after its planes were made equally bright.
    gains : (K,) array of float32
        By which each plane is multiplied, about `low`.
    """

    low: float
    high: float
    gains: FloatArray

    def on(self, axis: Axis) -> FloatArray:
        """The gains of the planes of a grid on the volume, (n,) array; `axis` is the grid's third.

        Resampling averages what is bright, not gains.
        """
        gains: FloatArray = 1 / resample_axis(1 / self.gains, axis, 0)
        return gains


def grey_scale(data: FloatArray) -> GreyScale:
    """The grey range of a volume whose planes across the cord are made equally bright.

    Coils see less towards the ends of a long view, by ten times and more in the last slices. Each plane is
    multiplied, about the volume's lowest grey level, so that the 99th percentile of what is brighter than
    that comes within a tenth of the median over planes, by 0.5 to 30 at most. Planes that are within it stay.

    Parameters
    ----------
    data : (I, J, K) array of float32
        RAS+.

    Returns
    -------
    scale : GreyScale
        Where no plane is multiplied, `low` and `high` are those of `grey_range`.
    """
    low, high, percentiles = _range(data)
    gains = _gains(data, low)
    if (gains != 1).any() and percentiles:
        few = _few(data.shape, VOLUME_SAMPLES)
        high = low + float(np.percentile((data[few] - np.float32(low)) * gains[few[2]], RANGE[1]))
    elif (gains != 1).any():
        high = low + float(((data.max(axis=(0, 1)) - np.float32(low)) * gains).max())
    return GreyScale(low, high, gains)


def _gains(data: FloatArray, low: float) -> FloatArray:
    """By which each plane is to be multiplied, (K,) float32; a plane that holds nothing as its neighbour."""
    bright = np.array([_brightness(plane, low) for plane in np.moveaxis(data, 2, 0)])
    held = np.flatnonzero(bright > 0)
    if held.size < 2:
        return np.ones(bright.size, dtype=np.float32)
    usual = float(np.median(bright[held]))
    gains = np.clip(np.clip(bright[held], usual / SLACK, usual * SLACK) / bright[held], *GAINS)
    nearest = np.abs(np.arange(bright.size)[:, None] - held).argmin(axis=1)
    spread: FloatArray = gains[nearest].astype(np.float32)
    return spread


def _brightness(plane: FloatArray, low: float) -> float:
    """The 99th percentile of a plane above `low`, without what a mask has set to 0; 0 if nothing is left."""
    few = np.ascontiguousarray(plane[_few(plane.shape, PLANE_SAMPLES)])
    lit = few[(few > low) & (few != 0)]
    if lit.size < FEWEST:
        lit = plane[(plane > low) & (plane != 0)]
    return float(np.percentile(lit, BRIGHT)) - low if lit.size else 0.0


def scale_grey(data: FloatArray, low: float, high: float, gains: FloatArray | float = 1.0) -> FloatArray:
    """Grey levels scaled so that `low` is 0 and `high` is 1, cut at 0 and `HIGHEST`.

    Parameters
    ----------
    data : (I, J, K) array of float32
    low, high : float
    gains : (K,) array of float32, optional
        By which planes are multiplied.

    Returns
    -------
    scaled : (I, J, K) array of float32 in [0, HIGHEST]
    """
    scaled: FloatArray = (data - np.float32(low)) * (gains * np.float32(1 / max(high - low, 1e-12)))
    np.clip(scaled, 0, HIGHEST, out=scaled)
    return scaled
