import sys
from pathlib import Path
from types import ModuleType

import pytest

from softcord import models
from softcord.cli import main


@pytest.fixture
def trained(monkeypatch):
    """A trainer that only notes what it is asked for."""
    calls = []

    def train_synth(config_path, out, *, on_step, **options):
        calls.append((config_path, out, options))
        on_step(50, 100, 0.25)
        return out / "model"

    trainer = ModuleType("softcord.train.synth")
    trainer.train_synth = train_synth
    monkeypatch.setitem(sys.modules, "softcord.train.synth", trainer)
    monkeypatch.setattr("softcord.cli.train.find_spec", lambda name: object())
    return calls


def test_arguments_reach_the_trainer(trained, capsys):
    arguments = "--config run.yaml --out runs/1 --data maps --device cpu --threads 2".split()
    assert main(["train", "synth", *arguments]) == 0
    options = {"data": Path("maps"), "pseudo": None, "before": None, "device": "cpu", "threads": 2}
    assert trained == [(Path("run.yaml"), Path("runs/1"), options)]
    assert capsys.readouterr().out.splitlines() == [
        "step 50 of 100, loss 0.2500",
        f"Written to {Path('runs/1/model')}",
    ]


def test_a_training_starts_from_a_model_by_name_or_from_a_folder(trained, tmp_path):
    for start in ("softcord", str(tmp_path)):
        assert main(["train", "synth", "--config", "run.yaml", "--out", "runs/1", "--from", start]) == 0
    assert [options["before"] for _, _, options in trained] == [models.locate("softcord"), tmp_path]


def test_a_start_that_is_neither_is_named_before_anything_is_made(trained, capsys):
    assert main(["train", "synth", "--config", "run.yaml", "--out", "runs/1", "--from", "nowhere"]) == 5
    assert "Model 'nowhere' is not known" in capsys.readouterr().err
    assert trained == []


def test_without_torch_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr("softcord.cli.train.find_spec", lambda name: None if name == "torch" else object())
    assert main(["train", "synth", "--config", "run.yaml", "--out", "runs/1"]) == 5
    assert capsys.readouterr().err.endswith("Run: pip install 'softcord[synth]'\n")


@pytest.mark.parametrize(
    "arguments",
    [[], ["synth"], ["synth", "--config", "run.yaml"], ["pseudo", "--config", "run.yaml"], ["other"]],
)
def test_what_is_missing_is_a_usage_error(arguments, trained):
    assert main(["train", *arguments]) == 2
    assert trained == []
