from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from softcord.phantoms.anatomy import HALF_LENGTH, AnatomyOptions, draw_anatomy

Z = np.linspace(-100, 100, 201)


def draw(seed: int, **options: object):
    return draw_anatomy(np.random.default_rng(seed), AnatomyOptions(**options))


@pytest.mark.parametrize("exponent", [1.8, 2.0, 2.7])
def test_the_formula_for_the_area_of_a_superellipse_is_its_integral(exponent):
    body = replace(draw(0, half_rl=7.0, half_ap=3.0, ends=False), exponent=exponent)
    integral = 4 * quad(lambda u: 3 * (1 - (u / 7) ** exponent) ** (1 / exponent), 0, 7)[0]
    np.testing.assert_allclose(body.areas_mm2(Z), integral, rtol=1e-6)


def test_fixed_half_diameters_give_an_ellipse_that_is_the_same_all_along():
    body = draw(1, half_rl=6.5, half_ap=4.0)
    assert body.exponent == 2
    assert body.bend == 0
    assert not body.turn.any()
    np.testing.assert_allclose(draw(1, half_rl=6.5, half_ap=4.0, ends=False).areas_mm2(Z), np.pi * 6.5 * 4)


def test_areas_lie_in_the_range_that_is_asked_for_but_for_local_swellings():
    bodies = [draw(seed, area_mm2=(60, 80), ends=False, pathology=False) for seed in range(60)]
    means = np.array([body.areas_mm2(Z).mean() for body in bodies])
    assert 45 < means.min() < means.max() < 110
    assert 60 < np.median(means) < 80


def test_a_straight_cord_is_straight_and_a_curved_one_goes_through_the_origin():
    straight, curved = draw(2, curved=False), draw(2)
    assert not straight.centre_x.any()
    assert not straight.centre_y.any()
    assert np.ptp(curved.centre_y) > 1
    for centre in (curved.centre_x, curved.centre_y):
        assert np.interp(0, curved.table_z, centre) == pytest.approx(0, abs=1e-9)


def test_without_pathology_there_is_none_and_with_it_some_bodies_have_each_kind():
    healthy = [draw(seed, pathology=False) for seed in range(20)]
    assert not any(body.lesions or body.syrinx or body.metal for body in healthy)
    ill = [draw(seed) for seed in range(120)]
    assert any(body.lesions for body in ill)
    assert any(body.syrinx for body in ill)
    assert any(body.metal for body in ill)


def test_without_ends_the_cord_reaches_beyond_the_tables_both_ways():
    for seed in range(10):
        body = draw(seed, ends=False)
        assert body.conus_z < -HALF_LENGTH
        assert body.top_z > HALF_LENGTH
        assert (body.areas_mm2(body.table_z) > 0).all()


def test_the_cord_tapers_towards_the_conus_and_ends_there():
    body = next(body for body in map(draw, range(60)) if body.conus_z > -HALF_LENGTH)
    areas = body.areas_mm2(body.conus_z + np.array([-5.0, -0.1, 2.0, 60.0]))
    assert areas[0] == areas[1] == 0
    assert 0 < areas[2] < 0.5 * areas[3]


def test_a_body_without_a_cord_has_no_area():
    assert not draw(0, cord=False).areas_mm2(Z).any()


def test_compression_narrows_the_cord_from_front_to_back():
    squeezed = [
        np.min(body.half_ap / np.median(body.half_ap))
        for body in (draw(seed, ends=False) for seed in range(80))
    ]
    free = [
        np.min(body.half_ap / np.median(body.half_ap))
        for body in (draw(seed, ends=False, pathology=False) for seed in range(80))
    ]
    assert min(squeezed) < 0.6
    assert min(free) > min(squeezed)


def test_every_length_is_positive():
    for seed in range(40):
        body = draw(seed)
        assert (body.half_rl > 0).all()
        assert (body.half_ap > 0).all()
        assert (body.gap_rl > 0).all()
        assert (body.gap_ap > 0).all()
        assert (body.epidural >= 0).all()
        assert min(body.body_rl, body.body_ap, body.outline_rl, body.outline_ap, body.fat) > 0


def test_the_same_generator_draws_the_same_body():
    first, again = draw(3), draw(3)
    assert first.seed == again.seed
    np.testing.assert_array_equal(first.half_rl, again.half_rl)
    np.testing.assert_array_equal(first.centre_y, again.centre_y)
