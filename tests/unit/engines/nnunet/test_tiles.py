"""The grid of tiles, its weights and sums, and what is followed."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from softcord.engines.nnunet.follow import cord_chain, covering_tiles, tiles_near
from softcord.engines.nnunet.plans import Resampling
from softcord.engines.nnunet.resampling import new_shape, resample_to, separate_axis
from softcord.engines.nnunet.tiles import Blend, tile_grid, tile_starts, tile_weights
from softcord.errors import ModelError

ONE = (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("shape", "tiles"), [((192, 260, 320), 10), ((320, 320, 64), 27), ((64, 192, 320), 1)]
)
def test_the_grid_has_as_many_tiles_as_that_of_nnunet(shape, tiles):
    patch = (64, 192, 320)
    padded = tuple(max(n, p) for n, p in zip(shape, patch, strict=True))
    assert len(tile_grid(padded, patch)) == tiles


def test_starts_are_evenly_spread_and_reach_the_end():
    assert tile_starts(110, 64) == [0, 23, 46]


def test_weights_are_a_gaussian_in_half_precision_that_is_nowhere_zero():
    patch = (16, 24, 40)
    delta = np.zeros(patch)
    delta[8, 12, 20] = 1
    expected = gaussian_filter(delta, [n / 8 for n in patch], mode="constant")
    expected = (expected / (expected.max() / 10)).astype(np.float16)
    weights = tile_weights(patch)
    assert weights.min() > 0
    assert np.array_equal(weights[expected > 0], expected[expected > 0])


def test_a_blend_of_equal_tiles_is_what_they_hold_up_to_half_precision():
    patch, shape = (8, 8, 8), (12, 12, 12)
    weights = tile_weights(patch)
    blend = Blend(2, shape, weights)
    for tile in tile_grid(shape, patch):
        blend.add(tile, np.stack([np.full(patch, 3.0), np.full(patch, -2.0)]) * weights.astype(np.float32))
    mean = blend.mean()
    assert np.abs(mean[0][2:-2, 2:-2, 2:-2] - 3).max() < 0.01
    assert np.abs(mean[1][2:-2, 2:-2, 2:-2] + 2).max() < 0.01


def test_logits_beyond_half_precision_are_an_error_and_no_empty_map():
    weights = tile_weights((8, 8, 8))
    blend = Blend(1, (8, 8, 8), weights)
    with np.errstate(over="ignore"):
        blend.add((slice(0, 8),) * 3, np.full((1, 8, 8, 8), 1e7, dtype=np.float32))
    with pytest.raises(ModelError, match="half precision"):
        blend.mean()


@pytest.mark.parametrize("shape", [(100, 64, 70), (100, 64, 32), (32, 32, 70)])
def test_few_tiles_cover_everything(shape):
    grid = tile_grid(shape, (32, 32, 32))
    chosen = covering_tiles(grid)
    covered = np.zeros(shape, dtype=bool)
    for number in chosen:
        covered[grid[number]] = True
    assert covered.all()
    assert len(chosen) < len(grid)


def test_tiles_near_a_place_are_those_within_reach():
    grid = tile_grid((64, 32, 32), (32, 32, 32))  # starts 0, 16, 32
    mask = np.zeros((64, 32, 32), dtype=bool)
    mask[5] = True
    assert tiles_near(grid, mask, (0, 0, 0)) == {0}
    assert tiles_near(grid, mask, (11, 0, 0)) == {0, 1}


def test_a_chain_is_followed_over_short_gaps_and_nothing_far_from_it():
    found = np.zeros((60, 20, 80), dtype=bool)
    found[5:12, 5:12, :30] = found[5:12, 5:12, 38:80] = True  # a gap of 8 mm
    found[45:55, 5:15, 20:40] = True  # 33 mm beside it
    seed = np.zeros_like(found)
    seed[8, 8, 2] = True
    kept = cord_chain(found, seed, ONE)
    assert kept[:30].sum() == found[:30].sum()
    assert not kept[40:].any()
    assert np.array_equal(cord_chain(found, None, ONE), kept)
    seed[:] = False
    seed[30, 19, 79] = True
    assert not cord_chain(found, seed, ONE).any()


@pytest.mark.parametrize("order", [0, 1, 3])
def test_resampling_is_that_of_scipy(order):
    data = np.random.default_rng(0).standard_normal((9, 14, 11)).astype(np.float32)
    target = (13, 10, 11)
    expected = zoom(
        data.astype(float), np.divide(target, data.shape), order=order, mode="nearest", grid_mode=True
    ).clip(data.min(), data.max())
    found = resample_to(data, target, Resampling(order, separate=False), ONE, ONE)
    assert np.abs(found - expected).max() < 1e-6


def test_the_coarsest_axis_is_resampled_apart_only_if_it_is_the_only_one():
    how = Resampling(3)
    assert separate_axis(how, (5.0, 1.0, 1.0), ONE) == 0
    assert separate_axis(how, ONE, (1.0, 1.0, 3.5)) == 2
    assert separate_axis(how, (5.0, 5.0, 1.0), ONE) is None
    assert separate_axis(how, (2.0, 1.0, 1.0), ONE) is None
    assert separate_axis(Resampling(3, separate=False), (5.0, 1.0, 1.0), ONE) is None


def test_shapes_are_rounded_to_the_nearest_and_at_ties_to_even():
    assert new_shape((5, 7, 3), (0.5, 0.5, 1.0), ONE) == (2, 4, 3)
