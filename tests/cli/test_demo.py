import csv
import importlib
import sys

import nibabel as nib
import numpy as np
import pytest

from softcord.cli import main
from softcord.engines import Prediction
from softcord.phantoms import make_phantom


@pytest.fixture
def phantoms(fake, monkeypatch):
    """A small phantom, and a network that knows its truth."""
    made = []

    def make_small(seed, *, contrast):
        made.append(make_phantom(seed, contrast=contrast, shape=(48, 48, 20), zooms=(1.0, 1.0, 3.0)))
        return made[-1]

    def predict(data, zooms, networks, options):
        return Prediction(made[-1].share, None, {"find": 0.0, "segment": 0.0})

    monkeypatch.setattr(importlib.import_module("softcord.workflows.demo"), "make_phantom", make_small)
    monkeypatch.setattr(sys.modules["softcord.engines"], "predict", predict)
    return made


def test_the_demo_writes_image_truth_map_table_and_page_and_says_where(phantoms, tmp_path, capsys):
    folder = tmp_path / "demo"
    assert main(["demo", str(folder)]) == 0
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    entry = {name for name in files if name.startswith("qc/") and name != "qc/index.html"}
    assert len([name for name in entry if name.startswith("qc/entries/")]) == 1
    expected = {
        "sub-phantom_T2w.nii.gz",
        "sub-phantom_T2w_truth.nii.gz",
        "sub-phantom_space-orig_label-SC_desc-T2w_probseg.nii.gz",
        "sub-phantom_space-orig_label-SC_desc-T2w_probseg.json",
        "sub-phantom_areas.csv",
        "qc/index.html",
    }
    assert files == expected | entry
    said = capsys.readouterr().out
    assert all(str(folder / name) in said for name in expected if not name.endswith(".json"))


def test_the_table_compares_every_slice_with_the_truth(phantoms, tmp_path):
    main(["demo", str(tmp_path)])
    with (tmp_path / "sub-phantom_areas.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found, true, difference = (
        np.array([float(row[name]) for row in rows])
        for name in ("area_mm2", "true_area_mm2", "difference_mm2")
    )
    assert [int(row["slice"]) for row in rows] == list(range(20))
    assert np.allclose(true, phantoms[0].areas_mm2, atol=1e-3)
    assert np.allclose(found, true, rtol=0.02)
    assert np.allclose(difference, found - true, atol=2e-3)


def test_the_image_and_its_truth_lie_on_one_grid(phantoms, tmp_path):
    main(["demo", str(tmp_path)])
    image = nib.load(tmp_path / "sub-phantom_T2w.nii.gz")
    truth = nib.load(tmp_path / "sub-phantom_T2w_truth.nii.gz")
    assert np.array_equal(image.affine, truth.affine)
    assert np.allclose(truth.get_fdata(), phantoms[0].share, atol=1e-6)
    grey = np.corrcoef(image.get_fdata().ravel(), phantoms[0].image.ravel())[0, 1]
    assert grey > 0.999


def test_a_second_demo_replaces_the_first(phantoms, tmp_path):
    assert main(["demo", str(tmp_path)]) == 0
    first = (tmp_path / "sub-phantom_areas.csv").read_bytes()
    assert main(["demo", str(tmp_path), "--seed", "1", "-q"]) == 0
    assert (tmp_path / "sub-phantom_areas.csv").read_bytes() != first
    assert len(list((tmp_path / "qc" / "entries").iterdir())) == 1


def test_the_same_seed_gives_the_same_image(phantoms, tmp_path):
    for name in "ab":
        main(["demo", str(tmp_path / name), "-q"])
    images = [(tmp_path / name / "sub-phantom_T2w.nii.gz").read_bytes() for name in "ab"]
    assert images[0] == images[1]


def test_an_unknown_contrast_is_a_usage_error_that_names_the_known_ones(fake, tmp_path, capsys):
    assert main(["demo", str(tmp_path / "demo"), "--contrast", "CT"]) == 2
    assert "T2w" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_a_negative_seed_is_a_usage_error(fake, tmp_path, capsys):
    assert main(["demo", str(tmp_path / "demo"), "--seed", "-1"]) == 2
    assert "seed must be a whole number from 0, got -1" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_cannot_be_made_is_an_output_error(fake, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["demo", str(tmp_path / "file" / "demo")]) == 6


def test_a_phantom_without_found_cord_is_said(phantoms, tmp_path, monkeypatch, capsys):
    def predict(data, zooms, networks, options):
        return Prediction(np.zeros_like(data), None, {})

    monkeypatch.setattr(sys.modules["softcord.engines"], "predict", predict)
    assert main(["demo", str(tmp_path)]) == 4
    assert "no cord found" in capsys.readouterr().err
