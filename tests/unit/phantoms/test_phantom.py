import tracemalloc

import numpy as np
import pytest

from softcord.phantoms import CONTRASTS, AnatomyOptions, PhantomOptions, Tissue, make_phantom, phantom

ELLIPSE = AnatomyOptions(half_rl=6.0, half_ap=4.0, curved=False, pathology=False, ends=False)
SMALL = PhantomOptions(shape=(24, 24, 6), zooms=(1.5, 1.5, 4.0))


def areas(made: phantom.Phantom) -> np.ndarray:
    """Area of each slice as the soft map has it, mm²."""
    return made.share.sum(axis=(0, 1), dtype=np.float64) * made.zooms[0] * made.zooms[1]


# ---- the truth


@pytest.mark.parametrize("thickness", [1.0, 3.0, 8.0])
@pytest.mark.parametrize(("pixel", "tolerance"), [(0.5, 0.002), (1.0, 0.005), (1.5, 0.01), (2.0, 0.015)])
def test_the_soft_area_is_the_true_area_at_any_resolution(pixel, thickness, tolerance):
    n = round(36 / pixel)
    for seed in (1, 2):
        made = make_phantom(seed, shape=(n, n, 4), zooms=(pixel, pixel, thickness), oversample=(2, 2, 2))
        np.testing.assert_allclose(areas(made), made.areas_mm2, rtol=tolerance)


def test_an_ellipse_has_the_area_of_an_ellipse():
    made = make_phantom(0, SMALL, anatomy=ELLIPSE, oversample=(4, 4, 1))
    np.testing.assert_allclose(made.areas_mm2, np.pi * 6 * 4)
    np.testing.assert_allclose(areas(made), np.pi * 6 * 4, rtol=0.005)


@pytest.mark.parametrize("tilt", [-30.0, 10.0, 45.0])
def test_a_slice_that_is_tilted_cuts_an_area_divided_by_the_cosine(tilt):
    made = make_phantom(
        3, shape=(36, 48, 6), zooms=(0.7, 0.7, 4.0), tilt_deg=tilt, anatomy=ELLIPSE, oversample=(3, 3, 3)
    )
    true = np.pi * 6 * 4 / np.cos(np.deg2rad(tilt))
    np.testing.assert_allclose(made.areas_mm2, true)
    np.testing.assert_allclose(areas(made), true, rtol=0.003)


def test_a_slice_that_is_not_tilted_is_the_same_as_one_tilted_by_almost_nothing():
    straight, turned = (make_phantom(5, SMALL, tilt_deg=tilt, noise=0.0) for tilt in (0.0, 1e-6))
    np.testing.assert_allclose(straight.share, turned.share, atol=1e-4)
    np.testing.assert_allclose(straight.affine, turned.affine, atol=1e-5)


def test_the_area_is_averaged_over_the_thickness_of_a_slice():
    thin = make_phantom(4, shape=(8, 8, 32), zooms=(4.0, 4.0, 1.0))
    thick = make_phantom(4, shape=(8, 8, 4), zooms=(4.0, 4.0, 8.0))
    np.testing.assert_allclose(thin.areas_mm2.reshape(4, 8).mean(axis=1), thick.areas_mm2, rtol=1e-3)
    assert np.ptp(thin.areas_mm2) > 1


def test_the_mean_areas_of_many_bodies_span_the_range_that_is_asked_for():
    drawn = [
        make_phantom(seed, shape=(2, 2, 2), anatomy=AnatomyOptions(area_mm2=(50, 60), ends=False)).anatomy
        for seed in range(30)
    ]
    means = [body.areas_mm2(np.linspace(-300, 300, 601)).mean() for body in drawn]
    assert 40 < min(means) < 55 < max(means) < 75


# ---- the arrays


def test_arrays_have_the_shape_and_type_that_are_said():
    made = make_phantom(0, SMALL)
    assert made.image.shape == made.share.shape == made.labels.shape == SMALL.shape
    assert (made.image.dtype, made.share.dtype, made.labels.dtype) == (np.float32, np.float32, np.uint8)
    assert made.areas_mm2.shape == (SMALL.shape[2],)
    assert made.zooms == SMALL.zooms
    assert np.isfinite(made.image).all()
    assert made.share.min() == 0
    assert made.share.max() == 1


def test_the_affine_has_the_zooms_and_the_centre_of_the_grid_is_the_origin():
    made = make_phantom(0, SMALL, tilt_deg=20.0)
    np.testing.assert_allclose(np.linalg.norm(made.affine[:3, :3], axis=0), SMALL.zooms)
    middle = (np.array(SMALL.shape) - 1) / 2
    np.testing.assert_allclose(made.affine @ [*middle, 1], [0, 0, 0, 1], atol=1e-12)
    assert np.rad2deg(np.arctan2(made.affine[2, 1], made.affine[1, 1])) == pytest.approx(20)


def test_the_cord_lies_in_its_canal_and_the_labels_say_so():
    made = make_phantom(2, shape=(48, 48, 4), zooms=(0.7, 0.7, 4.0))
    cord = np.isin(made.labels, [Tissue.WHITE, Tissue.GREY])
    assert (made.share[cord] > 0).all()
    assert (cord[made.share == 1]).all()
    assert cord.sum() == pytest.approx(made.share.sum(), rel=0.05)
    assert {Tissue.GREY, Tissue.WHITE, Tissue.CSF, Tissue.CORTEX, Tissue.MUSCLE} <= set(made.labels.ravel())
    assert (made.labels <= max(Tissue)).all()


@pytest.mark.parametrize("contrast", [*CONTRASTS, "random"])
def test_every_contrast_shows_the_cord_against_the_fluid(contrast):
    made = make_phantom(
        1, shape=(40, 40, 4), zooms=(0.8, 0.8, 4.0), contrast=contrast, noise=0.0, bias=0.0, anatomy=ELLIPSE
    )
    cord, fluid = (np.median(made.image[made.labels == tissue]) for tissue in (Tissue.WHITE, Tissue.CSF))
    assert np.isfinite(made.image).all()
    assert abs(cord - fluid) > 0.02


def test_a_contrast_that_is_not_known_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ValueError, match=r"T1w, T2w, .* or random, got 'T3w'"):
        make_phantom(0, SMALL, contrast="T3w")


# ---- the same again


def test_the_same_seed_gives_the_same_phantom_and_another_seed_another():
    first, again, other = make_phantom(7, SMALL), make_phantom(7, SMALL), make_phantom(8, SMALL)
    for name in ("image", "share", "labels", "areas_mm2"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


def test_the_body_does_not_depend_on_how_it_is_scanned():
    coarse = make_phantom(7, SMALL)
    fine = make_phantom(7, shape=(48, 48, 6), zooms=(0.75, 0.75, 4.0), contrast="T1w", noise=0.0)
    np.testing.assert_allclose(coarse.areas_mm2, fine.areas_mm2)
    pooled = fine.share.reshape(24, 2, 24, 2, 6).mean(axis=(1, 3))
    np.testing.assert_allclose(coarse.share, pooled, atol=0.08)


def test_single_options_replace_those_of_the_group():
    made = make_phantom(0, SMALL, shape=(10, 11, 12))
    assert made.image.shape == (10, 11, 12)
    assert made.zooms == SMALL.zooms


def test_a_phantom_does_not_depend_on_the_size_of_the_slabs_it_is_painted_in(monkeypatch):
    whole = make_phantom(6, SMALL, oversample=(2, 2, 2))
    monkeypatch.setattr(phantom, "SLAB", 4)  # 4 and 2 slices
    slabs = make_phantom(6, SMALL, oversample=(2, 2, 2))
    np.testing.assert_allclose(whole.share, slabs.share, atol=1e-5)
    np.testing.assert_allclose(whole.image, slabs.image, atol=1e-4)
    assert (whole.labels == slabs.labels).mean() > 0.999


def test_memory_does_not_grow_with_the_number_of_slices_but_by_the_result():
    def peak(slices: int) -> int:
        tracemalloc.start()
        try:
            make_phantom(0, shape=(32, 32, slices), zooms=(2.0, 2.0, 2.0))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    voxels = 32 * 32 * (112 - 32)
    assert (peak(112) - peak(32)) / voxels < 60  # bytes; painting takes several hundred


# ---- bodies without a cord, and its ends


@pytest.mark.parametrize("seed", range(4))
def test_without_a_cord_no_voxel_holds_any(seed):
    made = make_phantom(seed, SMALL, anatomy=AnatomyOptions(cord=False))
    assert not made.share.any()
    assert not made.areas_mm2.any()
    assert Tissue.WHITE not in made.labels
    assert np.ptp(made.image) > 0.1


@pytest.mark.parametrize(("end", "beyond"), [("conus_z", -1), ("top_z", 1)])
def test_beyond_an_end_there_is_no_cord(end, beyond):
    options = AnatomyOptions(pathology=False)
    bodies = (
        make_phantom(seed, shape=(24, 24, 160), zooms=(2.0, 2.0, 1.0), anatomy=options, oversample=(1, 1, 1))
        for seed in range(40)
    )
    made = next(body for body in bodies if abs(getattr(body.anatomy, end)) < 70)
    z = made.affine[2, 2] * np.arange(160) + made.affine[2, 3]
    outside = (z - getattr(made.anatomy, end)) * beyond > 1
    assert 0 < outside.sum() < 160
    assert not made.share[..., outside].any()
    assert not made.areas_mm2[outside].any()
    assert (made.areas_mm2[~outside][1:-1] > 0).all()
    assert made.share.sum() * 4 == pytest.approx(made.areas_mm2.sum(), rel=0.03)
