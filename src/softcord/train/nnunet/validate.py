"""Validation at the end of a training: each case of the fold predicted whole, once, on the preprocessed grid.

nnU-Net's own predicts eight mirrored copies, resamples them to the images and writes them; that takes longer
than many a training.
"""

import csv
import io
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import blosc2
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from softcord import scores
from softcord.nifti import write_text
from softcord.progress import track
from softcord.train.nnunet.calibration import fit, keep_calibration, tally
from softcord.train.nnunet.layout import Run, read_json, what_it_prints_to_the_log


@dataclass(frozen=True, slots=True)
class Validation:
    """How well one case is predicted.

    Attributes
    ----------
    case : str
    label : str
    dice : float
        Of the predicted label, or of the share cut at 0.5.
    soft_dice : float
        Of the share; NaN without soft labels.
    volume_ratio : float
        Predicted over true volume: of the share for soft labels, else of the label.
    """

    FILE: ClassVar[str] = "validation.tsv"

    case: str
    label: str
    dice: float
    soft_dice: float
    volume_ratio: float


def validate(
    run: Run, checkpoint: Path, fold: int | str, *, soft: bool, device: torch.device, progress: bool = False
) -> list[Validation]:
    """Predict the validation cases of a fold and write validation.tsv beside the checkpoint.

    A model with one label is calibrated on them, see `softcord.train.nnunet.calibration`; the table is of its
    shares before that.

    Parameters
    ----------
    run : Run
    checkpoint : Path
    fold : int or "all"
        With ``"all"`` there are no validation cases, and the table is empty.
    soft : bool
        Compare with the soft labels.
    device : torch.device
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    table : list of Validation
    """
    names = _validation_cases(run, fold)
    rows: list[Validation] = []
    tallies = []
    predictor, labels, arrays = _predictor(run, checkpoint, device)
    for name in track(names, "validate", enabled=progress):
        data = torch.from_numpy(blosc2.open(str(arrays / f"{name}.b2nd"), mode="r")[:])
        label = blosc2.open(str(arrays / f"{name}_seg.b2nd"), mode="r")[:][0]
        with what_it_prints_to_the_log():
            logits = predictor.predict_sliding_window_return_logits(data).float()
        has_share = len(logits) == 2 and len(labels) == 1
        if has_share:
            share = logits.softmax(0)[1].cpu().numpy()
            true = blosc2.open(str(run.soft / f"{name}.b2nd"), mode="r")[:][0] if soft else label == 1
            tallies.append(tally(share, true))
        if soft:
            rows.append(
                Validation(
                    name,
                    next(iter(labels)),
                    scores.dice(share >= 0.5, true >= 0.5),
                    scores.soft_dice(share, true),
                    scores.volume_ratio(share, true),
                )
            )
            continue
        found = logits.argmax(0).cpu().numpy()
        for label_name, value in labels.items():
            one, other = found == value, label == value
            ratio = scores.volume_ratio(one.astype(float), other.astype(float))
            rows.append(Validation(name, label_name, scores.dice(one, other), float("nan"), ratio))
    keep_calibration(run, fold, fit([each for each in tallies if each is not None]))
    write_text(_table(rows), run.fold(fold) / Validation.FILE, overwrite=True)
    return rows


def read_validation(fold: Path) -> list[tuple[str, float, int]]:
    """Label, mean Dice and number of cases, of a fold that was validated."""
    path = fold / Validation.FILE
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    labels = dict.fromkeys(row["label"] for row in rows)
    dices = {name: [float(row["dice"]) for row in rows if row["label"] == name] for name in labels}
    return [(name, sum(values) / len(values), len(values)) for name, values in dices.items()]


def _validation_cases(run: Run, fold: int | str) -> list[str]:
    splits = run.preprocessed / "splits_final.json"
    if fold == "all" or not splits.is_file():
        return []
    folds = json.loads(splits.read_text(encoding="utf-8"))
    return list(folds[int(fold)]["val"]) if int(fold) < len(folds) else []


def load_network(run: Run, checkpoint: Path, device: torch.device) -> torch.nn.Module:
    """The network of a run with the weights of a checkpoint, ready to predict.

    Parameters
    ----------
    run : Run
    checkpoint : Path
        Written by this run.
    device : torch.device
    """
    plans = PlansManager(read_json(run.plans, "Plan again."))
    content = read_json(run.preprocessed / "dataset.json", "Plan again.")
    configuration = plans.get_configuration(run.configuration)
    with what_it_prints_to_the_log():
        network: torch.nn.Module = nnUNetTrainer.build_network_architecture(
            plans,
            configuration,
            len(configuration.normalization_schemes),
            plans.get_label_manager(content).num_segmentation_heads,
            enable_deep_supervision=False,
        )
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=False)["network_weights"])
    return network.to(device).eval()


def _predictor(run: Run, checkpoint: Path, device: torch.device) -> tuple[Any, dict[str, int], Path]:
    plans = PlansManager(read_json(run.plans, "Plan again."))
    content = read_json(run.preprocessed / "dataset.json", "Plan again.")
    configuration = plans.get_configuration(run.configuration)
    network = load_network(run, checkpoint, device)
    with what_it_prints_to_the_log():
        predictor = nnUNetPredictor(use_mirroring=False, device=device, allow_tqdm=False)
        predictor.manual_initialization(
            network, plans, configuration, None, content, nnUNetTrainer.__name__, None
        )
    labels = {
        name: value
        for name, value in content["labels"].items()
        if isinstance(value, int) and value > 0 and name != "ignore"
    }
    return predictor, labels, run.preprocessed / configuration.data_identifier


def _table(rows: list[Validation]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Validation)], delimiter="\t", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {key: f"{value:.4f}" if isinstance(value, float) else value for key, value in asdict(row).items()}
        )
    return text.getvalue()
