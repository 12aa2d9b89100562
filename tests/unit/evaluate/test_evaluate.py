"""Scores of a segmentation against a reference, and of folders."""

import csv
import json
import math

import nibabel as nib
import numpy as np
import pytest

from softcord.errors import GeometryError, InputError, OutputError, UsageError
from softcord.evaluate import evaluate, evaluate_files, match_folders, summarise
from softcord.evaluate.pairs import key_of
from softcord.phantoms.cords import CordOptions, make_cord

ZOOMS = (1.0, 1.0, 4.0)


def image_of(data):
    return nib.Nifti1Image(np.asarray(data, dtype=np.float32), np.diag([*ZOOMS, 1.0]))


@pytest.fixture
def truth():
    share = make_cord(ZOOMS, CordOptions(tilt_deg=15.0, length_mm=80.0)).share
    return np.pad(share, ((3, 3), (3, 3), (2, 2)))


# ---- one image


def test_a_segmentation_agrees_with_itself(truth):
    result = evaluate(image_of(truth), image_of(truth))
    assert (result.dice, result.soft_dice, result.volume_error_percent) == (1.0, 1.0, 0.0)
    assert (result.assd_mm, result.hd95_mm) == (0.0, 0.0)
    assert (result.n_slices, result.n_missed, result.n_extra) == (20, 0, 0)
    assert result.area_error_percent == 0
    assert result.note == ""


def test_a_wider_cord_has_the_error_of_its_area(truth):
    options = CordOptions(half_rl=6.6, half_ap=4.62, tilt_deg=15.0, length_mm=80.0)
    wide = make_cord(ZOOMS, options).share
    pads = [((t - w) // 2, t - w - (t - w) // 2) for t, w in zip(truth.shape, wide.shape, strict=True)]
    result = evaluate(image_of(np.pad(wide, pads)), image_of(truth))
    assert result.area_error_percent == pytest.approx(21.0, abs=0.7)
    assert result.area_error_mm2 == pytest.approx(0.21 * np.pi * 6 * 4.2, rel=0.04)
    assert result.area_absolute_error_percent == pytest.approx(result.area_error_percent)
    assert result.volume_error_percent == pytest.approx(21.0, abs=0.7)
    assert 0.2 < result.assd_mm < 1.0
    assert result.dice < 0.95


def test_slices_missed_and_extra_are_counted(truth):
    found = truth.copy()
    found[:, :, 5:8] = 0
    found[:, :, 0] = truth[:, :, 2]
    result = evaluate(image_of(found), image_of(truth))
    assert (result.n_missed, result.n_extra) == (3, 1)
    notes = {
        error.slice: (math.isfinite(error.area_mm2), math.isfinite(error.reference_mm2))
        for error in result.slices
    }
    assert notes[6] == (False, True)
    assert notes[0] == (True, False)
    inside = evaluate(image_of(found), image_of(truth), within_reference=True)
    assert (inside.n_missed, inside.n_extra) == (3, 0)


def test_distances_know_that_slices_are_far_apart(truth):
    moved = np.roll(truth, 1, axis=2)
    assert evaluate(image_of(moved), image_of(truth)).hd95_mm > 1
    ends = np.abs(np.diff([evaluate(image_of(moved), image_of(truth)).hd95_mm, 4.0]))
    assert ends.size == 1


def test_levels_are_those_of_the_reference(truth):
    discs = {3: (10, 15, 14), 4: (10, 15, 9)}
    result = evaluate(image_of(truth * np.float32(0.9)), image_of(truth), discs=discs)
    by_level = result.at_levels()
    assert set(by_level) == {2, 3, 4}
    assert all(error.error_percent == pytest.approx(-10.0, abs=0.1) for error in by_level[3])


@pytest.mark.parametrize(
    ("scale_found", "scale_truth", "note"),
    [(0, 0, "both_empty"), (0, 1, "prediction_empty"), (1, 0, "reference_empty")],
)
def test_an_empty_one_is_said_and_two_are_no_perfect_score(truth, scale_found, scale_truth, note):
    result = evaluate(image_of(truth * scale_found), image_of(truth * scale_truth))
    assert result.note == note
    assert math.isnan(result.dice) if note == "both_empty" else result.dice == 0
    assert math.isnan(result.hd95_mm)
    assert math.isnan(result.assd_mm)


def test_another_orientation_of_the_same_grid_is_the_same(truth):
    turned = image_of(truth).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    assert evaluate(turned, image_of(truth)).dice == 1.0


def test_another_grid_is_refused(truth):
    with pytest.raises(GeometryError, match="must be on one grid, got"):
        evaluate(image_of(truth[:-1]), image_of(truth))
    moved = nib.Nifti1Image(truth, np.diag([*ZOOMS, 1.0]) + np.array([[0, 0, 0, 2.0]] + [[0.0] * 4] * 3))
    with pytest.raises(GeometryError, match=r"up to 2\.00 mm apart"):
        evaluate(moved, image_of(truth))


# ---- names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "sub-01_ses-2_run-1_space-orig_label-SC_desc-T2star_probseg.nii.gz",
            "sub-01_ses-2_run-1_T2star_label-SC_seg.nii.gz",
        ),
        (
            "sub-01_task-rest_space-orig_label-SC_desc-meanbold_mask.nii",
            "sub-01_task-rest_desc-mean_bold_label-SC_seg.nii.gz",
        ),
        ("sub-01_T2w_seg.nii.gz", "sub-01_T2w_seg-manual.nii.gz"),
        ("patient7_t2_softseg.nii.gz", "patient7_t2_gt.nii.gz"),
    ],
)
def test_names_of_one_image_match(one, other):
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sub-01_T2w_seg.nii.gz", "sub-01_T1w_seg.nii.gz"),
        ("sub-01_T2w_seg.nii.gz", "sub-02_T2w_seg.nii.gz"),
        ("sub-01_run-1_T2w_seg.nii.gz", "sub-01_run-2_T2w_seg.nii.gz"),
        ("sub-01_acq-crop_T2w_seg.nii.gz", "sub-01_T2w_seg.nii.gz"),
    ],
)
def test_names_of_two_images_do_not_match(one, other):
    assert key_of(one) != key_of(other)


# ---- folders


@pytest.fixture
def folders(truth, tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs" / "sub-01" / "anat"
    ours.mkdir()
    theirs.mkdir(parents=True)
    for subject in ("01", "02", "03"):
        name = f"sub-{subject}_T2w_label-SC_seg.nii.gz"
        nib.save(image_of(truth if subject != "03" else truth * 0), theirs / name)
        found = f"sub-{subject}_space-orig_label-SC_desc-T2w_probseg.nii.gz"
        nib.save(image_of(truth * np.float32(0.8) if subject == "01" else truth * 0), ours / found)
        nib.save(image_of(truth), ours / found.replace("probseg", "mask"))
    nib.save(image_of(truth), theirs / "sub-01_T2w_label-GM_seg.nii.gz")
    return ours, tmp_path / "theirs"


def test_folders_are_matched_and_soft_maps_are_preferred(folders):
    pairs, unmatched = match_folders(*folders)
    assert [pair.name for pair in pairs] == ["sub-01_T2w", "sub-02_T2w", "sub-03_T2w"]
    assert all(pair.prediction.name.endswith("probseg.nii.gz") for pair in pairs)
    assert unmatched == []


def test_a_table_and_a_summary_are_written(folders, tmp_path):
    out = tmp_path / "scores.tsv"
    results = evaluate_files(*folders, out)
    rows = list(csv.DictReader(out.read_text().splitlines(), delimiter="\t"))
    assert [row["dice"] for row in rows][1:] == ["0", "n/a"]
    assert float(rows[0]["dice"]) > 0.97
    assert [row["note"] for row in rows] == ["n/a", "prediction_empty", "both_empty"]
    assert rows[1]["slices_missed"] == "20"
    summary = summarise(results)
    assert (summary["dice"].n, summary["dice"].low) == (2, 0.0)
    assert summary["dice"].mean == pytest.approx(float(rows[0]["dice"]) / 2, abs=1e-5)
    explained = json.loads((tmp_path / "scores.json").read_text())
    assert set(rows[0]) <= set(explained)
    assert explained["Summary"]["dice"]["n"] == 2
    assert "no Dice" in explained["note"]["Description"]


def test_slices_and_levels_are_rows_if_asked_for(folders, tmp_path):
    evaluate_files(*folders, tmp_path / "slices.csv", rows="slice")
    rows = list(csv.DictReader((tmp_path / "slices.csv").read_text().splitlines()))
    assert len(rows) == 20
    assert float(rows[9]["area_error_percent"]) == pytest.approx(-20.0, abs=0.1)


def test_a_missing_prediction_is_a_row_and_a_failure(folders, tmp_path):
    for path in folders[0].glob("sub-02*"):
        path.unlink()
    results = evaluate_files(*folders, tmp_path / "scores.tsv")
    assert results[1].evaluation is None
    assert "no_prediction" in (tmp_path / "scores.tsv").read_text()


def test_folders_that_cannot_be_matched_are_refused(folders, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no segmentation"):
        match_folders(empty, folders[1])
    with pytest.raises(InputError, match="no such folder"):
        match_folders(tmp_path / "none", folders[1])
    nib.save(image_of(np.ones((3, 3, 3))), empty / "sub-99_T1w_seg.nii.gz")
    with pytest.raises(InputError, match="no names match"):
        match_folders(empty, folders[1])
    nib.save(image_of(np.ones((3, 3, 3))), empty / "sub-99_T1w_mask.nii.gz")
    with pytest.raises(InputError, match="are of the same image"):
        match_folders(empty, folders[1])
    with pytest.raises(InputError, match="one is a folder"):
        evaluate_files(folders[0], empty / "sub-99_T1w_seg.nii.gz")


def test_what_cannot_be_is_refused(folders, tmp_path):
    with pytest.raises(UsageError, match="rows must be"):
        evaluate_files(*folders, rows="voxel")
    with pytest.raises(UsageError, match="threshold must be"):
        evaluate_files(*folders, threshold=1.0)
    with pytest.raises(UsageError, match="levels are unknown"):
        evaluate_files(*folders, rows="level")
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(OutputError, match="exists already"):
        evaluate_files(*folders, tmp_path / "scores.tsv")


def test_real_masks_of_a_dataset_are_matched(shared):
    labels = shared / "data" / "bids" / "derivatives" / "labels" / "sub-gm10062"
    pairs, unmatched = match_folders(labels, labels)
    assert [pair.name for pair in pairs][:2] == [
        "run-1_ses-1_sub-gm10062_T2star",
        "run-1_ses-2_sub-gm10062_T2star",
    ]
    assert unmatched == []
    assert all(pair.prediction == pair.reference for pair in pairs)
