import csv
import json
import os
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from bidstrees import add_case, cylinder, write_data, write_image, write_recipe
from softcord.dataset import convert, make_soft_labels, split_subjects
from softcord.errors import InputError, UsageError
from softcord.qc import read_rows
from softcord.workflows.soft_labels import make_and_review

CONTRASTS = ("T1w", "T2w", "T2star")


def build(tmp_path, n_people=3, **options):
    root = tmp_path / "one"
    for n in range(n_people):
        for contrast in CONTRASTS:
            add_case(root, f"sub-{n:02d}_{contrast}", **options)
    return write_recipe(tmp_path, {"name": "one"}), write_data(tmp_path / "data", root), root


def label_of(root, subject, contrast, suffix="label-SC_seg"):
    folder = root / "derivatives" / "labels" / f"sub-{subject}" / "anat"
    return folder / f"sub-{subject}_{contrast}_{suffix}.nii.gz"


def soft_of(out, subject, contrast):
    name = f"sub-{subject}_space-orig_label-SC_desc-average{contrast}_probseg.nii.gz"
    return out / "one" / f"sub-{subject}" / "anat" / name


def test_every_image_gets_the_mean_on_its_own_grid_and_header(tmp_path):
    recipe, data, root = build(tmp_path)
    write_image(label_of(root, "00", "T1w"), cylinder(radius=3.0))
    turned = nib.load(root / "sub-00" / "anat" / "sub-00_T2star.nii.gz")
    for path in (root / "sub-00" / "anat" / "sub-00_T2star.nii.gz", label_of(root, "00", "T2star")):
        image = nib.load(path)
        image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
        ornt = nib.orientations.axcodes2ornt(("P", "I", "R"))
        nib.save(
            image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), ornt)), path
        )
    turned = nib.load(root / "sub-00" / "anat" / "sub-00_T2star.nii.gz")
    made = make_soft_labels(recipe, data, tmp_path / "soft", jobs=1)
    assert len(made.rows) == 9
    assert made.failed == ()
    wanted = (2 * cylinder() + cylinder(radius=3.0)) / 3
    for contrast in ("T1w", "T2w"):
        soft = nib.load(soft_of(tmp_path / "soft", "00", contrast))
        np.testing.assert_allclose(np.asarray(soft.dataobj), wanted, atol=1e-5)
        assert soft.get_data_dtype() == np.float32
    soft = nib.load(soft_of(tmp_path / "soft", "00", "T2star"))
    np.testing.assert_allclose(soft.affine, turned.affine)
    assert soft.shape == turned.shape
    np.testing.assert_allclose(np.asarray(nib.as_closest_canonical(soft).dataobj), wanted, atol=1e-5)
    sidecar = json.loads(
        soft_of(tmp_path / "soft", "00", "T2star").with_suffix("").with_suffix(".json").read_text()
    )
    assert sidecar["Contrasts"] == 3
    assert len(sidecar["Sources"]) == 3


def test_sessions_of_a_person_are_not_mixed(tmp_path):
    root = tmp_path / "one"
    for session in ("1", "2"):
        add_case(root, f"sub-01_ses-{session}_T1w")
        add_case(root, f"sub-01_ses-{session}_T2w")
    made = make_soft_labels(
        write_recipe(tmp_path, {"name": "one"}),
        write_data(tmp_path / "data", root),
        tmp_path / "soft",
        jobs=1,
    )
    assert [row.n_contrasts for row in made.rows] == [2, 2, 2, 2]


@pytest.mark.parametrize(("raters", "value"), [("mean", 1 / 3), ("majority", 0.0)])
def test_raters_are_merged_before_contrasts(tmp_path, raters, value):
    root = tmp_path / "one"
    add_case(root, "sub-01_T2w")
    for n, radius in enumerate((3.0, 3.0, 5.0)):
        write_image(label_of(root, "01", "T2w", f"label-SC_desc-r{n}_seg"), cylinder(radius=radius))
    recipe = write_recipe(
        tmp_path, {"name": "one", "labels": {"suffix": [f"label-SC_desc-r{n}_seg" for n in range(3)]}}
    )
    make_soft_labels(recipe, write_data(tmp_path / "data", root), tmp_path / "soft", raters=raters, jobs=1)
    soft = np.asarray(nib.load(soft_of(tmp_path / "soft", "01", "T2w")).dataobj)
    ring = (cylinder(radius=5.0) > 0) & (cylinder(radius=3.0) == 0)
    np.testing.assert_allclose(soft[ring], value, atol=1e-6)
    assert (soft[cylinder(radius=3.0) > 0] == 1).all()


def test_a_conversion_takes_the_soft_labels_and_cuts_the_hard_ones_from_them(tmp_path):
    recipe, data, root = build(tmp_path, n_people=6)
    write_image(label_of(root, "03", "T2w"), cylinder(radius=3.0))
    make_soft_labels(recipe, data, tmp_path / "soft", jobs=1)
    split_subjects(recipe, data, tmp_path / "split")
    made = convert(recipe, data, tmp_path / "raw", split=tmp_path / "split", soft=tmp_path / "soft", jobs=1)
    record = next(record for record in made.records if record.case == "one_sub-03_T2w")
    assert record.soft.endswith("desc-averageT2w_probseg.nii.gz")
    ending = "Ts" if record.set == "test" else "Tr"
    soft = np.asarray(nib.load(made.folder / f"soft{ending}" / "one_sub-03_T2w.nii.gz").dataobj)
    wanted = (2 * cylinder() + cylinder(radius=3.0)) / 3
    np.testing.assert_allclose(soft[::-1], wanted, atol=1e-5)
    hard = np.asarray(nib.load(made.folder / f"labels{ending}" / "one_sub-03_T2w.nii.gz").dataobj)
    np.testing.assert_array_equal(hard[::-1], cylinder())


def test_a_folder_without_soft_labels_is_not_taken_for_one(tmp_path, caplog):
    recipe, data, _ = build(tmp_path, n_people=6)
    split_subjects(recipe, data, tmp_path / "split")
    options = {"split": tmp_path / "split", "soft": tmp_path / "soft", "jobs": 1}
    with pytest.raises(InputError, match="has no soft label of these images"):
        convert(recipe, data, tmp_path / "raw", **options)
    make_soft_labels(recipe, data, tmp_path / "soft", jobs=1)
    soft_of(tmp_path / "soft", "02", "T1w").unlink()
    convert(recipe, data, tmp_path / "raw", **options)
    assert "has no soft label of 1 images, first one_sub-02_T1w" in caplog.text


def test_one_damaged_image_costs_its_person_alone(tmp_path):
    recipe, data, root = build(tmp_path)
    (root / "sub-01" / "anat" / "sub-01_T1w.nii.gz").write_bytes(b"no image")
    made = make_soft_labels(recipe, data, tmp_path / "soft", jobs=1)
    ((name, error),) = made.failed
    assert name == "one_sub-01"
    assert "sub-01_T1w.nii.gz" in str(error)
    assert {row.subject for row in made.rows} == {"sub-00", "sub-02"}


def test_every_soft_label_has_an_entry_on_the_review_page_with_its_flags(tmp_path):
    recipe, data, root = build(tmp_path, n_people=2)
    write_image(label_of(root, "01", "T1w"), cylinder(radius=1.5))
    made = make_and_review(recipe, data, tmp_path / "soft", qc=tmp_path / "qc", jobs=1)
    entries = read_rows(tmp_path / "qc")
    assert len(entries) == len(made.rows) == 6
    bad = next(entry for entry in entries if entry.name == "sub-01_T1w.nii.gz")
    assert {"poor_overlap", "areas_differ"} <= {flag.code for flag in bad.flags}
    before = [path.stat().st_mtime_ns for path in (tmp_path / "qc" / "entries").iterdir()]
    make_and_review(recipe, data, tmp_path / "soft", qc=tmp_path / "qc", jobs=1)
    assert [path.stat().st_mtime_ns for path in (tmp_path / "qc" / "entries").iterdir()] == before


def test_only_what_changed_is_made_again(tmp_path):
    recipe, data, root = build(tmp_path)
    first = make_soft_labels(recipe, data, tmp_path / "soft", jobs=1)
    again = make_soft_labels(recipe, data, tmp_path / "soft", jobs=1)
    assert (first.n_before, again.n_before) == (0, 9)
    assert again.rows == first.rows
    write_image(label_of(root, "01", "T1w"), cylinder(radius=3.0))
    assert make_soft_labels(recipe, data, tmp_path / "soft", jobs=1).n_before == 6
    assert make_soft_labels(recipe, data, tmp_path / "soft", jobs=1, method="none").n_before == 0


def test_an_unknown_method_is_an_error(tmp_path):
    recipe, data, _ = build(tmp_path)
    with pytest.raises(UsageError, match="expected one of centermass, rigid, none, got affine"):
        make_soft_labels(recipe, data, tmp_path / "soft", method="affine")


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    recipe, data, _ = build(tmp_path, n_people=16)
    out = tmp_path / "soft"
    command = [
        sys.executable,
        "-m",
        "softcord",
        "dataset",
        "soft-labels",
        str(recipe),
        str(data),
        "-o",
        str(out),
    ]
    command += ["--jobs", "1"]
    process = subprocess.Popen(command)
    records = out / ".people"
    for _ in range(20000):
        if len(list(records.glob("*.json"))) >= 2:
            break
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.003)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = list(records.glob("*.json"))
    assert 2 <= len(done) < 16
    assert not (out / "soft_labels.tsv").exists()
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"48 soft labels ({3 * len(done)} done before)" in run.stdout
    whole = make_soft_labels(recipe, data, tmp_path / "whole", jobs=1)
    for row in whole.rows:
        assert (out / row.output).read_bytes() == (tmp_path / "whole" / row.output).read_bytes()
    with (out / "soft_labels.tsv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file, delimiter="\t"))) == 48
