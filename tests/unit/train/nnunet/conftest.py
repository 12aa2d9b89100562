"""One dataset, planned and trained once for all tests of training with nnU-Net."""

from pathlib import Path

import pytest

from trainingdata import write_dataset

PATCH = (16, 32, 64)


@pytest.fixture(autouse=True)
def one_thread():
    """No waiting for threads."""
    torch = pytest.importorskip("torch", reason="needs torch, which comes with softcord[train]")
    pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """Three phantoms with soft labels."""
    return write_dataset(tmp_path_factory.mktemp("raw") / "Dataset101_Cord")


@pytest.fixture(scope="session")
def planned(dataset, tmp_path_factory):
    """A run that is planned; not to be trained in."""
    pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")
    from softcord.train.nnunet.planning import PlanOptions, plan

    options = PlanOptions("contrast-agnostic-small", patch=PATCH, spacing=(1.5, 1.2, 1.5))
    return plan(dataset, tmp_path_factory.mktemp("runs") / "planned", options)


@pytest.fixture(scope="session")
def trained(planned, tmp_path_factory):
    """A run of two short epochs on soft labels."""
    import shutil
    from dataclasses import replace

    from softcord.train.nnunet.trainers import TrainOptions
    from softcord.train.nnunet.training import train

    folder = tmp_path_factory.mktemp("runs") / "trained"
    shutil.copytree(planned.folder, folder)
    train(folder, TrainOptions(epochs=2, iterations=2, validation_iterations=1), device="cpu", threads=1)
    return replace(planned, folder=folder)


@pytest.fixture(scope="session")
def tuned(dataset, root, tmp_path_factory):
    """The trained model of the tests, trained on for two short epochs: a run whose network finds the cord."""
    pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")
    from softcord.train.nnunet.finetune import finetune
    from softcord.train.nnunet.trainers import TrainOptions

    options = TrainOptions(epochs=2, iterations=2, validation_iterations=1, learning_rate=1e-4)
    out = tmp_path_factory.mktemp("runs") / "tuned"
    return finetune(dataset, root / "tests/data/small-nnunet", out, options, device="cpu", threads=1).run
