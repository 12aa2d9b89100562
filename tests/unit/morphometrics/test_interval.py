"""Intervals of areas: how often they hold the truth, and what makes them wide."""

import numpy as np
import pytest

from softcord.morphometrics import measure_slices
from softcord.phantoms.cords import CordOptions, make_cord


@pytest.mark.parametrize("is_binary", [False, True])
def test_the_true_area_is_nearly_always_inside(is_binary):
    inside = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        in_plane = float(rng.choice([0.5, 0.8, 1.0, 1.5, 2.0]))
        options = CordOptions(
            half_rl=rng.uniform(4.5, 8), half_ap=rng.uniform(3, 5.5), turn_deg=rng.uniform(-20, 20),
            tilt_deg=rng.uniform(0, 35), lean_deg=rng.uniform(0, 360), shift=(rng.uniform(-1, 1), 0.3),
            length_mm=30.0,
        )  # fmt: skip
        cord = make_cord((in_plane, in_plane, 3.0), options)
        share = (cord.share > 0.5).astype(np.float32) if is_binary else cord.share
        values = measure_slices(share, cord.zooms).values
        inside.append(
            (values["area_low_mm2"] <= cord.areas_mm2) & (cord.areas_mm2 <= values["area_high_mm2"])
        )
    assert np.mean(np.concatenate(inside)) > 0.88


def widths(share, zooms, **options):
    values = measure_slices(share, zooms, **options).values
    return float(np.mean((values["area_high_mm2"] - values["area_low_mm2"]) / values["area_mm2"]))


def test_larger_pixels_make_the_area_of_a_mask_less_sure():
    fine, coarse = (make_cord((size, size, 3.0), CordOptions(length_mm=30.0)) for size in (0.5, 2.0))
    assert widths((coarse.share > 0.5).astype(np.float32), coarse.zooms) > 3 * widths(
        (fine.share > 0.5).astype(np.float32), fine.zooms
    )


def test_a_soft_mask_is_surer_than_the_same_cut_at_half():
    cord = make_cord((1.0, 1.0, 3.0), CordOptions(length_mm=30.0))
    assert widths(cord.share, cord.zooms) < widths((cord.share > 0.5).astype(np.float32), cord.zooms)


def test_a_blurred_prediction_is_less_sure_than_a_sharp_one():
    sharp, blurred = np.zeros((2, 30, 30, 6), dtype=np.float32)
    x, y = np.ogrid[:30, :30]
    edge = (5.5 - np.hypot(x - 15, y - 15))[:, :, None]
    sharp[:], blurred[:] = np.clip(edge + 0.5, 0, 1), np.clip(edge / 4 + 0.5, 0, 1)
    zooms = (1.0, 1.0, 2.0)
    assert widths(blurred, zooms, source="network") > 2 * widths(sharp, zooms, source="network")
