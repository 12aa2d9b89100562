"""From a recipe and a real annex to a released model that segments, in commands that are killed and go on.

The images are real ones where there are any, else phantoms; the recipe is the one of the real images.
"""

import json
import multiprocessing
import os
import shutil
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[train]")
pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")
pytest.importorskip("datalad", reason="needs DataLad, which comes with softcord[dataset]")

import nibabel as nib
import numpy as np
import torch
import yaml

from annexes import WHO, annex, release
from bidstrees import write_image, write_participants
from softcord.cli import main
from softcord.phantoms import AnatomyOptions, make_phantom
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
SMALL = "--topology contrast-agnostic-small --patch 32 64 32".split()
# five people of the real images, three contrasts of one of them, thick slices and thin; not the largest files
TAKEN = ("amu7t_acq-7T_T2star", "errsm24_mt-*_MTS", "ex2014_acq-crop_T?w", "t2sa_*", "unf01_acq-slab_*")
LABEL = "label-SC_seg"


def copy_real(bids: Path, root: Path) -> None:
    """The real images that are taken, with their labels."""
    found = [path for name in TAKEN for path in sorted(bids.glob(f"sub-*/anat/sub-{name}.nii.gz"))]
    for image in [path.relative_to(bids) for path in found]:
        label = Path("derivatives/labels", image.parent, image.name.replace(".nii", f"_{LABEL}.nii"))
        for path in (image, label):
            if (bids / path).is_file():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bids / path, root / path)
    shutil.copyfile(bids / "participants.tsv", root / "participants.tsv")


def write_phantoms(root: Path) -> None:
    """Five people, one of them for tests, on two contrasts each."""
    people = {f"sub-0{n}": {"split": "test" if n == 4 else "train"} for n in range(5)}
    for n, person in enumerate(people):
        for contrast in ("T1w", "T2w"):
            anatomy = AnatomyOptions(pathology=False, ends=False)
            made = make_phantom(
                n, shape=(40, 48, 24), zooms=(1.0, 1.0, 2.0), contrast=contrast, anatomy=anatomy
            )
            image, label = (1000 * made.image).astype(np.int16), (made.share > 0.5).astype(np.uint8)
            path = Path(person, "anat", f"{person}_{contrast}.nii.gz")
            write_image(root / path, image, made.affine)
            label_path = path.with_name(f"{person}_{contrast}_{LABEL}.nii.gz")
            write_image(root / "derivatives" / "labels" / label_path, label, made.affine)
    write_participants(root, people)


@pytest.fixture
def recipe(tmp_path, root, shared_bids, monkeypatch):
    """The recipe of the real images, for an annex of some of them, or of phantoms."""
    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOFTCORD_MODELS", str(tmp_path / "models"))
    torch.set_num_threads(1)
    folder = tmp_path / "annex"
    folder.mkdir()
    if shared_bids is None:
        write_phantoms(folder)
    else:
        copy_real(shared_bids, folder)
    annex(folder)
    content = yaml.safe_load((root / "recipes" / "dataset-shared-bids.yaml").read_text(encoding="utf-8"))
    (source,) = content["datasets"]
    del source["path"]
    source |= {"url": folder.as_uri(), "version": "r1"}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    yield path
    release(tmp_path)


def kill_when(is_time: Callable[[], bool], arguments: list[str]) -> None:
    """Run a command, and kill it without warning when it is time to."""
    process = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))
    process.start()
    until = time.monotonic() + 300
    while process.is_alive() and not is_time():
        assert time.monotonic() < until, "the time to kill it never came"
        time.sleep(0.005)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_a_recipe_becomes_a_model_that_segments_though_every_step_is_killed(recipe, tmp_path, capfd):
    out = tmp_path / "all"
    arguments = ["train", "all", str(recipe), "-o", str(out), "--name", "cord", *SMALL, *SHORT]

    def log() -> str:
        path = out / "log.txt"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    for step in STEPS:
        kill_when(lambda step=step: f"{step}: begun" in log(), arguments)
        assert f"{step}: begun" in log()
        done = {path.stem[2:] for path in (out / "steps").glob("*.json")}
        assert done <= set(STEPS[: STEPS.index(step) + 1])
    assert main(arguments) == 0
    for step in STEPS:
        assert f"{step}: done in" in log()
    capfd.readouterr()
    assert main(arguments) == 0  # nothing is left to do
    said = capfd.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said if "done before" in line] == list(STEPS)

    # ---- what was trained on, and that people of the test list were not
    raw = out / "raw" / "Dataset997_SharedBids"
    (fold,) = json.loads((raw / "splits_final.json").read_text(encoding="utf-8"))
    (archive,) = (out / "release").glob("model_cord_*_nnunet_compatible.zip")
    with zipfile.ZipFile(archive) as content:
        (name,) = [path for path in content.namelist() if path.endswith("provenance.json")]
        told = json.loads(content.read(name))
    assert told["dataset"]["recipe"]["name"] == "recipe.yaml"
    assert told["folds"]["0"]["options"]["labels"] == "soft"
    assert {row["case"] for row in told["folds"]["0"]["validation"]} == set(fold["val"])
    split = json.loads((out / "split" / "split.json").read_text(encoding="utf-8"))
    assert [len(split[part]["shared-bids"]) for part in ("train", "val", "test")] == [3, 1, 1]
    (tested,) = split["test"]["shared-bids"]
    assert not [case for case in fold["train"] + fold["val"] if tested.removeprefix("sub-") in case]
    assert [path for path in (raw / "imagesTs").iterdir() if tested.removeprefix("sub-") in path.name]

    # ---- fine-tune from the release, killed after an epoch, frozen image and all
    tuned = tmp_path / "tuned"
    image = next((tmp_path / "annex" / tested).glob("anat/*_T2w.nii.gz"))
    line = ["train", "finetune", str(raw), "--from", str(archive), "-o", str(tuned), *SHORT]
    line += ["--frozen", str(image), "--drift-limit", "1000"]
    kill_when(lambda: any(tuned.rglob("checkpoint_latest.pth")), line)
    capfd.readouterr()
    assert main(line) in (0, 8)
    assert "epoch 1 of" not in capfd.readouterr().out
    assert json.loads((tuned / "drift.json").read_text(encoding="utf-8"))["changes"][0]["image"] == image.name

    # ---- release, install, segment
    line = ["train", "export", str(tuned), "-o", str(tmp_path), "--name", "tuned", "--date", "20250131"]
    assert main([*line, "--accept-drift"]) == 0
    assert main(["models", "install", str(tmp_path / "model_tuned_20250131_nnunet_compatible.zip")]) == 0
    soft = tmp_path / "soft.nii.gz"
    line = ["segment", str(image), "--model", "model_tuned_20250131", "--mode", "exact", "-o", str(soft)]
    assert main(line) in (0, 4)  # two short epochs teach next to nothing
    found = nib.load(soft)
    assert found.shape == nib.load(image).shape
    assert np.allclose(found.affine, nib.load(image).affine)
