"""Soft segmentations as arrays; truth by geometry: boxes and cylinders whose size is known."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal
from scipy import ndimage

from softcord.softseg import bounding_box, largest_piece, slice_areas, threshold, volume_mm3

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def soft_cylinder(shape, centre, radius_mm, zooms, oversampling=8):
    """Straight cylinder along axis 2: the share of each pixel within it."""
    fine = [
        (np.arange(n * oversampling) + 0.5) / oversampling * zoom
        for n, zoom in zip(shape, zooms, strict=False)
    ]
    inside = np.hypot(fine[0][:, None] - centre[0], fine[1][None] - centre[1]) < radius_mm
    shares = inside.reshape(shape[0], oversampling, shape[1], oversampling).mean(axis=(1, 3))
    return np.repeat(shares[..., None], shape[2], axis=2).astype(np.float32)


def test_a_mask_holds_the_voxels_above_the_level():
    soft = np.array([0.0, 0.4, 0.5, 0.51, 1.0], dtype=np.float32)
    assert threshold(soft, 0.5).tolist() == [False, False, False, True, True]
    assert threshold(soft, 0.0).tolist() == [False, True, True, True, True]


def test_a_voxel_at_the_level_is_out_whatever_the_rounding_of_float32():
    assert not threshold(np.full(1, 0.3, dtype=np.float32), 0.3).any()


@given(arrays(np.float32, (4, 5, 6), elements=st.sampled_from([0.0] * 9 + [0.5])))
@few
def test_the_bounding_box_is_the_smallest_that_holds_everything(soft):
    for view in (soft, np.asfortranarray(soft), soft[::-1].transpose(2, 0, 1)):
        box = bounding_box(view)
        if box is None:
            assert not view.any()
        else:
            assert view[box].sum() == view.sum()
            for axis in range(3):
                planes = np.moveaxis(view[box], axis, 0)
                assert planes[0].any()
                assert planes[-1].any()


def test_the_largest_piece_is_the_one_with_the_largest_sum():
    soft = np.zeros((10, 10, 20), dtype=np.float32)
    soft[1:4, 1:4, 1:5] = 0.6  # 36 voxels, sum 21.6
    soft[6:9, 6:9, 1:4] = 1.0  # 27 voxels, sum 27
    expected = soft.copy()
    expected[1:4, 1:4, 1:5] = 0
    assert_array_equal(largest_piece(soft, level=0.5), expected)


def test_the_soft_rim_stays_and_a_faint_spot_elsewhere_goes():
    soft = np.zeros((9, 9, 9), dtype=np.float32)
    soft[2:6, 2:6, 2:6] = 0.2
    soft[3:5, 3:5, 3:5] = 0.9
    expected = soft.copy()
    soft[8, 8, 8] = 0.3
    assert_array_equal(largest_piece(soft, level=0.5), expected)


def test_pieces_that_touch_at_a_corner_are_one():
    soft = np.zeros((4, 4, 4), dtype=np.float32)
    soft[:2, :2, :2] = soft[2:, 2:, 2:] = 1
    assert largest_piece(soft, level=0.5) is soft


def test_a_rim_between_two_pieces_is_shared_by_distance():
    soft = np.zeros((3, 3, 12), dtype=np.float32)
    soft[1, 1] = [0, 1, 1, 1, 1, 0.2, 0.2, 0.2, 0.2, 0.2, 1, 0.4]
    kept = largest_piece(soft, level=0.5)[1, 1]
    assert_array_equal(kept[:7], soft[1, 1, :7])
    assert_array_equal(kept[8:], 0)


def test_nothing_above_the_level_leaves_nothing():
    faint = np.full((3, 3, 3), 0.4, dtype=np.float32)
    assert not largest_piece(faint, level=0.5).any()
    assert not largest_piece(np.zeros_like(faint), level=0.5).any()


@given(arrays(np.float32, (4, 4, 5), elements=st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.75])))
@few
def test_what_stays_is_one_piece_unchanged_and_the_input_is_left_alone(soft):
    before = soft.copy()
    largest = largest_piece(soft, level=0.5)
    assert_array_equal(soft, before)
    assert_array_equal(largest[largest > 0], soft[largest > 0])
    assert largest.dtype == soft.dtype
    _, n_pieces = ndimage.label(largest > 0.5, np.ones((3, 3, 3)))
    assert n_pieces == min(1, np.count_nonzero(soft > 0.5))
    assert_array_equal(largest_piece(largest, level=0.5), largest)


def test_the_largest_piece_of_16_million_voxels_takes_less_than_a_fifth_of_a_second():
    soft = np.zeros((192, 260, 320), dtype=np.float32)
    soft[90:102, 120:130, 40:200] = 0.4
    soft[91:101, 121:129, 41:199] = 1.0
    soft[60:63, 200:203, 100:103] = 1.0
    seconds = []
    for _ in range(3):
        start = time.process_time()
        largest = largest_piece(soft, level=0.5)
        seconds.append(time.process_time() - start)
    assert not largest[60:63, 200:203].any()
    assert min(seconds) < 0.2


@pytest.mark.parametrize("zooms", [(0.5, 0.5, 5.0), (1.0, 1.0, 1.0), (0.7, 1.3, 2.0)], ids=str)
def test_slice_areas_are_those_of_the_cylinder(zooms):
    shape = (round(24 / zooms[0]), round(24 / zooms[1]), 4)
    soft = soft_cylinder(shape, (11.3, 12.1), 4.5, zooms)
    np.testing.assert_allclose(slice_areas(soft, zooms), np.pi * 4.5**2, rtol=5e-3)


def test_areas_and_volume_of_whole_voxels_are_exact():
    soft = np.zeros((6, 6, 5), dtype=np.float32)
    soft[1:5, 2:4, 1:4] = 1
    assert_array_equal(slice_areas(soft, (0.5, 2.0, 3.0)), [0, 8, 8, 8, 0])
    assert volume_mm3(soft, (0.5, 2.0, 3.0)) == 72
    assert volume_mm3(np.zeros_like(soft), (1.0, 1.0, 1.0)) == 0


def test_a_shift_by_a_part_of_a_voxel_changes_no_area():
    areas = [
        slice_areas(soft_cylinder((24, 24, 1), (12 + shift, 12), 4.0, (1.0, 1.0)), (1.0, 1.0, 1.0))[0]
        for shift in (0, 0.25, 0.5)
    ]
    assert np.ptp(areas) / areas[0] < 5e-3
