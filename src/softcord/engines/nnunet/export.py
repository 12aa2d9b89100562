"""From logits on the network's grid to probabilities on the image's grid."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from softcord._typing import BoolArray, FloatArray
from softcord.engines.nnunet.labels import Labels
from softcord.engines.nnunet.plans import Plans
from softcord.engines.nnunet.preprocess import Prepared
from softcord.engines.nnunet.resampling import Sampler, resample_to, separate_axis
from softcord.engines.nnunet.tiles import HalfArray

SLAB = 16  # planes of the image that are brought back at a time
ALL = 1 - 1e-6  # of the samples that a voxel depends on


def to_probabilities(
    logits: HalfArray, prepared: Prepared, plans: Plans, labels: Labels, known: BoolArray | None = None
) -> FloatArray:
    """Bring logits back to the image's grid, and turn them into probabilities there.

    Parameters
    ----------
    logits : (outputs, I, J, K) array of float16
        On the padded grid of `prepared`.
    prepared : Prepared
    plans : Plans
    labels : Labels
    known : (I, J, K) array of bool, optional
        Where the logits are known; what depends on others is 0.

    Returns
    -------
    probabilities : (len(labels.names), I', J', K') array of float32
        On the axes of the image that was prepared.
    """
    inside, box = (slice(None), *prepared.inside), (slice(None), *prepared.box)
    logits = logits[inside]
    known = None if known is None else known[prepared.inside]
    found = np.zeros((len(labels.names), *prepared.shape), dtype=np.float32)
    part = found[box]
    for rows, values, sure in _slabs(logits, known, prepared, plans):
        probabilities = labels.probabilities(values)
        part[:, rows] = probabilities if sure is None else np.where(sure, probabilities, np.float32(0))
    back = plans.transpose_backward
    on_reader: FloatArray = found.transpose(0, *(axis + 1 for axis in back))
    return on_reader


def _slabs(
    logits: HalfArray, known: BoolArray | None, prepared: Prepared, plans: Plans
) -> Iterator[tuple[slice, npt.NDArray[np.floating], BoolArray | None]]:
    """Planes of the result, their logits, and where these are known."""
    target, how = prepared.cropped, plans.probabilities
    if how.identity or tuple(logits.shape[1:]) == target:
        yield slice(0, target[0]), logits, known
        return
    axis = separate_axis(how, plans.spacing, prepared.spacing)
    if how.order > 1:  # a spline depends on the whole volume, and is cut to its range
        way = (target, how, plans.spacing, prepared.spacing)
        whole = np.stack([resample_to(channel, *way) for channel in logits])
    linear = replace(how, order=min(how.order, 1))
    sampler = Sampler(logits.shape[1:], target, linear, axis)
    for start in range(0, target[0], SLAB):
        rows = slice(start, min(start + SLAB, target[0]))
        sure = None if known is None else sampler.sample(known, rows) > ALL
        if sure is not None and not sure.any():
            continue
        if how.order > 1:
            yield rows, whole[:, rows], sure
        else:
            kind = logits.dtype if how.clip else np.float32  # its torch variant never goes back to half
            yield rows, np.stack([sampler.sample(channel, rows).astype(kind) for channel in logits]), sure
