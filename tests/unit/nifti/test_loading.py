"""Opening files: every bad one gets one clear line, every good one opens without a word."""

import gzip
import os
import re
import struct

import nibabel as nib
import numpy as np
import pytest

from softcord.errors import InputError
from softcord.nifti import check_image, load_image

VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)

# where fields lie in a NIfTI-1 header
DIM, DATATYPE, PIXDIM, VOX_OFFSET, SCL_SLOPE, SCL_INTER, CODES, SROW, MAGIC = (
    40,
    70,
    76,
    108,
    112,
    116,
    252,
    280,
    344,
)


def nifti_bytes(voxels=VOXELS, affine=None, kind=nib.Nifti1Image):
    return kind(voxels, np.eye(4) if affine is None else affine).to_bytes()


def patched(offset, layout, *values, raw=None):
    """A valid file with some bytes of its header replaced."""
    raw = bytearray(raw or nifti_bytes())
    struct.pack_into(layout, raw, offset, *values)
    return bytes(raw)


def reshaped(*shape):
    return patched(DIM, f"<{1 + len(shape)}h", len(shape), *shape)


def refused(path):
    """The message for a bad file: one line that begins with its name and ends with a way out."""
    with pytest.raises(InputError) as caught:
        load_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert re.search(r"\. [A-Z][^.]*|datalad get", message), "no way out"
    return message


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
def test_both_versions_open_compressed_or_not(tmp_path, name, kind):
    path = tmp_path / name
    raw = nifti_bytes(kind=kind)
    path.write_bytes(gzip.compress(raw) if name.lower().endswith(".gz") else raw)
    image = load_image(path)
    assert type(image) is kind
    assert image.shape == (4, 5, 6)
    assert image.get_filename() == str(path)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), VOXELS)


def test_voxels_stay_on_disk(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti_bytes()))
    assert nib.is_proxy(load_image(str(path)).dataobj)


def test_a_big_endian_file_opens(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.Nifti1Image(VOXELS, np.diag([2.0, 2, 3, 1]), header).to_filename(tmp_path / "a.nii")
    image = load_image(tmp_path / "a.nii")
    assert image.header.endianness == ">"
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), VOXELS)


@pytest.mark.parametrize(
    "raw",
    [
        patched(VOX_OFFSET, "<f", 0),
        patched(PIXDIM, "<f", 0),
        patched(CODES, "<2h", 0, 77),
        patched(348, "4B", 1, 0, 0, 0),
    ],
    ids=["no-offset", "no-qfac", "undefined-code", "damaged-extension"],
)
def test_harmless_oddities_open_without_a_word(tmp_path, caplog, raw):
    path = tmp_path / "a.nii"
    path.write_bytes(raw)
    np.testing.assert_array_equal(np.asanyarray(load_image(path).dataobj), VOXELS)
    assert not caplog.records


@pytest.mark.parametrize(
    "raw",
    [
        patched(PIXDIM, "<f", 0, raw=patched(CODES, "<2h", 1, 0)),
        patched(CODES, "<2h", 1, 77),
        patched(CODES, "<2h", -1, 0),
    ],
    ids=["no-qfac", "undefined-sform", "undefined-qform"],
)
def test_the_affine_is_the_one_that_nibabel_reads(tmp_path, raw):
    path = tmp_path / "a.nii"
    path.write_bytes(raw)
    np.testing.assert_array_equal(load_image(path).affine, nib.load(path).affine)


@pytest.mark.parametrize("shape", [(4, 5, 1), (1, 5, 4), (4, 5, 6, 1), (4, 5, 2, 3)], ids=str)
def test_one_thin_axis_and_series_are_accepted(tmp_path, shape):
    path = tmp_path / "a.nii"
    path.write_bytes(reshaped(*shape))
    assert load_image(path).shape == shape


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (reshaped(12, 10), r"3-D or 4-D image, got 2-D \(12, 10\)"),
        (reshaped(120), "got 1-D"),
        (reshaped(4, 5, 3, 2, 1), r"got 5-D \(4, 5, 3, 2, 1\)"),
        (reshaped(1, 1, 1), "too small"),
        (reshaped(1, 1, 120), "too small"),
        (reshaped(1, 5, 1, 3), "too small"),
        (reshaped(0, 5, 6), "header is damaged"),
        (reshaped(-4, 5, 6), "header is damaged"),
        (patched(DIM, "<h", 9), "header is damaged"),
        (patched(DATATYPE, "<h", 128), "colours"),
        (patched(DATATYPE, "<h", 32), "complex"),
        (patched(DATATYPE, "<h", 1792), "complex"),
        (patched(DATATYPE, "<h", 1), "cannot be decoded"),
        (patched(DATATYPE, "<h", 999), "cannot be decoded"),
        (patched(SCL_SLOPE, "<2f", 2, np.nan), "cannot be decoded"),
        (patched(PIXDIM + 4, "<3f", 1, 0, 1), "voxel sizes must be above 0 mm, got 1 × 0 × 1"),
        (patched(PIXDIM + 4, "<3f", 1, -2, 1), "above 0 mm, got 1 × -2 × 1"),
        (patched(PIXDIM + 4, "<3f", 1, 1, np.nan), "above 0 mm, got 1 × 1 × nan"),
        (patched(PIXDIM + 4, "<3f", np.inf, 1, 1), "above 0 mm, got inf"),
        (patched(SROW, "<4f", 0, 0, 0, 0), "affine is singular"),
        (patched(SROW, "<12f", 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0), "affine is singular"),
        (patched(SROW, "<f", np.nan), "affine is singular"),
        (nifti_bytes(affine=np.diag([0.001, 0.001, 0.001, 1])), "between 0.01 and 100 mm, got 0.001"),
        (nifti_bytes(affine=np.diag([1, 1, 800, 1])), "between 0.01 and 100 mm, got 1 × 1 × 800"),
        (patched(CODES, "<2h3f", 1, 0, 1, 1, 1), "qform is not a rotation"),
        (patched(VOX_OFFSET, "<f", 100), "header is damaged"),
        (patched(VOX_OFFSET, "<f", np.nan), "header is damaged"),
        (patched(MAGIC, "4s", b"ni1\0"), r"\.hdr/\.img pair"),
        (patched(MAGIC, "4s", b"\0\0\0\0"), "something else"),
        (nifti_bytes()[:-1], "shorter than its header says"),
        (nifti_bytes()[:352], "shorter than its header says"),
        (nifti_bytes()[:100], "something else"),
        (nifti_bytes(kind=nib.Nifti2Image)[:500], "ends within its header"),
        (b"this is a text, whatever its name says\n" * 40, "something else"),
        (b"", "is empty"),
        (gzip.compress(nifti_bytes()), "compressed but not named so"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, raw, what):
    path = tmp_path / "a.nii"
    path.write_bytes(raw)
    assert re.search(what, refused(path))


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"a text\n" * 100, "not compressed. It is no NIfTI"),
        (nifti_bytes(), r"not compressed. Rename it to end in .nii"),
        (gzip.compress(b"a text\n" * 100), "something else"),
        (gzip.compress(nifti_bytes())[:40], "cannot be read, the compressed data end early"),
        (gzip.compress(nifti_bytes())[:10] + b"\xff" * 100, "cannot be read, Error -3"),
        (
            gzip.compress(
                nifti_bytes(np.zeros((2, 3, 2, 2), dtype=np.uint8)).replace(*[b"\0\0\0\0\0\0\0\0"] * 2)
            )[:3],
            "cannot be read",
        ),
        (gzip.compress(reshaped(20000, 20000, 20000)), "shorter than its header says"),
        (gzip.compress(b"\0\0\0\1" + bytes(600)), "FreeSurfer volume. Convert it with mri_convert"),
        (b"", "is empty"),
    ],
)
def test_bad_compressed_files_are_refused_in_one_line(tmp_path, raw, what):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(raw)
    assert re.search(what, refused(path))


@pytest.mark.parametrize(
    ("name", "raw", "what"),
    [
        ("a.mgz", gzip.compress(b"\0\0\0\1" + bytes(600)), "mri_convert"),
        ("a.mgh", b"\0\0\0\1" + bytes(600), "mri_convert"),
        ("a.nrrd", b"NRRD0004\n", "NRRD"),
        ("a.nii", b"NRRD0004\n", "NRRD"),
        ("a.dcm", bytes(600), "dcm2niix"),
        ("IM0001", bytes(128) + b"DICM" + bytes(200), "dcm2niix"),
        ("a.img", bytes(600), r"\.hdr/\.img pair"),
        ("a.nii.bz2", b"BZh9" + bytes(200), r"must end in \.nii or \.nii\.gz"),
        ("image", nifti_bytes(), r"must end in \.nii or \.nii\.gz"),
    ],
)
def test_other_formats_are_named_with_what_converts_them(tmp_path, name, raw, what):
    path = tmp_path / name
    path.write_bytes(raw)
    assert re.search(what, refused(path))


def test_what_is_no_file_is_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "missing.nii.gz")
    assert "no such file" in refused(tmp_path / "missing" / "a.nii.gz")
    assert "got a folder" in refused(tmp_path)
    assert "cannot be read" in refused(tmp_path / ("long" * 100 + ".nii"))


@pytest.mark.skipif(os.name == "nt", reason="no links or pipes for everyone")
def test_a_link_to_content_that_was_not_fetched_says_how_to_get_it(tmp_path):
    link = tmp_path / "a.nii.gz"
    link.symlink_to(tmp_path / ".git" / "annex" / "a.nii.gz")
    assert f"datalad get {link}" in refused(link)


@pytest.mark.skipif(os.name == "nt", reason="no links or pipes for everyone")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    pipe = tmp_path / "a.nii"
    os.mkfifo(pipe)
    assert "device or a pipe" in refused(pipe)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti_bytes())

    def deny(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", deny)
    assert "cannot be read (Permission denied)" in refused(path)


def test_an_image_made_in_memory_is_checked_alike():
    check_image(nib.Nifti1Image(VOXELS, np.eye(4)))
    with pytest.raises(InputError, match="the image: expected a 3-D or 4-D image, got 2-D"):
        check_image(nib.Nifti1Image(VOXELS[0], np.eye(4)))
    with pytest.raises(InputError, match="the image: the affine is singular"):
        check_image(nib.Nifti1Image(VOXELS, np.ones((4, 4))))
    with pytest.raises(InputError, match="the image: the affine is missing"):
        check_image(nib.Nifti1Image(VOXELS, None))
    with pytest.raises(InputError, match="expected a NIfTI image, got MGHImage"):
        check_image(nib.MGHImage(VOXELS, np.eye(4)))
