import numpy as np
import pytest

from bidstrees import cylinder
from softcord.dataset.raters import merge_raters
from softcord.errors import GeometryError

THREE = [cylinder(radius=radius).astype(np.float32) for radius in (3.0, 4.0, 5.0)]


def test_the_majority_of_three_circles_is_the_middle_one():
    np.testing.assert_array_equal(merge_raters(THREE, "majority"), THREE[1])


def test_a_tie_is_a_half():
    merged = merge_raters([THREE[0], THREE[1]], "majority")
    np.testing.assert_array_equal(merged, (THREE[0] + THREE[1]) / 2)


def test_the_mean_is_the_share_of_raters():
    np.testing.assert_allclose(merge_raters(THREE, "mean"), np.mean(THREE, axis=0))


def test_staple_believes_four_good_raters_and_not_a_bad_one():
    pytest.importorskip("SimpleITK", reason="needs SimpleITK, which comes with softcord[dataset]")
    rng = np.random.default_rng(1)
    truth = cylinder((24, 24, 12), radius=5.0).astype(bool)
    good = [np.where(rng.random(truth.shape) < 0.02, ~truth, truth) for _ in range(2)]
    bad = [np.roll(truth, 4, axis=0) for _ in range(2)]
    bad[1] = np.where(rng.random(truth.shape) < 0.3, ~truth, bad[1])
    raters = [mask.astype(np.float32) for mask in (*good, *bad)]
    staple = merge_raters(raters, "staple")
    assert staple.min() >= 0
    assert staple.max() <= 1
    wrong = np.mean((staple >= 0.5) != truth)
    assert wrong < 0.03
    assert wrong < np.mean((merge_raters(raters, "mean") >= 0.5) != truth)


@pytest.mark.parametrize("how", ["mean", "majority", "staple"])
def test_raters_who_agree_or_are_alone_are_believed(how):
    if how == "staple":
        pytest.importorskip("SimpleITK", reason="needs SimpleITK, which comes with softcord[dataset]")
    for raters in (THREE[:1], [THREE[1]] * 3, [np.zeros((4, 4, 4), np.float32)] * 2):
        np.testing.assert_array_equal(merge_raters(raters, how), raters[0])


def test_raters_on_different_grids_are_an_error():
    with pytest.raises(GeometryError, match="one grid"):
        merge_raters([THREE[0], THREE[0][1:]], "mean")
