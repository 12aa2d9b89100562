"""Calibration of a trained model: the scale of its logits with which the soft volume is the true one.

It is fitted on the validation cases of the fold, whose people the network has not seen, on all voxels of
them, as it is applied to all: a scale below 1 makes the many faint voxels far from the cord count, and the
fit must see that. A scale cannot mend every bias: where the edge lies wrong, a network would be made surer
and surer for next to nothing, or made to blur a wrong edge until the sum is right. So a scale that does not
halve the error, or with which the map says less about the truth (its cross-entropy rises), is not taken.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from softcord import scores
from softcord._typing import FloatArray
from softcord.engines.nnunet.network import rescale
from softcord.train.nnunet.layout import Run, read_json, write_json

FILE = "calibration.json"
FOUND = 0.6  # soft Dice below which a cord was not found, which no calibration mends
SCALES = (0.5, 2.0)  # where the scale is looked for
GAIN = 0.5  # largest error, root mean square over the cases, that a scale may leave of what it was
_STEPS = 41
_BINS = np.linspace(-17, 17, 8193)  # of logits; those of float32 shares within 1e-7 of 0 and 1 are inside


@dataclass(frozen=True, slots=True)
class Tally:
    """What of a case decides on the scale.

    Attributes
    ----------
    shares : (N,) array of float
        Distinct shares, each the mean of its bin.
    counts, held : (N,) array of float
        Voxels of each, and the sum of the true shares in them.
    true : float
        Sum of the true shares, in voxels.
    """

    shares: FloatArray
    counts: FloatArray
    held: FloatArray
    true: float

    def bias(self, scale: float) -> float:
        """Soft volume over the true one, less 1."""
        return float(rescale(self.shares, scale, 0.0) @ self.counts) / self.true - 1

    def entropy(self, scale: float) -> float:
        """Cross-entropy of the scaled shares with the true ones, per voxel of cord."""
        shares = np.clip(rescale(self.shares, scale, 0.0), 1e-12, 1 - 1e-12)
        total = self.held @ np.log(shares) + (self.counts - self.held) @ np.log1p(-shares)
        return -float(total) / self.true


@dataclass(frozen=True, slots=True)
class Calibration:
    """The scale of a fold or of a model.

    Attributes
    ----------
    scale, shift : float
        The logit is multiplied by, then shifted by them; the shift is 0.
    cases : int
        On which the scale was fitted.
    bias_before, bias_after : float
        Mean over the cases: soft volume over the true one, less 1.
    """

    scale: float
    shift: float
    cases: int
    bias_before: float
    bias_after: float


def tally(share: FloatArray, true: FloatArray) -> Tally | None:
    """Count the shares of a case; None if it has no cord, or it was not found.

    Parameters
    ----------
    share, true : (I, J, K) array of float in [0, 1]
    """
    if not true.any() or scores.soft_dice(share, true) < FOUND:
        return None
    some = share > 0
    p = np.clip(share[some].astype(np.float64), 1e-7, 1 - 1e-7)
    place = np.digitize(np.log(p / (1 - p)), _BINS)
    counts = np.bincount(place, minlength=len(_BINS) + 1).astype(float)
    sums, held = (
        np.bincount(place, weights=values, minlength=len(_BINS) + 1)
        for values in (p, true[some].astype(float))
    )
    kept = counts > 0
    return Tally(
        sums[kept] / counts[kept], counts[kept], held[kept].astype(float), float(true.sum(dtype=np.float64))
    )


def fit(tallies: Sequence[Tally]) -> Calibration | None:
    """The scale with the least squared bias of volumes; None without a case, or if no scale helps.

    Parameters
    ----------
    tallies : sequence of Tally
    """
    if not tallies:
        return None

    def cost(scale: float) -> float:
        return mean(each.bias(scale) ** 2 for each in tallies)

    # the cost may have two minima, as the volume falls, then rises with the scale: the one next to 1 is taken
    grid = np.geomspace(*SCALES, _STEPS)
    costs = [cost(at) for at in grid]
    at = _STEPS // 2
    while 0 < at < _STEPS - 1 and min(costs[at - 1], costs[at + 1]) < costs[at]:
        at += -1 if costs[at - 1] < costs[at + 1] else 1
    bounds = (grid[max(at - 1, 0)], grid[min(at + 1, _STEPS - 1)])
    scale = float(minimize_scalar(cost, bounds=bounds, method="bounded").x)
    said = [mean(each.entropy(at) for each in tallies) for at in (1.0, scale)]
    if cost(scale) > GAIN**2 * costs[_STEPS // 2] or said[1] > said[0]:
        return None
    before, after = (mean(each.bias(each_scale) for each in tallies) for each_scale in (1.0, scale))
    return Calibration(round(scale, 4), 0.0, len(tallies), round(before, 4), round(after, 4))


def keep_calibration(run: Run, fold: int | str, found: Calibration | None) -> None:
    """Write the calibration of a fold beside its checkpoint, and that of all folds into the model.

    Without one, that of an earlier training is removed.
    """
    path = run.fold(fold) / FILE
    if found is None:
        path.unlink(missing_ok=True)
    else:
        write_json(asdict(found), path)
    description = run.model / "dataset.json"
    content = read_json(description, "Train again.")
    folds = [each.name.removeprefix("fold_") for each in sorted(run.model.glob("fold_*"))]
    write_json(with_calibration(content, read_calibration(run, folds)), description)


def read_calibration(run: Run, folds: Sequence[str]) -> dict[str, Any] | None:
    """The calibration of a model of several folds, whose logits are averaged; None if no fold has one.

    Parameters
    ----------
    run : Run
    folds : sequence of str
    """
    paths = [run.fold(fold) / FILE for fold in folds]
    each = [Calibration(**read_json(path, "Train again.")) for path in paths if path.is_file()]
    if not each:
        return None
    scale = math.exp(mean(math.log(one.scale) for one in each))
    biases = (mean(one.bias_before for one in each), mean(one.bias_after for one in each))
    return asdict(Calibration(scale, 0.0, sum(one.cases for one in each), *biases))


def with_calibration(content: dict[str, Any], calibration: dict[str, Any] | None) -> dict[str, Any]:
    """dataset.json with a calibration where softcord looks for it; nnU-Net does not look there."""
    own = {key: value for key, value in (content.get("softcord") or {}).items() if key != "calibration"}
    if calibration is not None:
        own["calibration"] = calibration
    return {**content, "softcord": own}
