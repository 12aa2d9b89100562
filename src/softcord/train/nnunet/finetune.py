"""Fine-tuning: the topology, plans and weights of a model, trained on with a dataset of one's own."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from softcord.train.nnunet.dataset import read_dataset
from softcord.train.nnunet.layout import RECORD, Run, read_json, write_json
from softcord.train.nnunet.planning import finish, open_folder, take_fingerprint
from softcord.train.nnunet.source import Source, check_fit, read_source
from softcord.train.nnunet.topology import PLANS_NAME
from softcord.train.nnunet.trainers import Epoch, TrainOptions
from softcord.train.nnunet.training import Start, train

log = logging.getLogger(__name__)

SCRATCH = "scratch"
GENTLE = TrainOptions(epochs=200, learning_rate=1e-3)
"""A tenth of nnU-Net's rate and a fifth of its epochs: the weights need not be found, only moved."""


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What a fine-tuning has made.

    Attributes
    ----------
    run : Run
    checkpoint : Path
    head_taken : bool
        Whether the last layers were taken from the model; they are if its labels are those of the dataset.
    scratch : Run or None
        The same training with random weights, if it was asked for.
    """

    run: Run
    checkpoint: Path
    head_taken: bool
    scratch: Run | None


def plan_like(
    source: Source,
    dataset_folder: Path,
    out: Path,
    *,
    patch: tuple[int, int, int] | None = None,
    batch: int | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Run:
    """Prepare a dataset with the plans of a model.

    Parameters
    ----------
    source : Source
    dataset_folder : Path
        Raw dataset of nnU-Net, with or without soft labels, with any labels.
    out : Path
        Folder of the run.
    patch : (3,) tuple of int, optional
        Voxels along R-L, A-P, S-I. Default: that of the model.
    batch : int, optional
        Patches per step. Default: that of the model.
    workers : int
        Processes.
    progress : bool
        Show bars on a terminal.

    Returns
    -------
    run : Run

    Raises
    ------
    InputError
        The dataset is incomplete or does not fit the model.
    UsageError
        The network cannot be trained on the patch; `out` holds a run of another dataset.
    """
    dataset = read_dataset(dataset_folder)
    size = check_fit(source, dataset, patch)
    run = open_folder(out, dataset, PLANS_NAME, source.configuration)
    take_fingerprint(run, dataset, workers=workers, progress=progress)
    settings = {
        **source.settings(),
        "patch_size": size,
        "data_identifier": f"{PLANS_NAME}_{source.configuration}",
        "preprocessor_name": "DefaultPreprocessor",
    }
    if batch is not None:
        settings["batch_size"] = batch
    plans = {
        **source.plans,
        "dataset_name": run.dataset_name,
        "plans_name": PLANS_NAME,
        "configurations": {source.configuration: settings},
    }
    record = read_json(out / RECORD, "Choose another folder.")
    record["from"] = {"model": source.name, "checkpoint_sha256": source.sha256}
    write_json(record, out / RECORD)
    finish(run, dataset, plans, workers=workers, progress=progress)
    return run


def finetune(
    dataset_folder: Path,
    model: str | Path,
    out: Path,
    options: TrainOptions = GENTLE,
    *,
    patch: tuple[int, int, int] | None = None,
    batch: int | None = None,
    fold: int | str = 0,
    scratch: bool = False,
    device: str = "auto",
    gpus: int = 1,
    threads: int | None = None,
    workers: int = 0,
    progress: bool = False,
    on_epoch: Callable[[str, Epoch], None] | None = None,
) -> FineTuned:
    """Fine-tune a model on a dataset, or go on with it.

    Parameters
    ----------
    dataset_folder : Path
        Raw dataset of nnU-Net, with or without soft labels, with any labels.
    model : str or Path
        Name of an installed model, a folder of nnU-Net's layout, or the archive of a release.
    out : Path
        Folder of the run.
    options : TrainOptions
        Also of the training from scratch.
    patch : (3,) tuple of int, optional
        Voxels along R-L, A-P, S-I. Default: that of the model.
    batch : int, optional
        Patches per step. Default: that of the model.
    fold : int or "all"
        Of the splits.
    scratch : bool
        Train a network with random weights the same way, to compare with.
    device : {"auto", "cpu", "cuda"}
    gpus : int
    threads : int, optional
    workers : int
        Processes for preprocessing, and for drawing patches.
    progress : bool
        Show bars on a terminal.
    on_epoch : callable, optional
        Called after each epoch with ``"finetune"`` or ``"scratch"``.

    Returns
    -------
    result : FineTuned

    Raises
    ------
    ModelError, InputError, UsageError
        The model cannot be used, the dataset does not fit it, or options cannot be.
    """
    options.check()
    source = read_source(model)
    run = plan_like(
        source, dataset_folder, out, patch=patch, batch=batch, workers=max(1, workers), progress=progress
    )
    head = source.labels_agree(read_dataset(dataset_folder))
    log.info("The last layers are %s", "taken from the model" if head else "random: the labels are others")
    told = on_epoch or (lambda _which, _epoch: None)

    def go(which: str, start: Start | None) -> Path:
        return train(
            out,
            options,
            results="results" if start else SCRATCH,
            fold=fold,
            device=device,
            gpus=gpus,
            threads=threads,
            workers=workers,
            start=start,
            progress=progress,
            on_epoch=lambda epoch: told(which, epoch),
        )

    checkpoint = go("finetune", Start(source.weights, head))
    baseline = None
    if scratch:
        go(SCRATCH, None)
        baseline = Run(run.folder, run.dataset_name, run.plans_name, run.configuration, SCRATCH)
    return FineTuned(run, checkpoint, head, baseline)
