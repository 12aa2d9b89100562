"""Train one fold of a planned run, or go on with it; several GPUs as nnU-Net does it."""

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from softcord.checksum import file_sha256
from softcord.errors import InputError, UsageError
from softcord.progress import Bar
from softcord.train.nnunet.dataset import axes_of
from softcord.train.nnunet.layout import (
    Run,
    nnunet_folders,
    open_run,
    read_json,
    what_it_prints_to_the_log,
    write_json,
)
from softcord.train.nnunet.trainers import Epoch, SoftcordTrainer, TrainOptions
from softcord.train.nnunet.validate import Validation, validate

log = logging.getLogger(__name__)

DEFAULTS = TrainOptions()
OPTIONS = "options.json"
_LATEST, _FINAL = "checkpoint_latest.pth", "checkpoint_final.pth"
_FREE = ("save_every",)  # what may be changed when a run is resumed


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to begin with.

    Attributes
    ----------
    weights : dict of str to tensor or array
        As in a checkpoint of nnU-Net.
    head : bool
        Whether the last layers are taken, too.
    """

    weights: dict[str, Any]
    head: bool


def train(
    folder: Path,
    options: TrainOptions = DEFAULTS,
    *,
    results: str = "results",
    fold: int | str = 0,
    device: str = "auto",
    gpus: int = 1,
    threads: int | None = None,
    workers: int = 0,
    start: Start | None = None,
    final_validation: bool = True,
    progress: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Path:
    """Train one fold of a run that `softcord.train.nnunet.planning.plan` has made.

    A run that was interrupted goes on after its last whole epoch; one that is finished is left alone.

    Parameters
    ----------
    folder : Path
        Of the run.
    options : TrainOptions
        A run that is resumed must have the same.
    results : str
        Folder within the run for the trained model.
    fold : int or "all"
        Of the splits; ``"all"`` trains on every case.
    device : {"auto", "cpu", "cuda"}
    gpus : int
        Of this machine; more than 1 through nnU-Net's distributed training.
    threads : int, optional
        Of torch on the CPU.
    workers : int
        Processes that draw patches, for each GPU; 0 draws them between the steps.
    start : Start, optional
        Weights to begin with. Default: random.
    final_validation : bool
        Predict the validation cases whole at the end.
    progress : bool
        Show a bar on a terminal.
    on_epoch : callable, optional
        Called after each epoch.

    Returns
    -------
    checkpoint : Path
        The final one.

    Raises
    ------
    InputError
        The folder holds no run, or its dataset has no soft labels and they are asked for.
    UsageError
        Options cannot be, differ from those of the run that is resumed, or the device cannot be had.
    """
    options.check()
    run, record = open_run(folder, results=results)
    chosen = choose_device(device, gpus)
    options = replace(options, labels=choose_labels(run, options))
    final = run.fold(fold) / _FINAL
    _keep_options(run, fold, options)
    if threads:
        torch.set_num_threads(threads)
    if not final.is_file():
        log.info("Training %s on %s with %s labels", run.dataset_name, chosen, options.labels)
        if gpus > 1:
            _train_on_gpus(run, options, fold, gpus, workers, start)
        else:
            with (
                _engine(run, workers),
                Bar(_steps_left(run, options, fold), "train", enabled=progress) as bar,
            ):
                trainer = make_trainer(run, record, options, fold, torch.device(chosen), start=start)
                trainer.bar, trainer.on_epoch = bar, on_epoch
                trainer.run_training()
    if final_validation and not (run.fold(fold) / Validation.FILE).is_file():
        with _engine(run, workers):
            validate(
                run,
                final,
                fold,
                soft=options.labels == "soft",
                device=torch.device(chosen),
                progress=progress,
            )
    return final


def choose_device(device: str, gpus: int = 1) -> str:
    """The device, if it can be had.

    Raises
    ------
    UsageError
        CUDA, or so many GPUs, cannot be had.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device must be auto, cpu or cuda; got {device!r}.")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device == "cuda" or gpus > 1) and found < max(1, gpus):
        raise UsageError(
            f"{max(1, gpus)} CUDA device(s) are asked for, torch finds {found}. Choose --device cpu."
        )
    return "cuda" if found and device != "cpu" else "cpu"


def choose_labels(run: Run, options: TrainOptions) -> Any:
    """Soft or hard.

    Raises
    ------
    InputError
        Soft labels are asked for, and there are none or there is more than one label.
    """
    names = list(read_json(run.preprocessed / "dataset.json", "Plan again.")["labels"])
    has_soft = run.soft.is_dir() and any(run.soft.glob("*.b2nd"))
    if options.labels == "hard" or (options.labels == "auto" and not (has_soft and len(names) == 2)):
        if options.loss == "wing":
            raise UsageError("The adaptive wing loss is for soft labels, and this dataset has none.")
        return "hard"
    if not has_soft:
        raise InputError(f"{run.folder}: the dataset has no soft labels. Give --labels hard.")
    if len(names) != 2:
        raise InputError(
            f"{run.folder}: soft labels need one label beside the background, found {', '.join(names)}. "
            "Give --labels hard."
        )
    return "soft"


def mirror_axes(
    run: Run, record: dict[str, Any], options: TrainOptions, plans: dict[str, Any]
) -> tuple[int, ...]:
    """Axes of the arrays along which samples are mirrored.

    Left-right by default: what is mirrored so is an anatomy that exists. Upside down or back to front it is
    not, and a network that has seen it spends capacity on it.
    """
    if options.mirror in ("all", "none"):
        return (0, 1, 2) if options.mirror == "all" else ()
    labels = read_json(run.preprocessed / "dataset.json", "Plan again.")["labels"]
    sided = [name for name in labels if re.search(r"(^|[^a-z])(left|right|l|r)($|[^a-z])", name.lower())]
    if options.mirror == "auto" and sided:
        log.warning("Nothing is mirrored, since the label %s has a side.", sided[0])
        return ()
    orientations = {axes_of(name) for name in record["orientations"]}
    if len(orientations) != 1 or "RL" not in next(iter(orientations)):
        log.warning("Nothing is mirrored, since the axes of the images run differently.")
        return ()
    file_axis = next(iter(orientations)).index("RL")
    return (list(plans["transpose_forward"]).index(2 - file_axis),)  # nnU-Net reads axes as k, j, i


def make_trainer(
    run: Run,
    record: dict[str, Any],
    options: TrainOptions,
    fold: int | str,
    device: torch.device,
    *,
    start: Start | None = None,
) -> SoftcordTrainer:
    """A trainer that is ready, from its last checkpoint if there is one; within `nnunet_folders`."""
    plans = read_json(run.plans, "Plan again.")
    content = read_json(run.preprocessed / "dataset.json", "Plan again.")
    soft = run.soft if options.labels == "soft" else None
    axes = mirror_axes(run, record, options, plans)
    torch.manual_seed(options.seed)
    with what_it_prints_to_the_log():
        trainer = SoftcordTrainer(
            {**plans, "continue_training": False},
            run.configuration,
            fold,
            content,
            device,
        )
        trainer.prepare(
            options,
            soft=soft,
            mirror_axes=axes,
            tensorboard=run.folder / "tensorboard" / run.results / f"fold_{fold}",
        )
        trainer.initialize()
        latest = run.fold(fold) / _LATEST
        if latest.is_file():
            trainer.load_checkpoint(str(latest))
            log.info("Going on after epoch %d", trainer.current_epoch)
        elif start is not None:
            take_weights(trainer, start)
    return trainer


def take_weights(trainer: nnUNetTrainer, start: Start) -> list[str]:
    """Put weights into the network of a trainer.

    Returns
    -------
    left : list of str
        Names of the weights that stay random: those of the last layers, if they are not to be taken.

    Raises
    ------
    InputError
        A weight is missing or has another shape.
    """
    network = trainer.network.module if trainer.is_ddp else trainer.network
    network = getattr(network, "_orig_mod", network)
    state, left = network.state_dict(), []
    for name, value in state.items():
        if ".seg_layers." in name and not start.head:
            left.append(name)
            continue
        given = start.weights.get(name)
        shape = None if given is None else tuple(given.shape)
        if shape != tuple(value.shape):
            raise InputError(
                f"The weights do not fit the plans: {name} must have shape {tuple(value.shape)}, "
                f"got {shape}. Plan with the plans of the model that they are from."
            )
        state[name] = torch.tensor(given)
    network.load_state_dict(state)
    return left


def _keep_options(run: Run, fold: int | str, options: TrainOptions) -> None:
    """Write the options, or check that they and the plans are those with which the run was begun."""
    path = run.fold(fold) / OPTIONS
    content = {**asdict(options), "plans_sha256": file_sha256(run.plans)}
    if path.is_file():
        before = read_json(path, "Choose another folder.")
        changed = [key for key in content if key not in _FREE and before.get(key) != content[key]]
        if changed:
            key = changed[0]
            raise UsageError(
                f"{path}: the run was begun with {key} {before.get(key)}, got {content[key]}. Give the same, "
                "or choose another folder."
            )
    write_json(content, path)


def _steps_left(run: Run, options: TrainOptions, fold: int | str) -> int:
    latest = run.fold(fold) / _LATEST
    done = 0
    if latest.is_file():
        done = torch.load(latest, map_location="cpu", weights_only=False)["current_epoch"]
    return (options.epochs - done) * options.iterations


@contextmanager
def _engine(run: Run, workers: int) -> Iterator[None]:
    """nnU-Net's folders, and none of the warnings that its own code causes."""
    with nnunet_folders(run, workers=workers), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- several GPUs, as nnU-Net's own command does it


def _train_on_gpus(
    run: Run, options: TrainOptions, fold: int | str, gpus: int, workers: int, start: Start | None
) -> None:
    from nnunetv2.run.run_training import find_free_network_port

    batch = read_json(run.plans, "Plan again.")["configurations"][run.configuration]["batch_size"]
    if batch < gpus:
        raise UsageError(f"{gpus} GPUs need plans with at least {gpus} patches per step; these have {batch}.")
    before = {name: os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT")}
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(find_free_network_port()))
    try:
        arguments = (gpus, run, options, fold, workers, start)
        torch.multiprocessing.spawn(_train_rank, args=arguments, nprocs=gpus, join=True)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _train_rank(
    rank: int,
    gpus: int,
    run: Run,
    options: TrainOptions,
    fold: int | str,
    workers: int,
    start: Start | None,
) -> None:
    from nnunetv2.run.run_training import cleanup_ddp, setup_ddp

    _, record = open_run(run.folder)
    setup_ddp(rank, gpus)
    try:
        torch.cuda.set_device(rank)
        with _engine(run, workers):
            make_trainer(run, record, options, fold, torch.device("cuda"), start=start).run_training()
    finally:
        cleanup_ddp()
