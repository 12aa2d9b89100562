import json
import subprocess
import sys

import pytest

from bidstrees import add_case, cylinder, write_image, write_recipe
from softcord.cli import main

pytest.importorskip("yaml", reason="needs PyYAML, which comes with softcord[dataset]")


@pytest.fixture
def recipe(tmp_path):
    """A recipe of one folder with ten people."""
    for n in range(10):
        add_case(tmp_path / "one", f"sub-{n:02d}_T2w")
    return write_recipe(tmp_path, {"name": "one", "path": "one"})


def run(tmp_path, step, recipe, *words):
    places = {
        "get": ["-o", tmp_path / "data"],
        "split": [tmp_path / "data", "-o", tmp_path / "split"],
        "soft-labels": [tmp_path / "data", "-o", tmp_path / "soft", "--jobs", "1"],
        "convert": [
            *[tmp_path / "data", "--split", tmp_path / "split", "-o", tmp_path / "raw", "--jobs", "1"],
            *(["--soft", tmp_path / "soft"] if (tmp_path / "soft").exists() else []),
        ],
    }
    return main(["dataset", step, *map(str, [recipe, *places[step], *words])])


def test_the_four_steps_lead_from_a_recipe_to_a_dataset(tmp_path, recipe, capsys):
    assert run(tmp_path, "get", recipe) == 0
    assert "20 files here, 0 of them new" in capsys.readouterr().out
    assert run(tmp_path, "split", recipe) == 0
    assert "Subjects: 8 in train, 1 in val, 1 in test" in capsys.readouterr().out
    assert run(tmp_path, "soft-labels", recipe, "--qc", tmp_path / "qc") == 0
    assert "10 soft labels, 10 with flags" in capsys.readouterr().out
    assert (tmp_path / "qc" / "index.html").exists()
    assert run(tmp_path, "convert", recipe) == 0
    assert "10 cases. Written to" in capsys.readouterr().out
    facts = json.loads((tmp_path / "raw" / "Dataset999_Cord" / "dataset.json").read_text(encoding="utf-8"))
    assert facts["numTraining"] == 9
    assert run(tmp_path, "convert", recipe) == 0
    assert "10 cases (10 done before)" in capsys.readouterr().out


def test_quiet_says_nothing(tmp_path, recipe, capsys):
    for step in ("get", "split", "soft-labels", "convert"):
        assert run(tmp_path, step, recipe, "-q") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_missing_dataset_is_named_and_the_status_says_so(tmp_path, recipe, capsys):
    recipe = write_recipe(tmp_path, {"name": "one", "path": "one"}, {"name": "two", "path": "two"})
    assert run(tmp_path, "get", recipe) == 7
    error = capsys.readouterr().err
    assert "no such folder, of dataset two" in error
    assert "1 could not be had; see missing.tsv" in error
    assert run(tmp_path, "split", recipe) == 3
    assert "two not got yet. Run softcord dataset get" in capsys.readouterr().err


def test_labels_on_another_grid_are_named(tmp_path, recipe, capsys):
    affine = [[1.0, 0, 0, 2.0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]
    folder = tmp_path / "one" / "derivatives" / "labels" / "sub-03" / "anat"
    write_image(folder / "sub-03_T2w_label-SC_seg.nii.gz", cylinder(shift=(-2, 0)), affine)
    for step in ("get", "split", "convert"):
        assert run(tmp_path, step, recipe) == 0
    assert "sub-03_T2w.nii.gz have voxels of places up to 2.00 mm apart" in capsys.readouterr().out


def test_a_damaged_image_is_left_out_and_named(tmp_path, recipe, capsys):
    (tmp_path / "one" / "sub-03" / "anat" / "sub-03_T2w.nii.gz").write_bytes(b"no image at all")
    assert run(tmp_path, "get", recipe) == 0
    assert run(tmp_path, "split", recipe) == 0
    assert "sub-03_T2w.nii.gz" in capsys.readouterr().err
    assert run(tmp_path, "convert", recipe) == 7
    captured = capsys.readouterr()
    assert "9 cases. Written to" in captured.out
    assert "1 cases left out: one_sub-03_T2w" in captured.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["get", "--folder", "one"], "--folder must be NAME=DIR, got 'one'"),
        (["get", "--folder", "six=x"], "has no dataset six; it has one"),
        (["convert", "--jobs", "0"], "--jobs"),
        (["soft-labels", "--method", "affine"], "--method"),
    ],
)
def test_a_wrong_option_is_a_usage_error(tmp_path, recipe, capsys, words, message):
    assert run(tmp_path, words[0], recipe, *words[1:]) == 2
    assert message in capsys.readouterr().err


def test_a_split_before_get_says_what_to_do(tmp_path, recipe, capsys):
    assert run(tmp_path, "split", recipe) == 3
    assert "Get the datasets first: softcord dataset get" in capsys.readouterr().err


def test_a_split_that_is_killed_leaves_all_or_nothing(tmp_path, recipe):
    assert run(tmp_path, "get", recipe) == 0
    out = tmp_path / "split"
    words = ["dataset", "split", str(recipe), str(tmp_path / "data"), "-o", str(out)]
    command = [sys.executable, "-m", "softcord", *words]
    code = (
        "import os, signal, sys; from softcord.nifti import FileSet; from softcord.cli import main\n"
        "real = FileSet.commit\n"
        "FileSet.commit = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"main({words!r})"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -9
    assert not (out / "split.json").exists()
    subprocess.run(command, check=True)
    first = (out / "split.json").read_bytes()
    subprocess.run(command, check=True)
    assert (out / "split.json").read_bytes() == first
