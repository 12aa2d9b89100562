"""Fine-tune a model, then ask whether it still measures the cord as before: drift on frozen images."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from softcord.errors import UsageError
from softcord.measure import csa
from softcord.segment import segment

if TYPE_CHECKING:
    from softcord.train.nnunet.finetune import FineTuned
    from softcord.train.nnunet.trainers import TrainOptions

WORST = 2.0
"""One image may change by so many times the limit of the mean."""


@dataclass(frozen=True, slots=True)
class AreaChange:
    """Mean area of the cord in one frozen image.

    Attributes
    ----------
    image : str
    before_mm2, after_mm2 : float, mm²
        By the model that the fine-tuning began with, and by the new one.
    """

    image: str
    before_mm2: float
    after_mm2: float

    @property
    def percent(self) -> float:
        """Change relative to before; infinite if only one of the models finds a cord."""
        if not (self.before_mm2 and self.after_mm2):
            return 0.0 if self.before_mm2 == self.after_mm2 else float("inf")
        return 100 * (self.after_mm2 / self.before_mm2 - 1)


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether a new model measures as the old one did.

    Attributes
    ----------
    accepted : bool
    reason : str
        One sentence with the numbers.
    limit_percent : float
        Of the mean change; one image may change by `WORST` times that.
    changes : tuple of AreaChange
    """

    accepted: bool
    reason: str
    limit_percent: float
    changes: tuple[AreaChange, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """A fine-tuned model, and how it compares.

    Attributes
    ----------
    tuned : FineTuned
    drift : Drift or None
        None without frozen images.
    lines : tuple of str
        Validation of the model and, if it was trained, of the baseline; then the drift.
    """

    tuned: "FineTuned"
    drift: Drift | None
    lines: tuple[str, ...]


def judge_drift(changes: Sequence[AreaChange], limit_percent: float) -> Drift:
    """The verdict on changes of area.

    Parameters
    ----------
    changes : sequence of AreaChange
        At least one.
    limit_percent : float

    Examples
    --------
    >>> judge_drift([AreaChange("a", 50.0, 50.5), AreaChange("b", 50.0, 51.0)], 2.0).accepted
    True
    >>> judge_drift([AreaChange("a", 50.0, 53.0)], 2.0).reason
    'The mean area changes by +6.0 % (limit 2.0), most in a: +6.0 % (limit 4.0); images: 1.'
    """
    average = mean(change.percent for change in changes)
    worst = max(changes, key=lambda change: abs(change.percent))
    accepted = abs(average) <= limit_percent and abs(worst.percent) <= WORST * limit_percent
    reason = (
        f"The mean area changes by {average:+.1f} % (limit {limit_percent:.1f}), most in {worst.image}: "
        f"{worst.percent:+.1f} % (limit {WORST * limit_percent:.1f}); images: {len(changes)}."
    )
    return Drift(accepted, reason, limit_percent, tuple(changes))


def mean_area_mm2(image: Path, model: Any) -> float:  # noqa: ANN401  what segment takes
    """Mean area of the cord across its slices, by one model; 0 if it finds none."""
    soft = segment(image, model=model)
    if not soft.volume_mm3:
        return 0.0
    rows = csa(soft.soft).rows
    return float(rows[0].values["area_mm2"] or 0.0)


def finetune_and_compare(
    dataset: Path,
    model: str,
    out: Path,
    options: "TrainOptions",
    *,
    frozen: Sequence[Path] = (),
    limit_percent: float = 2.0,
    measure: Callable[[Path, Any], float] = mean_area_mm2,
    **how: Any,  # noqa: ANN401  see softcord.train.nnunet.finetune.finetune
) -> Compared:
    """Fine-tune a model and compare it with the one it was, and with one trained from scratch.

    Parameters
    ----------
    dataset : Path
        Raw dataset of nnU-Net.
    model : str
        Name of an installed model, folder, or archive.
    out : Path
        Folder of the run; drift.json is written there.
    options : TrainOptions
    frozen : sequence of Path
        Images on which both models measure the cord.
    limit_percent : float
        Largest mean change of area that is accepted.
    measure : callable
        Mean area in an image by a model.
    **how
        Passed to `softcord.train.nnunet.finetune.finetune`.

    Returns
    -------
    compared : Compared

    Raises
    ------
    UsageError
        Areas are to be compared, and the labels of the dataset are not those of the model.
    """
    from softcord import models
    from softcord.train.nnunet.dataset import read_dataset
    from softcord.train.nnunet.finetune import finetune
    from softcord.train.nnunet.layout import write_json
    from softcord.train.nnunet.release import DRIFT
    from softcord.train.nnunet.source import read_source, unpacked

    if limit_percent <= 0:
        raise UsageError(f"--drift-limit must be above 0 %, got {limit_percent}.")
    if frozen and not read_source(model).labels_agree(read_dataset(dataset)):
        raise UsageError(
            "The drift of the cord's area needs a dataset with the labels of the model. Leave out --frozen."
        )
    tuned = finetune(dataset, model, out, options, **how)
    drift = None
    if frozen:
        with unpacked(model) as folder:
            before = models.load(folder, device="cpu")
            areas = [measure(path, before) for path in frozen]
        after = models.load(tuned.run.model, device="cpu")
        changes = [
            AreaChange(path.name, area, measure(path, after))
            for path, area in zip(frozen, areas, strict=True)
        ]
        drift = judge_drift(changes, limit_percent)
        write_json(asdict(drift), out / DRIFT)
    return Compared(tuned, drift, tuple(_lines(tuned, drift)))


def _lines(tuned: "FineTuned", drift: Drift | None) -> list[str]:
    from softcord.train.nnunet.validate import read_validation

    lines = []
    for name, run in (("fine-tuned", tuned.run), ("from scratch", tuned.scratch)):
        if run is None:
            continue
        for path in sorted(run.model.glob("fold_*")):
            for label, dice, n in read_validation(path):
                lines.append(f"{name}, {path.name}: Dice {dice:.3f} of {label} in {n} validation cases")
    if drift is not None:
        lines.append(f"Drift: {drift.reason} {'Accepted.' if drift.accepted else 'Not accepted.'}")
    return lines
