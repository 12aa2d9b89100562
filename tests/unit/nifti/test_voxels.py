"""Voxels from any type, file and array; truth is what was written."""

import gzip
import math
import tracemalloc
from io import BytesIO
from itertools import pairwise

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcord.errors import InputError, UsageError
from softcord.nifti import image_like, load_image, read_volume, read_volumes, save_image
from softcord.orientation import restore, to_canonical

TYPES = [
    np.uint8,
    np.int8,
    np.int16,
    np.uint16,
    np.int32,
    np.uint32,
    np.int64,
    np.uint64,
    np.float32,
    np.float64,
]


def write(path, voxels, slope=None, inter=0.0, endianness="<"):
    """A file with exactly these voxels on disk."""
    header = nib.Nifti1Header(endianness=endianness)
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_sform(np.eye(4), 1)
    if slope is not None:
        header["scl_slope"], header["scl_inter"] = slope, inter
    start = BytesIO()
    header.write_to(start)
    raw = start.getvalue() + voxels.astype(voxels.dtype.newbyteorder(endianness)).tobytes(order="F")
    path.write_bytes(gzip.compress(raw, 1) if path.name.endswith(".gz") else raw)
    return path


def numbered(shape, dtype=np.int16):
    """Voxels that differ, as far as the type allows."""
    return (np.arange(np.prod(shape)) % 120).reshape(shape).astype(dtype)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
def test_every_type_comes_as_the_same_numbers_in_float32(tmp_path, dtype, endianness, name):
    voxels = numbered((5, 6, 7), dtype)
    data, flags = read_volume(load_image(write(tmp_path / name, voxels, endianness=endianness)))
    assert data.dtype == np.float32
    assert flags == ()
    np.testing.assert_array_equal(data, voxels.astype(np.float32))


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
def test_scaling_is_that_of_the_header(tmp_path, dtype):
    voxels = numbered((5, 6, 7), dtype)
    data, _ = read_volume(load_image(write(tmp_path / "a.nii.gz", voxels, slope=0.1, inter=-3.5)))
    assert data.dtype == np.float32
    np.testing.assert_allclose(data, voxels * np.float64(np.float32(0.1)) - 3.5, rtol=1e-6, atol=1e-6)


def test_wide_integers_with_an_offset_keep_their_differences(tmp_path):
    voxels = numbered((4, 4, 4), np.int32) + 2_000_000_000
    data, _ = read_volume(load_image(write(tmp_path / "a.nii", voxels, slope=1, inter=-2_000_000_000)))
    np.testing.assert_array_equal(data, numbered((4, 4, 4)))


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_a_slope_that_is_none_means_no_scaling(tmp_path, slope):
    voxels = numbered((4, 5, 6))
    data, _ = read_volume(load_image(write(tmp_path / "a.nii", voxels, slope=slope, inter=7)))
    np.testing.assert_array_equal(data, voxels)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_volume_of_many_pieces_is_put_together_in_order(tmp_path, name):
    voxels = np.random.default_rng(0).integers(-1000, 1000, (90, 80, 70)).astype(np.int16)
    data, _ = read_volume(load_image(write(tmp_path / name, voxels)))
    np.testing.assert_array_equal(data, voxels)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_series_is_read_by_volume_or_as_its_mean(tmp_path, name):
    voxels = np.random.default_rng(0).integers(0, 4000, (20, 21, 22, 5)).astype(np.int16)
    image = load_image(write(tmp_path / name, voxels, slope=0.5))
    for index in range(5):
        np.testing.assert_array_equal(read_volume(image, volume=index)[0], voxels[..., index] * 0.5)
    np.testing.assert_allclose(read_volume(image)[0], voxels.mean(axis=3) * 0.5, rtol=1e-6)
    each = list(read_volumes(image))
    assert len(each) == 5
    for index, (data, flags) in enumerate(each):
        np.testing.assert_array_equal(data, voxels[..., index] * 0.5)
        assert flags == ()


def test_a_series_of_one_is_that_volume(tmp_path):
    voxels = numbered((4, 5, 6, 1))
    data, _ = read_volume(load_image(write(tmp_path / "a.nii", voxels)))
    np.testing.assert_array_equal(data, voxels[..., 0])


@pytest.mark.parametrize("volume", [3, -1, "median", 1.5, None])
def test_a_volume_that_is_not_there_is_a_usage_error(tmp_path, volume):
    image = load_image(write(tmp_path / "a.nii", numbered((4, 5, 6, 3))))
    with pytest.raises(UsageError, match=r"a\.nii: volume must be 'mean' or .* 0 to 2; got"):
        read_volume(image, volume=volume)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_an_image_in_memory_is_read_alike_and_not_touched(dtype, order):
    voxels = np.asarray(numbered((7, 6, 5), dtype), order=order)
    if voxels.dtype.kind == "f":
        voxels[1, 2, 3] = np.nan
    before = voxels.copy()
    data, flags = read_volume(nib.Nifti1Image(voxels, np.eye(4)))
    np.testing.assert_array_equal(data, np.nan_to_num(voxels))
    assert [flag.code for flag in flags] == ["non_finite"] * (voxels.dtype.kind == "f")
    np.testing.assert_array_equal(voxels, before)
    assert not np.shares_memory(data, voxels)


def test_a_series_in_memory_is_averaged_alike():
    voxels = numbered((4, 5, 6, 3))
    data, _ = read_volume(nib.Nifti1Image(voxels, np.eye(4)))
    np.testing.assert_allclose(data, voxels.mean(axis=3), rtol=1e-6)


def test_an_image_in_a_stream_is_read_alike():
    voxels = numbered((4, 5, 6))
    image = nib.Nifti1Image.from_bytes(nib.Nifti1Image(voxels, np.eye(4)).to_bytes())
    np.testing.assert_array_equal(read_volume(image)[0], voxels)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nan_and_infinite_voxels_count_as_zero_and_are_flagged(tmp_path, name):
    voxels = numbered((4, 5, 6), np.float32)
    voxels[0, 0, :3] = np.nan, np.inf, -np.inf
    data, (flag,) = read_volume(load_image(write(tmp_path / name, voxels)))
    np.testing.assert_array_equal(data[0, 0, :3], 0)
    np.testing.assert_array_equal(data[1:], voxels[1:])
    assert flag.code == "non_finite"
    assert flag.reason.startswith("3 of 120 voxels")


def test_numbers_too_large_for_float32_count_as_infinite(tmp_path):
    voxels = numbered((4, 5, 6), np.float64)
    voxels[0, 0, 0] = 1e300
    data, (flag,) = read_volume(load_image(write(tmp_path / "a.nii", voxels)))
    assert data[0, 0, 0] == 0
    assert flag.reason.startswith("1 of 120 voxels")


def test_nan_in_one_volume_does_not_spoil_the_mean(tmp_path):
    voxels = numbered((4, 5, 6, 2), np.float32)
    voxels[1, 1, 1, 0] = np.nan
    data, (flag,) = read_volume(load_image(write(tmp_path / "a.nii", voxels)))
    assert data[1, 1, 1] == voxels[1, 1, 1, 1] / 2
    assert flag.reason.startswith("1 of 240 voxels")


@pytest.mark.parametrize(
    ("value", "what"),
    [(0, "every voxel is 0"), (7, "every voxel is 7"), (np.nan, "no voxel is a finite number")],
)
@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 3)], ids=["3D", "4D"])
def test_a_constant_image_is_refused(tmp_path, value, what, shape):
    image = load_image(write(tmp_path / "a.nii.gz", np.full(shape, value, dtype=np.float32)))
    with pytest.raises(InputError, match=rf"a\.nii\.gz: {what}"):
        read_volume(image)


def test_a_series_whose_mean_is_constant_is_refused(tmp_path):
    voxels = numbered((4, 5, 6, 2), np.float32)
    voxels[..., 1] = 9 - voxels[..., 0]
    with pytest.raises(InputError, match=r"every voxel is 4\.5"):
        read_volume(load_image(write(tmp_path / "a.nii", voxels)))


def test_a_constant_volume_of_a_series_is_flagged_so_that_the_others_go_on(tmp_path):
    voxels = numbered((4, 5, 6, 3), np.float32)
    voxels[..., 1] = 4
    voxels[0, 0, 0, 2] = np.nan
    image = load_image(write(tmp_path / "a.nii", voxels))
    assert [[flag.code for flag in flags] for _, flags in read_volumes(image)] == [
        [],
        ["constant_volume"],
        ["non_finite"],
    ]


def cut(raw):
    return raw[: len(raw) * 2 // 3]


def without_trailer(raw):
    return raw[:-6]


def with_wrong_checksum(raw):
    return raw[:-8] + bytes([raw[-8] ^ 1]) + raw[-7:]


def with_a_flipped_bit(raw):
    middle = len(raw) // 2
    return raw[:middle] + bytes([raw[middle] ^ 8]) + raw[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, without_trailer, with_wrong_checksum, with_a_flipped_bit])
def test_damaged_voxels_are_refused_in_one_line(tmp_path, damage):
    voxels = np.random.default_rng(0).integers(0, 1000, (40, 40, 40)).astype(np.int16)
    path = write(tmp_path / "a.nii.gz", voxels)
    path.write_bytes(damage(path.read_bytes()))
    image = load_image(path)
    with pytest.raises(
        InputError, match=r"^\S+a\.nii\.gz: the file cannot be read, .*\. Copy or download it again\.$"
    ):
        read_volume(image)


def test_a_file_that_shrinks_after_it_was_opened_is_refused(tmp_path):
    path = write(tmp_path / "a.nii", numbered((10, 10, 10)))
    image = load_image(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="shorter than its header says"):
        read_volume(image)


def test_a_file_that_disappears_after_it_was_opened_is_refused(tmp_path):
    path = write(tmp_path / "a.nii.gz", numbered((4, 4, 4)))
    image = load_image(path)
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        read_volume(image)


def test_a_damaged_stream_is_refused():
    raw = nib.Nifti1Image(numbered((10, 10, 10)), np.eye(4)).to_bytes()
    image = nib.Nifti1Image.from_bytes(raw[:-100])
    with pytest.raises(InputError, match="the image: the file cannot be read"):
        read_volume(image)


@given(cuts=st.lists(st.integers(1, 5000), max_size=6), padding=st.sampled_from([b"", b"\0" * 5, b"rubbish"]))
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_a_file_compressed_in_several_members_is_read_whole(tmp_path_factory, cuts, padding):
    path = write(tmp_path_factory.getbasetemp() / "members.nii", numbered((15, 14, 13)))
    raw = path.read_bytes()
    edges = [0, *sorted(cuts), len(raw)]
    members = [gzip.compress(raw[start:stop]) for start, stop in pairwise(edges)]
    compressed = path.with_suffix(".nii.gz")
    compressed.write_bytes(b"".join(members) + padding)
    np.testing.assert_array_equal(read_volume(load_image(compressed))[0], numbered((15, 14, 13)))


@pytest.mark.parametrize(
    ("dtype", "n_volumes", "slope", "name"),
    [
        (np.int16, 1, 0.5, "a.nii.gz"),
        (np.float64, 1, None, "a.nii.gz"),
        (np.float64, 1, 2.0, "a.nii"),
        (np.float32, 3, None, "a.nii.gz"),
    ],
    ids=["int16", "float64", "plain", "series"],
)
def test_reading_reorienting_and_writing_take_at_most_twice_the_volume_as_float32(
    tmp_path, dtype, n_volumes, slope, name
):
    shape = (112, 128, 160)
    voxels = (
        np.random.default_rng(0)
        .integers(0, 50, (*shape, n_volumes) if n_volumes > 1 else shape)
        .astype(dtype)
    )
    path = write(tmp_path / name, voxels, slope=slope)
    del voxels
    tracemalloc.start()
    try:
        image = load_image(path)
        data, _ = read_volume(image)
        canonical = to_canonical(data, np.diag([-1.0, -1.0, 1.0, 1.0]))
        result = restore(canonical.data, canonical.ornt)
        save_image(image_like(result, image), tmp_path / "out.nii.gz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * 4 * math.prod(shape)


def test_reading_needs_the_volume_and_a_few_pieces(tmp_path):
    shape = (112, 128, 160)
    path = write(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 9, shape) * 0.1)
    image = load_image(path)
    tracemalloc.start()
    try:
        read_volume(image)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * math.prod(shape) + 9_000_000  # pieces of 1 to 2 MiB
