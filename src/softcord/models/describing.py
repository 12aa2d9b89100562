"""What is known of a model without loading it, whatever its format."""

import hashlib
from pathlib import Path
from typing import Any

from softcord.checksum import file_sha256
from softcord.models.folder import ModelInfo, read_model_folder
from softcord.models.results import read_results_facts
from softcord.models.store import Installed


def describe_installed(installed: Installed) -> ModelInfo:
    """What the record of an installed model says.

    Its `sha256` is that of its files, whatever they were packed in; `config` has the facts, and the source.
    """
    origin = {
        "kind": installed.kind,
        "source": installed.source,
        "source_sha256": installed.sha256,
        "installed": installed.installed,
    }
    return ModelInfo(
        name=installed.name,
        version=installed.version or str(installed.facts.get("version", "")) or "-",
        description=_sentence(installed.kind, installed.facts),
        sha256=installed.content_sha256,
        folder=installed.content,
        size_bytes=installed.size_bytes,
        config={**installed.facts, **origin},
        classes=_classes(installed.facts),
    )


def describe_folder(folder: Path) -> ModelInfo:
    """What a folder says that holds `model.json`, or else `plans.json`.

    Raises
    ------
    ModelError
        It holds neither, or is damaged.
    """
    if not (folder / "plans.json").is_file():
        return read_model_folder(folder).info
    facts = read_results_facts(folder)
    files = ["plans.json", "dataset.json", *facts["checkpoints"]]
    files += ["crop_metadata.json"] if facts["crop"] is not None else []
    return ModelInfo(
        name=folder.resolve().name,
        version="-",
        description=_sentence("nnunet", facts),
        sha256=content_sha256({name: file_sha256(folder / name) for name in files}),
        folder=folder,
        size_bytes=sum((folder / name).stat().st_size for name in files),
        config=facts,
        classes=_classes(facts),
    )


def content_sha256(files: dict[str, str]) -> str:
    """SHA-256 of a set of files, from their names and that of each."""
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _classes(facts: dict[str, Any]) -> tuple[str, ...]:
    """Names of what an nnU-Net model finds, as `softcord.engines.nnunet.labels` has them."""
    classes = {str(name): value for name, value in (facts.get("classes") or {}).items() if name != "ignore"}
    if any(isinstance(value, list) for value in classes.values()):  # regions
        return tuple(classes)
    return tuple(sorted(classes, key=lambda name: classes[name]))


def _sentence(kind: str, facts: dict[str, Any]) -> str:
    if kind == "nnunet":
        folds = len(facts["folds"])
        classes = ", ".join(facts["classes"])
        return f"nnU-Net {facts['configuration']}: {classes}; {folds} fold{'s' * (folds > 1)}"
    if kind == "weights":
        return "A checkpoint alone, from which a training can start; it cannot segment"
    return str(facts.get("description", ""))
