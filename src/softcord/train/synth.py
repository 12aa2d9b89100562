"""Training of the compact model on synthetic anatomy, label maps and real images.

A run is a folder: `config.yaml`, `checkpoint.pt` (the newest one), TensorBoard logs, and at the end the model
folder that `softcord segment --model` takes. Running it again resumes it.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias

import numpy as np
import torch
import yaml

from softcord.errors import InputError, OutputError, UsageError
from softcord.models.folder import read_model_folder
from softcord.train.calibrate import calibrate
from softcord.train.config import NetworkConfig, ScheduleConfig, SynthConfig
from softcord.train.export import export_model, from_onnx
from softcord.train.network import CompactUNet, grown
from softcord.train.pool import SamplePool, Task
from softcord.train.reading import from_dict, read_config, to_dict

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
BEFORE = "before.yaml"
DESCRIPTION = "model.json"
LOG_EVERY = 50  # steps
OnStep: TypeAlias = Callable[[int, int, float], None]


def train_synth(
    config_path: Path,
    out: Path,
    *,
    data: Path | None = None,
    pseudo: Path | None = None,
    before: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    on_step: OnStep | None = None,
) -> Path:
    """Train a configuration, or go on with it, and export the model.

    Parameters
    ----------
    config_path : Path
        YAML, see `softcord.train.config.SynthConfig`.
    out : Path
        Folder of the run; made if it is missing. A checkpoint of the same configuration in it is resumed.
    data : Path, optional
        Folder below which the configuration's label maps and images lie.
    pseudo : Path, optional
        Folder of maps for images without masks, see `softcord.train.pseudo`.
    before : Path, optional
        Folder of another run, or of a model that such a run has made; its averaged weights are the start of
        this one.
    device : {"auto", "cpu", "cuda"}
    threads : int, optional
        Threads of torch on the CPU.
    on_step : callable, optional
        Called with step, steps and the running loss, now and then.

    Returns
    -------
    model : Path
        The folder of the exported model.

    Raises
    ------
    InputError
        The configuration or the data it names cannot be read, `out` holds a run of another configuration, or
        the run or model `before` has another network or no weights.
    UsageError
        The device cannot be had.
    OutputError
        `out` cannot be written.
    """
    config = read_config(config_path)
    _open_run(config, out)
    chosen = _device(device)
    if threads:
        torch.set_num_threads(threads)
    earlier = _open_earlier(config, out, before)
    start = None if before is None else _averaged_weights(before)
    task = Task(config, data, pseudo)
    network = train_network(task, out, start=start, device=chosen, on_step=on_step)
    calibration = calibrate(task, network)
    return export_model(config, network, out / "model", calibration=calibration, earlier=earlier)


def _open_earlier(config: SynthConfig, out: Path, before: Path | None) -> list[SynthConfig]:
    """The configurations that led to the start of this run; kept in `out` for when it is resumed."""
    stored = out / BEFORE
    if before is None:
        return _read_lineage(stored) if stored.exists() else []
    if (before / CHECKPOINT).is_file():
        earlier = _read_lineage(before / BEFORE) if (before / BEFORE).exists() else []
        earlier.append(read_config(before / "config.yaml"))
    elif (before / DESCRIPTION).is_file():
        earlier = _lineage_of_model(before / DESCRIPTION)
    else:
        raise InputError(
            f"{before}: holds neither a checkpoint nor a model to start from. Give the folder of a run or a "
            "model."
        )
    if not _fits(earlier[-1].network, config.network):
        raise InputError(
            f"{before}: its network is {earlier[-1].network}, which does not fit into {config.network}. Make "
            "them alike, or let the new one have more channels or powers."
        )
    _write_yaml([to_dict(each) for each in earlier], stored)
    return earlier


def _fits(old: NetworkConfig, new: NetworkConfig) -> bool:
    """Whether weights of one network can be those of a part of another, see `network.grown`."""
    alike = old.fold == new.fold and len(old.channels) == len(new.channels)
    narrower = all(a <= b for a, b in zip(old.channels, new.channels, strict=False))
    return alike and narrower and old.grey_powers <= new.grey_powers


def _read_lineage(path: Path) -> list[SynthConfig]:
    return [from_dict(each, str(path)) for each in yaml.safe_load(path.read_text(encoding="utf-8"))]


def _lineage_of_model(path: Path) -> list[SynthConfig]:
    """The configurations in a model's description, the first one first."""
    read_model_folder(path.parent)  # checks it
    content = json.loads(path.read_text(encoding="utf-8"))
    before = content["training_before"] or []
    stored = [*([before] if isinstance(before, dict) else before), content["training"]]
    return [from_dict(each, str(path)) for each in stored]


def _averaged_weights(before: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a run, or those of a model."""
    if (before / CHECKPOINT).is_file():
        average: dict[str, torch.Tensor] = _read_checkpoint(before / CHECKPOINT)["average"]
        return average
    return from_onnx(read_model_folder(before).graph)


def _open_run(config: SynthConfig, out: Path) -> None:
    """Make the run's folder, or check that it belongs to this configuration."""
    stored = out / "config.yaml"
    wanted = to_dict(config)
    if stored.exists():
        found = to_dict(read_config(stored))
        different = [
            key for key in wanted if found[key] != wanted[key] and key not in ("workers", "checkpoint_every")
        ]
        if different:
            raise InputError(
                f"{out}: holds a run with other values of {', '.join(different)}. Choose another folder."
            )
        return
    _write_yaml(wanted, stored)


def _write_yaml(content: Any, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path.parent}: cannot be written ({error.strerror}). Choose another folder."
        ) from error


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "device cuda was asked for and torch finds none. Use --device cpu, or install torch for CUDA."
        )
    chosen = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    log.info("device %s", chosen)
    return torch.device(chosen)


def load_average(out: Path, config: SynthConfig) -> CompactUNet:
    """The averaged weights of a run's newest checkpoint, as a network in evaluation mode."""
    network = _network(config)
    network.load_state_dict(_read_checkpoint(out / CHECKPOINT)["average"])
    network.eval()
    return network


def _network(config: SynthConfig) -> CompactUNet:
    return CompactUNet(config.network.channels, config.network.fold, config.network.grey_powers)


def train_network(
    task: Task,
    out: Path,
    *,
    start: dict[str, torch.Tensor] | None = None,
    device: torch.device,
    on_step: OnStep | None = None,
) -> CompactUNet:
    """Train from the newest checkpoint in `out`, or from the weights `start`, or from random ones.

    Returns
    -------
    network : CompactUNet
        With the averaged weights, on the CPU.
    """
    config, schedule = task.config, task.config.schedule
    torch.manual_seed(config.seed)
    network = _network(config)
    if start is not None:
        network.load_state_dict(grown(start, network))
    network = network.to(device, memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    average = {key: value.detach().clone() for key, value in network.state_dict().items()}
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    path = out / CHECKPOINT
    step = _restore(path, network, optimiser, scaler, average) if path.exists() else 0
    if step >= schedule.steps:
        return load_average(out, config)
    log.info("%d samples are drawn", schedule.pool)
    with (
        SamplePool(task, workers=config.workers, step=step) as pool,
        _writer(out / "tensorboard") as writer,
    ):
        running, since = float("nan"), time.perf_counter()
        while step < schedule.steps:
            rate = _learning_rate(schedule, step)
            for group in optimiser.param_groups:
                group["lr"] = rate
            losses = _train_step(network, optimiser, scaler, pool.batch(step), schedule, device)
            _average_into(average, network, min(schedule.ema, (1 + step) / (10 + step)))
            step += 1
            loss = losses["loss"]
            running = loss if np.isnan(running) else 0.98 * running + 0.02 * loss
            if step % LOG_EVERY == 0:
                for key, value in (*losses.items(), ("running loss", running), ("learning rate", rate)):
                    writer.add_scalar(key, value, step)
                if on_step is not None:
                    on_step(step, schedule.steps, running)
                seconds = (time.perf_counter() - since) / LOG_EVERY
                log.info("%d/%d loss %.4f, %.2f s/step", step, schedule.steps, running, seconds)
                since = time.perf_counter()
            if step % config.checkpoint_every == 0 or step == schedule.steps:
                _save(path, step, network, optimiser, scaler, average)
    return load_average(out, config)


def _learning_rate(schedule: ScheduleConfig, step: int) -> float:
    if step < schedule.warm_up:
        return schedule.learning_rate * (step + 1) / schedule.warm_up
    done = (step - schedule.warm_up) / max(1, schedule.steps - schedule.warm_up)
    return schedule.learning_rate * float(0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * done)))


def losses_of(
    logits: torch.Tensor,
    share: torch.Tensor,
    weight: torch.Tensor,
    dice_weight: float,
    entropy_weight: float = 4.0,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropy with soft targets, and soft Dice over each sample that holds cord.

    The minimum of the cross-entropy is at the share itself, so that sums stay unbiased; Dice keeps the many
    empty voxels from ruling.

    Parameters
    ----------
    logits, share, weight : (N, 1, I, J, K) tensor
        Voxels of weight 0 do not count.
    dice_weight, entropy_weight : float

    Returns
    -------
    loss : scalar tensor
    parts : dict of float
    """
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, share, weight=weight, reduction="sum"
    )
    entropy = entropy / weight.sum().clamp(min=1)
    predicted = torch.sigmoid(logits) * weight
    share = share * weight
    axes = (1, 2, 3, 4)
    together, both = (predicted * share).sum(axes), (predicted**2).sum(axes) + (share**2).sum(axes)
    filled = share.sum(axes) > 10
    dice = ((2 * together + 1) / (both + 1))[filled]
    dice_loss = (1 - dice).mean() if dice.numel() else torch.zeros((), device=logits.device)
    loss = entropy_weight * entropy + dice_weight * dice_loss
    return loss, {
        "loss": float(loss.detach()),
        "cross-entropy": float(entropy.detach()),
        "soft Dice": 1 - float(dice_loss.detach()),
    }


def _train_step(
    network: CompactUNet,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    batch: tuple[np.ndarray, np.ndarray, np.ndarray],
    schedule: ScheduleConfig,
    device: torch.device,
) -> dict[str, float]:
    image, share, weight = (torch.from_numpy(a).to(device) for a in batch)
    with torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
        logits = network(image.contiguous(memory_format=torch.channels_last_3d))
    loss, parts = losses_of(logits.float(), share, weight, schedule.dice, schedule.entropy)
    optimiser.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    scaler.unscale_(optimiser)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    scaler.step(optimiser)
    scaler.update()
    return parts


@torch.no_grad()
def _average_into(average: dict[str, torch.Tensor], network: CompactUNet, decay: float) -> None:
    for key, value in network.state_dict().items():
        average[key].lerp_(value, 1 - decay)


def _save(
    path: Path,
    step: int,
    network: CompactUNet,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    average: dict[str, torch.Tensor],
) -> None:
    state = {
        "step": step,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "scaler": scaler.state_dict(),
        "average": average,
    }
    temporary = path.with_suffix(".tmp")
    try:
        torch.save(state, temporary)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch tells of a full disk by a RuntimeError
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error}). Free some space, and run again.") from error


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint on the CPU, wherever it was made."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise InputError(f"{path}: no checkpoint, or a damaged one. Remove it to start anew.") from error
    return state


def _restore(
    path: Path,
    network: CompactUNet,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    average: dict[str, torch.Tensor],
) -> int:
    state = _read_checkpoint(path)
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    scaler.load_state_dict(state["scaler"])
    for key, value in state["average"].items():
        average[key].copy_(value)
    log.info("%s: resumed at step %d", path, state["step"])
    return int(state["step"])


@contextmanager
def _writer(folder: Path) -> Iterator[Any]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    try:
        yield writer
    finally:
        writer.close()
