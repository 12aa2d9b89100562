"""Grey levels of any scale arrive at the network alike."""

import numpy as np
import pytest

from softcord.engines.intensity import HIGHEST, grey_range, scale_grey


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
