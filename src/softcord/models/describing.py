"""What is known of a model without loading it, whatever its format."""

import hashlib
from pathlib import Path
from typing import Any

from softcord.checksum import file_sha256
from softcord.models.folder import ModelInfo, read_model_folder
from softcord.models.results import read_results_facts
from softcord.models.running import why_not_segment
from softcord.models.store import Installed


def describe_installed(installed: Installed) -> ModelInfo:
    """What the record of an installed model says.

    Its `sha256` is that of its files, whatever they were packed in; `config` has the facts, the source, and
    `cannot_segment`, the reason why this softcord cannot run it, if there is one.
    """
    facts = installed.facts
    if installed.kind == "nnunet":
        facts = _with_reason(facts, installed.content)
    origin = {
        "kind": installed.kind,
        "source": installed.source,
        "source_sha256": installed.sha256,
        "installed": installed.installed,
    }
    return ModelInfo(
        name=installed.name,
        version=installed.version or str(facts.get("version", "")) or "-",
        description=_sentence(installed.kind, facts),
        sha256=installed.content_sha256,
        folder=installed.content,
        size_bytes=installed.size_bytes,
        config={**facts, **origin},
        classes=_classes(facts),
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
    facts = _with_reason(read_results_facts(folder), folder)
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


def _with_reason(facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Facts with the reason why the model cannot segment, if there is one; not kept, as softcord learns."""
    reason = why_not_segment(folder, str(facts["configuration"]))
    return facts if reason is None else {**facts, "cannot_segment": reason}


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
        cannot = "; it cannot segment" if "cannot_segment" in facts else ""
        return f"nnU-Net {facts['configuration']}: {classes}; {folds} fold{'s' * (folds > 1)}{cannot}"
    if kind == "weights":
        return "A checkpoint alone, from which a training can start; it cannot segment"
    return str(facts.get("description", ""))
