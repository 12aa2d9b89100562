"""A raw dataset of nnU-Net from the datasets of a recipe."""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import softcord
from softcord.checksum import file_sha256
from softcord.dataset.cases import Case, find_cases
from softcord.dataset.casework import RECORDS, THRESHOLD, Job, convert_case, soft_name, soft_of
from softcord.dataset.people import check_leaks
from softcord.dataset.reading import read_recipe, recipe_sha256
from softcord.dataset.recipe import Recipe
from softcord.dataset.records import CaseRecord, is_done, provenance_table, read_record
from softcord.dataset.splitting import SPLIT, Split, read_split
from softcord.dataset.states import folder_of, read_states
from softcord.dataset.workers import default_jobs, work_on
from softcord.errors import InputError, OutputError, SoftcordError
from softcord.nifti import FileSet, write_text

OnCase = Callable[[str, CaseRecord | SoftcordError, int, int], None]
"""Called for each case with its name, what became of it, how many are done, and of how many."""

_LOG = logging.getLogger(__name__)

SETTINGS = f"{RECORDS}/settings.json"
_FOLDERS = ("imagesTr", "labelsTr", "softTr", "imagesTs", "labelsTs", "softTs")


@dataclass(frozen=True)
class Conversion:
    """What became of a conversion.

    Attributes
    ----------
    folder : Path
        ``DatasetNNN_Name``.
    records : tuple of CaseRecord
        Cases that were converted, now or before.
    failed : tuple of (str, SoftcordError)
        Cases that were not, with the reason; they are in no list of the dataset.
    n_before : int
        Cases that had been done by an earlier run.
    """

    folder: Path
    records: tuple[CaseRecord, ...]
    failed: tuple[tuple[str, SoftcordError], ...]
    n_before: int

    @property
    def mismatches(self) -> tuple[CaseRecord, ...]:
        """Cases whose labels were not on the grid of the image."""
        return tuple(record for record in self.records if record.placed != "same")


def convert(
    recipe: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    split: str | Path,
    soft: str | Path | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    on_case: OnCase | None = None,
) -> Conversion:
    """Convert the datasets of a recipe to a raw dataset of nnU-Net.

    Images are brought to one order of axes; nothing is interpolated. The label of each image is put on its
    grid; it is only resampled if the two headers do not fit, which is recorded. ``labelsTr`` holds the hard
    label, which nnU-Net needs for planning, and ``softTr`` the soft one, as float32 from 0 to 1: the soft
    label of `soft` or of the dataset, else the mean over the raters. The hard label is the soft one at 0.5.

    A run that was ended goes on where it was; cases whose files have changed since are done again.

    Parameters
    ----------
    recipe : path
        YAML file.
    data : path
        Folder of `softcord.dataset.get_datasets`.
    out : path
        Folder in which ``DatasetNNN_Name`` is made, as nnU-Net's ``nnUNet_raw``.
    split : path
        ``split.json``, or its folder.
    soft : path, optional
        Folder of `softcord.dataset.make_soft_labels`. Images without a map there keep the labels they have,
        with a warning.
    jobs : int, optional
        Number of processes. Default: one per core, at most 8.
    overwrite : bool
        Replace a dataset that was made from another split or recipe (default: refuse).
    on_case : callable, optional
        Called after each case.

    Returns
    -------
    conversion : Conversion

    Raises
    ------
    InputError
        If nothing can be converted, or if the content of an image is in two sets.
    OutputError
        If the dataset there was made from another split or recipe.
    """
    recipe, data, out, split = Path(recipe), Path(data), Path(out), Path(split)
    split = split / SPLIT if split.is_dir() else split
    plan, parts = read_recipe(recipe), read_split(split)
    folder = out / f"Dataset{plan.number:03d}_{plan.name}"
    work = _jobs(plan, parts, data, folder, None if soft is None else Path(soft))
    settings = {
        "recipe_sha256": recipe_sha256(recipe),
        "split_sha256": file_sha256(split),
        "orientation": plan.orientation,
    }
    _prepare(folder, settings, overwrite=overwrite)
    done: list[CaseRecord] = []
    failed: list[tuple[str, SoftcordError]] = []
    waiting: list[Job] = []
    for job in work:
        found = _done_before(job)
        if isinstance(found, CaseRecord):
            done.append(found)
        elif found is None:
            waiting.append(job)
        else:
            failed.append((job.case.name, found))
    n_before = len(done)
    for job, result in work_on(waiting, convert_case, jobs or default_jobs()):
        if isinstance(result, SoftcordError):
            failed.append((job.case.name, result))
        else:
            done.append(result)
        if on_case:
            on_case(job.case.name, result, len(done) + len(failed), len(work))
    _check_copies(done)
    _finish(plan, parts, settings, folder, done)
    return Conversion(folder, tuple(sorted(done, key=_name)), tuple(sorted(failed, key=_first)), n_before)


def _jobs(plan: Recipe, parts: Split, data: Path, folder: Path, soft: Path | None) -> list[Job]:
    """All cases that the split has a set for."""
    states = read_states(data, plan)
    cases = [
        case for source in plan.datasets for case in find_cases(source, folder_of(data, states[source.name]))
    ]
    sets = {case.owner: parts.set_of(*case.owner) for case in cases}
    kept = [case for case in cases if sets[case.owner] is not None]
    new = sorted(
        {"/".join(case.owner) for case in cases if sets[case.owner] is None and not _is_left_out(case, plan)}
    )
    if new:
        shown = ", ".join(new[:5]) + (" and more" if len(new) > 5 else "")
        raise InputError(
            f"{shown}: in no set of the split. Make the split again, with the old one as frozen list."
        )
    _check_names(kept)
    _check_soft(kept, soft)
    check_leaks(kept, [sets[case.owner] or "" for case in kept])
    work = []
    for case in kept:
        path, root = soft_of(case, soft)
        work.append(Job(case, sets[case.owner] or "", path, root, plan.orientation, folder))
    return work


def _is_left_out(case: Case, plan: Recipe) -> bool:
    """Whether a table says that a person is in no set."""
    source = next(source for source in plan.datasets if source.name == case.dataset)
    return source.frozen is not None and bool(source.frozen.column)


def _check_soft(cases: Sequence[Case], soft: Path | None) -> None:
    """Refuse a folder of soft labels that has none of these cases, and say how many it lacks."""
    if soft is None:
        return
    lacking = [case.name for case in cases if not (soft / soft_name(case)).is_file()]
    if len(lacking) == len(cases):
        raise InputError(
            f"{soft}: has no soft label of these images. Make them: softcord dataset soft-labels."
        )
    if lacking:
        _LOG.warning("%s: has no soft label of %d images, first %s.", soft, len(lacking), lacking[0])


def _check_names(cases: Sequence[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        other = seen.setdefault(case.name, case)
        if other is not case:
            raise InputError(f"{other.image} and {case.image} have one name. Exclude one of them.")


def _prepare(folder: Path, settings: dict[str, str], *, overwrite: bool) -> None:
    """Make the folders, and remember from what the dataset is made."""
    path = folder / SETTINGS
    if path.exists() and path.read_text(encoding="utf-8") != _as_text(settings):
        if not overwrite:
            raise OutputError(
                f"{folder}: was made from another recipe or split. Choose another folder, or replace it "
                "(--overwrite)."
            )
        for name in (*_FOLDERS, RECORDS):
            shutil.rmtree(folder / name, ignore_errors=True)
    elif not path.exists() and _is_foreign(folder):
        raise OutputError(f"{folder}: exists and was not made by softcord. Choose another folder or number.")
    for name in ("dataset.json", "splits_final.json"):  # made at the end
        (folder / name).unlink(missing_ok=True)
    _make_folder(path.parent)
    write_text(_as_text(settings), path, overwrite=True)  # first, so that a run ended here is known again
    for name in _FOLDERS:
        _make_folder(folder / name)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make the folder ({error.strerror}).") from error


def _is_foreign(folder: Path) -> bool:
    """Whether a folder holds more than a run leaves that was ended before it could say what it was."""
    return folder.exists() and any(path.name != RECORDS for path in folder.iterdir())


def _done_before(job: Job) -> CaseRecord | SoftcordError | None:
    """Record of an earlier run; None if there is something to do; the error if a file is not here."""
    try:
        inputs = job.inputs()
    except SoftcordError as error:
        return error
    record = read_record(job.record)
    return record if record is not None and is_done(record, inputs, job.folder) else None


def _check_copies(records: Sequence[CaseRecord]) -> None:
    """Refuse an image whose values are in two sets, whatever its files are called and its headers say."""
    first: dict[str, CaseRecord] = {}
    for record in sorted(records, key=_name):
        other = first.setdefault(record.voxels_sha256, record)
        if other.set != record.set:
            raise InputError(
                f"{other.dataset}/{other.image} in {other.set} and {record.dataset}/{record.image} in "
                f"{record.set} hold the same values: a person must be in one set only. Exclude one of them, "
                "or name the person in a column (person_column), and make the split again."
            )


def _finish(
    plan: Recipe,
    parts: Split,
    settings: dict[str, str],
    folder: Path,
    records: Sequence[CaseRecord],
) -> None:
    """Write the files that make it a dataset, dataset.json last."""
    names = {name: sorted(r.case for r in records if r.set == name) for name in ("train", "val", "test")}
    if not names["train"] or not names["val"]:
        empty = "train" if not names["train"] else "val"
        raise InputError(f"{folder}: no image of {empty} could be converted.")
    content = {
        "name": plan.name,
        "description": plan.description,
        "channel_names": {"0": "acq"},
        "labels": {"background": 0, "sc": 1},
        "numTraining": len(names["train"]) + len(names["val"]),
        "numTest": len(names["test"]),
        "file_ending": ".nii.gz",
        "softcord": {
            "version": softcord.__version__,
            "soft_labels": "softTr",
            "soft_labels_test": "softTs",
            "threshold": THRESHOLD,
            "seed": parts.seed,
            "commits": parts.commits,
            **settings,
        },
    }
    _remove_strays(folder, records)
    with FileSet(overwrite=True) as files:
        files.add_text(provenance_table(records, parts.commits), folder / "provenance.tsv")
        files.add_text(json.dumps(_folds(parts, records), indent=2) + "\n", folder / "splits_final.json")
        files.add_text(json.dumps(content, indent=2) + "\n", folder / "dataset.json")
        files.commit()


def _remove_strays(folder: Path, records: Sequence[CaseRecord]) -> None:
    """Remove results of an earlier run that are none of this one: nnU-Net takes whatever lies in a folder."""
    known = {folder / output.path for record in records for output in record.outputs}
    for name in _FOLDERS:
        for path in (folder / name).iterdir():
            if path not in known:
                path.unlink()


def _folds(parts: Split, records: Sequence[CaseRecord]) -> list[dict[str, list[str]]]:
    """Folds as nnU-Net wants them."""
    pool = [record for record in sorted(records, key=_name) if record.set != "test"]
    folds = []
    for number in range(max(1, len(parts.folds))):
        val = [record.case for record in pool if parts.fold_of(record.dataset, record.subject) == number]
        folds.append({"train": [r.case for r in pool if r.case not in set(val)], "val": val})
    return folds


def _as_text(settings: dict[str, str]) -> str:
    return json.dumps(settings, indent=1) + "\n"


def _name(record: CaseRecord) -> str:
    return record.case


def _first(pair: tuple[str, SoftcordError]) -> str:
    return pair[0]
