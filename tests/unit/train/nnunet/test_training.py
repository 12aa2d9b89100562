"""Plan, train, resume: what is done is not done again, and what cannot be is refused."""

import json
import os
import shutil
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[train]")
pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")

import torch

from softcord.errors import InputError, UsageError
from softcord.train.nnunet import planning, preprocess, training
from softcord.train.nnunet.layout import open_run, read_json
from softcord.train.nnunet.planning import PlanOptions, plan
from softcord.train.nnunet.trainers import TrainOptions
from softcord.train.nnunet.training import choose_device, mirror_axes, train
from trainingdata import write_dataset

SHORT = TrainOptions(epochs=2, iterations=2, validation_iterations=1)
RAW, DRAWERS = "nnUNet_raw", "nnUNet_n_proc_DA"
SMALL = PlanOptions("contrast-agnostic-small", patch=(16, 32, 64), spacing=(1.5, 1.2, 1.5))


@pytest.fixture
def run(planned, tmp_path):
    """A planned run of one's own."""
    shutil.copytree(planned.folder, tmp_path / "run")
    return replace(planned, folder=tmp_path / "run")


# ---- plan


def test_the_patch_is_in_the_order_of_the_plans_axes(planned):
    configuration = read_json(planned.plans, "")["configurations"]["3d_fullres"]
    assert configuration["patch_size"] == [16, 32, 64]
    assert configuration["spacing"] == [1.5, 1.2, 1.5]


def test_the_voxel_size_is_the_median_of_the_images_by_default(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "preprocess", lambda *_arguments, **_options: None)
    run = plan(dataset, tmp_path / "run", PlanOptions())
    configuration = read_json(run.plans, "")["configurations"]["3d_fullres"]
    assert configuration["spacing"] == pytest.approx([1.5, 1.2, 2.0])
    assert configuration["patch_size"] == [64, 192, 320]


def test_planning_goes_on_where_it_was_interrupted(dataset, tmp_path, monkeypatch):
    done = []
    make = preprocess._preprocess_case

    def interrupted(item):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(item[0])
        make(item)

    monkeypatch.setattr(preprocess, "_preprocess_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plan(dataset, tmp_path / "run", SMALL)

    def look(*_arguments, **_options):
        raise AssertionError("the fingerprint was taken already")

    def go_on(item):
        done.append(item[0])
        make(item)

    monkeypatch.setattr(planning, "extract_fingerprint", look)
    monkeypatch.setattr(preprocess, "_preprocess_case", go_on)
    run = plan(dataset, tmp_path / "run", SMALL)
    assert done == ["cord_000", "cord_001", "cord_002"]
    plan(dataset, tmp_path / "run", SMALL)
    assert len(done) == 3
    plan(dataset, tmp_path / "run", replace(SMALL, patch=(32, 32, 64)))  # other plans: all anew
    assert len(done) == 6
    assert not (run.preprocessed / "softcordPlans_3d_fullres" / "unfinished").exists()


def test_the_planner_of_nnunet_can_be_had(dataset, tmp_path):
    run = plan(dataset, tmp_path / "run", PlanOptions("nnunet"))
    plans = read_json(run.plans, "")
    assert plans["experiment_planner_used"] == "ExperimentPlanner"
    assert plans["transpose_forward"] == [0, 1, 2]
    _, record = open_run(run.folder)
    assert mirror_axes(run, record, SHORT, plans) == (2,)  # arrays are k, j, i
    assert len(list(run.soft.glob("*.b2nd"))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PlanOptions("other"), "topology must be one of contrast-agnostic, contrast-agnostic-small, nnunet"),
        (PlanOptions("nnunet", patch=(16, 32, 64)), "give --patch or --topology nnunet, not both"),
        (PlanOptions(patch=(16, 32, 50)), "Nearest that fit: 16 32 64"),
        (PlanOptions(batch=0), "--batch must be at least 1"),
        (PlanOptions(spacing=(1, 0, 1)), "--spacing must be above 0 mm"),
    ],
)
def test_options_of_plans_that_cannot_be_are_refused(options, message, dataset, tmp_path):
    with pytest.raises(UsageError, match=message):
        plan(dataset, tmp_path / "run", options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("axcodes", ["PIR", ["LAS", "RAS"]])
def test_images_that_do_not_run_along_the_cord_are_refused(axcodes, tmp_path):
    folder = write_dataset(tmp_path / "Dataset103_Turned", 2, axcodes=axcodes)
    with pytest.raises(
        InputError, match="all images must have the same orientation, with axes along R-L, A-P"
    ):
        plan(folder, tmp_path / "run", SMALL)


def test_a_folder_holds_one_dataset(run, tmp_path):
    folder = write_dataset(tmp_path / "Dataset104_Other", 2)
    with pytest.raises(UsageError, match="holds a run on"):
        plan(folder, run.folder, SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "dataset.json").unlink(), "cannot be read"),
        (lambda folder: (folder / "labelsTr" / "cord_000.nii.gz").unlink(), "of case cord_000 is missing"),
        (
            lambda folder: (folder / "softTr" / "cord_001.nii.gz").unlink(),
            "the soft label of this case is missing",
        ),
        (
            lambda folder: (folder / "splits_final.json").write_text('[{"train": ["x"], "val": []}]'),
            "names x",
        ),
        (
            lambda folder: (folder / "splits_final.json").write_text(
                '[{"train": ["cord_000", "cord_001"], "val": ["cord_001"]}]'
            ),
            "has cord_001 in both train and val",
        ),
    ],
)
def test_an_incomplete_dataset_is_refused_by_name(change, message, tmp_path):
    folder = write_dataset(tmp_path / "Dataset105_Bad", 2)
    change(folder)
    with pytest.raises(InputError, match=message):
        plan(folder, tmp_path / "run", SMALL)


# ---- run


def test_a_training_leaves_a_model_that_is_complete(trained):
    assert sorted(path.name for path in trained.model.iterdir()) == [
        "dataset.json",
        "dataset_fingerprint.json",
        "fold_0",
        "plans.json",
    ]
    assert (trained.fold(0) / "checkpoint_final.pth").is_file()
    assert not (trained.fold(0) / "checkpoint_latest.pth").exists()
    head, row = (trained.fold(0) / "validation.tsv").read_text(encoding="utf-8").splitlines()
    assert head.split("\t") == ["case", "label", "dice", "soft_dice", "volume_ratio"]
    assert row.split("\t")[:2] == ["cord_002", "sc"]
    assert 0 <= float(row.split("\t")[3]) <= 1
    assert list((trained.folder / "tensorboard" / "results" / "fold_0").glob("events*"))


def test_the_loss_falls(run):
    losses = []
    options = TrainOptions(epochs=4, iterations=5, validation_iterations=1)
    train(
        run.folder,
        options,
        device="cpu",
        final_validation=False,
        on_epoch=lambda e: losses.append(e.train_loss),
    )
    assert losses[-1] < losses[0]


def test_a_training_goes_on_after_its_last_whole_epoch(run):
    def stop(epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run.folder, SHORT, device="cpu", on_epoch=stop)
    (run.fold(0) / "checkpoint_latest.pth.tmp").write_bytes(b"half-written when it was killed")
    seen = []
    train(run.folder, SHORT, device="cpu", on_epoch=seen.append)
    assert [epoch.epoch for epoch in seen] == [2]
    seen.clear()
    train(run.folder, SHORT, device="cpu", on_epoch=seen.append)
    assert seen == []


def test_other_options_are_not_mixed_into_a_training(trained):
    with pytest.raises(UsageError, match=r"begun with learning_rate 0.01, got 0.1"):
        train(trained.folder, replace(SHORT, learning_rate=0.1), device="cpu")


@pytest.mark.parametrize(
    "options", [replace(SHORT, epochs=1, labels="hard"), replace(SHORT, epochs=1, loss="wing")]
)
def test_hard_labels_and_the_adaptive_wing_loss_train_too(options, run):
    seen = []
    checkpoint = train(run.folder, options, fold="all", device="cpu", on_epoch=seen.append)
    assert checkpoint.parent.name == "fold_all"
    assert 0 <= seen[0].dice <= 1
    assert (run.fold("all") / "validation.tsv").read_text(encoding="utf-8").count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (replace(SHORT, epochs=0), "epochs must be at least 1"),
        (replace(SHORT, learning_rate=0), "learning rate must be between 0 and 1"),
        (replace(SHORT, labels="hard", loss="wing"), "adaptive wing loss is for soft labels"),
        (replace(SHORT, loss="wing", foreground_weight=-1), "weight of the foreground must be 0 or more"),
    ],
)
def test_options_of_trainings_that_cannot_be_are_refused(options, message, run):
    with pytest.raises(UsageError, match=message):
        train(run.folder, options, device="cpu")


def test_soft_labels_are_asked_for_in_vain(run):
    shutil.rmtree(run.soft)
    with pytest.raises(InputError, match="has no soft labels"):
        train(run.folder, replace(SHORT, labels="soft"), device="cpu")


def test_cuda_is_not_replaced_by_the_cpu_in_silence():
    if torch.cuda.is_available():
        assert choose_device("auto") == "cuda"
        return
    assert choose_device("auto") == "cpu"
    with pytest.raises(UsageError, match="torch finds 0"):
        choose_device("cuda")
    with pytest.raises(UsageError, match=r"2 CUDA device\(s\) are asked for"):
        choose_device("auto", 2)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="Make it with: softcord train plan"):
        train(tmp_path, SHORT, device="cpu")


@pytest.mark.parametrize(
    ("labels", "mirror", "axes"),
    [
        ({"background": 0, "sc": 1}, "auto", (0,)),
        ({"background": 0, "sc": 1}, "all", (0, 1, 2)),
        ({"background": 0, "sc": 1}, "none", ()),
        ({"background": 0, "left root": 1, "right root": 2}, "auto", ()),
        ({"background": 0, "left root": 1, "right root": 2}, "left-right", (0,)),
        ({"background": 0, "lesion": 1}, "auto", (0,)),
    ],
)
def test_samples_are_mirrored_where_anatomy_allows_it(labels, mirror, axes, run):
    path = run.preprocessed / "dataset.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text(encoding="utf-8")), "labels": labels}), encoding="utf-8"
    )
    _, record = open_run(run.folder)
    plans = read_json(run.plans, "")
    assert mirror_axes(run, record, replace(SHORT, mirror=mirror), plans) == axes


def test_no_variable_of_the_environment_is_left_behind(run, monkeypatch):
    monkeypatch.setenv(RAW, "elsewhere")
    with training._engine(run, 3):
        assert os.environ[RAW] == str((run.folder / "raw").resolve())
        assert os.environ[DRAWERS] == "3"
    assert os.environ[RAW] == "elsewhere"
    assert "nnUNet_results" not in os.environ
