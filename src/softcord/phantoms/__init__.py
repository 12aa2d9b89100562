"""Synthetic MRI of the spinal cord with known truth: for training, tests, benchmarks, the demo and the docs.

The way of a phantom: `anatomy` (what the body looks like) → `tissues` (grey levels) → `painting` (shares of
tissue in voxels) → `acquisition` (what the scanner does). `make_phantom` makes whole volumes, `patches` small
random scans and `labelmaps` scans of other people's label maps. Needs numpy and scipy alone.
"""

from softcord.phantoms.anatomy import AnatomyOptions
from softcord.phantoms.phantom import Phantom, PhantomOptions, make_phantom
from softcord.phantoms.tissues import CONTRASTS, Tissue

__all__ = ["CONTRASTS", "AnatomyOptions", "Phantom", "PhantomOptions", "Tissue", "make_phantom"]
