"""Going to RAS+ and back, over all orientations; truth by the place of each voxel in millimetres."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from softcord.errors import GeometryError
from softcord.orientation import restore, sct_orientation, to_canonical

SHAPE = (4, 5, 6)
ORIENTATIONS = ["".join(letters) for order in permutations(("RL", "AP", "SI")) for letters in product(*order)]


def affine_of(axcodes, zooms=(0.5, 0.8, 3.0), degrees=(0.0, 0.0, 0.0), origin=(-10.0, 20.0, 5.5)):
    """Affine whose axes run to `axcodes`, then rotated about x, y and z."""
    affine = np.eye(4)
    for axis, letter in enumerate(axcodes):
        towards = "RAS".find(letter)
        affine[:3, axis] = np.eye(3)[towards] if towards >= 0 else -np.eye(3)["LPI".find(letter)]
    turn = nib.eulerangles.euler2mat(*np.radians(degrees[::-1]))
    affine[:3, :3] = turn @ affine[:3, :3] * zooms
    affine[:3, 3] = origin
    return affine


def numbered(shape=SHAPE):
    """Voxels that all differ."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def positions(affine, shape=SHAPE):
    """Place of every voxel, mm."""
    return nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))


oblique = st.tuples(*[st.floats(-25, 25)] * 3)
zooms = st.tuples(*[st.floats(0.3, 8.0)] * 3)
few = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_every_orientation_comes_to_ras_and_back_to_the_same_voxels(axcodes):
    affine, data = affine_of(axcodes), numbered()
    canonical = to_canonical(data, affine)
    assert nib.aff2axcodes(canonical.affine) == ("R", "A", "S")
    assert_array_equal(restore(canonical.data, canonical.ornt), data)


@given(axcodes=st.sampled_from(ORIENTATIONS), degrees=oblique, zooms=zooms)
@few
def test_each_voxel_keeps_its_place_in_millimetres(axcodes, degrees, zooms):
    affine, data = affine_of(axcodes, zooms, degrees), numbered()
    canonical = to_canonical(data, affine)
    here = positions(canonical.affine, canonical.data.shape)
    there = positions(affine)
    for value in (0, 17, data.size - 1):
        (found,), (original,) = here[canonical.data == value], there[data == value]
        assert_allclose(found, original, atol=1e-9)


@given(axcodes=st.sampled_from(ORIENTATIONS), degrees=oblique, zooms=zooms)
@few
def test_an_oblique_volume_comes_back_unchanged(axcodes, degrees, zooms):
    data = numbered()
    canonical = to_canonical(data, affine_of(axcodes, zooms, degrees))
    assert nib.aff2axcodes(canonical.affine) == ("R", "A", "S")
    assert_array_equal(restore(canonical.data, canonical.ornt), data)


def test_zooms_follow_the_axes_of_the_canonical_data():
    canonical = to_canonical(numbered(), affine_of("SLA", zooms=(3.0, 0.5, 0.8)))
    assert canonical.data.shape == (5, 6, 4)
    assert canonical.zooms == pytest.approx((0.5, 0.8, 3.0))


def test_neither_way_copies_voxels():
    data = numbered()
    canonical = to_canonical(data, affine_of("PSR"))
    assert np.shares_memory(canonical.data, data)
    assert np.shares_memory(restore(canonical.data, canonical.ornt), data)


def test_volumes_along_a_fourth_axis_are_restored_together():
    data = numbered()
    canonical = to_canonical(data, affine_of("PIR"))
    restored = restore(np.stack([canonical.data, -canonical.data], axis=3), canonical.ornt)
    assert_array_equal(restored[..., 0], data)
    assert_array_equal(restored[..., 1], -data)


@pytest.mark.parametrize(("axcodes", "sct"), [("LAS", "RPI"), ("RAS", "LPI"), ("LPS", "RAI"), ("PIR", "ASL")])
def test_sct_names_where_the_axes_come_from(axcodes, sct):
    assert sct_orientation(affine_of(axcodes)) == sct


@pytest.mark.parametrize(
    "affine",
    [np.diag([1.0, 1.0, 0.0, 1.0]), np.ones((4, 4)), np.full((4, 4), np.nan)],
    ids=["flat", "parallel", "not-a-number"],
)
def test_an_affine_that_does_not_place_three_axes_is_refused(affine):
    with pytest.raises(GeometryError, match="three different axes"):
        to_canonical(numbered(), affine)


def test_a_canonical_volume_is_3d():
    with pytest.raises(GeometryError, match=r"3-D.*\(2, 2\)"):
        to_canonical(np.zeros((2, 2)), np.eye(4))
    with pytest.raises(GeometryError, match=r"3-D or 4-D.*\(2, 2\)"):
        restore(np.zeros((2, 2)), to_canonical(numbered(), np.eye(4)).ornt)
