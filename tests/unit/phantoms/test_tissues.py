import numpy as np
import pytest

from softcord.phantoms.tissues import CONTRASTS, Tissue, draw_palette

T = Tissue


def palettes(contrast: str | None = None, count: int = 60):
    return [draw_palette(np.random.default_rng(seed), contrast) for seed in range(count)]


@pytest.mark.parametrize("contrast", [None, "random", *CONTRASTS])
def test_every_tissue_has_a_grey_level_and_a_texture(contrast):
    for palette in palettes(contrast, 10):
        assert palette.level.shape == palette.texture.shape == (len(Tissue),)
        assert palette.level.dtype == palette.texture.dtype == np.float32
        assert 0 <= palette.level.min() <= palette.level.max() <= np.float32(1.1)
        assert palette.texture.min() >= 0
        assert 0 < palette.wavelength[0] < palette.wavelength[1]


@pytest.mark.parametrize("contrast", ["random", "T2star", "EPI"])
def test_the_cord_differs_from_the_fluid_around_it(contrast):
    differences = np.array([abs(p.level[T.WHITE] - p.level[T.CSF]) for p in palettes(contrast, 150)])
    assert differences.min() > 0.02  # clipping at zero may take a little
    assert (differences >= 0.079).mean() > 0.85
    assert (differences >= 0.149).mean() > 0.6


def test_roots_can_be_told_from_the_fluid_most_of_the_time():
    differences = np.array([abs(p.level[T.ROOT] - p.level[T.CSF]) for p in palettes(None, 150)])
    assert (differences >= 0.039).mean() > 0.8


@pytest.mark.parametrize(
    ("contrast", "bright", "dark"),
    [
        ("T1w", T.WHITE, T.CSF),
        ("T2w", T.CSF, T.WHITE),
        ("T2star", T.CSF, T.CORTEX),
        ("MToff", T.CSF, T.WHITE),
        ("MTon", T.CSF, T.WHITE),
        ("DWI", T.WHITE, T.CSF),
        ("EPI", T.CSF, T.FAT),
        ("STIR", T.CSF, T.FAT),
        ("MP2RAGE", T.WHITE, T.GREY),
    ],
)
def test_the_order_of_the_tissues_is_that_of_the_contrast(contrast, bright, dark):
    drawn = palettes(contrast)
    assert np.mean([p.level[bright] > p.level[dark] for p in drawn]) > 0.85


def test_by_default_any_contrast_comes_up_both_bright_and_dark_fluid():
    brighter = np.mean([p.level[T.CSF] > p.level[T.WHITE] for p in palettes(None, 100)])
    assert 0.3 < brighter < 0.8


def test_an_airway_is_as_dark_as_the_air_outside():
    assert all(p.level[T.AIRWAY] == p.level[T.AIR] for p in palettes(None, 20))


def test_a_contrast_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match=r"contrast must be one of T1w.*got 'PDw'"):
        draw_palette(np.random.default_rng(0), "PDw")
