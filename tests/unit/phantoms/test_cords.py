"""Bare cords have the area that they claim."""

import numpy as np
import pytest

from softcord.phantoms.cords import CordOptions, make_cord


@pytest.mark.parametrize("lean", [0.0, 45.0, 90.0, 200.0])
def test_the_sum_of_a_tilted_cord_times_the_cosine_is_its_area(lean):
    cord = make_cord((0.7, 0.9, 3.0), CordOptions(tilt_deg=35.0, lean_deg=lean, turn_deg=20.0))
    sums = cord.share.sum(axis=(0, 1), dtype=float) * 0.7 * 0.9 * np.cos(np.radians(35))
    assert sums == pytest.approx(cord.areas_mm2, rel=0.004)
    assert cord.areas_mm2 == pytest.approx(np.pi * 6 * 4.2)


def test_it_leans_where_it_is_told_to():
    cord = make_cord((1.0, 1.0, 2.0), CordOptions(tilt_deg=20.0, lean_deg=0.0))
    centres = (np.arange(cord.share.shape[0])[:, None] * cord.share.sum(axis=1)).sum(axis=0)
    centres /= cord.share.sum(axis=(0, 1))
    assert np.diff(centres) == pytest.approx(2 * np.tan(np.radians(20)), abs=0.1)


def test_ends_are_filled_in_part():
    cord = make_cord((1.0, 1.0, 5.0), CordOptions(fill=(0.25, 0.5)))
    assert cord.share[:, :, 0].max() == pytest.approx(0.25, abs=0.05)
    assert cord.share[:, :, -1].max() == pytest.approx(0.5, abs=0.05)
    assert cord.areas_mm2[[0, -1]] / cord.areas_mm2[1] == pytest.approx([0.25, 0.5], abs=0.05)


def test_nothing_touches_the_sides_of_the_grid():
    cord = make_cord((1.0, 1.0, 1.0), CordOptions(tilt_deg=30.0, bend_mm=20.0, taper=0.3, shift=(5.0, -4.0)))
    assert not cord.share[[0, -1]].any()
    assert not cord.share[:, [0, -1]].any()
