"""Names for the arrays that softcord passes around.

Shapes are said in docstrings, `(I, J, K)` for a volume: axes i, j, k of the voxel grid.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
"""Real numbers; float32 wherever it is a volume."""

BoolArray: TypeAlias = npt.NDArray[np.bool_]
"""A mask."""

Affine: TypeAlias = npt.NDArray[np.float64]
"""(4, 4): voxel index to RAS+ mm."""

Zooms: TypeAlias = tuple[float, float, float]
"""Voxel size along i, j, k in mm."""
