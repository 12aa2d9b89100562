"""Agreement of two segmentations; truth by boxes that can be counted by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from softcord.errors import GeometryError
from softcord.scores import (
    average_surface_distance,
    dice,
    hausdorff_95,
    soft_dice,
    surface_distances,
    volume_ratio,
)

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)
softs = arrays(np.float32, (3, 4, 5), elements=st.floats(0, 1, width=16))


def boxes():
    """Two boxes of 8 voxels that share 4."""
    one = np.zeros((4, 4, 4), dtype=bool)
    other = one.copy()
    one[:2, :2, :2] = True
    other[1:3, :2, :2] = True
    return one, other


def test_dice_is_twice_the_overlap_over_the_sizes():
    assert dice(*boxes()) == 0.5


def test_soft_dice_of_masks_is_dice():
    one, other = boxes()
    assert soft_dice(one.astype(np.float32), other.astype(np.float32)) == dice(one, other)


def test_soft_dice_sees_a_difference_that_masks_at_one_half_do_not():
    one, other = np.full(10, 0.6, dtype=np.float32), np.full(10, 0.9, dtype=np.float32)
    assert dice(one > 0.5, other > 0.5) == 1
    assert soft_dice(one, other) == pytest.approx(2 * 6 / 15)


@given(one=softs, other=softs)
@few
def test_scores_do_not_depend_on_the_order_and_are_1_for_equals(one, other):
    assert soft_dice(one, other) == pytest.approx(soft_dice(other, one))
    assert 0 <= soft_dice(one, other) <= 1
    assert soft_dice(one, one) == pytest.approx(1)
    assert dice(one > 0.5, other > 0.5) == dice(other > 0.5, one > 0.5)
    assert dice(one > 0.5, one > 0.5) == 1


def test_two_empty_segmentations_agree():
    empty = np.zeros((2, 2, 2), dtype=np.float32)
    assert soft_dice(empty, empty) == 1
    assert dice(empty > 0, empty > 0) == 1


def test_the_volume_ratio_is_above_1_for_too_much_cord():
    reference = np.full((2, 2, 2), 0.5, dtype=np.float32)
    assert volume_ratio(reference * 1.5, reference) == pytest.approx(1.5)
    assert volume_ratio(reference > 1, reference > 0) == 0


def test_the_volume_ratio_to_nothing_is_not_a_number():
    assert math.isnan(volume_ratio(np.ones(3), np.zeros(3)))


@pytest.mark.parametrize("score", [dice, soft_dice, volume_ratio])
def test_other_grids_are_refused(score):
    with pytest.raises(GeometryError, match=r"one grid.*\(2,\) and \(3,\)"):
        score(np.ones(2, dtype=bool), np.ones(3, dtype=bool))


# ---- distances of surfaces


def moved_boxes(shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Two equal boxes, the second one moved along the last axis."""
    one, other = np.zeros((2, 12, 12, 30), dtype=bool)
    one[3:9, 3:9, 5:20] = True
    other[3:9, 3:9, 5 + shift : 20 + shift] = True
    return one, other


def test_equal_masks_have_no_distance():
    one, _ = moved_boxes(0)
    distances = surface_distances(one, one, (1.0, 1.0, 5.0))
    assert average_surface_distance(*distances) == 0
    assert hausdorff_95(*distances) == 0


def test_distances_are_in_mm_where_voxels_are_longer_along_one_axis():
    one, other = moved_boxes(2)
    near, far = (surface_distances(one, other, (1.0, 1.0, z)) for z in (1.0, 4.0))
    assert max(map(np.max, far)) == pytest.approx(8.0)
    assert average_surface_distance(*far) > average_surface_distance(*near)


def test_the_average_distance_of_a_shell_is_its_thickness():
    x, y, z = np.ogrid[:40, :40, :40]
    radius = np.sqrt((x - 20) ** 2 + (y - 20) ** 2 + (z - 20) ** 2)
    distances = surface_distances(radius < 15, radius < 12, (0.5, 0.5, 0.5))
    assert average_surface_distance(*distances) == pytest.approx(1.5, abs=0.1)
    assert hausdorff_95(*distances) == pytest.approx(1.7, abs=0.2)


def test_the_95th_percentile_is_not_the_largest_distance():
    one, other = moved_boxes(0)
    other = other.copy()
    other[11, 11, 29] = True
    to_reference, to_mask = surface_distances(one, other, (1.0, 1.0, 1.0))
    assert to_mask.max() > 9
    assert hausdorff_95(to_reference, to_mask) == 0


def test_an_empty_mask_has_no_surface():
    one, _ = moved_boxes(0)
    with pytest.raises(GeometryError, match="one of them is empty"):
        surface_distances(one, np.zeros_like(one), (1.0, 1.0, 1.0))
