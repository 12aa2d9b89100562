"""Segment images and add each result to a review page; add those of other tools."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from softcord.bids import Outputs, image_stem, parse_name
from softcord.centerline import fit_centerline
from softcord.errors import GeometryError, OutputError, SoftcordError
from softcord.flags import Flag, check_segmentation
from softcord.masks import Mask, find_levels, read_mask
from softcord.models import Model
from softcord.morphometrics import choose_pieces
from softcord.nifti import Image, image_like, load_image, read_volume, zooms_of
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


_FEW_LABELS = 10


def review_files(
    image: str | Path,
    segmentations: Sequence[str | Path],
    qc: str | Path,
    *,
    subject: str | None = None,
    levels: str | Path | None = None,
) -> list[Path | SoftcordError]:
    """Add segmentations of an image, of whatever tool, to a review page.

    Parameters
    ----------
    image : path
        What was segmented.
    segmentations : sequence of path
        Soft maps, masks, or label maps: up to ten whole numbers, or a name that ends in ``_dseg``. They must
        have the voxels of the image; the order of their axes may be another.
    qc : path
        Folder of the review page, made when missing.
    subject : str, optional
        Subject shown on the page. Default: from the file name, if it is a BIDS name.
    levels : path, optional
        Vertebral levels, as for :func:`softcord.csa`.

    Returns
    -------
    list of Path or SoftcordError
        The entry of each segmentation, or why there is none.

    Raises
    ------
    InputError
        If the image cannot be read.
    OutputError
        If the folder of the page cannot be made.
    """
    source = nib.as_closest_canonical(load_image(image))  # type: ignore[no-untyped-call]
    named = _subject_of(Path(image)) if subject is None else subject

    def add(path: Path) -> Path | SoftcordError:
        try:
            over, flags, of_slice = _read(source, path, levels)
            return add_entry(
                source,
                over,
                qc,
                subject=named,
                source=absolute_path(image),
                flags=flags,
                origin=_origin(path, _sidecar_of(path)),
                levels=of_slice,
            )
        except SoftcordError as error:
            return error

    with _made(Path(qc)):
        return [add(Path(segmentation)) for segmentation in segmentations]


def _read(
    image: Image, path: Path, levels: str | Path | None
) -> tuple[Image, tuple[Flag, ...], np.ndarray | None]:
    """A segmentation on the grid of the canonical image, why to doubt it, and the level of each slice."""
    raw = nib.as_closest_canonical(load_image(path))  # type: ignore[no-untyped-call]
    _check_same_grid(image, raw, path)
    if _is_label_map(raw, path):
        return raw, (), None
    mask = read_mask(path, allow_empty=True)
    data = read_volume(image)[0] if len(image.shape) == 3 else None
    flags = (*mask.flags, *check_segmentation(mask.soft, mask.zooms, image=data))
    return image_like(mask.soft, image), flags, None if levels is None else _levels_of(mask, levels)


def _levels_of(mask: Mask, levels: str | Path) -> np.ndarray | None:
    if not mask.soft.any():
        return None
    cord, _ = choose_pieces(mask.soft, mask.zooms)
    line = fit_centerline(cord, mask.zooms)
    found, _ = find_levels(mask, line, levels=levels)
    of_slice = np.zeros(mask.soft.shape[2], dtype=int)
    of_slice[line.slices] = found.of_slice
    return of_slice


def _is_label_map(image: Image, path: Path) -> bool:
    values = np.unique(np.asarray(image.dataobj))
    values = values[values > 0]
    is_whole = bool(np.all(values == np.round(values)))
    return is_whole and values.size > 1 and (values.size <= _FEW_LABELS or image_stem(path).endswith("_dseg"))


def _check_same_grid(image: Image, other: Image, path: Path) -> None:
    if image.shape[:3] == other.shape[:3]:
        far = np.array([*image.shape[:3], 1.0])
        corners = np.array([far * [*bits, 1] for bits in np.ndindex(2, 2, 2)])
        apart = float(np.abs(corners @ (image.affine - other.affine).T).max())
        if apart <= 0.1 * min(zooms_of(image.affine)) + 1e-3:
            return
        found = f"its voxels lie up to {apart:.2f} mm apart"
    else:
        found = f"it has {other.shape[:3]} voxels and the image {image.shape[:3]}"
    raise GeometryError(f"{path}: must be on the grid of its image, but {found}. Resample it first.")


def _sidecar_of(path: Path) -> Mapping[str, Any]:
    """What softcord wrote beside a soft map; nothing for other files."""
    try:
        facts = json.loads(path.with_name(image_stem(path) + ".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) and "ModelName" in facts else {}


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
    return _origin(result.outputs.soft, result.record)


def _origin(path: Path, record: Mapping[str, Any]) -> Origin:
    threshold = record.get("Threshold")
    volumes = record.get("VolumesMode", "mean")
    return Origin(
        result=str(absolute_path(path)),
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
