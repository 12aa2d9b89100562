from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import inv_ornt_aff

import softcord
from fakes import BRIGHT, cord_data, cord_share, save_cord, save_cordless, save_nifti
from softcord.errors import GeometryError, InputError, UsageError

AREA_MM2 = np.pi * 5**2


def turned(ornt):
    """The image of the cord with its axes permuted and flipped."""
    data, affine = cord_data(), np.diag([1.0, 1.0, 2.0, 1.0])
    turned_data = nib.orientations.apply_orientation(data, ornt)
    return nib.Nifti1Image(turned_data, affine @ inv_ornt_aff(ornt, data.shape))


ALL_48 = [
    np.array([[axis, flip] for axis, flip in zip(axes, flips, strict=True)], dtype=float)
    for axes in permutations(range(3))
    for flips in product((1, -1), repeat=3)
]


@pytest.mark.parametrize(
    "ornt", ALL_48, ids=lambda ornt: "".join(f"{int(a)}{'+' if f > 0 else '-'}" for a, f in ornt)
)
def test_the_map_lies_on_the_grid_of_the_image_in_every_orientation(fake, ornt):
    image = turned(ornt)
    result = softcord.segment(image)
    assert np.array_equal(result.soft.affine, image.affine)
    assert np.allclose(result.soft.get_fdata(), image.get_fdata() / BRIGHT, atol=1e-6)
    assert fake.predictions == [(24, 24, 30)]


@pytest.mark.parametrize("ornt", [ALL_48[0], ALL_48[21], ALL_48[-1]], ids=["first", "middle", "last"])
def test_area_and_volume_are_those_of_the_cylinder_whatever_the_orientation(fake, ornt):
    result = softcord.segment(turned(ornt))
    assert result.mean_area_mm2 == pytest.approx(AREA_MM2, rel=0.01)
    assert result.volume_mm3 == pytest.approx(AREA_MM2 * 60, rel=0.01)
    assert result.cord_found


def test_a_path_and_an_image_give_the_same(fake, tmp_path):
    path = save_cord(tmp_path / "t2.nii.gz")
    from_path, from_image = softcord.segment(path), softcord.segment(nib.load(path))
    assert np.array_equal(from_path.soft.get_fdata(), from_image.soft.get_fdata())
    assert from_path.source == path


def test_the_image_is_not_changed(fake):
    image = nib.Nifti1Image(cord_data(), np.eye(4))
    before = image.get_fdata().copy(), image.affine.copy(), bytes(image.header.binaryblock)
    softcord.segment(image)
    assert np.array_equal(image.get_fdata(), before[0])
    assert np.array_equal(image.affine, before[1])
    assert image.header.binaryblock == before[2]


def test_an_image_made_in_memory_is_checked_like_a_file(fake):
    with pytest.raises(InputError, match="got 2-D"):
        softcord.segment(nib.Nifti1Image(np.ones((4, 4), np.int16), np.eye(4)))


def test_an_array_is_refused_with_the_way_to_an_image(fake):
    with pytest.raises(InputError, match=r"got ndarray.*nibabel.Nifti1Image\(array, affine\)"):
        softcord.segment(cord_data())


def test_one_path_in_the_place_of_a_list_is_a_usage_error(fake):
    for path in ("t2.nii.gz", Path("t2.nii.gz")):
        with pytest.raises(UsageError, match="must be a list of paths"):
            softcord.segment_files(path)


def test_a_model_is_loaded_once_for_many_images(fake):
    model = softcord.models.load()
    for _ in range(3):
        softcord.segment(nib.Nifti1Image(cord_data(), np.eye(4)), model=model)
    assert len(fake.loads) == 1
    assert len(fake.predictions) == 3


def test_device_and_threads_reach_the_model(fake):
    softcord.segment(nib.Nifti1Image(cord_data(), np.eye(4)), device="cpu", threads=3)
    assert fake.loads == [{"name": "softcord", "device": "cpu", "threads": 3}]


def test_time_is_given_step_by_step(fake):
    result = softcord.segment(nib.Nifti1Image(cord_data(), np.eye(4)))
    assert set(result.seconds) == {"read", "find", "segment", "judge"}
    assert result.seconds["find"] == 0.25


# ---- no cord, flags


def test_without_cord_the_map_is_empty_and_flagged(fake, tmp_path):
    result = softcord.segment(save_cordless(tmp_path / "brain.nii.gz"))
    assert not result.cord_found
    assert not result.soft.get_fdata().any()
    assert "no_cord" in [flag.code for flag in result.flags]
    assert (result.volume_mm3, result.mean_area_mm2) == (0, 0)


def test_flags_of_header_voxels_and_result_come_together(fake):
    data = cord_data().astype(np.float32)
    data[0, 0, 0] = np.nan
    data[:, :, 10:14] = 0
    image = nib.Nifti1Image(data, np.diag([1.0, 1.0, 2.0, 1.0]))
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    codes = [flag.code for flag in softcord.segment(image).flags]
    assert {"no_spatial_code", "non_finite", "gaps"} <= set(codes)


# ---- 4-D


def series(n=3):
    """A 4-D image whose volumes hold cords of decreasing size; the cord is the same in no two of them."""
    shares = [cord_share(radius_mm=6.0 - index) for index in range(n)]
    return nib.Nifti1Image(
        np.stack([cord_data(share) for share in shares], axis=-1), np.diag([1.0, 1.0, 2.0, 1.0])
    )


def test_the_mean_of_a_series_is_one_volume(fake):
    image = series()
    result = softcord.segment(image)
    assert result.soft.shape == image.shape[:3]
    assert np.allclose(result.soft.get_fdata(), image.get_fdata().mean(axis=3) / BRIGHT, atol=1e-4)


def test_each_volume_of_a_series_gives_a_map_on_the_grid_of_the_series(fake):
    image = series()
    result = softcord.segment(image, volumes="each")
    assert result.soft.shape == image.shape
    assert np.allclose(result.soft.get_fdata(), image.get_fdata() / BRIGHT, atol=1e-6)
    expected = np.mean([np.pi * radius**2 * 60 for radius in (6, 5, 4)])
    assert result.volume_mm3 == pytest.approx(expected, rel=0.01)


def test_the_mean_area_of_a_series_is_that_of_the_slices_and_volumes_with_cord(fake):
    image = series(2)
    data = np.array(image.dataobj)
    data[..., 1] = 0
    data[:, :, 20:, 0] = 0
    data[12, 12, 20, 0] = 200  # 0.2 mm2 of cord, at the end
    result = softcord.segment(nib.Nifti1Image(data, image.affine), volumes="each")
    assert result.mean_area_mm2 == pytest.approx(np.pi * 6**2, rel=0.01)


def test_one_volume_of_a_series_can_be_chosen(fake):
    image = series()
    result = softcord.segment(image, volumes=2)
    assert np.allclose(result.soft.get_fdata(), image.get_fdata()[..., 2] / BRIGHT, atol=1e-6)


def test_a_volume_that_is_not_there_is_a_usage_error(fake):
    with pytest.raises(UsageError, match="0 to 2"):
        softcord.segment(series(), volumes=3)


def test_flags_of_a_series_name_the_volume(fake):
    image = series()
    image.get_fdata()
    data = np.array(image.dataobj)
    data[..., 1] = 0
    result = softcord.segment(nib.Nifti1Image(data, image.affine), volumes="each")
    reasons = [flag.reason for flag in result.flags if flag.code in ("no_cord", "constant_volume")]
    assert len(reasons) == 2
    assert all(reason.startswith("Volume 1: ") for reason in reasons)
    assert result.cord_found
    assert len(fake.predictions) == 2


def test_a_series_of_nothing_is_bad_input(fake):
    image = nib.Nifti1Image(np.zeros((8, 8, 8, 3), np.int16), np.eye(4))
    with pytest.raises(InputError, match="every volume is constant"):
        softcord.segment(image, volumes="each")


@pytest.mark.parametrize("shape", [(8, 8, 8), (8, 8, 8, 1)], ids=str)
def test_a_single_constant_volume_is_bad_input_whatever_volumes_are_asked_for(fake, shape):
    image = nib.Nifti1Image(np.full(shape, 7, np.int16), np.eye(4))
    for volumes in ("mean", "each", 0):
        with pytest.raises(InputError, match="every voxel is 7"):
            softcord.segment(image, volumes=volumes)


def test_each_volume_of_a_single_volume_is_that_volume(fake):
    image = nib.Nifti1Image(cord_data(), np.eye(4))
    assert softcord.segment(image, volumes="each").soft.shape == image.shape


def test_a_fourth_axis_of_one_volume_is_dropped_for_the_mean_and_kept_for_each(fake):
    image = nib.Nifti1Image(cord_data()[..., None], np.eye(4))
    assert softcord.segment(image).soft.shape == image.shape[:3]
    assert softcord.segment(image, volumes="each").soft.shape == image.shape


# ---- mask, uncertainty


@pytest.mark.parametrize("threshold", [0, 0.3, 0.5, 0.99])
def test_the_mask_holds_voxels_above_the_threshold(fake, threshold):
    result = softcord.segment(nib.Nifti1Image(cord_data(), np.eye(4)))
    mask = result.mask(threshold)
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(result.soft.dataobj) > np.float32(threshold))


@pytest.mark.parametrize("threshold", [-0.1, 1, 1.5, float("nan")])
def test_a_threshold_that_makes_no_mask_is_a_usage_error(fake, threshold):
    result = softcord.segment(nib.Nifti1Image(cord_data(), np.eye(4)))
    with pytest.raises(UsageError, match="threshold must be"):
        result.mask(threshold)


def test_uncertainty_is_on_the_grid_of_the_image_and_only_there_when_asked_for(fake):
    image = turned(ALL_48[21])
    assert softcord.segment(image).uncertainty is None
    result = softcord.segment(image, uncertainty=True)
    soft = result.soft.get_fdata()
    assert np.allclose(result.uncertainty.get_fdata(), soft * (1 - soft), atol=1e-6)


def test_a_mask_of_a_series_is_a_series(fake):
    assert softcord.segment(series(), volumes="each").mask().shape == series().shape


def test_an_image_that_lies_in_a_plane_is_refused(fake, tmp_path):
    path = save_nifti(cord_data(), tmp_path / "flat.nii.gz")
    image = nib.load(path)
    flat = nib.Nifti1Image(image.dataobj, None, image.header)
    flat.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
    with pytest.raises((InputError, GeometryError)):
        softcord.segment(flat)
