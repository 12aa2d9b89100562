"""`softcord evaluate`: lines, summary, exit codes."""

import nibabel as nib
import numpy as np
import pytest

from softcord.cli import main
from softcord.phantoms.cords import CordOptions, make_cord


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cord = make_cord((1.0, 1.0, 4.0), CordOptions(length_mm=60.0))
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
        for subject in ("01", "02"):
            image = nib.Nifti1Image(cord.share, np.diag([1.0, 1.0, 4.0, 1.0]))
            nib.save(image, f"{folder}/sub-{subject}_T2w_seg.nii.gz")


def test_two_files_give_a_line(capsys):
    assert main(["evaluate", "ours/sub-01_T2w_seg.nii.gz", "theirs/sub-01_T2w_seg.nii.gz"]) == 0
    assert capsys.readouterr().out == (
        "sub-01_T2w: Dice 1.000, soft 1.000, volume +0.0 %, surface distance 0.00 mm, HD95 0.00 mm, "
        "area +0.0 %, slices missed 0 of 15\n"
    )


def test_two_folders_give_a_table_and_a_summary(capsys, tmp_path):
    assert main(["evaluate", "ours", "theirs", "-o", "scores.tsv"]) == 0
    assert "HD95 mm                 2     0.000" in capsys.readouterr().out
    assert (tmp_path / "scores.tsv").read_text().count("\n") == 3
    assert main(["evaluate", "ours", "theirs", "-o", "scores.tsv"]) == 6
    assert main(["evaluate", "ours", "theirs", "-o", "scores.tsv", "--overwrite", "-q"]) == 0


def test_a_missing_segmentation_is_a_failure(capsys, tmp_path):
    (tmp_path / "ours" / "sub-02_T2w_seg.nii.gz").unlink()
    assert main(["evaluate", "ours", "theirs"]) == 7
    assert "no segmentation of sub-02_T2w was found" in capsys.readouterr().err


def test_two_empty_segmentations_are_not_perfect(capsys):
    for name in ("a.nii.gz", "b.nii.gz"):
        nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), dtype=np.uint8), np.eye(4)), name)
    assert main(["evaluate", "a.nii.gz", "b.nii.gz"]) == 0
    assert "both are empty, which is no Dice of 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["none.nii.gz", "theirs/sub-01_T2w_seg.nii.gz"], 3),
        (["ours", "theirs/sub-01_T2w_seg.nii.gz"], 3),
        (["ours", "theirs", "--perslice", "--perlevel"], 2),
        (["ours", "theirs", "--threshold", "2"], 2),
    ],
)
def test_failures_have_their_exit_codes(arguments, code):
    assert main(["evaluate", *arguments]) == code
