"""Odd masks and labels given to `softcord csa` and `softcord evaluate`: what is said, as the page has it.

Run as a script, this writes the table of docs/how-to/bad-input.md anew.
"""

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from softcord.cli import main
from softcord.phantoms.cords import CordOptions, make_cord

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "bad-input.md"
MARK = "<!-- masks -->"
ZOOMS = (1.0, 1.0, 4.0)
NAME = "seg.nii.gz"


@dataclass(frozen=True)
class Case:
    """A kind of odd input; `build` makes it in the working folder and returns the arguments."""

    what: str
    code: int
    build: Callable[[], list[str]]


def cord(change: Callable[[np.ndarray], np.ndarray] = lambda share: share, name: str = NAME) -> str:
    """A changed cord as a file."""
    share = make_cord(ZOOMS, CordOptions(tilt_deg=10.0, length_mm=80.0), fine_mm=0.3).share
    nib.save(nib.Nifti1Image(change(np.pad(share, 4)), np.diag([*ZOOMS, 1.0])), name)
    return name


def mask(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[], list[str]]:
    return lambda: ["csa", cord(change)]


def with_(*options: str) -> Callable[[], list[str]]:
    return lambda: ["csa", cord(), *options]


def labels(*points: tuple[int, int, int, int], options: tuple[str, ...]) -> Callable[[], list[str]]:
    """A cord, and labels at some voxels."""

    def build() -> list[str]:
        shape = nib.load(cord()).shape
        data = np.zeros((*shape[:2], 120), dtype=np.uint8)
        for i, j, k, label in points:
            data[i, j, k] = label
        nib.save(nib.Nifti1Image(data, np.diag([*ZOOMS, 1.0])), "labels.nii.gz")
        return ["csa", NAME, *options]

    return build


def two_labels(share: np.ndarray) -> np.ndarray:
    return np.where(share > 0.5, np.where(np.arange(share.shape[2]) > 9, 3, 2), 0).astype(np.uint8)


def far_disc() -> list[str]:
    data = np.zeros((200, 4, 30), dtype=np.uint8)
    data[150, 1, 12] = 3
    nib.save(nib.Nifti1Image(data, np.diag([*ZOOMS, 1.0])), "labels.nii.gz")
    return ["csa", cord(), "--perlevel", "--discs", "labels.nii.gz"]


def existing_table() -> list[str]:
    Path("csa.tsv").write_text("")
    return ["csa", cord()]


def table_of_sct() -> list[str]:
    Path("csa.csv").write_text("Timestamp,SCT Version\n")
    return ["csa", cord(), "-o", "csa.csv", "--append"]


def two_grids() -> list[str]:
    return ["evaluate", cord(), cord(lambda share: share[1:], "ref.nii.gz")]


PERLEVEL = ("--perlevel", "--levels", "labels.nii.gz")
PMJ = ("--pmj", "labels.nii.gz", "--pmj-distance", "30")
CASES = [
    Case("no voxel above 0", 3, mask(lambda s: -s)),
    Case("empty mask", 3, mask(lambda s: s * 0)),
    Case("several labels", 3, mask(two_labels)),
    Case("no segmentation but an image", 3, mask(lambda s: s * np.float32(900))),
    Case("two volumes", 3, mask(lambda s: np.stack([s, s], axis=-1))),
    Case("a volume that is not there", 2, with_("--volume", "7")),
    Case("2-D mask", 3, mask(lambda s: s[:, :, 10])),
    Case("levels asked for without labels", 2, with_("--vert", "2:3")),
    Case("slices without cord", 3, with_("-z", "90:95")),
    Case("level that no slice has", 3, with_("--vert", "9", "--disc", "3=18,30,14", "--disc", "4=18,28,10")),
    Case("disc outside of the mask's grid", 3, with_("--perlevel", "--disc", "3=99,0,0")),
    Case("discs in the wrong order", 3, with_("--perlevel", "--disc", "3=18,28,10", "--disc", "4=18,30,14")),
    Case("disc of another image", 3, far_disc),
    Case("discs beyond the cord", 3, labels((18, 30, 100, 8), options=PERLEVEL)),
    Case("labels that mean no levels", 3, labels((9, 9, 9, 200), options=PERLEVEL)),
    Case("labels without any", 3, labels(options=PERLEVEL)),
    Case("junction far away", 3, labels((18, 20, 70, 50), options=PMJ)),
    Case("junction below the cord", 3, labels((18, 20, 1, 50), options=PMJ)),
    Case("distance beyond the mask", 3, with_("--pmj", "18,26,22", "--pmj-distance", "300")),
    Case("distance without a junction", 2, with_("--pmj-distance", "30")),
    Case("table exists", 6, existing_table),
    Case("table with other columns", 6, table_of_sct),
    Case("two grids to compare", 3, two_grids),
]


def said(case: Case, folder: Path) -> tuple[int, str, set[Path]]:
    """Exit code, last error, and what was written."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        arguments = case.build()
        files = set(Path().iterdir())
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
            code = main(arguments)
        new = set(Path().iterdir()) - files
    finally:
        os.chdir(before)
    lines = [line for line in stderr.getvalue().splitlines() if line.startswith("softcord: error: ")]
    return code, lines[-1].removeprefix("softcord: error: ") if lines else "", new


def documented() -> dict[str, tuple[int, str]]:
    text = PAGE.read_text(encoding="utf-8").partition(MARK)[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (.+?) \|$", text, flags=re.MULTILINE)
    return {what: (int(code), message) for what, code, message in rows}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_an_odd_mask_gets_the_code_and_the_line_that_are_documented(case, tmp_path):
    code, message, new = said(case, tmp_path)
    assert code == case.code
    assert documented()[case.what] == (code, message)
    assert new == set()


def test_the_page_lists_these_cases_and_no_others():
    assert list(documented()) == [case.what for case in CASES]


def write_page() -> None:
    """Put the table into the page."""
    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            code, message, _ = said(case, Path(folder))
        rows.append(f"| {case.what} | {code} | {message} |")
    table = "\n".join(["| input | exit code | message |", "| --- | --- | --- |", *rows])
    text = PAGE.read_text(encoding="utf-8")
    start, _, rest = text.partition(MARK)
    end = rest.partition("\n## ")[2]
    PAGE.write_text(f"{start}{MARK}\n\n{table}\n\n## {end}", encoding="utf-8")


if __name__ == "__main__":
    write_page()
