"""The centreline follows the cord, and says how oblique it is."""

import numpy as np
import pytest

from softcord.centerline import arc_length, extend_to, fit_centerline, fit_sct_centerline
from softcord.errors import InputError
from softcord.phantoms.cords import CordOptions, make_cord


@pytest.mark.parametrize("fit", [fit_centerline, fit_sct_centerline])
@pytest.mark.parametrize(
    ("lean", "ap", "rl"), [(0.0, -25.0, 0.0), (180.0, 25.0, 0.0), (90.0, 0.0, 25.0), (270.0, 0.0, -25.0)]
)
def test_the_angles_of_a_tilted_cord_have_the_signs_of_sct(fit, lean, ap, rl):
    cord = make_cord((0.8, 0.8, 2.0), CordOptions(tilt_deg=25.0, lean_deg=lean))
    line = fit(cord.share, cord.zooms)
    assert line.angle_ap_deg == pytest.approx(ap, abs=0.5)
    assert line.angle_rl_deg == pytest.approx(rl, abs=0.5)
    assert line.cosine == pytest.approx(np.cos(np.radians(25)), abs=0.005)


def test_a_curved_cord_is_followed_to_its_ends():
    cord = make_cord((1.0, 1.0, 1.0), CordOptions(bend_mm=20.0, length_mm=100.0))
    z = np.arange(100) + 0.5 - 50
    truth = 20 * 2 * np.pi / 200 * np.cos(2 * np.pi * z / 200)
    slopes = fit_centerline(cord.share, cord.zooms).slope_y
    assert np.abs(slopes - truth).max() < 0.05
    assert np.abs(slopes - truth)[10:-10].max() < 0.01


def test_the_curve_is_the_same_at_every_resolution():
    shape = CordOptions(bend_mm=15.0, tilt_deg=15.0, lean_deg=20.0)
    fine, coarse = (
        fit_centerline(cord.share, cord.zooms)
        for cord in (make_cord((0.5, 0.5, 1.0), shape), make_cord((1.0, 1.0, 4.0), shape))
    )
    at = (np.arange(coarse.slices.size) + 0.5) * 4
    angles = np.interp(at, np.arange(fine.slices.size) + 0.5, fine.angle_rl_deg)
    assert coarse.angle_rl_deg == pytest.approx(angles, abs=1.0)


def test_noise_from_slice_to_slice_hardly_moves_the_angle():
    rng = np.random.default_rng(3)
    soft = np.zeros((40, 40, 60), dtype=np.float32)
    for k in range(60):
        i, j = 20 + rng.normal(0, 0.3), 20 + rng.normal(0, 0.3)
        x, y = np.ogrid[:40, :40]
        soft[:, :, k] = np.clip(5.5 - np.hypot(x - i, y - j), 0, 1)
    line = fit_centerline(soft, (1.0, 1.0, 1.0))
    assert np.abs(line.slope_x[8:-8]).max() < 0.06
    assert line.residual_mm == pytest.approx(0.3, abs=0.05)


def test_empty_slices_are_bridged():
    cord = make_cord((1.0, 1.0, 2.0), CordOptions(tilt_deg=20.0))
    share = cord.share.copy()
    share[:, :, 10:16] = 0
    line = fit_centerline(share, cord.zooms)
    assert line.slices.size == share.shape[2]
    assert line.angle_rl_deg == pytest.approx(20.0, abs=0.6)


@pytest.mark.parametrize("fit", [fit_centerline, fit_sct_centerline])
@pytest.mark.parametrize("n_slices", [1, 2, 3, 4])
def test_few_slices_give_a_straight_line(fit, n_slices):
    cord = make_cord((1.0, 1.0, 3.0), CordOptions(tilt_deg=20.0, length_mm=3.0 * n_slices))
    line = fit(cord.share, cord.zooms)
    assert line.angle_rl_deg == pytest.approx(20.0 if n_slices > 1 else 0.0, abs=2.0)


@pytest.mark.parametrize("fit", [fit_centerline, fit_sct_centerline])
def test_no_cord_has_no_centreline(fit):
    with pytest.raises(InputError, match="got none: every voxel is 0"):
        fit(np.zeros((4, 4, 4), dtype=np.float32), (1.0, 1.0, 1.0))


def test_arc_length_of_a_tilted_cord():
    cord = make_cord((1.0, 1.0, 1.0), CordOptions(tilt_deg=30.0))
    line = fit_centerline(cord.share, cord.zooms)
    assert line.arc_mm()[-1] == pytest.approx(59 / np.cos(np.radians(30)), rel=0.003)
    assert arc_length(np.zeros(3), np.zeros(3), 2.0).tolist() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("k", [-10, 75])
def test_the_line_goes_on_to_a_point(k):
    cord = make_cord((1.0, 1.0, 1.0), CordOptions(tilt_deg=20.0))
    line = fit_centerline(cord.share, cord.zooms)
    slope = np.tan(np.radians(20))
    x, y = float(line.x_mm[0]), float(line.y_mm[0] + slope * k)
    longer = extend_to(line, x, y, k)
    assert longer.slices[[0, -1]].tolist() == sorted([k, 0 if k > 0 else 59])
    assert np.abs(longer.slope_y - slope).max() < 0.03
    assert longer.slices.size == longer.x_mm.size == longer.slope_x.size


def test_a_point_beside_the_cord_changes_nothing():
    cord = make_cord((1.0, 1.0, 1.0))
    line = fit_centerline(cord.share, cord.zooms)
    assert extend_to(line, 0.0, 0.0, 30) is line
