from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

pytest.importorskip("torch", reason="needs torch, which comes with softcord[synth]")

import torch

from softcord.train.calibrate import VALUES_EACH, as_engine, calibrate, collect, fit, phantom_images
from softcord.train.config import GridConfig
from softcord.train.network import CompactUNet
from softcord.train.pool import Task
from softcord.train.sources import RealImage


@pytest.fixture
def shares():
    return np.random.default_rng(0).uniform(0.01, 0.99, 5000)


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.6])
def test_the_scale_of_distorted_logits_is_found(shares, scale):
    assert fit(logit(shares) / scale, shares) == pytest.approx(scale, abs=1e-3)


def test_logits_of_any_size_are_no_trouble():
    values = np.array([-1e4, -800.0, 0.0, 800.0, 1e4])
    assert np.isfinite(fit(values, np.array([0.0, 0.0, 0.5, 1.0, 1.0])))


class Bright:
    """An engine that takes what is bright for cord, and says so with logits of 4 and -20."""

    device = "cpu"

    def run(self, image):
        return np.where(image > 0.5, np.float32(4), np.float32(-20))


def rod() -> RealImage:
    """A bright cord of 12 × 12 mm, of which half of the slices were drawn."""
    image = np.zeros((40, 40, 8), dtype=np.float32)
    image[14:26, 14:26] = 1
    weight = np.zeros_like(image)
    weight[..., :4] = 1
    return RealImage("rod", image, image.copy(), weight, (1.0, 1.0, 1.5))


def test_of_every_image_whose_cord_is_found_as_many_voxels_are_taken_and_only_known_ones():
    network = replace(as_engine(compact_of(1), GridConfig(patch=(16, 16, 8))), engine=Bright())
    lost = replace(rod(), image=1 - rod().image)
    logits, shares = collect(network, [rod(), rod(), lost])
    assert logits.size == shares.size == 2 * VALUES_EACH
    assert set(np.unique(shares)) == {1}  # beside it the network sees nothing, and there is nothing
    np.testing.assert_allclose(np.median(logits), 4, atol=0.01)


def compact_of(seed: int) -> CompactUNet:
    torch.manual_seed(seed)
    return CompactUNet((3, 4), (2, 2, 1)).eval()


def test_phantoms_are_of_many_contrasts_and_voxel_sizes_and_always_alike():
    first, again = (list(phantom_images(4)) for _ in range(2))
    assert len({image.zooms for image in first}) == 4
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.share.max() > 0.9


def compact(config) -> CompactUNet:
    torch.manual_seed(0)
    return CompactUNet(config.network.channels, config.network.fold).eval()


def test_a_network_is_calibrated_on_phantoms_and_always_alike(tiny, monkeypatch):
    config = replace(tiny, schedule=replace(tiny.schedule, calibration=2))
    compact_one = compact(config)
    monkeypatch.setattr(
        "softcord.train.calibrate.collect",
        lambda network, images: (
            np.array([-1.0, 0.0, 1.0, 2.0]),
            np.array([i.share.mean() for i in images] * 2),
        ),
    )
    scale, shift = calibrate(Task(config, None), compact_one)
    assert np.isfinite([scale, shift]).all()
    assert scale != 1.0
    assert calibrate(Task(config, None), compact_one) == (scale, shift)


def test_no_samples_leave_the_logits_as_they_are(tiny):
    assert calibrate(Task(tiny, None), compact(tiny)) == (1.0, 0.0)


def test_the_images_of_the_training_are_calibrated_on_too_but_not_those_without_a_mask(
    mixed, data, monkeypatch
):
    seen = []

    def noted(network, images):
        seen.extend(image.name for image in images)
        return np.array([0.0, 1.0]), np.array([0.0, 0.5])

    monkeypatch.setattr("softcord.train.calibrate.collect", noted)
    config = replace(mixed, maps=[], schedule=replace(mixed.schedule, calibration=2))
    calibrate(Task(config, data), compact(config))
    assert seen == ["", "", "T2w.nii.gz"]


def test_a_network_that_finds_no_cord_is_left_as_it_is(tiny, caplog):
    config = replace(tiny, schedule=replace(tiny.schedule, calibration=1))
    assert calibrate(Task(config, None), compact(config)) == (1.0, 0.0)
    assert "not calibrated" in caplog.text
