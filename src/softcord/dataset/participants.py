"""What a dataset says of its people: participants.tsv."""

import csv
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from softcord.dataset.recipe import Pathology
from softcord.errors import InputError

_UNKNOWN = {"", "n/a", "nan", "none", "-"}


def read_participants(root: Path) -> dict[str, dict[str, str]]:
    """Rows of participants.tsv by subject; empty if there is no such file.

    Parameters
    ----------
    root : Path
        Folder of the dataset.

    Returns
    -------
    rows : dict of str to dict of str to str
        By subject (``sub-01``), the values by column; values that mean unknown are left out.

    Raises
    ------
    InputError
        If the file has no column `participant_id`, names a subject twice, or cannot be read.
    """
    path = root / "participants.tsv"
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error
    rows: dict[str, dict[str, str]] = {}
    for line in lines:
        name = (line.get("participant_id") or "").strip()
        if not name:
            raise InputError(f"{path}: expected the column participant_id, separated by tabs.")
        subject = name if name.startswith("sub-") else f"sub-{name}"
        if subject in rows:
            raise InputError(f"{path}: {subject} is there twice. Remove one of the two rows.")
        rows[subject] = {
            key: value.strip()
            for key, value in line.items()
            if isinstance(key, str) and isinstance(value, str) and value.strip().lower() not in _UNKNOWN
        }
    return rows


def check_column(root: Path, rows: Mapping[str, Mapping[str, str]], column: str, key: str) -> None:
    """Raise InputError if a column that a recipe names is in no row.

    Parameters
    ----------
    root : Path
    rows : dict
        From `read_participants`.
    column : str
    key : str
        What the recipe calls it.
    """
    if not any(column in row for row in rows.values()):
        known = ", ".join(dict.fromkeys(name for row in rows.values() for name in row)) or "no column"
        raise InputError(
            f"{root / 'participants.tsv'}: has no value in column {column}, which the recipe names as {key}; "
            f"it has {known}."
        )


def pathology_of(subject: str, row: Mapping[str, str], rule: Pathology) -> str:
    """Pathology of a person.

    Examples
    --------
    >>> pathology_of("sub-C012", {}, Pathology(subjects={"sub-C*": "HC", "sub-P*": "MS"}))
    'HC'
    """
    for pattern, name in rule.subjects.items():
        if fnmatchcase(subject, pattern):
            return name
    return row.get(rule.column, rule.default)
