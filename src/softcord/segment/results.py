"""Results on disk: written together, and known again by what their sidecar says.

A result is a soft map, its sidecar and what else was asked for. The sidecar names these files ("Outputs"), so
that they are told from files that something else made, and says whether all of them are there ("Complete").
"""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import softcord
from softcord.bids import Outputs, class_path
from softcord.checksum import file_sha256
from softcord.errors import OutputError
from softcord.flags import Flag
from softcord.models import ModelInfo
from softcord.nifti import FileSet
from softcord.provenance import sidecar
from softcord.segment.image import Segmentation
from softcord.segment.nnunet import choose_mode
from softcord.segment.options import FileOptions, FileResult, written

_LOG = logging.getLogger(__name__)


def read_record(path: Path) -> dict[str, Any] | None:
    """Content of a sidecar that softcord wrote; None if there is none, or something else made it."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        is_ours = record["GeneratedBy"][0]["Name"] == "softcord" and isinstance(record["Outputs"], list)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return record if is_ours else None


def find_results(folder: Path) -> set[str]:
    """Names of the files in a folder that belong to a result of softcord."""
    records = [read_record(path) for path in folder.glob("*.json")]
    return {str(name) for record in records if record for name in record["Outputs"]}


def find_foreign(outputs: Outputs, options: FileOptions) -> Path | None:
    """A file in the place of a result that does not belong to one of softcord; None if there is none."""
    record = read_record(outputs.sidecar)
    ours = record["Outputs"] if record else []
    for path in written(outputs, options):
        if (path.exists() or path.is_symlink()) and path.name not in ours:
            return path
    return None


def write_result(
    source: Path,
    outputs: Outputs,
    options: FileOptions,
    segmentation: Segmentation,
    *,
    threads: int | None = None,
    inputs: Sequence[Path] = (),
) -> FileResult:
    """Write all files of one result, or none.

    All are written under other names first. Then a sidecar that says that the result is not complete takes
    its name, the maps take theirs, and the complete sidecar replaces the first: a run that is killed at any
    time leaves files that are known as softcord's and that do not pass for a result.
    """
    start = time.perf_counter()
    _make_folder(outputs)
    names = [path.name for path in written(outputs, options)]
    overwrite = options.overwrite or options.resume
    with FileSet(overwrite=overwrite, inputs=[source, *inputs]) as files:
        left_over = _left_over(outputs, names)
        unfinished = _unfinished([*names, *(path.name for path in left_over)])
        files.add_text(_as_json(unfinished), outputs.sidecar)
        for path in left_over:
            files.remove(path)
        if options.cut is not None:
            files.add_image(segmentation.mask(options.cut), outputs.mask)
        if segmentation.uncertainty is not None:
            files.add_image(segmentation.uncertainty, outputs.uncertainty)
        for name, image in segmentation.classes.items():
            files.add_image(image, class_path(outputs.soft, name))
        files.add_image(segmentation.soft, outputs.soft)
        seconds = {**segmentation.seconds, "write": time.perf_counter() - start}
        record = _record(source, outputs, options, segmentation, seconds, threads)
        record = {**record, "Outputs": names, "Complete": True}
        files.add_text(_as_json(record), outputs.sidecar)
        files.commit()
    return FileResult(
        input=source,
        outputs=outputs,
        flags=segmentation.flags,
        cord_found=segmentation.cord_found,
        volume_mm3=segmentation.volume_mm3,
        mean_area_mm2=segmentation.mean_area_mm2,
        seconds=seconds,
        record=record,
    )


def finished_result(
    source: Path, outputs: Outputs, options: FileOptions, model: ModelInfo
) -> FileResult | None:
    """The result of an earlier run, if it is complete and this run would make the same."""
    files = written(outputs, options)
    record = read_record(outputs.sidecar)
    if record is None or not all(path.is_file() for path in files):
        return None
    try:
        if record["Complete"] is not True or not {path.name for path in files} <= set(record["Outputs"]):
            return None
        result = FileResult(
            input=source,
            outputs=outputs,
            flags=tuple(Flag(**flag) for flag in record["Flags"]),
            cord_found=bool(record["CordFound"]),
            volume_mm3=float(record["CordVolumeMM3"]),
            mean_area_mm2=float(record["MeanAreaMM2"]),
            skipped=True,
            record=record,
        )
        made_by = {name: record[name] for name in ("ModelSHA256", "VolumesMode", "SourceSHA256")}
        threshold = record["Threshold"]
        made_how = (record.get("Mode"), bool(record.get("Mirror")))
    except (ValueError, KeyError, TypeError):
        _LOG.warning(
            "%s: not the sidecar of a finished result; the image is segmented again.", outputs.sidecar
        )
        return None
    wanted = {
        "ModelSHA256": model.sha256,
        "VolumesMode": options.volumes,
        "SourceSHA256": file_sha256(source),
    }
    if made_how != (choose_mode(model.classes, options.mode), options.mirror):
        return None
    if made_by != wanted or (options.cut is not None and threshold != options.cut):
        return None
    return result


def _make_folder(outputs: Outputs) -> None:
    try:
        if outputs.new_folder is not None:
            outputs.new_folder.mkdir(exist_ok=True)
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        raise OutputError(f"{outputs.soft}: {reason}. Choose another folder.") from error


def _left_over(outputs: Outputs, names: Sequence[str]) -> list[Path]:
    """Files of the result that is replaced, beside its map, that the new one does not have."""
    record = read_record(outputs.sidecar)
    before = record["Outputs"] if record else []
    others = record.get("OtherClasses", []) if record else []
    classes = (class_path(outputs.soft, str(name)) for name in others)
    companions = (outputs.mask, outputs.uncertainty, *classes)
    return [path for path in companions if path.name in before and path.name not in names]


def _unfinished(names: Sequence[str]) -> dict[str, object]:
    made_by = [{"Name": "softcord", "Version": softcord.__version__}]
    return {"GeneratedBy": made_by, "Outputs": names, "Complete": False}


def _as_json(record: dict[str, object]) -> str:
    return json.dumps(record, indent=2) + "\n"


def _record(
    source: Path,
    outputs: Outputs,
    options: FileOptions,
    segmentation: Segmentation,
    seconds: dict[str, float],
    threads: int | None,
) -> dict[str, object]:
    """Content of the sidecar: how the soft map was made, and its measures."""
    provenance = sidecar(
        source,
        outputs.soft,
        model=segmentation.model,
        device=segmentation.device,
        engine=segmentation.engine,
        seconds=seconds,
        flags=segmentation.flags,
        threads=threads,
        threshold=options.cut,
        volumes=options.volumes,
    )
    return {
        **provenance,
        **segmentation.details,
        "CordFound": segmentation.cord_found,
        "CordVolumeMM3": round(segmentation.volume_mm3, 3),
        "MeanAreaMM2": round(segmentation.mean_area_mm2, 3),
    }
