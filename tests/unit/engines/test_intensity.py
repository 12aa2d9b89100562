"""Grey levels of any scale arrive at the network alike."""

import numpy as np
import pytest

from softcord.engines.intensity import GAINS, HIGHEST, grey_range, grey_scale, scale_grey
from softcord.resample import Axis, resample_axis


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (1e-4, 0.0), (3e4, -1000.0)])
def test_scaling_undoes_gain_and_offset(gain, offset):
    rng = np.random.default_rng(0)
    data = rng.gamma(2.0, 1.0, (60, 60, 60)).astype(np.float32)
    changed = data * np.float32(gain) + np.float32(offset)
    first, second = (scale_grey(d.copy(), *grey_range(d)) for d in (data, changed))
    np.testing.assert_allclose(first, second, atol=2e-3)
    assert first.min() == 0
    assert first.max() <= HIGHEST


def test_a_range_from_few_voxels_is_near_the_range_from_all():
    rng = np.random.default_rng(1)
    data = rng.normal(100, 10, (128, 128, 64)).astype(np.float32)
    low, high = grey_range(data)
    assert abs(low - np.percentile(data, 0.5)) < 1
    assert abs(high - np.percentile(data, 99.5)) < 1


def test_a_few_bright_voxels_in_a_dark_volume_still_give_a_range():
    data = np.zeros((64, 64, 64), np.float32)
    data[10, 10, 10] = 5
    low, high = grey_range(data)
    assert high > low


def test_a_single_slice_has_a_range():
    data = np.random.default_rng(0).random((512, 512, 1)).astype(np.float32)
    assert grey_range(data)[1] == pytest.approx(0.995, abs=0.01)


def levelled(data):
    scale = grey_scale(data)
    return scale_grey(data, scale.low, scale.high, scale.gains)


def test_planes_that_the_coil_sees_little_of_become_as_bright_as_the_others():
    rng = np.random.default_rng(2)
    body = rng.gamma(4.0, 25.0, (60, 70, 12)).astype(np.float32)
    fall = np.array([0.06, 0.2, 0.6, 1, 1, 1, 1, 1, 1.3, 1.8, 1.2, 0.9], dtype=np.float32)
    bright = levelled(body * fall).mean(axis=(0, 1))
    usual = np.median(bright)
    assert bright.min() / usual > 0.65
    assert bright.max() / usual < 1.15


def test_levelling_is_the_same_for_any_gain_and_offset_of_the_scanner():
    rng = np.random.default_rng(3)
    data = (rng.gamma(2.0, 1.0, (40, 40, 8)) * np.linspace(0.2, 1.5, 8)).astype(np.float32)
    np.testing.assert_allclose(levelled(data * np.float32(500) - np.float32(1000)), levelled(data), atol=2e-3)


@pytest.mark.parametrize("size", [100, 500])
@pytest.mark.parametrize("ringing", [0, -20])
def test_planes_are_levelled_by_what_a_mask_has_left_of_them(size, ringing):
    rng = np.random.default_rng(4)
    data = np.zeros((size, size, 10), dtype=np.float32)
    for k, width in enumerate((8, 9, 10, 11, 12, 12, 11, 10, 9, 8)):
        data[40 : 40 + width, 40 : 40 + width, k] = rng.uniform(90, 100, (width, width))
        data[39, 40 : 40 + width, k] = ringing
    scale = grey_scale(data)
    np.testing.assert_array_equal(scale.gains, 1)
    assert 90 < scale.high < 101


def test_a_small_object_in_the_dark_keeps_its_contrast_when_its_planes_are_levelled():
    rng = np.random.default_rng(7)
    data = np.zeros((200, 200, 60), dtype=np.float32)
    data[90:110, 90:110, 20:40] = rng.uniform(500, 1000, (20, 20, 20))
    data[90:110, 90:110, 20:23] *= 0.2
    data[80, 80:83, 30] = -20
    scale = grey_scale(data)
    seen = scale_grey(data, scale.low, scale.high, scale.gains)[90:110, 90:110, 20:40]
    assert seen.max() <= 1
    np.testing.assert_allclose(seen.mean(axis=(0, 1)), seen.mean(), rtol=0.1)


def test_a_plane_that_holds_nothing_goes_with_its_neighbour():
    data = np.ones((20, 20, 6), dtype=np.float32) * np.array([0, 0.2, 1, 1, 1, 1], dtype=np.float32)
    data[0] = 0
    gains = grey_scale(data).gains
    assert gains[0] == gains[1] > 4
    np.testing.assert_array_equal(gains[2:], 1)


def test_gains_have_limits_and_the_input_stays_as_it_was():
    data = np.ones((20, 20, 6), dtype=np.float32) * np.array([1e-3, 1, 1, 1, 1, 100], dtype=np.float32)
    data[0] = 0
    before = data.copy()
    scale = grey_scale(data)
    np.testing.assert_array_equal(data, before)
    np.testing.assert_allclose(scale.gains, [GAINS[1], 1, 1, 1, 1, GAINS[0]])


def test_planes_that_differ_by_what_is_in_them_stay():
    rng = np.random.default_rng(6)
    data = rng.gamma(4.0, 25.0, (40, 40, 10)).astype(np.float32) * rng.uniform(0.97, 1.03, 10).astype(
        np.float32
    )
    scale = grey_scale(data)
    np.testing.assert_array_equal(scale.gains, np.ones(10))
    assert (scale.low, scale.high) == grey_range(data)


@pytest.mark.parametrize("shape", [(30, 30, 1), (30, 30, 5)])
def test_there_is_nothing_to_level_in_one_plane_or_in_the_dark(shape):
    data = np.zeros(shape, dtype=np.float32)
    data[5:9, 5:9, 0] = 1
    scale = grey_scale(data)
    np.testing.assert_array_equal(scale.gains, np.ones(shape[2]))
    assert (scale.low, scale.high) == grey_range(data)


@pytest.mark.parametrize("step", [1.0, 0.5, 2.0])
def test_planes_are_as_bright_on_a_finer_and_on_a_coarser_grid(step):
    level = np.geomspace(0.3, 1, 40).astype(np.float32)
    data = np.random.default_rng(5).gamma(4.0, 25.0, (40, 40, 40)).astype(np.float32) * level
    axis = Axis(40, int(40 / step), (step - 1) / 2, step)
    bright = resample_axis(data, axis, 2).mean(axis=(0, 1)) * grey_scale(data).on(axis)
    np.testing.assert_allclose(bright, bright.mean(), rtol=0.2)
    assert bright.std() / bright.mean() < 0.1
