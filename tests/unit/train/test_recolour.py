import numpy as np
import pytest
from scipy.stats import spearmanr

from softcord.train.recolour import recolour


@pytest.fixture(params=[(20, 22, 10), (20, 22, 1)], ids=["volume", "slice"])
def image(request):
    return np.random.default_rng(0).uniform(0, 1, request.param).astype(np.float32)


def test_grey_levels_stay_from_0_to_1(image):
    for seed in range(60):
        changed = recolour(np.random.default_rng(seed), image)
        assert changed.shape == image.shape
        assert changed.dtype == np.float32
        assert -1e-6 <= changed.min() <= changed.max() <= 1 + 1e-6


def test_about_one_image_in_four_keeps_its_contrast(image):
    kept = [recolour(np.random.default_rng(seed), image) is image for seed in range(200)]
    assert 0.15 < np.mean(kept) < 0.35


def test_contrasts_are_kept_inverted_and_scrambled(image):
    order = np.array(
        [
            spearmanr(image.ravel(), recolour(np.random.default_rng(seed), image).ravel()).statistic
            for seed in range(80)
        ]
    )
    assert (order > 0.99).mean() > 0.3
    assert (order < -0.99).mean() > 0.05
    assert (np.abs(order) < 0.9).mean() > 0.1


def test_the_image_itself_is_left_as_it_was(image):
    before = image.copy()
    for seed in range(20):
        recolour(np.random.default_rng(seed), image)
    np.testing.assert_array_equal(image, before)


def test_a_flat_image_stays_finite():
    flat = np.full((8, 8, 4), 0.5, dtype=np.float32)
    for seed in range(40):
        assert np.isfinite(recolour(np.random.default_rng(seed), flat)).all()


def test_an_image_keeps_its_contrast_as_often_as_is_asked_for():
    image = np.random.default_rng(0).random((8, 8, 4)).astype(np.float32)
    for keep in (0.0, 0.5, 1.0):
        kept = [recolour(np.random.default_rng(seed), image, keep=keep) is image for seed in range(200)]
        assert np.mean(kept) == pytest.approx(keep, abs=0.1)
