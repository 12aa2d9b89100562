"""Calibration: a scale of the logits after which soft values are as sure as they should be.

The scale is fitted by logistic regression on phantoms and on the real images of the training, as they are and
segmented as any image is: after some of the alterations that a training makes, nobody can tell the edge, and
what is right for those makes a network too unsure of clear images. A shift beside it was tried: it made areas
on real images 6 % too large, to make up for phantoms on which the cord comes out too small.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from softcord._typing import FloatArray
from softcord.engines import Network, PredictOptions, predict
from softcord.phantoms import CONTRASTS, AnatomyOptions, make_phantom
from softcord.train.config import GridConfig
from softcord.train.network import CompactUNet
from softcord.train.pool import Task
from softcord.train.sources import RealImage, load_images

log = logging.getLogger(__name__)

FIRST_SEED = 10_000_000  # of the phantoms
HEALTHY = AnatomyOptions(area_mm2=(35.0, 110.0), pathology=False, ends=False)
IN_PLANE = (0.5, 0.7, 0.9, 1.2, 1.5)  # mm
THICKNESS = (1.0, 2.0, 4.0)  # mm
FIELD_MM = (70.0, 70.0, 48.0)
FAR = 0.01  # voxels where neither the truth nor the network sees this much cord are left out
FOUND = 0.6  # soft Dice below which a cord was not found, which no calibration mends
VALUES_EACH = 20_000  # taken of each image
SCALES = (0.1, 10.0)  # where the scale is looked for


def calibrate(task: Task, network: CompactUNet) -> tuple[float, float]:
    """Fit the calibration.

    Parameters
    ----------
    task : Task
        ``schedule.calibration`` phantoms are made, and all images with a mask are taken; 0 leaves the logits
        as they are.
    network : CompactUNet

    Returns
    -------
    scale, shift : float
    """
    config = task.config
    if not config.schedule.calibration:
        return 1.0, 0.0
    images = [i for i in load_images(config, task.data or Path(), task.pseudo) if not i.pseudo]
    logits, shares = collect(
        as_engine(network, config.grid),
        (*phantom_images(config.schedule.calibration, config.mix.rim_mm), *images),
    )
    if not shares.any():
        log.warning("not calibrated: no cord was found in what there is to calibrate on")
        return 1.0, 0.0
    scale = fit(logits, shares)
    before, after = expit(logits), expit(scale * logits)
    log.info(
        "calibration: scale %.3f; sum of shares %+.2f %% before, %+.2f %% after",
        scale,
        100 * (before.sum() / shares.sum() - 1),
        100 * (after.sum() / shares.sum() - 1),
    )
    return scale, 0.0


class _TorchEngine:
    """A network of torch as an engine, see `softcord.engines.Engine`."""

    device = "cpu"

    def __init__(self, network: CompactUNet) -> None:
        self._network = network

    @torch.no_grad()
    def run(self, image: FloatArray) -> FloatArray:
        seen = torch.from_numpy(np.ascontiguousarray(image))[None, None]
        logits: FloatArray = self._network(seen)[0, 0].numpy()
        return logits


def as_engine(network: CompactUNet, grid: GridConfig) -> Network:
    """A network in training as one that segments images; not calibrated."""
    i, j, k = network.multiple
    return Network(_TorchEngine(network), (i, j, k), grid.in_plane, grid.along, grid.coarse)


def phantom_images(count: int, rim_mm: float = 0.0) -> Iterator[RealImage]:
    """Phantoms of known contrasts and many voxel sizes, with the rim that a training gives them."""
    for number in range(count):
        across, along = IN_PLANE[number % len(IN_PLANE)], THICKNESS[number % len(THICKNESS)]
        zooms = (across, across, along)
        i, j, k = (round(field / zoom) for field, zoom in zip(FIELD_MM, zooms, strict=True))
        parts = max(2, round(across / 0.35))
        phantom = make_phantom(
            FIRST_SEED + number,
            shape=(i, j, k),
            zooms=zooms,
            contrast=CONTRASTS[number % len(CONTRASTS)],
            oversample=(parts, parts, max(1, round(along))),
            anatomy=replace(HEALTHY, rim_mm=rim_mm),
        )
        yield RealImage("", phantom.image, phantom.share, np.ones_like(phantom.share), zooms)


def collect(network: Network, images: Iterable[RealImage]) -> tuple[FloatArray, FloatArray]:
    """Logits and true shares of voxels that matter, each (N,) float64; as many of each image.

    Images whose cord was not found are left out.
    """
    logits, shares = [np.zeros(0)], [np.zeros(0)]
    for image in images:
        soft = predict(image.image, image.zooms, network, PredictOptions(follow_edges=False)).soft
        near = (image.weight > 0) & ((image.share > FAR) | (soft > FAR))
        said, true = soft[near].astype(float), image.share[near].astype(float)
        if 2 * np.minimum(said, true).sum() < FOUND * (said.sum() + true.sum()) or not said.size:
            continue
        chosen = np.linspace(0, said.size - 1, VALUES_EACH).astype(int)
        logits.append(logit(np.clip(said[chosen], FAR / 2, 1 - FAR / 2)))
        shares.append(true[chosen])
    return np.concatenate(logits), np.concatenate(shares)


def fit(logits: FloatArray, shares: FloatArray) -> float:
    """The scale that minimises the cross-entropy.

    Parameters
    ----------
    logits : (N,) array of float
    shares : (N,) array of float in [0, 1]

    Returns
    -------
    scale : float
    """

    def cost(scale: float) -> float:
        z = scale * logits
        return float(np.mean(np.logaddexp(0, z) - shares * z))

    return float(minimize_scalar(cost, bounds=SCALES, method="bounded").x)
