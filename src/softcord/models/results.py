"""A results folder of nnU-Net: whether its parts belong together, and what they say of the network."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softcord.engines.nnunet.checkpoint import Checkpoint, read_checkpoint
from softcord.errors import ModelError
from softcord.models.layout import CROP

_LARGEST_JSON = 20 << 20  # bytes
README_FEATURES = [32, 64, 128, 256, 320, 320]  # of the network that the weights of v2.x releases are for


def read_results_facts(folder: Path) -> dict[str, Any]:
    """Read and check all parts of a results folder.

    Parameters
    ----------
    folder : Path
        With `plans.json`, `dataset.json` and `fold_*/checkpoint_*.pth`.

    Returns
    -------
    facts : dict
        Ready for JSON: configuration, trainer, classes, channels, spacing, patch, folds, checkpoints,
        mirror_axes, epochs, crop.

    Raises
    ------
    ModelError
        A part is missing, damaged or hostile, or does not belong to the others.
    """
    plans, dataset = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
    paths = sorted(folder.glob("fold_*/checkpoint_*.pth"))
    if not paths:
        raise ModelError(f"{folder}: must hold fold_*/checkpoint_*.pth. Get the model again.")
    checkpoints = {path: read_checkpoint(path) for path in paths}
    name = _configuration(folder, plans, checkpoints)
    configuration = plans["configurations"][name]
    first = next(iter(checkpoints.values()))
    return {
        "configuration": name,
        "trainer": first.trainer,
        "plans": str(plans.get("plans_name", "")),
        "classes": _classes(folder, dataset),
        "channels": _channels(folder, dataset),
        "spacing": _three(folder, _resolved(folder, plans, name, "spacing"), "spacing"),
        "patch": _three(folder, _resolved(folder, plans, name, "patch_size"), "patch_size"),
        "normalization": configuration.get("normalization_schemes"),
        "folds": sorted({path.parent.name.removeprefix("fold_") for path in paths}),
        "checkpoints": [path.relative_to(folder).as_posix() for path in paths],
        "mirror_axes": None if first.mirror_axes is None else list(first.mirror_axes),
        "epochs": first.epoch,
        "crop": read_json(folder / CROP) if (folder / CROP).exists() else None,
    }


def read_weights_facts(path: Path) -> dict[str, Any]:
    """Read and check a checkpoint that comes alone.

    Returns
    -------
    facts : dict
        `features` of the encoder's stages, and whether the network is that of the original README.

    Raises
    ------
    ModelError
        It is damaged, hostile, or of another network.
    """
    checkpoint = read_checkpoint(path)
    features: list[int] = []
    while True:
        kernel = checkpoint.weights.get(f"encoder.stages.{len(features)}.0.convs.0.conv.weight")
        if kernel is None or kernel.ndim != 5:
            break
        features.append(int(kernel.shape[0]))
    if not features:
        raise ModelError(
            f"{path}: holds weights, but not those of nnU-Net's 3-D U-Net, from which a training could start."
        )
    return {
        "features": features,
        "is_readme_topology": features == README_FEATURES,
        "epochs": checkpoint.epoch,
    }


def read_json(path: Path) -> dict[str, Any]:
    """Read a description.

    Raises
    ------
    ModelError
        It is missing, damaged, too large, or no table of values.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ModelError(f"{path}: refused: it is larger than any description.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}). Get the model again.") from error
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise ModelError(f"{path}: not JSON{where}. Get the model again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected named values, got something else. Get the model again.")
    return content


def _configuration(folder: Path, plans: dict[str, Any], checkpoints: Mapping[Path, Checkpoint]) -> str:
    """The configuration that all checkpoints are of."""
    known = plans.get("configurations")
    if not isinstance(known, dict):
        raise ModelError(f"{folder / 'plans.json'}: must hold configurations. Get the model again.")
    named = {checkpoint.configuration for checkpoint in checkpoints.values() if checkpoint.configuration}
    if len(named) > 1:
        raise ModelError(f"{folder}: its folds are of several configurations: {', '.join(sorted(named))}.")
    name = named.pop() if named else "3d_fullres"
    if not isinstance(known.get(name), dict):
        raise ModelError(
            f"{folder / 'plans.json'}: has no configuration {name[:40]}, which the checkpoints are of."
        )
    return name


def _resolved(folder: Path, plans: dict[str, Any], name: str, key: str) -> Any:  # noqa: ANN401 - what JSON holds
    """A value of a configuration, or of the one that it inherits from."""
    seen: set[str] = set()
    while name not in seen and isinstance(plans["configurations"].get(name), dict):
        seen.add(name)
        configuration = plans["configurations"][name]
        if key in configuration:
            return configuration[key]
        name = str(configuration.get("inherits_from"))
    raise ModelError(f"{folder / 'plans.json'}: gives no {key}. Get the model again.")


def _three(folder: Path, values: Any, key: str) -> list[float]:  # noqa: ANN401 - what JSON holds
    is_list = isinstance(values, list) and all(type(value) in (int, float) and value > 0 for value in values)
    if not is_list or len(values) != 3:
        given = f"{len(values)}" if is_list else "something else"
        raise ModelError(
            f"{folder / 'plans.json'}: {key} must be three numbers above 0, got {given}. "
            "Only 3-D models can be used."
        )
    return list(values)


def _classes(folder: Path, dataset: dict[str, Any]) -> dict[str, Any]:
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise ModelError(f"{folder / 'dataset.json'}: must hold labels. Get the model again.")
    return {str(name): value for name, value in labels.items() if name != "background"}


def _channels(folder: Path, dataset: dict[str, Any]) -> list[str]:
    channels = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(channels, dict) or not channels:
        raise ModelError(f"{folder / 'dataset.json'}: must hold channel_names. Get the model again.")
    return [str(name) for name in channels.values()]
