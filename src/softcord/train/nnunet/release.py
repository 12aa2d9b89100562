"""A release: the archive that nnU-Net, SCT and softcord run, with a model card and where all of it came from.

::

    model_NAME_DATE/
      nnUNetTrainer__PLANS__3d_fullres/
        plans.json  dataset.json  fold_0/checkpoint_final.pth
      model_card.md  provenance.json
"""

import json
import platform
import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import softcord
from softcord.checksum import file_sha256
from softcord.errors import InputError, OutputError, UsageError
from softcord.train.nnunet.calibration import read_calibration, with_calibration
from softcord.train.nnunet.card import model_card
from softcord.train.nnunet.layout import Run, open_run, read_json
from softcord.train.nnunet.training import OPTIONS
from softcord.train.nnunet.validate import Validation, load_network

DRIFT = "drift.json"
OPSET = 18
_CHECKPOINT = "checkpoint_final.pth"
_OPPOSITE = str.maketrans("RLAPSI", "LRPAIS")
_OLDEST = (1980, 1, 1, 0, 0, 0)  # of what a zip archive can say; so that equal content is an equal archive


@dataclass(frozen=True, slots=True)
class Release:
    """The files of a release.

    Attributes
    ----------
    archive : Path
    sha256 : str
        Of the archive.
    onnx : tuple of Path
        Networks as ONNX, one for each fold, if they were asked for.
    """

    archive: Path
    sha256: str
    onnx: tuple[Path, ...]


def release(
    folder: Path,
    out: Path,
    *,
    name: str,
    day: str | None = None,
    results: str = "results",
    folds: Sequence[str] = (),
    onnx: bool = False,
    optimiser: bool = False,
    accept_drift: bool = False,
    overwrite: bool = False,
) -> Release:
    """Pack the trained model of a run.

    Parameters
    ----------
    folder : Path
        Of the run.
    out : Path
        Folder for the archive.
    name : str
        Letters, digits, ``-`` and ``_``, as ``"contrast_agnostic"``.
    day : str, optional
        As ``"20250131"``. Default: today.
    results : str
        Folder within the run: ``"scratch"`` for the baseline of a fine-tuning.
    folds : sequence of str
        Default: all that are finished.
    onnx : bool
        Write each fold's network as ONNX beside the archive, too.
    optimiser : bool
        Keep the state of the optimiser, with which nnU-Net can go on training; it doubles the size.
    accept_drift : bool
        Pack a fine-tuned model whose cord areas have drifted, too.
    overwrite : bool
        Replace an archive of that name.

    Returns
    -------
    release : Release

    Raises
    ------
    InputError
        The run is not trained, or its images have no common orientation.
    UsageError
        The name or day cannot be; the model has drifted.
    OutputError
        The archive exists or cannot be written.
    """
    run, record = open_run(folder, results=results)
    day = day or f"{date.today():%Y%m%d}"  # noqa: DTZ011  the day where one sits
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or not re.fullmatch(r"\d{8}", day):
        raise UsageError(
            f"A release needs a name of letters, digits, - and _ and a day YYYYMMDD, got {name} {day}."
        )
    checkpoints = _finished(run, folds)
    _check_drift(folder, accept=accept_drift)
    stem = f"model_{name}_{day}"
    archive = out / f"{stem}_nnunet_compatible.zip"
    if archive.exists() and not overwrite:
        raise OutputError(f"{archive}: exists already. Choose another folder, or give --overwrite.")
    provenance = collect_provenance(run, record, checkpoints, name=name, day=day)
    files: dict[str, bytes | Path] = {
        f"{stem}/{run.model.name}/plans.json": run.plans,
        f"{stem}/{run.model.name}/dataset.json": _as_json(released_dataset(run, record, list(checkpoints))),
        f"{stem}/model_card.md": model_card(provenance).encode(),
        f"{stem}/provenance.json": _as_json(provenance),
    }
    temporary = archive.with_name(archive.name + ".tmp")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as content:
            for path, data in sorted(files.items()):
                raw = data if isinstance(data, bytes) else data.read_bytes()
                content.writestr(zipfile.ZipInfo(path, _OLDEST), raw, zipfile.ZIP_DEFLATED)
            for fold, checkpoint in checkpoints.items():
                path = f"{stem}/{run.model.name}/fold_{fold}/{_CHECKPOINT}"
                with content.open(zipfile.ZipInfo(path, _OLDEST), "w", force_zip64=True) as file:
                    torch.save(released_checkpoint(checkpoint, optimiser=optimiser), file)
        temporary.replace(archive)
    except OSError as error:
        raise OutputError(
            f"{archive}: cannot be written ({error.strerror}). Choose another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    networks = (
        [write_onnx(run, path, out / f"{stem}_fold_{fold}.onnx") for fold, path in checkpoints.items()]
        if onnx
        else []
    )
    return Release(archive, file_sha256(archive), tuple(networks))


def _finished(run: Run, folds: Sequence[str]) -> dict[str, Path]:
    """Final checkpoints by fold."""
    found = {
        path.parent.name[len("fold_") :]: path for path in sorted(run.model.glob(f"fold_*/{_CHECKPOINT}"))
    }
    missing = [fold for fold in folds if fold not in found]
    if missing or not found:
        which = f"fold {missing[0]}" if missing else "no fold"
        raise InputError(
            f"{run.folder}: {which} is{' not' if missing else ''} trained to its end. Run softcord train run."
        )
    return {fold: found[fold] for fold in folds or found}


def _check_drift(folder: Path, *, accept: bool) -> None:
    path = folder / DRIFT
    if not path.is_file() or accept:
        return
    drift = read_json(path, "Fine-tune again.")
    if not drift.get("accepted", False):
        raise UsageError(
            f"{path}: the model is not accepted: {drift.get('reason')} To pack it still: --accept-drift."
        )


def released_dataset(run: Run, record: dict[str, Any], folds: Sequence[str]) -> dict[str, Any]:
    """dataset.json with the calibration, and the images' orientation where SCT looks, in SCT's letters."""
    content = read_json(run.preprocessed / "dataset.json", "Plan again.")
    if len(record["orientations"]) != 1:
        raise InputError(
            f"{run.folder}: a release must say the orientation of its images, and they have several: "
            f"{', '.join(record['orientations'])}. Convert the dataset, and train again."
        )
    (orientation,) = record["orientations"]
    own = {**(content.get("softcord") or {}), "orientation": orientation}
    content |= {"image_orientation": orientation.translate(_OPPOSITE), "softcord": own}
    return with_calibration(content, read_calibration(run, folds))


def released_checkpoint(path: Path, *, optimiser: bool) -> dict[str, Any]:
    """What nnU-Net needs of a checkpoint to predict and to fine-tune; safe to load with `weights_only`."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    given = content["init_args"]
    kept = {key: given[key] for key in ("plans", "configuration", "fold", "dataset_json")}
    return {
        "network_weights": content["network_weights"],
        "optimizer_state": content["optimizer_state"] if optimiser else None,
        "grad_scaler_state": content["grad_scaler_state"] if optimiser else None,
        "logging": _plain(content["logging"]),
        "_best_ema": None if content["_best_ema"] is None else float(content["_best_ema"]),
        "current_epoch": int(content["current_epoch"]),
        "init_args": {**kept, "device": torch.device("cpu")},
        "trainer_name": content["trainer_name"],
        "inference_allowed_mirroring_axes": content["inference_allowed_mirroring_axes"],
    }


def write_onnx(run: Run, checkpoint: Path, path: Path) -> Path:
    """One fold's network as ONNX: `image` (1, C, I, J, K) to `logits` (1, L, I, J, K), any shape that fits.

    Axes and grey levels are those of nnU-Net's preprocessed arrays.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    network = load_network(run, checkpoint, torch.device("cpu"))
    patch = read_json(run.plans, "Plan again.")["configurations"][run.configuration]["patch_size"]
    content = read_json(run.preprocessed / "dataset.json", "Plan again.")
    channels = len(content.get("channel_names") or content["modality"])
    sample = torch.zeros(1, channels, *patch)
    axes = {2: "I", 3: "J", 4: "K"}
    temporary = path.with_name(path.name + ".tmp")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # torch would rather have its newer exporter used, which needs more
            torch.onnx.export(
                network,
                (sample,),
                str(temporary),
                input_names=["image"],
                output_names=["logits"],
                dynamic_axes={"image": axes, "logits": axes},
                opset_version=OPSET,
                dynamo=False,
            )
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}). Choose another folder.") from error
    return path


def _plain(value: Any) -> Any:
    """Numbers of numpy as Python's."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def collect_provenance(
    run: Run, record: dict[str, Any], checkpoints: dict[str, Path], *, name: str, day: str
) -> dict[str, Any]:
    """Where a model came from, as JSON knows it.

    Parameters
    ----------
    run : Run
    record : dict
        Its run.json.
    checkpoints : dict of str to Path
        By fold.
    name, day : str
        Of the release.
    """
    raw = Path(record["dataset"])
    plans = read_json(run.plans, "Plan again.")
    content = read_json(run.preprocessed / "dataset.json", "Plan again.")
    files = {
        "dataset.json": raw / "dataset.json",
        "provenance.tsv": raw / "provenance.tsv",
        "splits_final.json": run.preprocessed / "splits_final.json",
        "plans.json": run.plans,
        "dataset_fingerprint.json": run.preprocessed / "dataset_fingerprint.json",
    }
    packages = (
        "nnunetv2",
        "torch",
        "batchgeneratorsv2",
        "dynamic_network_architectures",
        "numpy",
        "scipy",
        "nibabel",
    )
    return {
        "name": name,
        "date": day,
        "dataset": {
            "name": run.dataset_name,
            "cases": content["numTraining"],
            "labels": content["labels"],
            "channels": content.get("channel_names") or content.get("modality"),
            "orientations": record["orientations"],
            "recipe": record.get("recipe"),
            "sources": (content.get("softcord") or {}).get("sources"),
        },
        "sha256": {key: file_sha256(path) for key, path in files.items() if path.is_file()},
        "plans": {
            "transpose_forward": plans["transpose_forward"],
            **_told(plans["configurations"][run.configuration]),
        },
        "from": record.get("from"),
        "calibration": read_calibration(run, list(checkpoints)),
        "folds": {
            fold: {
                "checkpoint_sha256": file_sha256(path),
                "options": read_json(path.parent / OPTIONS, "Train again."),
                "validation": _validation(path.parent / Validation.FILE),
            }
            for fold, path in checkpoints.items()
        },
        "drift": read_json(run.folder / DRIFT, "") if (run.folder / DRIFT).is_file() else None,
        "versions": {
            "softcord": softcord.__version__,
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
    }


def _told(configuration: dict[str, Any]) -> dict[str, Any]:
    return {
        key: configuration[key] for key in ("patch_size", "spacing", "batch_size", "normalization_schemes")
    }


def _validation(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    head, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]


def _as_json(content: object) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
