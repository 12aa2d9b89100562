"""Which datasets are at hand, where, and in which state: the file datasets.json in the folder of data."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from softcord.dataset.recipe import Recipe
from softcord.errors import InputError
from softcord.nifti import write_text
from softcord.plain import from_plain

STATES = "datasets.json"


@dataclass(frozen=True)
class DatasetState:
    """A dataset as it was got.

    Attributes
    ----------
    name : str
    folder : str
        Relative to the folder of data if it lies there.
    url, version : str
        As in the recipe.
    commit : str
        What is checked out; empty if the folder is under no version control.
    dirty : bool
        Whether files differ from that commit.
    modified : tuple of str
        Which ones.
    """

    name: str
    folder: str
    url: str = ""
    version: str = ""
    commit: str = ""
    dirty: bool = False
    modified: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    datasets: tuple[DatasetState, ...]


def write_states(data: Path, states: Sequence[DatasetState]) -> None:
    """Write datasets.json; what it said of other datasets stays."""
    names = {state.name for state in states}
    others = [state for state in _read(data) if state.name not in names] if (data / STATES).exists() else []
    rows = [asdict(state) for state in sorted([*others, *states], key=lambda state: state.name)]
    write_text(json.dumps({"datasets": rows}, indent=2) + "\n", data / STATES, overwrite=True)


def read_states(data: Path, recipe: Recipe) -> dict[str, DatasetState]:
    """States of the datasets of a recipe, by name.

    Raises
    ------
    InputError
        If the folder of data is none, or if a dataset has not been got.
    """
    states = {state.name: state for state in _read(data)}
    missing = [source.name for source in recipe.datasets if source.name not in states]
    if missing:
        raise InputError(
            f"{data}: {', '.join(missing)} not got yet. Run softcord dataset get, or take "
            f"{'it' if len(missing) == 1 else 'them'} out of the recipe."
        )
    return {source.name: states[source.name] for source in recipe.datasets}


def folder_of(data: Path, state: DatasetState) -> Path:
    """Folder of a dataset, which must be there."""
    folder = data / state.folder
    if not folder.is_dir():
        raise InputError(f"{folder}: the folder of dataset {state.name} is gone. Run softcord dataset get.")
    return folder


def _read(data: Path) -> tuple[DatasetState, ...]:
    path = data / STATES
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file. Get the datasets first: softcord dataset get.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error
    return from_plain(_File, content, str(path)).datasets
