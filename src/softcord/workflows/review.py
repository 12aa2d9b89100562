"""Segment images and add each result to a review page."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from softcord.bids import Outputs, image_stem, parse_name
from softcord.errors import OutputError, SoftcordError
from softcord.models import Model
from softcord.nifti import load_image
from softcord.provenance import absolute_path
from softcord.qc import Origin, add_entry, is_drawn
from softcord.segment import FileOptions, FileResult, OnResult, Segmentation, segment_files


def segment_and_review(
    inputs: Iterable[str | Path],
    options: FileOptions | None = None,
    *,
    qc: str | Path | None = None,
    subject: str | None = None,
    model: Model | str | Path = "softcord",
    device: str = "auto",
    threads: int | None = None,
    outputs: Sequence[Outputs] | None = None,
    progress: bool = False,
    on_result: OnResult | None = None,
) -> list[FileResult]:
    """Segment files to files and add an entry per result to a review page.

    Parameters
    ----------
    inputs, options, model, device, threads, outputs, progress, on_result
        As for :func:`softcord.segment.segment_files`.
    qc : path, optional
        Folder of the review page, made when missing. Default: no page.
    subject : str, optional
        Subject shown on the page. Default: from the file name, if it is a BIDS name.

    Returns
    -------
    list of FileResult
        One per input, in order; `error` says why there is no result, or no entry.

    Raises
    ------
    OutputError
        Before anything is computed, if the folder of the page cannot be made.
    """
    reviewed: list[FileResult] = []

    def review(result: FileResult, segmentation: Segmentation | None) -> None:
        if qc is not None and result.error is None:
            result = _review(result, segmentation, Path(qc), subject)
        reviewed.append(result)
        if on_result:
            on_result(result, segmentation)

    with contextlib.nullcontext() if qc is None else _made(Path(qc)):
        segment_files(
            inputs,
            options,
            model=model,
            device=device,
            threads=threads,
            outputs=outputs,
            progress=progress,
            on_result=review,
        )
    return reviewed


def _review(
    result: FileResult, segmentation: Segmentation | None, folder: Path, subject: str | None
) -> FileResult:
    """Add the entry of one result; one that was skipped keeps the entry that shows it."""
    origin = _origin_of(result)
    if segmentation is None and is_drawn(folder, result.input, origin):
        return result
    try:
        add_entry(
            load_image(result.input),
            segmentation.soft if segmentation else load_image(result.outputs.soft),
            folder,
            subject=_subject_of(result.input) if subject is None else subject,
            source=result.input,
            flags=result.flags,
            origin=origin,
        )
    except SoftcordError as error:
        return replace(result, error=error)
    return result


def _origin_of(result: FileResult) -> Origin:
    """How a result was made, by its sidecar."""
    record = result.record
    threshold = record.get("Threshold")
    volumes = record.get("VolumesMode", "mean")
    return Origin(
        result=str(absolute_path(result.outputs.soft)),
        volumes=volumes if isinstance(volumes, int) else str(volumes),
        threshold=0.5 if threshold is None else float(threshold),
        model=str(record.get("ModelName", "")),
        version=str(record.get("ModelVersion", "")),
        sha256=str(record.get("ModelSHA256", "")),
        date=str(record.get("Date", "")),
    )


def _subject_of(path: Path) -> str:
    named = parse_name(image_stem(path))
    return f"sub-{named[0]['sub']}" if named else ""


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make the folder of the page; what was made goes again if nothing was put there."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    _make_folder(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the first that is not empty, and those above it, stay
            for path in new:
                path.rmdir()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return
        reason = "it cannot be written"
    except OSError as error:
        reason = error.strerror or str(error)
    raise OutputError(f"{folder}: cannot be the folder of the review page ({reason}). Choose another.")
