"""A narrow view fades out before the network sees it, and comes back as it was."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from softcord.engines import Network, PredictOptions, predict
from softcord.engines.predict import FADE_MM, NARROW_MM, fade_out
from softcord.softseg import EDGE_INSET_MM


def test_a_narrow_view_falls_to_the_dark_over_the_added_length_and_a_wide_one_is_left_alone():
    zooms = (1.0, 0.5, 4.0)
    data = np.full((40, 300, 3), 7.0, dtype=np.float32)  # 40 mm and 150 mm
    faded, inside = fade_out(data, zooms, 1.0)
    assert faded.shape == (40 + 2 * FADE_MM, 300, 3)
    np.testing.assert_array_equal(faded[inside], data)
    np.testing.assert_allclose(faded[: int(FADE_MM), 0, 0], 1 + 6 * np.arange(FADE_MM) / FADE_MM, atol=1e-5)
    wide = np.zeros((int(NARROW_MM), int(2 * NARROW_MM), 2), dtype=np.float32)
    same, everything = fade_out(wide, zooms, 0.0)
    assert same is wide
    assert wide[everything].shape == wide.shape


class Bright:
    """An engine that takes what is bright for cord."""

    device = "cpu"

    def run(self, image):
        return (20 * (image - 0.5)).astype(np.float32)


@pytest.mark.parametrize("follow", [False, True], ids=["network", "edges"])
@pytest.mark.parametrize("shape", [(24, 30, 6), (130, 40, 6), (130, 140, 6)])
def test_the_map_of_a_view_of_any_width_is_on_the_grid_of_the_image(shape, follow):
    image = np.zeros(shape, dtype=np.float32)
    image[8:18, 10:20] = 1
    network = Network(engine=Bright(), multiple=(4, 4, 2), in_plane=0.75, along=1.5, coarse=2.0)
    soft = predict(image, (1.0, 1.0, 2.0), network, PredictOptions(follow_edges=follow)).soft
    assert soft.shape == shape
    assert soft.flags.c_contiguous
    differs = np.count_nonzero((soft > 0.5) != (image > 0.5), axis=(0, 1))
    assert differs.max() <= (4 if follow else 0)  # an outline has no corners


class Blind(Bright):
    """Sees nothing in images with fewer samples than `least`: at low resolution, that is."""

    def __init__(self, least):
        self.least, self.sizes = least, []

    def run(self, image):
        self.sizes.append(image.size)
        return super().run(image) if image.size >= self.least else np.full_like(image, -20)


def test_a_cord_that_was_not_found_at_low_resolution_is_looked_for_again_where_that_is_quick():
    image = np.zeros((100, 90, 4), dtype=np.float32)
    image[40:50, 50:60] = 1
    engine = Blind(least=20_000)
    network = Network(engine=engine, multiple=(4, 4, 2), in_plane=0.75, along=1.5, coarse=2.0)
    soft = predict(image, (1.0, 1.0, 2.0), network, PredictOptions(follow_edges=False)).soft
    assert min(engine.sizes) < engine.least <= max(engine.sizes)
    np.testing.assert_array_equal(soft > 0.5, image > 0.5)


def test_a_large_volume_without_a_cord_is_not_computed_at_full_resolution():
    engine = Blind(least=0)
    network = Network(engine=engine, multiple=(4, 4, 2), in_plane=0.75, along=1.5, coarse=2.0)
    soft = predict(np.zeros((160, 160, 120), dtype=np.float32), (1.0, 1.0, 1.5), network).soft
    assert not soft.any()
    assert sum(engine.sizes) < 160 * 160 * 120 / 2


class Large:
    """An engine that takes what is bright for cord, and says so half a millimetre beyond its edge."""

    device = "cpu"

    def run(self, image):
        return ((gaussian_filter(image, 0.8) - 0.2) * 40).astype(np.float32)


def test_the_edge_follows_the_grey_levels_unless_told_otherwise():
    x = np.arange(60) - 29.5
    truth = np.clip(5.5 - np.hypot(x[:, None], x[None, :]), 0, 1)[..., None] * np.ones(20)
    image = (0.1 + 0.8 * truth).astype(np.float32)
    network = Network(engine=Large(), multiple=(4, 4, 2), in_plane=0.75, along=1.5, coarse=2.0)
    as_said, placed = (
        predict(image, (1.0, 1.0, 2.0), network, PredictOptions(follow_edges=follow)).soft.sum() / 20
        for follow in (False, True)
    )
    true = np.pi * (5.0 - EDGE_INSET_MM) ** 2
    assert as_said > 1.15 * true
    assert placed == pytest.approx(true, rel=0.05)
