import numpy as np
import pytest

from softcord.phantoms.acquisition import (
    add_noise,
    bend_grey_scale,
    bias_field,
    coil_falloff,
    degrade,
    thin_out,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_rician_noise_where_there_is_no_signal_has_the_mean_of_a_rayleigh_distribution(rng):
    noisy = add_noise(rng, np.zeros((60, 60, 60), dtype=np.float32), 0.2)
    assert noisy.dtype == np.float32
    assert noisy.mean() == pytest.approx(0.2 * np.sqrt(np.pi / 2), rel=0.01)
    assert noisy.std() == pytest.approx(0.2 * np.sqrt(2 - np.pi / 2), rel=0.01)


@pytest.mark.parametrize("signal", [0.0, 0.3, 1.0])
def test_rician_noise_adds_twice_its_variance_to_the_square_of_the_signal(rng, signal):
    noisy = add_noise(rng, np.full((60, 60, 60), signal, dtype=np.float32), 0.2)
    assert (noisy.astype(np.float64) ** 2).mean() == pytest.approx(signal**2 + 2 * 0.2**2, rel=0.01)
    assert noisy.min() >= 0


def test_gaussian_noise_leaves_the_mean(rng):
    noisy = add_noise(rng, np.full((60, 60, 60), 0.1, dtype=np.float32), 0.2, rician=False)
    assert noisy.mean() == pytest.approx(0.1, abs=0.002)
    assert noisy.std() == pytest.approx(0.2, rel=0.01)


@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 3, 1), (1, 1, 5), (4, 2, 2)])
def test_thinning_out_keeps_the_mean(rng, factors):
    data = rng.uniform(0, 1, [4 * f for f in factors]).astype(np.float32)
    thin = thin_out(data, factors)
    assert thin.shape == (4, 4, 4)
    assert thin.dtype == np.float32
    assert thin.mean(dtype=np.float64) == pytest.approx(data.mean(dtype=np.float64), rel=1e-6)


def test_each_thinned_voxel_is_the_mean_of_its_block_and_the_rest_is_dropped(rng):
    data = rng.uniform(0, 1, (5, 7, 3)).astype(np.float32)
    thin = thin_out(data, (2, 3, 1))
    assert thin.shape == (2, 2, 3)
    assert thin[1, 0, 2] == pytest.approx(data[2:4, 0:3, 2].mean(), rel=1e-6)


def test_a_bias_field_is_smooth_positive_and_as_strong_as_asked_for(rng):
    assert (bias_field(rng, (9, 8, 7), 0.0) == 1).all()
    fields = [bias_field(rng, (20, 24, 1), 0.3) for _ in range(60)]
    assert min(field.min() for field in fields) > 0
    assert max(np.abs(np.diff(np.log(field), axis=0)).max() for field in fields) < 0.4
    # interpolated between independent values, so somewhat less than they vary
    assert 0.15 < np.log(np.stack(fields)).std() < 0.3


def test_a_coil_hears_less_the_farther_it_is(rng):
    falloff = coil_falloff(rng, (5, 40, 30), (1.0, 2.0, 3.0))
    assert falloff.shape == (1, 40, 30)
    assert (np.diff(falloff, axis=1) < 0).all()
    assert (falloff > 0).all()


@pytest.mark.parametrize("shape", [(24, 20, 16), (30, 30, 1), (2, 3, 40), (1, 1, 1)])
def test_what_a_scanner_makes_of_an_image_is_an_image(shape):
    for seed in range(20):
        image = np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)
        before = image.copy()
        degraded = degrade(np.random.default_rng(seed), image, (1.0, 1.0, 4.0))
        assert degraded.shape == shape
        assert degraded.dtype == np.float32
        assert np.isfinite(degraded).all()
        np.testing.assert_array_equal(image, before)
        again = degrade(np.random.default_rng(seed), image, (1.0, 1.0, 4.0))
        np.testing.assert_array_equal(degraded, again)


def test_a_bent_grey_scale_keeps_the_order_of_grey_levels():
    levels = np.linspace(-0.2, 1.2, 200, dtype=np.float32)
    for seed in range(30):
        bent = bend_grey_scale(np.random.default_rng(seed), levels)
        assert bent.dtype == np.float32
        assert (np.diff(bent) >= 0).all()
        assert (bent[levels <= 0] == 0).all()
