from dataclasses import replace

import numpy as np
import pytest

from softcord.engines.intensity import HIGHEST
from softcord.engines.network import SLAB
from softcord.phantoms.patches import Scan
from softcord.train import samples as samples_module
from softcord.train.config import GridConfig, MixConfig
from softcord.train.samples import draw_sample
from softcord.train.sources import RealImage, Sources, load_sources

GRID = GridConfig(patch=(24, 24, 12))


@pytest.fixture
def sources(mixed, data):
    return load_sources(mixed, data)


def mix(**shares: float) -> MixConfig:
    return MixConfig(**{"phantoms": 0.0, "maps": 0.0, "images": 0.0, "coarse": 0.0, **shares})


@pytest.mark.parametrize("kind", ["phantoms", "maps", "images"])
@pytest.mark.parametrize("coarse", [0.0, 1.0])
def test_a_sample_of_any_kind_is_a_patch_for_the_network(sources, kind, coarse):
    held = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sample = draw_sample(rng, sources, mix(**{kind: 1.0, "coarse": coarse}), GRID)
        for array in (sample.image, sample.share, sample.weight):
            assert array.shape == GRID.patch
            assert array.dtype == np.float16
            assert np.isfinite(array).all()
        assert 0 <= sample.image.min() <= sample.image.max() <= HIGHEST
        assert 0 <= sample.share.min() <= sample.share.max() <= 1
        assert 0 <= sample.weight.min() <= sample.weight.max() <= 1
        held += sample.share.max() > 0.5
    assert held >= 4


@pytest.mark.parametrize("kind", ["phantoms", "maps", "images"])
def test_the_kinds_that_are_drawn_are_those_of_the_mix(sources, kind, monkeypatch):
    drawn = []
    for name in ("draw_scan", "scan_label_map", "_scan_image"):
        original = getattr(samples_module, name)

        def noted(*arguments, name=name, original=original, **options):
            drawn.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(samples_module, name, noted)
    for seed in range(5):
        draw_sample(np.random.default_rng(seed), sources, mix(**{kind: 1.0}), GRID)
    called = {"phantoms": "draw_scan", "maps": "scan_label_map", "images": "_scan_image"}[kind]
    assert drawn == [called] * 5


def test_kinds_of_which_there_are_none_are_left_out():
    sample = draw_sample(
        np.random.default_rng(0), Sources((), ()), mix(phantoms=0.01, maps=0.6, images=0.39), GRID
    )
    assert sample.weight.any()


def test_the_coarse_grid_sees_more_of_the_body(sources):
    """Where samples are twice as far apart, fewer of them lie in a cross-section of the cord."""
    filled = {
        coarse: [
            (
                draw_sample(np.random.default_rng(seed), sources, mix(maps=1.0, coarse=coarse), GRID).share
                > 0.5
            )
            .sum(axis=(0, 1))
            .max()
            for seed in range(15)
        ]
        for coarse in (0.0, 1.0)
    }
    assert np.mean(filled[1.0]) < 0.5 * np.mean(filled[0.0])


def test_the_same_generator_draws_the_same_sample(sources):
    every = mix(phantoms=1.0, maps=1.0, images=1.0, coarse=0.5)
    for seed in range(4):
        first, again = (draw_sample(np.random.default_rng(seed), sources, every, GRID) for _ in range(2))
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.share, again.share)
        np.testing.assert_array_equal(first.weight, again.weight)


# ---- real images


def real(drawn: list[bool]) -> RealImage:
    """A cord of 6 × 6 voxels in every slice that is drawn."""
    k = len(drawn)
    image = np.random.default_rng(0).uniform(1, 2, (30, 30, k)).astype(np.float32)
    share = np.zeros((30, 30, k), dtype=np.float32)
    share[12:18, 12:18, drawn] = 1
    weight = np.broadcast_to(np.array(drawn, dtype=np.float32), share.shape).copy()
    return RealImage("real", image, share, weight, (0.75, 0.75, 4.0))


def test_cord_is_only_where_somebody_drew_and_what_nobody_drew_does_not_count():
    sources = Sources((), (real([True] * 4 + [False] * 8),))
    unknown = 0
    for seed in range(20):
        sample = draw_sample(np.random.default_rng(seed), sources, mix(images=1.0, near_cord=1.0), GRID)
        # in thick slices the patch is split between them: a sample beside a slice that nobody drew is unknown
        assert not ((sample.weight == 0) & (sample.share == 1)).any()
        unknown += ((sample.weight == 0) & (sample.image > 0)).any()  # in view, not beyond it
    assert unknown > 5


def test_where_all_slices_are_drawn_all_within_the_field_of_view_is_known():
    sources = Sources((), (real([True] * 12),))
    for seed in range(10):
        sample = draw_sample(np.random.default_rng(seed), sources, mix(images=1.0, near_cord=1.0), GRID)
        assert sample.weight[sample.share > 0].all()


def test_edges_of_a_drawn_mask_count_less_than_what_lies_on_either_side():
    image = real([True] * 12)
    image.weight[11:13] = 0.25
    sources = Sources((), (image,))
    seen = [
        draw_sample(np.random.default_rng(seed), sources, mix(images=1.0, near_cord=1.0), GRID).weight
        for seed in range(10)
    ]
    for weight in seen:
        assert np.all((weight == 0) | (weight >= 0.25))
    assert any(((weight > 0) & (weight < 1)).any() for weight in seen)


def test_phantoms_are_without_a_cord_as_often_as_the_mix_says():
    def held(share: float) -> list[bool]:
        return [
            bool(
                draw_sample(
                    np.random.default_rng(seed), Sources((), ()), mix(phantoms=1.0, without_cord=share), GRID
                ).share.any()
            )
            for seed in range(12)
        ]

    assert not any(held(1.0))
    assert sum(held(0.0)) >= 3  # the others do not look at it


def test_phantoms_are_clean_as_often_as_the_mix_says(monkeypatch):
    asked, original = [], samples_module.draw_scan

    def noted(*arguments, clean):
        asked.append(clean)
        return original(*arguments, clean=clean)

    monkeypatch.setattr(samples_module, "draw_scan", noted)
    for share in (0.0, 0.5, 1.0):
        for seed in range(12):
            wanted = mix(phantoms=1.0, clean=share)
            draw_sample(np.random.default_rng(seed), Sources((), ()), wanted, GRID)
    never, at_times, always = asked[:12], asked[12:24], asked[24:]
    assert not any(never)
    assert all(always)
    assert 2 <= sum(at_times) <= 10


def test_thick_slices_are_never_mixed_with_one_another_by_turning():
    zooms = np.array([0.75, 0.75, 4.0])
    for seed in range(20):
        where = samples_module._turned_positions(
            np.random.default_rng(seed), np.array([10, 10, 5]), zooms, np.array([15.0, 15.0, 6.3])
        )
        heights = where[2]
        np.testing.assert_allclose(heights, np.round(heights), atol=1e-5)
        assert (np.ptp(heights, axis=(0, 1)) < 1e-5).all()


def test_isotropic_images_are_turned_all_ways():
    heights = [
        samples_module._turned_positions(
            np.random.default_rng(seed), np.array([10, 10, 5]), np.ones(3), np.array([15.0, 15.0, 6.0])
        )[2]
        for seed in range(20)
    ]
    assert max(np.ptp(h, axis=(0, 1)).max() for h in heights) > 0.5


# ---- from a scan to a patch


def patch_of(scan: Scan, seed: int = 0, grid: GridConfig = GRID, weight=None):
    return samples_module._to_patch(np.random.default_rng(seed), scan, weight, grid)


def ball(n: int, zoom: float) -> Scan:
    """A soft ball of 5 mm in the middle of n³ voxels."""
    x = (np.arange(n) - (n - 1) / 2) * zoom
    radius = np.sqrt(x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :] ** 2)
    share = np.clip(0.5 - (radius - 5) / zoom, 0, 1).astype(np.float32)
    return Scan(share + 1, share, (zoom, zoom, zoom))


@pytest.mark.parametrize("zoom", [0.4, 0.75, 1.0])
def test_a_patch_that_is_large_enough_holds_the_whole_volume(zoom):
    scan = ball(round(14 / zoom), zoom)
    grid = replace(GRID, patch=(48, 48, 48))
    made = samples_module.working_grid(scan.image.shape, scan.zooms, in_plane=0.75, along=1.5)
    for seed in range(4):
        sample = patch_of(scan, seed, grid)
        volume = sample.share.astype(float).sum() * np.prod(made.zooms)
        assert volume == pytest.approx(scan.share.sum() * zoom**3, rel=0.005)
        assert sample.weight.sum() == np.prod(made.shape)  # beyond the field of view nobody knows


def test_a_small_scan_is_put_anywhere_in_the_patch_and_surrounded_by_zeros():
    scan = ball(20, 0.75)
    grid = replace(GRID, patch=(64, 64, 64))
    starts = set()
    for seed in range(10):
        sample = patch_of(scan, seed, grid)
        inside = np.argwhere(sample.weight > 0)
        starts.add(tuple(inside.min(axis=0)))
        assert not sample.image[sample.weight == 0].any()
    assert len(starts) == 10


def test_a_large_scan_is_cut_anywhere():
    scan = Scan(
        np.broadcast_to(np.arange(80, dtype=np.float32)[:, None, None], (80, 80, 80)).copy(),
        np.zeros((80, 80, 80), dtype=np.float32),
        (0.75, 0.75, 1.5),
    )
    samples = [patch_of(scan, seed) for seed in range(12)]
    assert all((sample.weight == 1).all() for sample in samples)
    assert len({float(sample.image.mean()) for sample in samples}) == 12


def test_half_of_the_samples_are_mirrored_left_and_right_with_their_share():
    image = np.zeros((24, 24, 12), dtype=np.float32)
    image[:10] = 1
    scan = Scan(image, image.copy(), (0.75, 0.75, 1.5))
    mirrored = 0
    for seed in range(40):
        sample = patch_of(scan, seed)
        bright, cord = sample.image > 0.5, sample.share > 0.5
        np.testing.assert_array_equal(bright, cord)
        mirrored += cord[-1].all()
        assert cord[0].all() != cord[-1].all()
    assert 10 < mirrored < 30


def test_grey_levels_are_brought_near_0_to_1_whatever_they_were():
    rng = np.random.default_rng(0)
    plain = rng.uniform(0, 1, (24, 24, 12)).astype(np.float32)
    for scale, offset in ((1, 0), (4000, 0), (1e-3, 5)):
        scan = Scan((plain * scale + offset).astype(np.float32), 0 * plain, (0.75, 0.75, 1.5))
        sample = patch_of(scan, 3)
        np.testing.assert_allclose(
            sample.image.astype(float), patch_of(Scan(plain, 0 * plain, scan.zooms), 3).image, atol=0.01
        )


def test_an_image_that_is_the_same_everywhere_is_no_trouble():
    flat = np.full((24, 24, 12), 7.0, dtype=np.float32)
    assert np.isfinite(patch_of(Scan(flat, 0 * flat, (0.75, 0.75, 1.5))).image).all()


def test_slabs_have_few_slices_and_are_as_many_as_the_mix_says(sources, monkeypatch):
    slices = []
    original = samples_module._to_patch

    def noted(rng, scan, *rest):
        slices.append(scan.image.shape[2])
        return original(rng, scan, *rest)

    monkeypatch.setattr(samples_module, "_to_patch", noted)
    tall = GridConfig(patch=(16, 16, 64))
    for kind in ("phantoms", "maps", "images"):
        slices.clear()
        for seed in range(8):
            draw_sample(np.random.default_rng(seed), sources, mix(**{kind: 1.0, "slabs": 1.0}), tall)
        assert max(slices) <= samples_module.MOST_SLICES
        assert len(set(slices)) > 1


def test_slabs_alone_go_on_beyond_their_ends_if_the_grid_says_so(sources):
    options, deep = mix(phantoms=1.0, slabs=0.5), replace(GRID, patch=(16, 16, 32))
    kinds = []
    for seed in range(24):
        zeros, repeated = (
            draw_sample(np.random.default_rng(seed), sources, options, replace(deep, ends_go_on=goes_on))
            for goes_on in (False, True)
        )
        seen = np.flatnonzero(zeros.weight.any(axis=(0, 1)))
        first, last = int(seen[0]), int(seen[-1])
        slab = last - first + 1 < SLAB
        planes = np.clip(np.arange(deep.patch[2]), first, last)
        for ended, gone_on in zip(_arrays(zeros), _arrays(repeated), strict=True):
            np.testing.assert_array_equal(gone_on, ended[:, :, planes] if slab else ended)
        kinds.append("slab" if slab else "tall" if last - first + 1 < deep.patch[2] else "whole")
    assert {"slab", "tall", "whole"} == set(kinds)


def _arrays(sample):
    return sample.image, sample.share, sample.weight
