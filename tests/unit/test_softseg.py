"""Soft segmentations as arrays; truth by geometry: boxes and cylinders whose size is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from softcord.softseg import LEAST_AREA_MM2, bounding_box, mean_area, slice_areas, threshold

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


@pytest.mark.parametrize("zooms", [(0.5, 0.5, 5.0), (1.0, 1.0, 1.0), (0.7, 1.3, 2.0)], ids=str)
def test_slice_areas_are_those_of_the_cylinder(zooms):
    shape = (round(24 / zooms[0]), round(24 / zooms[1]), 4)
    soft = soft_cylinder(shape, (11.3, 12.1), 4.5, zooms)
    np.testing.assert_allclose(slice_areas(soft, zooms), np.pi * 4.5**2, rtol=5e-3)


def test_areas_of_whole_voxels_are_exact():
    soft = np.zeros((6, 6, 5), dtype=np.float32)
    soft[1:5, 2:4, 1:4] = 1
    assert_array_equal(slice_areas(soft, (0.5, 2.0, 3.0)), [0, 8, 8, 8, 0])


def test_a_shift_by_a_part_of_a_voxel_changes_no_area():
    areas = [
        slice_areas(soft_cylinder((24, 24, 1), (12 + shift, 12), 4.0, (1.0, 1.0)), (1.0, 1.0, 1.0))[0]
        for shift in (0, 0.25, 0.5)
    ]
    assert np.ptp(areas) / areas[0] < 5e-3


def test_the_mean_area_is_that_of_the_slices_that_hold_cord():
    areas = np.array([[0.0, 0.0], [0.2, LEAST_AREA_MM2 - 0.01], [60.0, 80.0], [70.0, 0.0]])
    assert mean_area(areas) == 70
    assert mean_area(np.zeros(4)) == 0
