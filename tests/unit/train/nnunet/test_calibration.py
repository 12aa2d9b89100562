"""The scale with which a model's soft volume is the true one, and that the release carries it."""

import json
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[train]")
pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")

import torch

from nnunet_predictions import predict_with_nnunet
from softcord.engines.nnunet.network import rescale
from softcord.segment import segment
from softcord.train.nnunet.calibration import (
    FILE,
    Calibration,
    fit,
    keep_calibration,
    read_calibration,
    tally,
)
from softcord.train.nnunet.release import release
from softcord.train.nnunet.validate import validate


def true_shares(radius=5.0, shape=(40, 40, 6)):
    """A cord with a soft edge of which more lies outside than inside, in a wide background."""
    i, j, _ = np.indices(shape)
    distance = np.hypot(i - 19.3, j - 20.1) - radius
    return (1 / (1 + np.exp(distance / np.where(distance > 0, 1.2, 0.4)))).astype(np.float32)


@pytest.mark.parametrize("wrong", [0.7, 1.4])
def test_shares_that_are_too_faint_or_too_sure_get_the_true_volume(wrong):
    truths = [true_shares(radius) for radius in (4.0, 5.0, 6.5)]
    said = [rescale(true, wrong, 0.0) for true in truths]
    before = [share.sum() / true.sum() - 1 for share, true in zip(said, truths, strict=True)]
    assert min(map(abs, before)) > 0.03
    found = fit([tally(share, true) for share, true in zip(said, truths, strict=True)])
    assert found.scale == pytest.approx(1 / wrong, rel=0.02)
    for share, true in zip(said, truths, strict=True):
        assert abs(rescale(share, found.scale, found.shift).sum() / true.sum() - 1) < 5e-3
    assert found.bias_before == pytest.approx(np.mean(before), abs=1e-3)
    assert abs(found.bias_after) < 5e-3
    assert found.cases == 3


def test_unseen_images_profit_from_a_scale_of_others():
    found = fit([tally(rescale(true_shares(radius), 0.7, 0.0), true_shares(radius)) for radius in (4.0, 6.0)])
    true = true_shares(8.0)
    share = rescale(true, 0.7, 0.0)
    before, after = (abs(each.sum() / true.sum() - 1) for each in (share, rescale(share, found.scale, 0.0)))
    assert after < before / 5


def test_right_shares_stay_as_they_are():
    assert fit([tally(true_shares(), true_shares())]) is None


def test_a_bias_that_no_scale_mends_makes_no_network_surer():
    """The edge lies too far inside and is sharp already: scales do next to nothing."""
    sharp = rescale(true_shares(4.5), 4.0, 0.0)
    assert fit([tally(sharp, true_shares(5.0))]) is None


def test_a_wrong_edge_is_not_blurred_until_the_sum_is_right():
    """The edge lies too far inside and is as steep as it should be: a low scale would mend the sum alone."""
    case = tally(true_shares(4.7), true_shares(5.0))
    assert case.bias(1.0) < -0.08
    assert abs(case.bias(0.78)) < 0.01  # so the sum alone would ask for it
    assert case.entropy(0.78) > case.entropy(1.0)
    assert fit([case]) is None


def test_the_release_carries_the_calibration_which_softcord_applies_to_what_nnunet_says(
    tuned, dataset, tmp_path
):
    run = replace(tuned, folder=tmp_path / "run")
    shutil.copytree(tuned.folder, run.folder)
    keep_calibration(run, 0, Calibration(1.3, 0.0, 1, 0.05, 0.0))
    archive = release(run.folder, tmp_path, name="cord", day="20250131").archive
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path)
    top = tmp_path / "model_cord_20250131"
    (model,) = top.glob("nnUNetTrainer*")
    assert "logits × 1.300, fitted on 1 validation cases" in (top / "model_card.md").read_text()
    path = dataset / "imagesTr" / "cord_002_0000.nii.gz"
    expected = predict_with_nnunet(model, path)
    soft = segment(path, model=model, mode="exact").soft.get_fdata()
    assert np.abs(soft - rescale(expected, 1.3, 0.0)).max() < 1e-3
    assert np.abs(soft - expected).max() > 0.03
    # the folder of the run says so, too: it is what the drift of a fine-tuning is measured with
    content = json.loads((run.model / "dataset.json").read_text())
    assert content["softcord"]["calibration"]["scale"] == 1.3


def test_without_validation_cases_nothing_is_written(trained, tmp_path):
    run = replace(trained, folder=tmp_path / "run")
    shutil.copytree(trained.folder, run.folder)
    shutil.copytree(run.fold(0), run.fold("all"))
    (run.fold("all") / FILE).unlink(missing_ok=True)
    checkpoint = run.fold("all") / "checkpoint_final.pth"
    assert validate(run, checkpoint, "all", soft=True, device=torch.device("cpu")) == []
    assert not (run.fold("all") / FILE).exists()
    assert read_calibration(run, ["all"]) is None


def test_a_cord_that_is_not_there_or_not_found_says_nothing():
    true = true_shares()
    assert tally(true, np.zeros_like(true)) is None
    assert tally(np.roll(true, 15, axis=0), true) is None
    assert fit([]) is None


def test_folds_are_averaged_and_an_old_calibration_goes(trained, tmp_path):
    run = replace(trained, folder=tmp_path)
    for fold, scale in (("0", 0.5), ("1", 2.0), ("2", None)):
        run.fold(fold).mkdir(parents=True)
        (run.model / "dataset.json").write_text('{"labels": {}, "softcord": {"orientation": "LAS"}}')
        keep_calibration(run, fold, None if scale is None else Calibration(scale, 0.0, 2, 0.1, 0.0))
    both = {"scale": pytest.approx(1.0), "shift": 0.0, "cases": 4, "bias_before": 0.1, "bias_after": 0.0}
    assert read_calibration(run, ["0", "1", "2"]) == both
    content = json.loads((run.model / "dataset.json").read_text())
    assert content["softcord"] == {"orientation": "LAS", "calibration": both}
    keep_calibration(run, "0", None)
    keep_calibration(run, "1", None)
    assert not (run.fold("0") / FILE).exists()
    assert json.loads((run.model / "dataset.json").read_text())["softcord"] == {"orientation": "LAS"}
