"""`softcord train plan|run|finetune|all|export`: arguments reach the library, and results are said."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from softcord.cli import main


@dataclass
class Calls:
    """What the library was asked for."""

    made: list[tuple[str, tuple, dict]] = field(default_factory=list)
    accepted: bool = True

    def note(self, name, result):
        def function(*arguments, **options):
            for key in ("on_epoch", "on_step"):
                told = options.pop(key, None)
                if told is not None and name != "finetune_and_compare" and key == "on_epoch":
                    told(EPOCH)
            self.made.append((name, arguments, options))
            return result() if callable(result) else result

        return function


EPOCH = SimpleNamespace(
    epoch=1, epochs=2, train_loss=0.5, validation_loss=0.25, dice=0.9, volume_ratio=1.02, seconds=3.4
)


@pytest.fixture
def calls(monkeypatch):
    """The library, replaced by notes of what it is asked for."""
    noted = Calls()

    def module(name, **content):
        fake = ModuleType(name)
        vars(fake).update(content)
        monkeypatch.setitem(sys.modules, name, fake)

    drift = SimpleNamespace(accepted=False, reason="The mean area changes by +9 %.")

    def compared():
        verdict = None if noted.accepted else drift
        return SimpleNamespace(tuned=SimpleNamespace(checkpoint="c.pth"), lines=("Drift",), drift=verdict)

    made = SimpleNamespace(archive="m.zip", sha256="ab12", onnx=("m.onnx",))
    module(
        "softcord.train.nnunet.planning",
        plan=noted.note("plan", SimpleNamespace(plans="p.json")),
        PlanOptions=SimpleNamespace,
    )
    module("softcord.train.nnunet.training", train=noted.note("train", "c.pth"))
    module("softcord.train.nnunet.trainers", TrainOptions=SimpleNamespace)
    module("softcord.train.nnunet.release", release=noted.note("release", made))
    module("softcord.workflows.finetune", finetune_and_compare=noted.note("finetune_and_compare", compared))
    module("softcord.workflows.train_all", train_all=noted.note("train_all", "m.zip"))
    monkeypatch.setattr("softcord.cli.train_nnunet.find_spec", lambda name: object())
    return noted


def test_plan(calls, capsys):
    line = (
        "train plan raw/Dataset101_Cord -o runs/1 --patch 32 64 96 --spacing 1 0.8 0.8 --batch 3 --workers 2"
    )
    assert main(line.split()) == 0
    ((_, arguments, options),) = calls.made
    assert arguments[:2] == (Path("raw/Dataset101_Cord"), Path("runs/1"))
    assert arguments[2].patch == (32, 64, 96)
    assert arguments[2].spacing == (1.0, 0.8, 0.8)
    assert (arguments[2].topology, arguments[2].batch) == ("contrast-agnostic", 3)
    assert options == {"workers": 2, "progress": True}
    assert capsys.readouterr().out.splitlines() == ["Planned: p.json", "Next: softcord train run runs/1"]


def test_run(calls, capsys):
    assert main("train run runs/1 --epochs 5 --iterations 7 --fold all --device cpu --loss wing".split()) == 0
    ((_, arguments, options),) = calls.made
    assert arguments[0] == Path("runs/1")
    assert (arguments[1].epochs, arguments[1].iterations, arguments[1].loss) == (5, 7, "wing")
    assert (options["fold"], options["device"], options["gpus"]) == ("all", "cpu", 1)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1 of 2: loss 0.5000, validation 0.2500, Dice 0.900, volume 1.02 of the true one, 3 s",
        "Trained: c.pth",
    ]


def test_finetune_is_shorter_and_slower_by_default(calls):
    assert main("train finetune raw/D --from model.zip -o runs/1 --frozen a.nii.gz b.nii.gz".split()) == 0
    ((_, arguments, options),) = calls.made
    assert arguments[:3] == (Path("raw/D"), "model.zip", Path("runs/1"))
    assert (arguments[3].epochs, arguments[3].learning_rate) == (200, 0.001)
    assert options["frozen"] == [Path("a.nii.gz"), Path("b.nii.gz")]
    assert not options["scratch"]


def test_a_model_that_is_not_accepted_is_no_success(calls, capsys):
    calls.accepted = False
    assert main("train finetune raw/D --from model.zip -o runs/1 --frozen a.nii.gz".split()) == 8
    assert (
        capsys.readouterr().err
        == "softcord: error: The model is not accepted: The mean area changes by +9 %.\n"
    )


def test_all(calls, capsys):
    assert main("train all recipe.yaml -o out --name cord --epochs 3 -q".split()) == 0
    ((_, arguments, options),) = calls.made
    assert arguments == (Path("recipe.yaml"), Path("out"))
    assert (options["name"], options["topology"], options["patch"]) == ("cord", "contrast-agnostic", None)
    assert capsys.readouterr().out == ""


def test_export(calls, capsys):
    assert (
        main("train export runs/1 -o rel --name cord --date 20250131 --fold 0 --fold 1 --onnx".split()) == 0
    )
    ((_, arguments, options),) = calls.made
    assert arguments == (Path("runs/1"), Path("rel"))
    assert (options["day"], options["folds"], options["results"]) == ("20250131", ["0", "1"], "results")
    assert capsys.readouterr().out.splitlines() == ["Network: m.onnx", "Released: m.zip (SHA-256 ab12)"]


@pytest.mark.parametrize(
    "line",
    [
        "train plan d -o r",
        "train run r",
        "train finetune d --from m -o r",
        "train all recipe.yaml -o out --name n",
        "train export r --name n",
    ],
)
def test_without_nnunet_the_extra_is_named(line, monkeypatch, capsys):
    monkeypatch.setattr("softcord.cli.train_nnunet.find_spec", lambda name: None)
    assert main(line.split()) == 5
    assert capsys.readouterr().err.endswith("Run: pip install 'softcord[train]'\n")


@pytest.mark.parametrize(
    "line",
    [
        "train plan d",
        "train plan d -o r --patch 1 2",
        "train run r --fold x",
        "train finetune d -o r",
        "train all recipe.yaml -o out",
        "train export r",
    ],
)
def test_what_is_missing_is_a_usage_error(line, calls):
    assert main(line.split()) == 2
    assert calls.made == []
