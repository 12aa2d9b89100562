"""One label from those of several raters of one image."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from softcord._typing import FloatArray
from softcord.errors import GeometryError, MissingExtraError

Raters: TypeAlias = Literal["mean", "majority", "staple"]

_MARGIN = 10  # voxels kept around the masks: STAPLE's prior is the share of cord in what it looks at


def merge_raters(labels: Sequence[FloatArray], how: Raters = "mean") -> FloatArray:
    """One map of shares from several.

    Parameters
    ----------
    labels : sequence of (I, J, K) array of float in [0, 1]
        On one grid.
    how : {"mean", "majority", "staple"}
        The mean; 1 where more than half of the raters say cord and 0.5 where half do; or the probability of
        cord by STAPLE (Warfield et al. 2004, as in SimpleITK), which weighs raters by how far they agree with
        the others. The last two take labels as cord from 0.5 on.

    Returns
    -------
    merged : (I, J, K) array of float32 in [0, 1]

    Raises
    ------
    GeometryError
        If the grids differ.
    MissingExtraError
        If STAPLE is wanted and SimpleITK not installed.
    """
    shapes = {label.shape for label in labels}
    if len(shapes) > 1:
        raise GeometryError(f"Labels of several raters must be on one grid, got {sorted(shapes)} voxels.")
    if len(labels) == 1:
        return labels[0]
    if how == "mean":
        mean: FloatArray = np.mean(labels, axis=0, dtype=np.float32)
        return mean
    votes = np.stack([label >= 0.5 for label in labels])
    if how == "majority":
        share = votes.mean(axis=0, dtype=np.float32)
        decided: FloatArray = np.where(share == 0.5, 0.5, share > 0.5).astype(np.float32)
        return decided
    return _staple(votes)


def _staple(votes: np.ndarray) -> FloatArray:
    try:
        import SimpleITK as sitk  # noqa: N813  its own habit
    except ImportError as error:
        raise MissingExtraError("STAPLE needs SimpleITK. Run: pip install 'softcord[dataset]'") from error
    merged = np.zeros(votes.shape[1:], dtype=np.float32)
    found = np.argwhere(votes.any(axis=0))
    if not found.size or np.all(votes == votes[0]):  # STAPLE divides by the number of disagreements
        return np.asarray(votes[0], dtype=np.float32)
    low = np.maximum(found.min(axis=0) - _MARGIN, 0)
    box = tuple(slice(a, b + _MARGIN + 1) for a, b in zip(low, found.max(axis=0), strict=True))
    images = [sitk.GetImageFromArray(vote[box].astype(np.uint8)) for vote in votes]
    merged[box] = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    probability: FloatArray = np.clip(merged, 0, 1)
    return probability
