"""Get the datasets of a recipe: clone them, and fetch only the files that the recipe needs."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from softcord.bids import image_stem
from softcord.dataset import annex
from softcord.dataset.cases import Case, find_cases
from softcord.dataset.people import is_here
from softcord.dataset.reading import read_recipe
from softcord.dataset.recipe import Source
from softcord.dataset.states import DatasetState, write_states
from softcord.errors import InputError, OutputError, SoftcordError, UsageError
from softcord.nifti import write_text

MISSING = "missing.tsv"
_TRIES = 2  # a transfer may fail for a moment, as while an ended run still holds the lock of a file
_TABLES = ("participants.tsv", "dataset_description.json")

OnFile = Callable[[str, int, int], None]
"""Called with the name of a dataset, how many of its files are here, and of how many."""


@dataclass(frozen=True)
class Missing:
    """What could not be had.

    Attributes
    ----------
    dataset : str
    path : str
        Relative to the dataset; empty: all of it.
    reason : str
    """

    dataset: str
    path: str
    reason: str


@dataclass(frozen=True)
class GetResult:
    """What became of the datasets of a recipe.

    Attributes
    ----------
    states : tuple of DatasetState
        Datasets that are here, also if some files are missing.
    missing : tuple of Missing
        What could not be had; also in ``missing.tsv``.
    n_files, n_new : int
        Files of images and labels that are here, and how many of them came now.
    """

    states: tuple[DatasetState, ...]
    missing: tuple[Missing, ...]
    n_files: int
    n_new: int


def get_datasets(
    recipe: str | Path,
    out: str | Path,
    *,
    folders: Mapping[str, str | Path] | None = None,
    jobs: int = 4,
    on_file: OnFile | None = None,
) -> GetResult:
    """Get the datasets of a recipe.

    Datasets with a `url` are cloned below `out` by DataLad, without content; then git-annex fetches the
    images that the recipe wants, their labels and sidecars. Datasets with a `path` are used where they are.
    What cannot be had is listed and does not stop the rest. Run again, it fetches only what is missing.

    Parameters
    ----------
    recipe : path
        YAML file.
    out : path
        Folder for the clones, ``datasets.json`` (place, commit and changes of each) and ``missing.tsv``.
    folders : dict of str to path, optional
        Where datasets lie that are here already, by name; instead of what the recipe says.
    jobs : int
        Downloads at a time.
    on_file : callable, optional
        Called after each file.

    Returns
    -------
    result : GetResult

    Raises
    ------
    UsageError
        If `folders` names a dataset that the recipe does not have.
    MissingExtraError
        If git, git-annex or DataLad is needed and not installed.
    OutputError
        If `out` cannot be made.
    """
    recipe, out = Path(recipe), Path(out)
    plan = read_recipe(recipe)
    given = {name: Path(path) for name, path in (folders or {}).items()}
    unknown = sorted(set(given) - {source.name for source in plan.datasets})
    if unknown:
        known = ", ".join(source.name for source in plan.datasets)
        raise UsageError(f"{recipe}: has no dataset {', '.join(unknown)}; it has {known}.")
    if jobs < 1:
        raise UsageError(f"jobs must be 1 or more, got {jobs}.")
    if any(source.url and source.name not in given for source in plan.datasets):
        annex.check_programs()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot make the folder ({error.strerror}).") from error
    states: list[DatasetState] = []
    missing: list[Missing] = []
    n_files = n_new = 0
    for source in plan.datasets:
        try:
            folder = _folder(source, recipe, out, given.get(source.name))
            here, new, lacking = _get_files(source, folder, jobs, on_file)
        except SoftcordError as error:
            missing.append(Missing(source.name, "", str(error)))
            continue
        n_files, n_new = n_files + here, n_new + new
        missing += lacking
        states.append(_state(source, folder, out))
        write_states(out, states)  # what is known so far survives if the rest is ended
    write_text(_table(missing), out / MISSING, overwrite=True)
    return GetResult(tuple(states), tuple(missing), n_files, n_new)


def _folder(source: Source, recipe: Path, out: Path, given: Path | None) -> Path:
    """Folder of a dataset; cloned if it must be."""
    if given is None and source.url:
        folder = out / source.name
        if not folder.exists():
            annex.clone(source.url, folder, source.version)
        elif source.version:
            _keep_version(source, folder)
        return folder
    if given is None and not source.path:
        raise InputError(
            f"{source.name}: the recipe does not say where it is. Say it with --folder {source.name}=DIR."
        )
    folder = given if given is not None else recipe.parent / source.path
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder, of dataset {source.name}. Check the recipe, or --folder."
        )
    return folder.absolute()


def _keep_version(source: Source, folder: Path) -> None:
    """Make sure that a clone of an earlier run has the version that the recipe wants now."""
    wanted = annex.find_commit(folder, source.version)
    if wanted is None:
        annex.fetch(folder)
        wanted = annex.find_commit(folder, source.version)
    commit, modified = annex.state_of(folder)
    if wanted is not None and wanted == commit:
        return
    if modified:
        raise InputError(
            f"{folder}: is at {commit[:10]} with changes, the recipe says {source.version}. Keep the changes "
            "elsewhere, or move the folder away."
        )
    annex.check_out(folder, source.version, source.url)


def _get_files(
    source: Source, folder: Path, jobs: int, on_file: OnFile | None
) -> tuple[int, int, list[Missing]]:
    """Fetch what the recipe needs of one dataset: number of files here, of new ones, and what is missing."""
    is_annex = (folder / ".git").exists()
    if is_annex:
        tables = [name for name in _TABLES if _is_lacking(folder / name)]
        list(annex.get_files(folder, tables, jobs))
    cases = find_cases(source, folder)
    needed = list(dict.fromkeys(path for case in cases for path in case.files))
    lacking = [path for path in needed if not is_here(path)]
    n_here, n_total = len(needed) - len(lacking), len(needed)
    if on_file:
        on_file(source.name, n_here, n_total)
    if not is_annex:
        return n_here, 0, [Missing(source.name, _relative(path, folder), "no such file") for path in lacking]
    sidecars = [path for case in cases for path in _sidecars(case) if _is_lacking(path)]
    wanted = [_relative(path, folder) for path in [*lacking, *sidecars]]
    errors: dict[str, str] = {}
    n_new = 0
    for _ in range(_TRIES):
        errors = {}
        for got in annex.get_files(folder, wanted, jobs):
            if got.error:
                errors[got.path] = got.error
            elif not got.path.endswith(".json"):
                n_new += 1
                if on_file:
                    on_file(source.name, n_here + n_new, n_total)
        wanted = list(errors)
    missing = [Missing(source.name, path, reason) for path, reason in errors.items()]
    return n_here + n_new, n_new, sorted(missing, key=lambda one: one.path)


def _sidecars(case: Case) -> list[Path]:
    return [path.with_name(f"{image_stem(path)}.json") for path in (case.image,)]


def _is_lacking(path: Path) -> bool:
    return (path.is_symlink() or path.exists()) and not is_here(path)


def _state(source: Source, folder: Path, out: Path) -> DatasetState:
    commit, modified = annex.state_of(folder)
    root = out.absolute()
    place = folder.absolute()
    name = place.relative_to(root).as_posix() if place.is_relative_to(root) else str(place)
    return DatasetState(source.name, name, source.url, source.version, commit, bool(modified), modified)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _table(missing: list[Missing]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(["dataset", "path", "reason"])
    writer.writerows([one.dataset, one.path, one.reason] for one in missing)
    return text.getvalue()
