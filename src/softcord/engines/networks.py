"""The two networks of a model, ready to run, with the grids they work on."""

from dataclasses import dataclass

import numpy as np

from softcord._typing import FloatArray, Zooms
from softcord.engines.runtime import Engine
from softcord.resample import Grid, isotropic_grid, working_grid


@dataclass(frozen=True)
class Network:
    """A graph in an engine.

    Attributes
    ----------
    engine : Engine
    multiple : (3,) tuple of int
        What the shape of its input must be a multiple of.
    kind : {"working", "isotropic"}
        Which grid of `softcord.resample` it works on.
    in_plane, along : float, mm
        Of that grid.
    scale, shift : float
        Calibration: logits are multiplied and shifted by them before they become shares.
    """

    engine: Engine
    multiple: tuple[int, int, int]
    kind: str
    in_plane: float
    along: float
    scale: float = 1.0
    shift: float = 0.0

    def grid(self, shape: tuple[int, ...], zooms: Zooms) -> Grid:
        """The network's grid for a RAS+ volume."""
        if self.kind == "isotropic":
            return isotropic_grid(shape, zooms, self.in_plane)
        return working_grid(shape, zooms, in_plane=self.in_plane, along=self.along)

    def shares(self, image: FloatArray) -> FloatArray:
        """The share of cord in each sample.

        Parameters
        ----------
        image : (I, J, K) array of float32
            Scaled grey levels of any shape; zeros are added on both sides up to what the graph needs.

        Returns
        -------
        shares : (I, J, K) array of float32 in [0, 1]
        """
        pad = []
        for size, multiple in zip(image.shape, self.multiple, strict=True):
            missing = -size % multiple
            pad.append((missing // 2, missing - missing // 2))
        logits = self.engine.run(np.pad(image, pad))
        inside = tuple(
            slice(before, before + size) for (before, _), size in zip(pad, image.shape, strict=True)
        )
        logits = logits[inside] * np.float32(self.scale) + np.float32(self.shift)
        shares: FloatArray = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
        return shares


@dataclass(frozen=True)
class Networks:
    """`locate` says where the cord is, at low resolution; `refine` how much of each voxel is cord."""

    locate: Network
    refine: Network
