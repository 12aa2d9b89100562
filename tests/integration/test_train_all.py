"""From a recipe and a real annex to a released model that segments, in commands that are killed and go on."""

import json
import multiprocessing
import os
import shutil
import signal
import time
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[train]")
pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")
pytest.importorskip("datalad", reason="needs DataLad, which comes with softcord[dataset]")

import nibabel as nib
import numpy as np
import torch

from annexes import WHO, make_annex, release
from bidstrees import write_recipe
from softcord.cli import main
from softcord.workflows.train_all import STEPS

pytestmark = [
    pytest.mark.skipif(
        shutil.which("git") is None or shutil.which("git-annex", path=WHO["PATH"]) is None,
        reason="needs git and git-annex, which come with softcord[dataset]",
    ),
    # a process that is killed is forked, so that it need not load torch again; there is one thread
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]
SHORT = "--epochs 2 --iterations 2 --validation-iterations 1 --device cpu --threads 1".split()
SMALL = "--topology contrast-agnostic-small --patch 16 32 64".split()


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe for an annex of six people."""
    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOFTCORD_MODELS", str(tmp_path / "models"))
    torch.set_num_threads(1)
    root = make_annex(tmp_path / "annex", [f"0{n}" for n in range(6)], shape=(20, 36, 20))
    yield write_recipe(
        tmp_path, {"name": "annexed", "url": root.as_uri()}, ratios=[0.5, 0.25, 0.25], number=101
    )
    release(tmp_path)


def kill_when(line: str, arguments: list[str], log: Path) -> None:
    """Run a command, and kill it without warning when its log says so."""
    process = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))
    process.start()
    until = time.monotonic() + 300
    while process.is_alive() and line not in (log.read_text(encoding="utf-8") if log.is_file() else ""):
        assert time.monotonic() < until, f"{line!r} never came"
        time.sleep(0.005)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_a_recipe_becomes_a_model_that_segments_though_every_step_is_killed(recipe, tmp_path, capfd):
    out = tmp_path / "all"
    arguments = ["train", "all", str(recipe), "-o", str(out), "--name", "cord", *SMALL, *SHORT]
    for step in STEPS:
        kill_when(f"{step}: begun", arguments, out / "log.txt")
        done = {path.stem[2:] for path in (out / "steps").glob("*.json")}
        assert done <= set(STEPS[: STEPS.index(step) + 1])
    assert main(arguments) == 0
    log = (out / "log.txt").read_text(encoding="utf-8")
    for step in STEPS:
        assert f"{step}: done in" in log
    capfd.readouterr()
    assert main(arguments) == 0  # nothing is left to do
    said = capfd.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said if "done before" in line] == list(STEPS)

    (archive,) = (out / "release").glob("model_cord_*_nnunet_compatible.zip")
    with zipfile.ZipFile(archive) as content:
        (name,) = [path for path in content.namelist() if path.endswith("provenance.json")]
        told = json.loads(content.read(name))
    assert told["dataset"]["recipe"]["name"] == "recipe.yaml"
    assert len(told["folds"]["0"]["validation"]) == 2

    # ---- fine-tune from the release, frozen images and all; release, install, segment
    tuned = tmp_path / "tuned"
    image = next((tmp_path / "annex").glob("sub-*/anat/*_T2w.nii.gz"))
    raw = str(out / "raw" / "Dataset101_Cord")
    line = ["train", "finetune", raw, "--from", str(archive), "-o", str(tuned), *SHORT]
    assert main([*line, "--frozen", str(image), "--drift-limit", "1000"]) in (0, 8)
    assert json.loads((tuned / "drift.json").read_text(encoding="utf-8"))["changes"][0]["image"] == image.name
    line = ["train", "export", str(tuned), "-o", str(tmp_path), "--name", "tuned", "--date", "20250131"]
    assert main([*line, "--accept-drift"]) == 0
    assert main(["models", "install", str(tmp_path / "model_tuned_20250131_nnunet_compatible.zip")]) == 0
    soft = tmp_path / "soft.nii.gz"
    line = ["segment", str(image), "--model", "model_tuned_20250131", "--mode", "exact", "-o", str(soft)]
    assert main(line) in (0, 4)  # two short epochs teach next to nothing
    found = nib.load(soft)
    assert found.shape == nib.load(image).shape
    assert np.allclose(found.affine, nib.load(image).affine)
