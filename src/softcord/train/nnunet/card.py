"""The model card of a release, written from its provenance."""

import math
from statistics import mean
from typing import Any

from softcord.train.nnunet.topology import CONFIGURATION


def model_card(provenance: dict[str, Any]) -> str:
    """Markdown: what the model is, what it was trained on, how good it is, how to run it, what it is not for.

    Parameters
    ----------
    provenance : dict
        From `softcord.train.nnunet.release.collect_provenance`.
    """
    name, day, dataset = provenance["name"], provenance["date"], provenance["dataset"]
    first = next(iter(provenance["folds"].values()))["options"]
    orientation = ", ".join(dataset["orientations"])
    labels = ", ".join(f"{label} ({value})" for label, value in dataset["labels"].items())
    archive = f"model_{name}_{day}_nnunet_compatible.zip"
    rows = [
        ("Labels", labels),
        ("Training cases", f"{dataset['cases']} of {dataset['name']}"),
        ("Trained on", f"{first['labels']} labels, loss {first['loss']}"),
        (
            "Schedule",
            f"{first['epochs']} epochs of {first['iterations']} steps, rate {first['learning_rate']}",
        ),
        ("Folds", ", ".join(provenance["folds"])),
        ("Patch, voxels", " × ".join(map(str, provenance["plans"]["patch_size"]))),
        ("Voxels, mm", " × ".join(f"{mm:.3g}" for mm in provenance["plans"]["spacing"])),
        ("Axes of images run to", f"{orientation} (nibabel's letters)"),
    ]
    if provenance["calibration"]:
        rows.append(("Calibration in softcord", _calibration(provenance["calibration"])))
    if provenance["from"]:
        rows.append(("Fine-tuned from", f"{provenance['from']['model']}"))
    return "\n".join(
        [
            f"# {name}, {day}",
            "",
            "| | |",
            "|---|---|",
            *(f"| {key} | {value} |" for key, value in rows),
            "",
            "## How good it is",
            "",
            *_scores(provenance),
            "",
            *_drift(provenance["drift"]),
            "## How to run it",
            "",
            "```console",
            f"softcord models install {archive}",
            f"softcord segment IMAGE.nii.gz --model model_{name}_{day}",
            "```",
            "",
            "With nnU-Net, images must have the orientation above: unpack, then",
            f"`nnUNetv2_predict_from_modelfolder`. The configuration is {CONFIGURATION}.",
            "",
            "## What it is not for",
            "",
            "Research use only: not for diagnosis. It was validated on people of the datasets it was trained",
            "on; look at results on other scanners, contrasts and diseases before they are used.",
            "",
            "Where all of it came from, with checksums and versions: provenance.json.",
            "",
        ]
    )


def _scores(provenance: dict[str, Any]) -> list[str]:
    lines = [
        "| fold | label | cases | Dice | soft Dice | predicted over true volume |",
        "|---|---|---|---|---|---|",
    ]
    for fold, each in provenance["folds"].items():
        for label in dict.fromkeys(row["label"] for row in each["validation"]):
            of_label = [row for row in each["validation"] if row["label"] == label]
            means = [
                _mean([float(row[key]) for row in of_label]) for key in ("dice", "soft_dice", "volume_ratio")
            ]
            lines.append(f"| {fold} | {label} | {len(of_label)} | {' | '.join(means)} |")
    return lines if len(lines) > 2 else ["It was not validated."]


def _calibration(found: dict[str, Any]) -> str:
    return (
        f"logits × {found['scale']:.3f}, fitted on {found['cases']} validation cases: mean error of the soft "
        f"volume {100 * found['bias_before']:+.1f} % before, {100 * found['bias_after']:+.1f} % after"
    )


def _mean(values: list[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    return f"{mean(known):.3f}" if known else "–"


def _drift(drift: dict[str, Any] | None) -> list[str]:
    if not drift:
        return []
    verdict = "accepted" if drift["accepted"] else "not accepted"
    return ["## Drift of the cord's area", "", f"{drift['reason']} Verdict: {verdict}.", ""]
