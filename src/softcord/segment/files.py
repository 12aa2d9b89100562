"""Segment files to files: what is written where, and what happens when one of many fails.

All that can be known before computing is checked before computing: that no two inputs would write one
file, that no output is an input, that outputs do not exist yet and that their folders can be written.
"""

import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from softcord import models
from softcord.bids import Outputs, image_stem, plan_outputs
from softcord.errors import InputError, OutputError, SoftcordError, UsageError
from softcord.models import Model, ModelInfo
from softcord.nifti import load_image
from softcord.progress import track
from softcord.segment.image import Segmentation, segment
from softcord.segment.nnunet import other_classes
from softcord.segment.options import FileOptions, FileResult, OnResult, written
from softcord.segment.results import find_foreign, find_results, finished_result, read_record, write_result

_LOG = logging.getLogger(__name__)


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
        Show a progress bar: over the images, or over the volumes if there is one image.
    on_result : callable, optional
        Called after each input with its FileResult and, if it was segmented just now, its Segmentation.

    Returns
    -------
    list of FileResult
        One per input, in order; `error` says why one failed. With `resume`, inputs that are results of
        softcord themselves, as a pattern finds them on a second run, are left out.

    Raises
    ------
    UsageError
        Before anything is computed: if two inputs would write one file, or an output is an input; or if
        `inputs` is one path and no list.
    ModelError
        If the model cannot be loaded.
    """
    options = options or FileOptions()
    if isinstance(inputs, str | Path):
        raise UsageError(f"inputs must be a list of paths, got the one path {inputs}. Give it as a list.")
    paths = [Path(path) for path in inputs]
    if options.channels and len(paths) != 1:
        raise UsageError("Further channels belong to one image: segment one at a time.")
    options = replace(options, classes=other_classes(_classes(model)))
    if options.resume and outputs is None:
        paths = _without_results(paths)
    places = list(outputs) if outputs is not None else plan(paths, options)
    if any(place.new_folder is not None for place in places[:1]):  # -o names one folder for all
        _refuse(folder_problem(places[0]))
    pairs = zip(paths, places, strict=True)
    problems = [find_problem(path, place, options, inputs=paths) for path, place in pairs]
    results = []
    todo = list(zip(paths, places, problems, strict=True))
    for path, place, problem in track(todo, "Segmenting", enabled=progress and len(todo) > 1):
        result = FileResult(path, place, error=problem) if problem else None
        segmentation = None
        if result is None and options.resume:
            result = finished_result(path, place, options, _identity(model))
        if result is None:
            if isinstance(model, str | Path):
                model = models.load(model, device=device, threads=threads)
                _LOG.info("model %s %s runs on %s", model.info.name, model.info.version, model.device)
            result, segmentation = _segment_file(
                path,
                place,
                options,
                model,
                threads=threads,
                inputs=paths,
                progress=progress and len(todo) == 1,
            )
        results.append(result)
        if on_result:
            on_result(result, segmentation)
    return results


def _without_results(paths: Sequence[Path]) -> list[Path]:
    """The inputs that are no results of softcord, whose sidecars name them; the others are warned about."""
    results = {folder: find_results(folder) for folder in {path.parent for path in paths}}
    for path in paths:
        if path.name in results[path.parent]:
            _LOG.warning("%s is a result of softcord, no image, and is left out.", path)
    return [path for path in paths if path.name not in results[path.parent]]


def _refuse(problem: SoftcordError | None) -> None:
    if problem is not None:
        raise problem


def plan(inputs: Sequence[Path], options: FileOptions) -> list[Outputs]:
    """Where the results of each input go; UsageError if two would share a file, or one is an input."""
    volume = options.volumes if isinstance(options.volumes, int) else None
    return plan_outputs(inputs, out=options.out, naming=options.naming, volume=volume)


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
    owner = _image_described_by(outputs.sidecar, inputs)
    if owner is not None:
        return UsageError(
            f"{outputs.sidecar}: this describes the image {owner} and is never replaced. Choose another name."
        )
    foreign = find_foreign(outputs, options) if options.resume else None
    if foreign is not None:
        return OutputError(
            f"{foreign}: exists and is not a result of softcord that can be resumed. "
            "Choose another name, or replace it (--overwrite)."
        )
    return folder_problem(outputs)


def _image_described_by(sidecar: Path, inputs: Sequence[Path]) -> Path | None:
    """The input whose own sidecar, as dcm2niix writes it, lies where that of a result is to go."""
    if not sidecar.exists() or read_record(sidecar) is not None:
        return None
    for name in inputs:
        own = name.with_name(f"{image_stem(name)}.json")
        if own.exists() and own.samefile(sidecar):
            return name
    return None


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


def _classes(model: Model | str | Path) -> tuple[str, ...]:
    """The classes of an nnU-Net model; of one that cannot be described none, so that loading it tells why."""
    try:
        return _identity(model).classes
    except SoftcordError:
        return ()


def _identity(model: Model | str | Path) -> ModelInfo:
    return models.describe(model) if isinstance(model, str | Path) else model.info


def _segment_file(
    path: Path,
    place: Outputs,
    options: FileOptions,
    model: Model,
    *,
    threads: int | None,
    inputs: Sequence[Path],
    progress: bool,
) -> tuple[FileResult, Segmentation | None]:
    """Segment one input and write its results; no segmentation is returned if either fails."""
    try:
        segmentation = segment(
            path,
            model=model,
            volumes=options.volumes,
            uncertainty=options.uncertainty,
            mode=options.mode,
            mirror=options.mirror,
            channels=options.channels,
            progress=progress,
        )
        result = write_result(path, place, options, segmentation, threads=threads, inputs=inputs)
        return result, segmentation
    except MemoryError:
        shape = " x ".join(str(n) for n in load_image(path).shape)
        too_large = InputError(
            f"{path}: too large for the memory that is free ({shape} voxels). Close other programs, crop the "
            "image, or use another machine."
        )
        return FileResult(path, place, error=too_large), None
    except SoftcordError as error:
        return FileResult(path, place, error=error), None
