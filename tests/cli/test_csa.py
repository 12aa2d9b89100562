"""`softcord csa`: tables, summaries, exit codes."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from softcord.cli import main
from softcord.phantoms.cords import CordOptions, make_cord


@pytest.fixture(autouse=True)
def mask(tmp_path, monkeypatch):
    """A cord in the working folder."""
    monkeypatch.chdir(tmp_path)
    cord = make_cord((1.0, 1.0, 4.0), CordOptions(tilt_deg=15.0, lean_deg=45.0, length_mm=80.0))
    image = nib.Nifti1Image(cord.share, np.diag([1.0, 1.0, 4.0, 1.0]))
    nib.save(image, "t2_seg.nii.gz")
    return image


def table(name="csa.tsv", delimiter="\t"):
    with Path(name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_a_mask_gives_a_table_and_a_line(capsys):
    assert main(["csa", "t2_seg.nii.gz"]) == 0
    assert capsys.readouterr().out.startswith("t2_seg.nii.gz: mean area 79.2 mm2 (95 % interval ")
    assert float(table()[0]["area_mm2"]) == pytest.approx(np.pi * 6 * 4.2, rel=0.005)


def test_slices_of_a_range_go_to_the_terminal(capsys):
    assert main(["csa", "t2_seg.nii.gz", "--perslice", "-z", "3:5,9", "-o", "-"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines(), delimiter="\t"))
    assert [row["slices"] for row in rows] == ["3", "4", "5", "9"]


def test_levels_by_hand_and_norms_come_with_a_caution(capsys):
    arguments = ["--disc", "3=10,20,14", "--disc", "4=10,20,9", "--perlevel", "--vert", "C3", "--sex", "F"]
    assert main(["csa", "t2_seg.nii.gz", *arguments]) == 0
    assert "Another method or contrast shifts areas" in capsys.readouterr().err
    row = table()[0]
    assert row["level_names"] == "C3"
    assert row["norm_people"].startswith("spine-generic F")


def test_unknown_levels_are_not_guessed(capsys):
    assert main(["csa", "t2_seg.nii.gz", "--vert", "2:3"]) == 2
    assert "levels are unknown: softcord does not guess them" in capsys.readouterr().err


def test_sct_format_has_numbers_of_sct(mask):
    assert main(["csa", "t2_seg.nii.gz", "--format", "sct", "-o", "sct.csv", "--perslice", "-q"]) == 0
    assert main(["csa", "t2_seg.nii.gz", "--perslice", "-q"]) == 0
    theirs, ours = table("sct.csv", ","), table()
    # a cord that leans both ways: the product of two cosines is not the cosine of its angle
    ratio = float(theirs[8]["MEAN(area)"]) / float(ours[8]["area_mm2"])
    tangent = np.tan(np.radians(15)) * np.sqrt(0.5)
    assert ratio == pytest.approx(np.sqrt(1 + 2 * tangent**2) / (1 + tangent**2), abs=0.004)


def test_pmj_and_no_angle_correction():
    arguments = ["--pmj", "18,18,19", "--pmj-distance", "30", "--pmj-extent", "8", "--no-angle-correction"]
    assert main(["csa", "t2_seg.nii.gz", *arguments]) == 0
    row = table()[0]
    assert row["distance_pmj_mm"] == "30"
    assert row["n_slices"] == "2"
    assert float(row["angle_rl_deg"]) == 0


def test_failures_have_their_exit_codes(capsys):
    assert main(["csa", "none.nii.gz"]) == 3
    assert main(["csa", "none.nii.gz", "t2_seg.nii.gz", "--jobs", "1"]) == 7
    assert "1 of 2 masks failed" in capsys.readouterr().err
    assert main(["csa", "t2_seg.nii.gz"]) == 6
    assert main(["csa", "t2_seg.nii.gz", "--overwrite"]) == 0
    assert main(["csa", "t2_seg.nii.gz", "--append"]) == 0
    assert len(table()) == 2


def test_strict_makes_flags_a_failure(mask):
    data = np.asarray(mask.dataobj).copy()
    data[:, :, 8:11] = 0
    nib.save(nib.Nifti1Image(data, mask.affine), "gap_seg.nii.gz")
    assert main(["csa", "gap_seg.nii.gz", "--strict"]) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--perslice", "--perlevel"], "choose one"),
        (["-z", "a:b"], "Slices must be like"),
        (["--vert", "C9", "--disc", "3=1,1,1"], "Levels must be like"),
        (["--disc", "C3"], "must be the number of a disc"),
        (["--disc", "3=1,1,1", "--discs", "x.nii.gz"], "not from both"),
        (["--jobs", "0"], "whole number from 1"),
        (["--volume", "x"], "index of a volume"),
        (["--pmj", "1,1,1"], "needs --pmj and --pmj-distance"),
        (["--append", "--overwrite"], "choose one"),
    ],
)
def test_options_that_cannot_be_are_usage_errors(arguments, message, capsys):
    assert main(["csa", "t2_seg.nii.gz", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_two_masks_are_compared(mask, capsys):
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj) * np.float32(0.98), mask.affine), "later_seg.nii.gz")
    assert main(["csa", "--compare", "t2_seg.nii.gz", "later_seg.nii.gz", "-o", "change.tsv"]) == 0
    assert "(-2.00 %), 20 points aligned by slices; limits of agreement" in capsys.readouterr().out
    assert len(table("change.tsv")) == 20
    assert main(["csa", "--compare", "t2_seg.nii.gz", "none.nii.gz", "-o", "other.tsv"]) == 7
    assert main(["csa", "--compare", "t2_seg.nii.gz", "later_seg.nii.gz", "t2_seg.nii.gz"]) == 2
    assert main(["csa"]) == 2
