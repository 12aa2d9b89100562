"""nnU-Net's sliding window: where the tiles lie, how they are weighted, and their sum in half precision.

The sums are rounded to float16 after every tile and in nnU-Net's order of tiles, as nnU-Net does: anything
more exact would differ from it by more than the networks of two libraries do.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from softcord._typing import FloatArray
from softcord.engines.nnunet.preprocess import Box
from softcord.errors import ModelError

HalfArray = npt.NDArray[np.float16]
STEP = 0.5  # of a tile, at most, between neighbouring tiles
HIGHEST = 10.0  # of the weights


def tile_starts(size: int, patch: int) -> list[int]:
    """Where the tiles start along one axis, evenly spread and rounded to even at ties.

    Examples
    --------
    >>> tile_starts(260, 192)
    [0, 68]
    >>> tile_starts(320, 320)
    [0]
    """
    count = int(np.ceil((size - patch) / (patch * STEP))) + 1
    step = (size - patch) / (count - 1) if count > 1 else 0.0
    return [int(np.round(step * number)) for number in range(count)]


def tile_grid(shape: Sequence[int], patch: Sequence[int]) -> list[Box]:
    """All tiles of a volume that is not smaller than one, the last axis fastest."""
    starts = [tile_starts(n, p) for n, p in zip(shape, patch, strict=True)]
    return [
        (slice(i, i + patch[0]), slice(j, j + patch[1]), slice(k, k + patch[2]))
        for i, j, k in itertools.product(*starts)
    ]


def tile_weights(patch: Sequence[int]) -> HalfArray:
    """Weight of each voxel of a tile: a Gaussian of an eighth of its size, 10 in the middle, never 0."""
    profiles = []
    for n in patch:
        delta = np.zeros(n)
        delta[n // 2] = 1
        profiles.append(gaussian_filter1d(delta, n / 8, mode="constant"))
    i, j, k = profiles
    weights = i[:, None, None] * j[:, None] * k
    weights /= weights.max() / HIGHEST
    half: HalfArray = weights.astype(np.float16)
    half[half == 0] = half[half != 0].min()
    return half


class Blend:
    """The weighted mean of tiles.

    Parameters
    ----------
    outputs : int
    shape : (3,) sequence of int
        Of the volume.
    weights : array of float16
        As `tile_weights` gives them.
    """

    def __init__(self, outputs: int, shape: Sequence[int], weights: HalfArray) -> None:
        self._sum = np.zeros((outputs, *shape), dtype=np.float16)
        self._weight = np.zeros(tuple(shape), dtype=np.float16)
        self._weights = weights

    def add(self, tile: Box, weighted: FloatArray) -> None:
        """Add a tile's logits, already multiplied by the weights: (outputs, I, J, K) float32."""
        for total, part in zip(self._sum, weighted, strict=True):
            view = total[tile]
            view[...] = view.astype(np.float32) + part
        self._weight[tile] += self._weights

    def mean(self) -> HalfArray:
        """The mean, in the place of the sum; 0 where no tile lies. Nothing can be added after that.

        Raises
        ------
        ModelError
            Logits are too large for half precision.
        """
        self._weight[self._weight == 0] = 1
        for plane in range(self._sum.shape[1]):  # plane by plane, so that float32 is never held of all
            part = self._sum[:, plane].astype(np.float32) / self._weight[plane].astype(np.float32)
            with np.errstate(over="ignore"):
                self._sum[:, plane] = part
        if not np.isfinite(self._sum).all():
            raise ModelError(
                "The model's outputs are too large for half precision, in which nnU-Net blends its tiles, or "
                "are no numbers. Check the image for values that are not finite, and the model."
            )
        return self._sum
