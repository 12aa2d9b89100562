"""The drift of areas after a fine-tuning: measured by both models, judged, written, obeyed."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from softcord.errors import UsageError
from softcord.workflows.finetune import AreaChange, finetune_and_compare, judge_drift


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ([0.0, 0.0], True),
        ([1.9, 1.9], True),
        ([2.1, 2.1], False),  # the mean
        ([-2.1, -2.1], False),
        ([3.9, -3.9], True),
        ([4.1, -4.1], False),  # one image
        ([float("inf"), 0.0], False),  # one model finds no cord
    ],
)
def test_a_model_is_accepted_within_the_limits(changes, accepted):
    areas = [
        AreaChange(f"{n}.nii.gz", 0.0 if percent > 100 else 50.0, 50 + min(percent, 100) / 2)
        for n, percent in enumerate(changes)
    ]
    drift = judge_drift(areas, 2.0)
    assert drift.accepted is accepted
    assert drift.reason.endswith("images: 2.")


def test_no_cord_by_both_models_is_no_change():
    assert AreaChange("a", 0.0, 0.0).percent == 0


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """A fine-tuning that is done in no time, of a model with the labels of the dataset, or others."""
    pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")
    from softcord.train.nnunet import dataset, finetune, source

    state = SimpleNamespace(agree=True, loaded=[])
    run = SimpleNamespace(folder=tmp_path, model=tmp_path / "new")
    tuned = SimpleNamespace(run=run, scratch=None, checkpoint=tmp_path / "c.pth")
    monkeypatch.setattr(finetune, "finetune", lambda *_arguments, **_options: tuned)
    monkeypatch.setattr(dataset, "read_dataset", lambda folder: None)
    monkeypatch.setattr(
        source, "read_source", lambda model: SimpleNamespace(labels_agree=lambda _: state.agree)
    )
    monkeypatch.setattr("softcord.models.load", lambda folder, **_: state.loaded.append(folder) or folder)
    return state


def test_both_models_measure_the_frozen_images_and_the_verdict_is_written(steps, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "plans.json").write_text("{}", encoding="utf-8")
    areas = {(old, "a.nii.gz"): 50.0, (tmp_path / "new", "a.nii.gz"): 53.0}
    frozen = [Path("x/a.nii.gz")]

    def measure(path, model):
        return areas[model, path.name]

    result = finetune_and_compare(
        tmp_path, str(old), tmp_path, SimpleNamespace(), frozen=frozen, measure=measure
    )
    assert steps.loaded == [old, tmp_path / "new"]
    assert not result.drift.accepted
    written = json.loads((tmp_path / "drift.json").read_text(encoding="utf-8"))
    assert written["changes"] == [{"image": "a.nii.gz", "before_mm2": 50.0, "after_mm2": 53.0}]
    assert result.lines == (f"Drift: {written['reason']} Not accepted.",)


def test_areas_of_other_labels_are_not_compared(steps, tmp_path):
    steps.agree = False
    with pytest.raises(UsageError, match="needs a dataset with the labels of the model"):
        finetune_and_compare(tmp_path, "m", tmp_path, SimpleNamespace(), frozen=[Path("a.nii.gz")])


def test_without_frozen_images_nothing_is_judged(steps, tmp_path):
    assert finetune_and_compare(tmp_path, "m", tmp_path, SimpleNamespace()).drift is None
    with pytest.raises(UsageError, match="--drift-limit must be above 0"):
        finetune_and_compare(tmp_path, "m", tmp_path, SimpleNamespace(), limit_percent=0)
