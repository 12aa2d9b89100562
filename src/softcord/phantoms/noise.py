"""Smooth random fields that have a value anywhere in space, so that volumes can be painted slab by slab."""

import numpy as np
from scipy.ndimage import map_coordinates

from softcord._typing import FloatArray

SIDE = 48  # lattice points per side; the field repeats after SIDE wavelengths


class NoiseField:
    """Standard normal values on a lattice, trilinearly interpolated and repeated in space.

    Parameters
    ----------
    rng : numpy.random.Generator
    wavelength : float, mm
        Distance between lattice points.
    """

    def __init__(self, rng: np.random.Generator, wavelength: float) -> None:
        self._lattice = rng.standard_normal((SIDE, SIDE, SIDE)).astype(np.float32)
        self._wavelength = wavelength
        self._offset = rng.uniform(0, SIDE, 3)

    def __call__(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """Values at broadcastable coordinates (mm), as float32."""
        axes = (x, y, z)
        shape = np.broadcast_shapes(*(a.shape for a in axes))
        where = np.empty((3, *shape), dtype=np.float32)
        for row, coordinate, offset in zip(where, axes, self._offset, strict=True):
            row[...] = np.mod(coordinate / self._wavelength + offset, SIDE)
        values: FloatArray = map_coordinates(self._lattice, where, order=1, mode="grid-wrap", prefilter=False)
        return values
