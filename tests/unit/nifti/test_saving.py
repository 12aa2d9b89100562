"""Saving: whole or not at all, the same bytes every time, never over an input."""

import errno
import gzip
import os
import stat
import time

import nibabel as nib
import numpy as np
import pytest

from softcord.errors import OutputError, UsageError
from softcord.nifti import FileSet, image_like, load_image, save_image, write_text

SOFT = np.random.default_rng(0).random((7, 6, 5)).astype(np.float32)


def image_of(data=SOFT, dtype=np.float32):
    return image_like(
        data, nib.Nifti1Image(np.zeros(data.shape, dtype=np.uint8), np.diag([2.0, 2, 3, 1])), dtype=dtype
    )


def save_text(path, **options):
    write_text("text\n", path, **options)


def save_soft(path, **options):
    save_image(image_of(), path.with_name(path.name + ".nii.gz"), **options)


both = pytest.mark.parametrize("save", [save_text, save_soft])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
@pytest.mark.parametrize(
    "data", [SOFT, np.asfortranarray(SOFT), SOFT.transpose(2, 0, 1)[::-1]], ids=["C", "F", "view"]
)
def test_what_is_saved_is_read_back_bit_for_bit(tmp_path, name, data):
    save_image(image_of(data), tmp_path / name)
    image = nib.load(tmp_path / name)
    assert image.get_data_dtype() == np.float32
    assert np.asanyarray(image.dataobj).tobytes() == data.tobytes()
    np.testing.assert_array_equal(image.affine, np.diag([2, 2, 3, 1]))
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_volume_of_many_pieces_and_a_series_are_saved_in_order(tmp_path):
    large = np.random.default_rng(0).integers(0, 2, (90, 80, 70, 2)).astype(np.uint8)
    save_image(image_of(large, np.uint8), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(nib.load(tmp_path / "a.nii.gz").dataobj), large)


def test_a_mask_is_saved_as_bytes(tmp_path):
    save_image(image_of(SOFT > 0.5, np.uint8), tmp_path / "a.nii")
    assert (tmp_path / "a.nii").stat().st_size == 352 + SOFT.size
    np.testing.assert_array_equal(np.asanyarray(nib.load(tmp_path / "a.nii").dataobj), SOFT > 0.5)


def test_the_same_image_gives_the_same_bytes(tmp_path, monkeypatch):
    save_image(image_of(), tmp_path / "a.nii.gz")
    monkeypatch.setattr(time, "time", lambda: 2e9)
    save_image(image_of(np.asfortranarray(SOFT)), tmp_path / "other name.nii.gz")
    first, second = ((tmp_path / name).read_bytes() for name in ("a.nii.gz", "other name.nii.gz"))
    assert first == second
    assert first[3] == 0, "the gzip header has a name or other fields"
    assert first[4:8] == bytes(4), "the gzip header has a time"


def test_a_mostly_empty_volume_of_64_mb_is_saved_in_less_than_a_second(tmp_path):
    soft = np.zeros((192, 260, 320), dtype=np.float32)
    soft[90:102, 120:130, 40:200] = np.random.default_rng(0).random((12, 10, 160))
    image = image_of(soft)
    start = time.process_time()
    save_image(image, tmp_path / "a.nii.gz")
    assert time.process_time() - start < 1
    assert (tmp_path / "a.nii.gz").stat().st_size < 1_000_000
    with gzip.open(tmp_path / "a.nii.gz") as file:
        assert len(file.read()) == 352 + soft.nbytes


def test_text_is_utf8(tmp_path):
    write_text("mm² ≤\n", tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == "mm² ≤\n".encode()


@both
def test_a_file_that_exists_is_kept_unless_overwriting_is_allowed(tmp_path, save):
    save(tmp_path / "a")
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"exists already\. .*--overwrite"):
        save(tmp_path / "a")
    assert path.read_bytes() == b"precious"
    save(tmp_path / "a", overwrite=True)
    assert path.read_bytes() != b"precious"
    assert list(tmp_path.iterdir()) == [path]


@both
def test_an_input_is_never_replaced(tmp_path, save):
    save(tmp_path / "a")
    (path,) = tmp_path.iterdir()
    other_name = tmp_path / "." / path.name
    with pytest.raises(OutputError, match="this is an input, which is never replaced"):
        save(tmp_path / "a", overwrite=True, inputs=[tmp_path / "missing", other_name])


def test_an_image_is_never_saved_over_the_file_that_it_came_from(tmp_path):
    path = tmp_path / "a.nii"
    save_image(image_of(), path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="this is an input"):
        save_image(load_image(path), path, overwrite=True)
    assert path.read_bytes() == before


@both
def test_a_folder_that_is_missing_is_named(tmp_path, save):
    with pytest.raises(OutputError, match=r"folder .*missing does not exist"):
        save(tmp_path / "missing" / "a")


def test_a_folder_is_no_output(tmp_path):
    (tmp_path / "a.nii").mkdir()
    with pytest.raises(OutputError, match="this is a folder"):
        save_image(image_of(), tmp_path / "a.nii", overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="no links for everyone")
def test_a_link_to_nothing_counts_as_a_file_that_exists(tmp_path):
    link = tmp_path / "a.json"
    link.symlink_to(tmp_path / "annexed")
    with pytest.raises(OutputError, match="exists already"):
        write_text("", link)
    write_text("", link, overwrite=True)
    assert not link.is_symlink()
    assert not (tmp_path / "annexed").exists()


@both
@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "Permission denied"), OSError(errno.EROFS, "Read-only")]
)
def test_a_file_that_cannot_be_made_is_an_output_error(tmp_path, monkeypatch, save, error):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(OutputError, match=rf"cannot be written \({error.strerror}\)\. Choose another folder"):
        save(tmp_path / "a")


def test_a_name_that_is_too_long_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_text("", tmp_path / ("a" * 300))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    noise = np.random.default_rng(0).random((64, 64, 64)).astype(np.float32)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"a\.nii\.gz: cannot be written \(.*\)\. Free some space"):
            save_image(image_of(noise), tmp_path / "a.nii.gz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(1), SystemExit),
        (MemoryError(), MemoryError),
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
    ],
    ids=["interrupt", "exit", "memory", "disk-full"],
)
@pytest.mark.parametrize("before", [None, b"precious"], ids=["new", "replaced"])
def test_nothing_half_written_stays_behind(tmp_path, monkeypatch, raised, expected, before):
    path = tmp_path / "a.nii.gz"
    if before:
        path.write_bytes(before)
    seen = []

    def interrupted(data):
        yield data[..., :2]
        seen.extend(tmp_path.iterdir())
        raise raised

    monkeypatch.setattr("softcord.nifti.saving.slabs", interrupted)
    with pytest.raises(expected):
        save_image(image_of(), path, overwrite=True)
    assert len(seen) == (2 if before else 1), "the file was not written beside the final one"
    assert list(tmp_path.iterdir()) == ([path] if before else [])
    assert not before or path.read_bytes() == before


def test_a_file_that_appears_meanwhile_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "a.nii"

    def other_process(data):
        path.write_bytes(b"precious")
        yield data

    monkeypatch.setattr("softcord.nifti.saving.slabs", other_process)
    with pytest.raises(OutputError, match="exists already"):
        save_image(image_of(), path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"precious"


@pytest.mark.skipif(os.name == "nt", reason="other permissions")
def test_files_get_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "usual").touch()
    write_text("", tmp_path / "a.json")
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "usual").stat().st_mode
    )


@pytest.mark.parametrize("name", ["a", "a.mgz", "a.nii.zip"])
def test_an_image_is_saved_under_a_nifti_name_only(tmp_path, name):
    with pytest.raises(UsageError, match=r"must end in \.nii or \.nii\.gz"):
        save_image(image_of(), tmp_path / name)


def test_voxels_that_do_not_fit_the_type_of_the_header_are_refused(tmp_path):
    image = nib.Nifti1Image(SOFT, np.eye(4))
    image.set_data_dtype(np.int16)
    with pytest.raises(UsageError, match="the voxels are float32, the header says int16"):
        save_image(image, tmp_path / "a.nii")
    assert list(tmp_path.iterdir()) == []


# ---- several files together


def test_files_take_their_names_together_and_in_order(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    with FileSet(overwrite=True) as files:
        files.add_text("first", tmp_path / "note.txt")
        files.remove(tmp_path / "old.txt")
        files.add_image(image_of(), tmp_path / "map.nii.gz")
        files.add_text("second", tmp_path / "note.txt")
        assert {path.name for path in tmp_path.iterdir() if path.suffix != ".tmp"} == {"old.txt"}
        files.commit()
    assert {path.name for path in tmp_path.iterdir()} == {"note.txt", "map.nii.gz"}
    assert (tmp_path / "note.txt").read_text() == "second"


def test_a_set_that_is_not_committed_leaves_everything_as_it_was(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    with pytest.raises(RuntimeError, match="stop"), FileSet(overwrite=True) as files:  # noqa: PT012
        files.add_text("new", tmp_path / "old.txt")
        files.remove(tmp_path / "old.txt")
        raise RuntimeError("stop")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old.txt", "old")]


def test_if_one_file_cannot_take_its_name_the_new_ones_go_again(tmp_path):
    with FileSet() as files:
        files.add_text("first", tmp_path / "a.txt")
        files.add_text("second", tmp_path / "b.txt")
        (tmp_path / "b.txt").write_text("of another process")
        with pytest.raises(OutputError, match="exists already"):
            files.commit()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("b.txt", "of another process")]


def test_an_input_is_never_removed(tmp_path):
    (tmp_path / "input.txt").write_text("input")
    with FileSet(overwrite=True, inputs=[tmp_path / "input.txt"]) as files:
        files.remove(tmp_path / "input.txt")
        files.commit()
    assert (tmp_path / "input.txt").read_text() == "input"


def test_text_that_utf_8_cannot_say_is_escaped(tmp_path):
    write_text("scan\udcff", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "scan\\udcff"
