"""Every kind of bad input, what is said to it, and that docs/how-to/bad-input.md says the same.

Run as a script, this writes the tables of that page anew.
"""

import contextlib
import errno
import gzip
import io
import json
import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fakes import cord_data, install_fake_network, save_cord, save_cordless, save_nifti
from softcord.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "bad-input.md"
IMAGE = Path("t2.nii.gz")


@dataclass(frozen=True)
class Case:
    """A kind of bad input.

    `build` makes it in the working folder and returns the arguments after `softcord segment`, which runs in
    `place`.
    """

    what: str
    code: int
    build: Callable[[], list[str]]
    place: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext


def patched(offset: int, layout: str, *values: float) -> Callable[[], list[str]]:
    """An image whose header is overwritten at a byte offset."""

    def build() -> list[str]:
        content = bytearray(gzip.decompress(save_cord(IMAGE).read_bytes()))
        struct.pack_into("<" + layout, content, offset, *values)
        IMAGE.write_bytes(gzip.compress(bytes(content)))
        return [str(IMAGE)]

    return build


def array(data: np.ndarray) -> Callable[[], list[str]]:
    """An image of some array."""
    return lambda: [str(save_nifti(data, IMAGE))]


def content(name: str, raw: bytes) -> Callable[[], list[str]]:
    """A file of some bytes."""

    def build() -> list[str]:
        Path(name).write_bytes(raw)
        return [name]

    return build


def truncated(name: str, share: float) -> Callable[[], list[str]]:
    """An image of noise that is cut short."""

    def build() -> list[str]:
        noise = np.random.default_rng(0).integers(0, 1000, (24, 24, 30)).astype(np.int16)
        whole = save_nifti(noise, Path(name)).read_bytes()
        Path(name).write_bytes(whole[: int(share * len(whole))])
        return [name]

    return build


def folder() -> list[str]:
    Path("anat").mkdir()
    return ["anat"]


def link_to_nothing() -> list[str]:
    Path("t2.nii.gz").symlink_to(".git/annex/objects/absent")
    return ["t2.nii.gz"]


def colours() -> np.ndarray:
    return np.zeros((8, 8, 8), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])


def not_a_number() -> np.ndarray:
    return np.full((8, 8, 8), np.nan, dtype=np.float32)


def flat_affine() -> list[str]:
    save_cord(IMAGE)
    patched(280, "12f", 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0)()
    return [str(IMAGE)]


def result_of_softcord() -> list[str]:
    return [str(save_cord(Path("t2_softseg.nii.gz")))]


def existing_result() -> list[str]:
    Path("t2_softseg.nii.gz").write_text("")
    return [str(save_cord(IMAGE))]


def map_of_something_else() -> list[str]:
    Path("t2_softseg.nii.gz").write_text("")
    return [str(save_cord(IMAGE)), "--resume"]


def sidecar_of_the_image() -> list[str]:
    Path("t2.json").write_text("{}")
    return [str(save_cord(IMAGE)), "-o", "t2.nii", "--overwrite"]


def two_for_one_file() -> list[str]:
    return [str(save_cord(Path(name, "t2.nii.gz"))) for name in ("a", "b")] + ["-o", "out/"]


def one_file_for_two() -> list[str]:
    return [str(save_cord(Path(name))) for name in ("a.nii.gz", "b.nii.gz")] + ["-o", "cord.nii.gz"]


def damaged_model() -> list[str]:
    Path("model").mkdir()
    Path("model/model.json").write_text("{}")
    return [str(save_cord(IMAGE)), "--model", "model"]


def some_of_many() -> list[str]:
    save_cord(Path("a.nii.gz"))
    save_cordless(Path("c.nii.gz"))
    return ["a.nii.gz", "b.nii.gz", "c.nii.gz"]


def with_options(*options: str) -> Callable[[], list[str]]:
    return lambda: [str(save_cord(IMAGE)), *options]


class FullDisk:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file):
        self._file, self._left = file, 4096

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self._file.close()

    def write(self, data):
        self._left -= len(data)
        if self._left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)


@contextlib.contextmanager
def on_a_full_disk() -> Iterator[None]:
    """Let every new file be on a full disk, wherever the tests run."""
    real = Path.open

    def opened(path, mode="r", **how):
        return FullDisk(real(path, mode)) if "x" in mode else real(path, mode, **how)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Path, "open", opened)
        yield


def noisy() -> list[str]:
    """An image of noise, whose map is larger than what the full disk takes."""
    noise = np.random.default_rng(0).integers(0, 1000, (24, 24, 30)).astype(np.int16)
    return [str(save_nifti(noise, IMAGE)), "--mask"]


ERRORS = [
    Case("missing file", 3, lambda: ["t2.nii.gz"]),
    Case("link to a file that is not here (DataLad, git-annex)", 3, link_to_nothing),
    Case("folder", 3, folder),
    Case("empty file", 3, content("t2.nii.gz", b"")),
    Case("text renamed .nii.gz", 3, content("t2.nii.gz", b"This is no image.\n" * 40)),
    Case("text renamed .nii", 3, content("t2.nii", b"This is no image.\n" * 40)),
    Case("compressed text", 3, content("t2.nii.gz", gzip.compress(b"This is no image.\n" * 40))),
    Case("picture", 3, content("t2.png", b"\x89PNG\r\n\x1a\n" + bytes(400))),
    Case("DICOM", 3, content("IM0001", bytes(128) + b"DICM" + bytes(400))),
    Case("FreeSurfer volume", 3, content("t1.mgz", gzip.compress(b"\x00\x00\x00\x01" + bytes(400)))),
    Case("compressed file cut within the header", 3, truncated("t2.nii.gz", 0.003)),
    Case("compressed file cut within the voxels", 3, truncated("t2.nii.gz", 0.7)),
    Case("uncompressed file cut short", 3, truncated("t2.nii", 0.7)),
    Case("2-D", 3, array(np.ones((8, 8), dtype=np.int16))),
    Case("5-D", 3, array(np.ones((8, 8, 8, 2, 3), dtype=np.int16))),
    Case("colours (RGB)", 3, array(colours())),
    Case("complex numbers", 3, array(np.ones((8, 8, 8), dtype=np.complex64))),
    Case("all zeros", 3, array(np.zeros((8, 8, 8), dtype=np.int16))),
    Case("constant", 3, array(np.full((8, 8, 8), 7, dtype=np.int16))),
    Case("no finite number", 3, array(not_a_number())),
    Case("1 × 1 × 1", 3, array(np.ones((1, 1, 1), dtype=np.int16))),
    Case("1 × 1 × 30", 3, array(np.ones((1, 1, 30), dtype=np.int16))),
    Case("singular affine", 3, flat_affine),
    Case("voxel size of zero", 3, patched(80, "3f", 1, 0, 2)),
    Case("negative voxel size", 3, patched(80, "3f", 1, -1, 2)),
    Case("voxel size that is no number", 3, patched(80, "3f", 1, float("nan"), 2)),
    Case("no cord in view", 4, lambda: [str(save_cordless(IMAGE))]),
    Case("unknown model", 5, with_options("--model", "contrast-agnostic")),
    Case("damaged model", 5, damaged_model),
    Case("result exists", 6, existing_result),
    Case("`--resume` where something else made the map", 6, map_of_something_else),
    Case("folder of the result is missing", 6, with_options("-o", "missing/cord.nii.gz")),
    Case("parent of the folder of results is missing", 6, with_options("-o", "missing/results/")),
    Case("disk runs full while writing", 6, noisy, on_a_full_disk),
    Case("two of three images fail", 7, some_of_many),
    Case("two images would write one file", 2, two_for_one_file),
    Case("one file for the results of two images", 2, one_file_for_two),
    Case("result would replace the image", 2, with_options("-o", str(IMAGE))),
    Case("sidecar would replace that of the image", 2, sidecar_of_the_image),
    Case("image is itself a segmentation", 2, result_of_softcord),
    Case("result is not NIfTI", 2, with_options("-o", "cord.png")),
    Case("`--resume` with `--overwrite`", 2, with_options("--resume", "--overwrite")),
    Case("threshold outside 0 to 1", 2, with_options("--threshold", "1.5")),
    Case("volume that is not there", 2, with_options("--volumes", "3")),
    Case("unknown option", 2, with_options("--maks")),
]


def forms_disagree() -> list[str]:
    image = nib.load(save_cord(IMAGE))
    moved = image.affine.copy()
    moved[0, 3] += 4
    image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    image.set_qform(moved, code=1)
    nib.save(image, IMAGE)
    return [str(IMAGE)]


def with_nan() -> list[str]:
    data = cord_data().astype(np.float32)
    data[0, 0, :2] = np.nan, np.inf
    return [str(save_nifti(data, IMAGE))]


def unplaced() -> list[str]:
    return patched(252, "2h", 0, 0)()


def in_metres() -> list[str]:
    return patched(123, "b", 1)()


def two_pieces() -> list[str]:
    data = cord_data()
    data[:, :, 14:16] = 0
    return [str(save_nifti(data, IMAGE))]


FLAGGED = {
    "qform_sform_disagree": ("qform and sform disagree", forms_disagree),
    "non_finite": ("NaN or infinite voxels", with_nan),
    "no_spatial_code": ("neither qform nor sform is valid", unplaced),
    "units_not_mm": ("header in metres", in_metres),
    "several_pieces": ("cord in two pieces", two_pieces),
}


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder, with the fake network."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        install_fake_network(monkeypatch)
        monkeypatch.chdir(folder)
        yield


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def last_error(stderr: str) -> str:
    """The last line on stderr, which must be an error of softcord."""
    lines = stderr.strip().splitlines()
    assert lines[-1].startswith("softcord: error: "), stderr
    return lines[-1].removeprefix("softcord: error: ")


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def section(name: str) -> dict[str, tuple[str, ...]]:
    """Rows of one table of the page by their first cell."""
    text = PAGE.read_text(encoding="utf-8").partition(f"<!-- {name} -->")[2].partition("<!--")[0]
    rows = [
        tuple(cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return {row[0]: row[1:] for row in rows[2:]}


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case.what)
def test_bad_input_gets_the_exit_code_and_the_line_that_are_documented(case, tmp_path, capsys):
    with inside(tmp_path):
        arguments = case.build()
        with case.place():
            code = main(["segment", *arguments])
    assert code == case.code
    assert section("errors")[case.what] == (str(code), last_error(capsys.readouterr().err))


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case.what)
def test_bad_input_changes_no_file_and_leaves_none_half_written(case, tmp_path):
    with inside(tmp_path):
        arguments = case.build()
        before = contents(tmp_path)
        with case.place():
            main(["segment", *arguments])
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before
    new = {path.name for path in after.keys() - before.keys()}
    stems = {name.removesuffix(".json").removesuffix(".nii.gz") for name in new}
    if case.code == 4 or case.code == 7:
        assert new == {f"{stem}{ending}" for stem in stems for ending in (".json", ".nii.gz")}
    else:
        assert new == set()


@pytest.mark.parametrize("case", [case for case in ERRORS if case.code != 7], ids=lambda case: case.what)
def test_what_is_said_is_one_line(case, tmp_path, capsys):
    with inside(tmp_path):
        arguments = case.build()
        with case.place():
            main(["segment", *arguments])
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("case", [case for case in ERRORS if case.code == 3], ids=lambda case: case.what)
def test_bad_input_is_named_and_the_other_images_are_segmented(case, tmp_path, capsys):
    with inside(tmp_path):
        (bad,) = case.build()
        good = [str(save_cord(Path(name))) for name in ("first.nii.gz", "last.nii.gz")]
        assert main(["segment", good[0], bad, good[1], "-o", "out/"]) == 7
        assert {path.name for path in Path("out").iterdir()} == {
            f"{stem}_softseg{ending}" for stem in ("first", "last") for ending in (".nii.gz", ".json")
        }
    assert f"1 of 3 images failed (exit code of each): {bad} (3)" in capsys.readouterr().err


@pytest.mark.parametrize("code", FLAGGED)
def test_what_is_doubtful_is_segmented_and_flagged_as_documented(code, tmp_path, capsys):
    what, build = FLAGGED[code]
    with inside(tmp_path):
        assert main(["segment", *build()]) == 0
        flags = json.loads(Path("t2_softseg.json").read_text())["Flags"]
    (reason,) = [flag["reason"] for flag in flags if flag["code"] == code]
    assert section("flags")[what] == (f"`{code}`", reason)
    assert code in capsys.readouterr().out


def test_the_page_lists_these_inputs_and_no_others():
    assert list(section("errors")) == [case.what for case in ERRORS]
    assert list(section("flags")) == [what for what, _ in FLAGGED.values()]


def write_page() -> None:
    """Write the tables of the page from what softcord says now."""
    errors, flags = [], []
    for case in ERRORS:
        code, _, stderr = run_in_new_folder(case.build, case.place)
        errors.append((case.what, str(code), last_error(stderr)))
    for flag, (what, build) in FLAGGED.items():
        _, record, _ = run_in_new_folder(build)
        (reason,) = [found["reason"] for found in record["Flags"] if found["code"] == flag]
        flags.append((what, f"`{flag}`", reason))
    text = PAGE.read_text(encoding="utf-8")
    text = with_table(text, "errors", table(("input", "exit code", "message"), errors))
    text = with_table(text, "flags", table(("input", "flag", "reason"), flags))
    PAGE.write_text(text, encoding="utf-8")


def with_table(text: str, name: str, rows: str) -> str:
    """The page with another table after the mark of that name."""
    before, mark, after = text.partition(f"<!-- {name} -->\n")
    rest = re.sub(r"\A\n?(\|.*\n)*", "", after)
    return f"{before}{mark}\n{rows}\n{rest}"


def run_in_new_folder(build, place=contextlib.nullcontext) -> tuple[int, dict, str]:
    stderr = io.StringIO()
    with tempfile.TemporaryDirectory() as name, inside(Path(name)), contextlib.redirect_stderr(stderr):
        arguments = build()
        with place():
            code = main(["segment", "--quiet", *arguments])
        record = Path("t2_softseg.json")
        return (
            code,
            json.loads(record.read_text()) if record.exists() and code != 6 else {},
            stderr.getvalue(),
        )


if __name__ == "__main__":
    write_page()
