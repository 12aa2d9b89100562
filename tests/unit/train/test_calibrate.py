from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

pytest.importorskip("torch", reason="needs torch, which comes with softcord[synth]")

import torch

from softcord.train.calibrate import calibrate, collect, fit
from softcord.train.network import CompactUNet
from softcord.train.pool import Task
from softcord.train.samples import Sample


@pytest.fixture
def shares():
    return np.random.default_rng(0).uniform(0.01, 0.99, 5000)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.7, 0.4), (1.6, -0.8)])
def test_the_scale_and_shift_of_distorted_logits_are_found(shares, scale, shift):
    distorted = (logit(shares) - shift) / scale
    assert fit(distorted, shares) == pytest.approx((scale, shift), abs=1e-3)


def test_after_calibration_the_shares_sum_to_the_truth(shares):
    noisy = 0.5 * logit(shares) + np.random.default_rng(1).normal(0.6, 1.0, shares.size)
    scale, shift = fit(noisy, shares)
    assert abs(expit(noisy).sum() / shares.sum() - 1) > 0.05
    assert expit(scale * noisy + shift).sum() == pytest.approx(shares.sum(), rel=1e-4)


def test_logits_of_any_size_are_no_trouble():
    values = np.array([-1e4, -800.0, 0.0, 800.0, 1e4])
    assert np.isfinite(fit(values, np.array([0.0, 0.0, 0.5, 1.0, 1.0]))).all()


class Flat(torch.nn.Module):
    """A network that sees the same everywhere but where the image is bright."""

    def forward(self, image):
        return torch.where(image > 0.5, 2.0, -20.0)


def test_only_voxels_that_are_known_and_may_be_cord_are_collected():
    image, share, weight = (np.zeros((2, 2, 2), dtype=np.float16) for _ in range(3))
    weight[:] = 1
    image[0, 0, 0] = 1  # seen by the network alone
    share[0, 0, 1] = 0.25  # there, and not seen
    image[1, 1, 1] = share[1, 1, 1] = 1  # there and seen, and nobody knows of it
    weight[1, 1, 1] = 0
    logits, shares = collect(Flat(), [Sample(image, share, weight)])
    np.testing.assert_array_equal(logits, [2, -20])
    np.testing.assert_array_equal(shares, [0, 0.25])


def compact(config) -> CompactUNet:
    torch.manual_seed(0)
    return CompactUNet(config.network.channels, config.network.fold).eval()


def test_a_network_is_calibrated_on_phantoms_and_always_alike(tiny):
    config = replace(tiny, schedule=replace(tiny.schedule, calibration=6))
    scale, shift = calibrate(Task(config, None), compact(config))
    assert np.isfinite([scale, shift]).all()
    assert (scale, shift) != (1.0, 0.0)
    assert calibrate(Task(config, None), compact(config)) == (scale, shift)


def test_no_samples_leave_the_logits_as_they_are(tiny):
    assert calibrate(Task(tiny, None), compact(tiny)) == (1.0, 0.0)


def test_images_are_part_of_the_mix_that_is_calibrated_on(mixed, data):
    mix = replace(mixed.mix, phantoms=0.0, maps=0.0)
    config = replace(mixed, mix=mix, maps=[], schedule=replace(mixed.schedule, calibration=6))
    assert calibrate(Task(config, data), compact(config)) != (1.0, 0.0)
