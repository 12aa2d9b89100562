"""The network of a model, ready to run, with the two grids it works on."""

from dataclasses import dataclass

import numpy as np

from softcord._typing import FloatArray, Zooms
from softcord.engines.runtime import Engine
from softcord.resample import Grid, working_grid

SLAB = 16  # planes: fewer tell too little of a cord beside a wall of zeros


@dataclass(frozen=True)
class Network:
    """A graph in an engine.

    Attributes
    ----------
    engine : Engine
    multiple : (3,) tuple of int
        What the shape of its input must be a multiple of.
    in_plane, along : float, mm
        Of its fine grid, see `softcord.resample.working_grid`.
    coarse : float
        How many times larger both are on its coarse grid.
    scale, shift : float
        Calibration: logits are multiplied and shifted by them before they become shares.
    """

    engine: Engine
    multiple: tuple[int, int, int]
    in_plane: float
    along: float
    coarse: float
    scale: float = 1.0
    shift: float = 0.0

    def fine_grid(self, shape: tuple[int, ...], zooms: Zooms) -> Grid:
        """The grid on which shares are computed."""
        return working_grid(shape, zooms, in_plane=self.in_plane, along=self.along)

    def coarse_grid(self, shape: tuple[int, ...], zooms: Zooms) -> Grid:
        """The grid on which the cord is looked for."""
        return working_grid(
            shape, zooms, in_plane=self.in_plane * self.coarse, along=self.along * self.coarse
        )

    def shares(self, image: FloatArray) -> FloatArray:
        """The share of cord in each sample.

        Parameters
        ----------
        image : (I, J, K) array of float32
            Scaled grey levels of any shape. Up to what the graph needs, zeros are added on both sides. A
            slab of fewer planes than `SLAB` goes on along the cord as it ends instead: its first and last
            plane are repeated.

        Returns
        -------
        shares : (I, J, K) array of float32 in [0, 1]
        """
        pad = []
        for size, multiple in zip(image.shape, self.multiple, strict=True):
            missing = -size % multiple
            pad.append((missing // 2, missing - missing // 2))
        logits = self.engine.run(pad_view(image, pad, goes_on=image.shape[2] < SLAB))
        inside = tuple(
            slice(before, before + size) for (before, _), size in zip(pad, image.shape, strict=True)
        )
        logits = logits[inside] * np.float32(self.scale) + np.float32(self.shift)
        shares: FloatArray = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
        return shares


def pad_view(values: FloatArray, pad: list[tuple[int, int]], *, goes_on: bool) -> FloatArray:
    """Zeros around a view; with `goes_on`, its first and last plane are repeated beyond its ends instead."""
    wide = np.pad(values, [*pad[:2], (0, 0)])
    padded: FloatArray = np.pad(wide, [(0, 0), (0, 0), pad[2]], mode="edge" if goes_on else "constant")
    return padded
