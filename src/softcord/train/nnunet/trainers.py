"""The trainer: nnU-Net's own, with what softcord adds to it.

Soft labels, a schedule from settings, resuming after each epoch, TensorBoard, silence. Checkpoints are
nnU-Net's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from softcord.errors import UsageError
from softcord.progress import Bar
from softcord.train.nnunet.layout import what_it_prints_to_the_log
from softcord.train.nnunet.losses import AdaptiveWing, SoftDiceAndEntropy
from softcord.train.nnunet.targets import SoftDataset, with_soft_target

Labels: TypeAlias = Literal["auto", "soft", "hard"]
Loss: TypeAlias = Literal["dice-ce", "wing"]
Mirror: TypeAlias = Literal["auto", "left-right", "all", "none"]

_ANISOTROPIC = 3.0
_ROTATION = (-np.pi / 6, np.pi / 6)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How is trained.

    Attributes
    ----------
    labels : {"auto", "soft", "hard"}
        ``"auto"``: soft where the dataset has soft labels.
    loss : {"dice-ce", "wing"}
        Soft Dice and cross-entropy, or adaptive wing; the latter needs soft labels.
    foreground_weight : float
        Of the adaptive wing loss: how much more errors in and next to the cord count.
    epochs, iterations, validation_iterations : int
        Iterations are those of one epoch.
    learning_rate : float
        At the start; it falls to 0 by a power of 0.9, as nnU-Net's does.
    save_every : int
        Epochs.
    mirror : {"auto", "left-right", "all", "none"}
        Axes along which samples are mirrored. ``"auto"``: left-right, unless labels have sides.
    seed : int
    """

    labels: Labels = "auto"
    loss: Loss = "dice-ce"
    foreground_weight: float = 8.0
    epochs: int = 1000
    iterations: int = 250
    validation_iterations: int = 50
    learning_rate: float = 1e-2
    save_every: int = 1
    mirror: Mirror = "auto"
    seed: int = 0

    def check(self) -> None:
        """Raise UsageError if options cannot be, or contradict each other."""
        for name in ("epochs", "iterations", "validation_iterations", "save_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.learning_rate < 1:
            raise UsageError(f"The learning rate must be between 0 and 1, got {self.learning_rate}.")
        if self.foreground_weight < 0:
            raise UsageError(f"The weight of the foreground must be 0 or more, got {self.foreground_weight}.")
        if self.loss == "wing" and self.labels == "hard":
            raise UsageError(
                "The adaptive wing loss is for soft labels. Give --labels soft, or --loss dice-ce."
            )


@dataclass(frozen=True, slots=True)
class Epoch:
    """What became of one epoch.

    Attributes
    ----------
    epoch, epochs : int
        Counted from 1.
    train_loss, validation_loss : float
    dice : float
        On the validation patches: soft for soft labels.
    volume_ratio : float
        Predicted over true volume of these patches; NaN where they hold no cord.
    seconds : float
    """

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    dice: float
    volume_ratio: float
    seconds: float


class SoftcordTrainer(nnUNetTrainer):
    """nnU-Net's trainer; `prepare` must be called after it is made."""

    options: TrainOptions
    soft_folder: Path | None = None
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    on_epoch: Callable[[Epoch], None] | None = None
    volume_ratio: float = float("nan")
    bar: Bar | None = None

    def prepare(
        self,
        options: TrainOptions,
        *,
        soft: Path | None,
        mirror_axes: tuple[int, ...],
        tensorboard: Path | None = None,
    ) -> None:
        """Set the schedule and where soft labels lie.

        Parameters
        ----------
        options : TrainOptions
        soft : Path, optional
            Folder of the soft labels. Default: hard labels are trained on.
        mirror_axes : tuple of int
            Axes of the arrays.
        tensorboard : Path, optional
            Folder for its logs.
        """
        self.options, self.soft_folder, self.mirror_axes = options, soft, mirror_axes
        self.num_epochs = options.epochs
        self.num_iterations_per_epoch = options.iterations
        self.num_val_iterations_per_epoch = options.validation_iterations
        self.initial_lr = options.learning_rate
        self.save_every = options.save_every
        self.logger.plot_progress_png = lambda _folder: None  # TensorBoard shows it, and this takes seconds
        if tensorboard is not None and self.local_rank == 0:
            self.logger.loggers.append(_TensorBoard(tensorboard))

    # ---- what nnU-Net does, done quietly

    def print_to_log_file(
        self, *args: object, also_print_to_console: bool = True, add_timestamp: bool = True
    ) -> None:
        """Into its log file alone."""
        del also_print_to_console
        super().print_to_log_file(*args, also_print_to_console=False, add_timestamp=add_timestamp)

    def plot_network_architecture(self) -> None:
        """Not drawn: it needs a package that is no longer kept."""

    def on_train_start(self) -> None:
        """Load data; what nnU-Net prints goes to the log."""
        with what_it_prints_to_the_log():
            super().on_train_start()

    def save_checkpoint(self, filename: str) -> None:
        """Whole or not at all, so that a run that is killed can be resumed."""
        if self.local_rank != 0:
            return
        temporary = f"{filename}.tmp"
        super().save_checkpoint(temporary)
        if Path(temporary).exists():
            Path(temporary).replace(filename)

    # ---- augmentation

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> Any:  # noqa: N802  nnU-Net's name
        """Rotate in space unless voxels, not patches, are flat; mirror only where anatomy allows it."""
        rotation, flat, initial, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        spacing = self.configuration_manager.spacing
        if flat and max(spacing) / min(spacing) <= _ANISOTROPIC:
            from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

            rotation, flat = _ROTATION, False
            size = self.configuration_manager.patch_size
            initial = get_patch_size(size, rotation, rotation, rotation, (0.85, 1.25))
        self.inference_allowed_mirroring_axes = self.mirror_axes
        return rotation, flat, initial, self.mirror_axes

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> Any:
        """nnU-Net's, for soft labels with the soft label carried along."""
        if self.soft_folder is None:
            return super().get_training_transforms(*args, **kwargs)
        size, rotation, scales, mirror, flat = args
        return with_soft_target(
            super().get_training_transforms(size, rotation, None, mirror, flat, **kwargs), scales
        )

    def get_validation_transforms(self, *args: Any, **kwargs: Any) -> Any:
        """nnU-Net's, for soft labels with the soft label carried along."""
        if self.soft_folder is None:
            return super().get_validation_transforms(*args, **kwargs)
        (scales,) = args
        return with_soft_target(super().get_validation_transforms(None, **kwargs), scales)

    def get_tr_and_val_datasets(self) -> Any:
        """nnU-Net's, for soft labels with the soft label beside the image."""
        if self.soft_folder is None:
            return super().get_tr_and_val_datasets()
        train, validation = self.do_split()
        return tuple(
            SoftDataset(self.preprocessed_dataset_folder, list(names), soft=self.soft_folder)
            for names in (train, validation)
        )

    # ---- loss and validation

    def _build_loss(self) -> Any:
        if self.soft_folder is None:
            return super()._build_loss()
        loss: torch.nn.Module
        if self.options.loss == "wing":
            loss = AdaptiveWing(foreground=self.options.foreground_weight)
        else:
            loss = SoftDiceAndEntropy()
        if not self.enable_deep_supervision:
            return loss
        weights = np.array([0.5**n for n in range(len(self._get_deep_supervision_scales()))])
        if len(weights) > 1:  # as nnU-Net does: the coarsest output is too coarse to learn from
            weights[-1] = 1e-6 if self.is_ddp else 0.0
        return DeepSupervisionWrapper(loss, weights / weights.sum())

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Loss, and sums from which Dice and volume follow: of shares for soft labels, else nnU-Net's."""
        if self.soft_folder is None:
            return dict(super().validation_step(batch))
        data = batch["data"].to(self.device, non_blocking=True)
        target = [each.to(self.device, non_blocking=True) for each in batch["target"]]
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            output = self.network(data)
            loss = self.loss(output, target).detach()
        share, true = output[0].detach().float().softmax(1)[:, 1:], target[0]
        overlap = torch.minimum(share, true).sum()
        sums = {"tp_hard": overlap, "fp_hard": share.sum() - overlap, "fn_hard": true.sum() - overlap}
        return {"loss": loss.cpu().numpy(), **{key: value.cpu().numpy()[None] for key, value in sums.items()}}

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Log, as nnU-Net does, and the ratio of volumes."""
        with np.errstate(invalid="ignore"):
            super().on_validation_epoch_end(_without_nan(val_outputs))
        tp, fp, fn = (
            sum(float(np.sum(o[key])) for o in val_outputs) for key in ("tp_hard", "fp_hard", "fn_hard")
        )
        self.volume_ratio = (tp + fp) / (tp + fn) if tp + fn else float("nan")
        for logger in self.logger.loggers:
            logger.log("volume_ratio", self.volume_ratio, self.current_epoch)

    # ---- progress

    def on_train_epoch_start(self) -> None:
        """Seed by epoch, so that a resumed run does not repeat what it saw."""
        torch.manual_seed(self.options.seed + self.current_epoch)
        np.random.seed((self.options.seed + self.current_epoch) % 2**32)  # noqa: NPY002  what nnU-Net draws from
        super().on_train_epoch_start()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step; counted on the bar."""
        result: dict[str, Any] = super().train_step(batch)
        if self.bar is not None:
            self.bar.advance()
        return result

    def on_epoch_end(self) -> None:
        """Log, save, and tell who wants to know."""
        super().on_epoch_end()
        if self.on_epoch is None or self.local_rank != 0:
            return
        values = {
            key: float(self.logger.get_value(key, step=-1))
            for key in (
                "train_losses",
                "val_losses",
                "mean_fg_dice",
                "epoch_start_timestamps",
                "epoch_end_timestamps",
            )
        }
        self.on_epoch(
            Epoch(
                epoch=self.current_epoch,
                epochs=self.num_epochs,
                train_loss=values["train_losses"],
                validation_loss=values["val_losses"],
                dice=values["mean_fg_dice"],
                volume_ratio=self.volume_ratio,
                seconds=values["epoch_end_timestamps"] - values["epoch_start_timestamps"],
            )
        )


# Checkpoints and folders bear the name of the trainer, and nnU-Net looks the class up by it when it predicts.
# It finds its own, which makes the same network.
SoftcordTrainer.__name__ = nnUNetTrainer.__name__


def _without_nan(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A Dice of nothing is 1, not 0 / 0, which nnU-Net would carry on in its running mean for ever."""
    keys = ("tp_hard", "fp_hard", "fn_hard")
    if any(float(np.sum(o[key])) for o in outputs for key in keys):
        return outputs
    return [{**o, "tp_hard": o["tp_hard"] + 1e-8} for o in outputs]


class _TensorBoard:
    """What nnU-Net logs, for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder))

    def update_config(self, config: dict[str, Any]) -> None:
        """Settings are in run.json."""

    def log(self, key: str, value: Any, step: int) -> None:
        """One number of an epoch."""
        if "timestamp" not in key:
            self.writer.add_scalar(key, float(value), step)
            self.writer.flush()

    def log_summary(self, key: str, value: Any) -> None:
        """One number of the whole run."""
        self.writer.add_text(key, str(value))
