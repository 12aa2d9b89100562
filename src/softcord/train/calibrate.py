"""Calibration: a scale and a shift of the logits after which sums of shares are unbiased.

The two numbers are fitted by logistic regression on samples that were not trained on. With a free shift, the
optimum is where the predicted shares sum to the true ones, so that areas carry no mean bias; the scale makes
the network as sure as it should be.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit

from softcord._typing import FloatArray
from softcord.train.network import CompactUNet
from softcord.train.pool import Task, draw_numbered
from softcord.train.samples import Sample
from softcord.train.sources import load_sources

log = logging.getLogger(__name__)

FIRST_NUMBER = 10_000_000  # no training run draws samples of such numbers
FAR = 1e-3  # samples where neither the truth nor the network sees this much cord are left out
MOST_VALUES = 2_000_000


def calibrate(task: Task, network: CompactUNet) -> tuple[float, float]:
    """Fit the calibration on samples of the training's mix, of numbers that no training draws.

    Phantoms and label maps alone would not do: their contrasts are harder than those of most real images, and
    what makes areas right on them makes them too small on real ones.

    Parameters
    ----------
    task : Task
        Its ``schedule.calibration`` samples are drawn; 0 leaves the logits as they are.
    network : CompactUNet

    Returns
    -------
    scale, shift : float
    """
    config = task.config
    if not config.schedule.calibration:
        return 1.0, 0.0
    task = replace(task, config=replace(config, mix=replace(config.mix, coarse=0.0)))
    sources = load_sources(task.config, task.data, task.pseudo)
    numbers = range(FIRST_NUMBER, FIRST_NUMBER + config.schedule.calibration)
    logits, shares = collect(network, (draw_numbered(task, sources, number) for number in numbers))
    if not shares.any():
        log.warning("not calibrated: no cord in %d samples", len(numbers))
        return 1.0, 0.0
    scale, shift = fit(logits, shares)
    before, after = expit(logits), expit(scale * logits + shift)
    log.info(
        "calibration: scale %.3f, shift %.3f; sum of shares %+.2f %% before, %+.2f %% after",
        scale,
        shift,
        100 * (before.sum() / shares.sum() - 1),
        100 * (after.sum() / shares.sum() - 1),
    )
    return scale, shift


@torch.no_grad()
def collect(network: CompactUNet, samples: Iterable[Sample]) -> tuple[FloatArray, FloatArray]:
    """Logits and true shares of all samples' voxels that matter, each (N,) float64."""
    logits, shares = [], []
    for sample in samples:
        image = torch.from_numpy(sample.image.astype(np.float32))[None, None]
        logit = network(image)[0, 0].numpy()
        share = sample.share.astype(np.float32)
        near = (sample.weight > 0) & ((share > FAR) | (logit > np.log(FAR / (1 - FAR))))
        logits.append(logit[near])
        shares.append(share[near])
    return np.concatenate(logits).astype(float), np.concatenate(shares).astype(float)


def fit(logits: FloatArray, shares: FloatArray) -> tuple[float, float]:
    """Scale and shift that minimise the cross-entropy.

    Parameters
    ----------
    logits : (N,) array of float
    shares : (N,) array of float in [0, 1]

    Returns
    -------
    scale, shift : float
    """
    step = max(1, logits.size // MOST_VALUES)
    x, y = logits[::step], shares[::step]

    def cost(parameters: FloatArray) -> tuple[float, FloatArray]:
        z = parameters[0] * x + parameters[1]
        error = expit(z) - y
        value = float(np.mean(np.logaddexp(0, z) - y * z))
        return value, np.array([np.mean(error * x), np.mean(error)])

    scale, shift = minimize(cost, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B").x
    return float(scale), float(shift)
