"""Segment files to files: what is written where, in which order, and what happens when one of many fails.

All that can be known before computing is checked before computing: that no two inputs would write one
file, that no output is an input, that outputs do not exist yet and that their folders can be written. The
soft map is written last but one and the sidecar last, so a sidecar says that its outputs are complete.
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from softcord import models
from softcord.bids import Naming, Outputs, plan_outputs
from softcord.errors import OutputError, SoftcordError, UsageError
from softcord.flags import Flag
from softcord.models import Model, ModelInfo
from softcord.nifti import load_image, save_image, write_text
from softcord.progress import track
from softcord.provenance import file_sha256, sidecar
from softcord.segment.image import Segmentation, Volumes, check_threshold, segment

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What to write, and where.

    Attributes
    ----------
    out : str or Path, optional
        File of the soft map (for one input) or folder. Default: beside each input.
    naming : {"bids", "sct"}
        Names of the outputs: BIDS derivatives for BIDS inputs, or SCT's suffixes for all.
    mask : bool
        Also write the binary mask.
    threshold : float in [0, 1), optional
        Share of cord that a voxel of the mask exceeds; asking for it asks for the mask. Default: 0.5.
    volumes : "mean", "each" or int
        Which volumes of a 4-D image.
    uncertainty : bool
        Also write the uncertainty map.
    overwrite : bool
        Replace outputs that exist.
    resume : bool
        Leave inputs alone whose outputs are complete and made by the same model in the same way; redo the
        others.
    """

    out: str | Path | None = None
    naming: Naming = "bids"
    mask: bool = False
    threshold: float | None = None
    volumes: Volumes = "mean"
    uncertainty: bool = False
    overwrite: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.threshold is not None:
            check_threshold(self.threshold)
        if self.resume and self.overwrite:
            raise UsageError("resume keeps finished results and overwrite replaces them: choose one.")

    @property
    def cut(self) -> float | None:
        """Threshold of the mask; None if no mask is asked for."""
        if self.threshold is None:
            return 0.5 if self.mask else None
        return self.threshold


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one input.

    Attributes
    ----------
    input : Path
        The image.
    outputs : Outputs
        Where its results lie, or would.
    flags : tuple of Flag
        Why the result may be wrong.
    cord_found : bool
        False if the map is empty, or if there is none.
    volume_mm3, mean_area_mm2 : float
        As in :class:`Segmentation`.
    seconds : dict of str to float
        Time spent on each step, writing included.
    error : SoftcordError or None
        Why there is no result.
    skipped : bool
        True if a complete result was there already.
    """

    input: Path
    outputs: Outputs
    flags: tuple[Flag, ...] = ()
    cord_found: bool = False
    volume_mm3: float = 0.0
    mean_area_mm2: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    error: SoftcordError | None = None
    skipped: bool = False


OnResult = Callable[[FileResult, Segmentation | None], None]
"""Called after each input, with the arrays when it was segmented just now."""


def segment_files(
    inputs: Iterable[str | Path],
    options: FileOptions | None = None,
    *,
    model: Model | str | Path = "softcord",
    device: str = "auto",
    threads: int | None = None,
    outputs: Sequence[Outputs] | None = None,
    progress: bool = False,
    on_result: OnResult | None = None,
) -> list[FileResult]:
    """Segment images and write the results; one failure does not stop the others.

    Parameters
    ----------
    inputs : iterable of path
        The images.
    options : FileOptions, optional
        What to write, and where.
    model : Model, str or path
        A loaded model, a name, or where one lies; loaded once, and not at all if there is nothing to do.
    device, threads
        As for :func:`segment`.
    outputs : sequence of Outputs, optional
        Names of the results, one per input. Default: by `options`.
    progress : bool
        Show a progress bar.
    on_result : callable, optional
        Called after each input with its FileResult and, if it was segmented just now, its Segmentation.

    Returns
    -------
    list of FileResult
        One per input, in order; `error` says why one failed.

    Raises
    ------
    UsageError
        Before anything is computed: if two inputs would write one file, or an output is an input.
    ModelError
        If the model cannot be loaded.
    """
    options = options or FileOptions()
    paths = [Path(path) for path in inputs]
    places = list(outputs) if outputs is not None else plan(paths, options)
    if any(place.new_folder is not None for place in places[:1]):  # -o names one folder for all
        _refuse(folder_problem(places[0]))
    pairs = zip(paths, places, strict=True)
    problems = [find_problem(path, place, options, inputs=paths) for path, place in pairs]
    results = []
    todo = list(zip(paths, places, problems, strict=True))
    for path, place, problem in track(todo, "Segmenting", enabled=progress):
        result = FileResult(path, place, error=problem) if problem else None
        segmentation = None
        if result is None and options.resume:
            result = _finished(path, place, options, _identity(model))
        if result is None:
            if isinstance(model, str | Path):
                model = models.load(model, device=device, threads=threads)
                _LOG.info("model %s %s runs on %s", model.info.name, model.info.version, model.device)
            result, segmentation = _segment_file(path, place, options, model, threads=threads)
        results.append(result)
        if on_result:
            on_result(result, segmentation)
    return results


def _refuse(problem: SoftcordError | None) -> None:
    if problem is not None:
        raise problem


def plan(inputs: Sequence[Path], options: FileOptions) -> list[Outputs]:
    """Where the results of each input go; UsageError if two would share a file, or one is an input."""
    volume = options.volumes if isinstance(options.volumes, int) else None
    return plan_outputs(inputs, out=options.out, naming=options.naming, volume=volume)


def written(outputs: Outputs, options: FileOptions) -> list[Path]:
    """Files that a run writes for one input, in the order in which it writes them."""
    mask = [outputs.mask] if options.cut is not None else []
    uncertainty = [outputs.uncertainty] if options.uncertainty else []
    return [*mask, *uncertainty, outputs.soft, outputs.sidecar]


def find_problem(
    source: Path, outputs: Outputs, options: FileOptions, *, inputs: Sequence[Path] = ()
) -> SoftcordError | None:
    """What will keep one input from being segmented and written, as far as is known without its voxels.

    Parameters
    ----------
    source : Path
        The image.
    outputs : Outputs
        Where its results are to go.
    options : FileOptions
        What is to be written.
    inputs : sequence of Path, optional
        Files that no result may replace.
    """
    try:
        load_image(source)
    except SoftcordError as error:
        return error
    for path in written(outputs, options):
        if not (path.exists() or path.is_symlink()):
            continue
        if path.exists() and any(name.exists() and path.samefile(name) for name in inputs):
            return UsageError(f"{path}: this is an input, which is never replaced. Choose another name.")
        if path.is_dir():
            return OutputError(f"{path}: this is a folder. Give the name of a file.")
        if not (options.overwrite or options.resume):
            return OutputError(f"{path}: exists already. Replace it (--overwrite) or keep it (--resume).")
    return folder_problem(outputs)


def folder_problem(outputs: Outputs) -> OutputError | None:
    """Why nothing can be written where the results are to go; None if it can."""
    folder = outputs.soft.parent
    if folder == outputs.new_folder and not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return OutputError(f"{outputs.soft}: the folder {folder} does not exist. Make it or choose another.")
    try:
        with tempfile.TemporaryFile(dir=folder):  # permissions do not tell of read-only disks and quotas
            return None
    except OSError as error:
        reason = f"the folder {folder} cannot be written ({error.strerror})"
        return OutputError(f"{outputs.soft}: {reason}. Choose another.")


def _identity(model: Model | str | Path) -> ModelInfo:
    return models.describe(model) if isinstance(model, str | Path) else model.info


def _segment_file(
    path: Path, place: Outputs, options: FileOptions, model: Model, *, threads: int | None
) -> tuple[FileResult, Segmentation | None]:
    """Segment one input and write its results; no segmentation is returned if either fails."""
    try:
        segmentation = segment(path, model=model, volumes=options.volumes, uncertainty=options.uncertainty)
        return _write(path, place, options, segmentation, threads=threads), segmentation
    except SoftcordError as error:
        return FileResult(path, place, error=error), None


def _write(
    source: Path, outputs: Outputs, options: FileOptions, segmentation: Segmentation, *, threads: int | None
) -> FileResult:
    """Write all results of one input, the sidecar last; if one cannot be written, leave none."""
    start = time.perf_counter()
    _make_room(outputs, options)
    images = {outputs.soft: segmentation.soft}  # written last: the one that people look for
    if segmentation.uncertainty is not None:
        images = {outputs.uncertainty: segmentation.uncertainty, **images}
    if options.cut is not None:
        images = {outputs.mask: segmentation.mask(options.cut), **images}
    overwrite, done = options.overwrite or options.resume, list[Path]()
    try:
        for path, image in images.items():
            save_image(image, path, overwrite=overwrite, inputs=[source])
            done.append(path)
        seconds = {**segmentation.seconds, "write": time.perf_counter() - start}
        record = _record(source, outputs, options, segmentation, seconds, threads)
        write_text(json.dumps(record, indent=2) + "\n", outputs.sidecar, overwrite=overwrite, inputs=[source])
    except BaseException:  # KeyboardInterrupt too
        for path in done:
            path.unlink(missing_ok=True)
        raise
    return FileResult(
        input=source,
        outputs=outputs,
        flags=segmentation.flags,
        cord_found=segmentation.cord_found,
        volume_mm3=segmentation.volume_mm3,
        mean_area_mm2=segmentation.mean_area_mm2,
        seconds=seconds,
    )


def _make_room(outputs: Outputs, options: FileOptions) -> None:
    """Make the folder, and take away the old sidecar: until the new results are complete nothing says so."""
    try:
        if outputs.new_folder is not None:
            outputs.new_folder.mkdir(exist_ok=True)
        if options.overwrite or options.resume:
            outputs.sidecar.unlink(missing_ok=True)
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        raise OutputError(f"{outputs.soft}: {reason}. Choose another folder.") from error


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
        seconds=seconds,
        flags=segmentation.flags,
        threads=threads,
        threshold=options.cut,
        volumes=options.volumes,
    )
    return {
        **provenance,
        "CordFound": segmentation.cord_found,
        "CordVolumeMM3": round(segmentation.volume_mm3, 3),
        "MeanAreaMM2": round(segmentation.mean_area_mm2, 3),
    }


def _finished(source: Path, outputs: Outputs, options: FileOptions, model: ModelInfo) -> FileResult | None:
    """The result of an earlier run, if it is complete and this run would make the same."""
    if not all(path.is_file() for path in written(outputs, options)):
        return None
    try:
        record = json.loads(outputs.sidecar.read_text(encoding="utf-8"))
        result = FileResult(
            input=source,
            outputs=outputs,
            flags=tuple(Flag(**flag) for flag in record["Flags"]),
            cord_found=bool(record["CordFound"]),
            volume_mm3=float(record["CordVolumeMM3"]),
            mean_area_mm2=float(record["MeanAreaMM2"]),
            skipped=True,
        )
        made_by = {name: record[name] for name in ("ModelSHA256", "VolumesMode", "SourceSHA256")}
        threshold = record["Threshold"]
    except (OSError, ValueError, KeyError, TypeError):
        _LOG.warning(
            "%s: not the sidecar of a finished result; the image is segmented again.", outputs.sidecar
        )
        return None
    wanted = {
        "ModelSHA256": model.sha256,
        "VolumesMode": options.volumes,
        "SourceSHA256": file_sha256(source),
    }
    if made_by != wanted or (options.cut is not None and threshold != options.cut):
        return None
    return result
