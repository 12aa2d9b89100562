"""What people said of results: read from the files that the page saves, kept in the folder of the page."""

import contextlib
import csv
import io
import json
import os
import re
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from softcord.errors import InputError, OutputError
from softcord.qc.record import Record

VERDICTS = ("pass", "fail", "artifact")
_TEXTS = ("key", "rater", "rating", "comment", "time", "source", "result")
_LONGEST = 10_000  # characters of any one field


@dataclass(frozen=True, slots=True)
class Rating:
    """What one rater said of one entry.

    Attributes
    ----------
    key : str
        Name of the entry.
    rater : str
        Who; may be empty.
    rating : str
        ``"pass"``, ``"fail"``, ``"artifact"`` or ``""``.
    rank : int or None
        From 0 to 9.
    comment : str
    time : str
        When, in UTC; of two ratings of one entry by one rater the later counts.
    source, result : str
        Paths of image and segmentation.
    """

    key: str
    rater: str = ""
    rating: str = ""
    rank: int | None = None
    comment: str = ""
    time: str = ""
    source: str = ""
    result: str = ""


def rating_from(fields: Mapping[str, object]) -> Rating:
    """Check the fields of a rating that came from outside.

    Raises
    ------
    InputError
        If it names no entry, or a value is none that can be given.
    """
    texts = {name: "" if fields.get(name) is None else fields[name] for name in _TEXTS}
    if (
        not all(isinstance(text, str) and len(text) <= _LONGEST for text in texts.values())
        or not texts["key"]
    ):
        raise InputError("a rating must hold short texts and name its entry.")
    given = fields.get("rank")
    rank = None if given in (None, "") else str(given)
    if texts["rating"] not in ("", *VERDICTS) or (rank is not None and not re.fullmatch("[0-9]", rank)):
        raise InputError(
            f"a rating must be {', '.join(VERDICTS)} or empty, a rank 0 to 9; "
            f"got {texts['rating']!r}, {given!r}."
        )
    return Rating(rank=None if rank is None else int(rank), **{k: str(v) for k, v in texts.items()})


def latest(ratings: Iterable[Rating]) -> list[Rating]:
    """The last rating of each rater on each entry."""
    found: dict[tuple[str, str], Rating] = {}
    for rating in ratings:
        known = found.get((rating.key, rating.rater))
        if known is None or known.time <= rating.time:
            found[rating.key, rating.rater] = rating
    return list(found.values())


def read_ratings(path: Path, rows: Sequence[Record]) -> list[Rating]:
    """Read a file that the page saved, or one of SCT.

    Parameters
    ----------
    path : Path
        TSV or JSON of the page, or ``qc_fail.yml`` or ``qc_artifact.yml`` in SCT's form. YAML says neither
        who nor when: the rater is the file's own name.
    rows : sequence of Record
        Entries of the page, by which the files that a YAML names are found.

    Returns
    -------
    list of Rating

    Raises
    ------
    InputError
        If it cannot be read or holds no ratings.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error}).") from error
    if path.suffix.lower() in (".yml", ".yaml"):
        return _from_yaml(text, path, rows)
    try:
        if path.suffix.lower() == ".json":
            fields = json.loads(text)["ratings"]
        else:
            fields = list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"))
        return [rating_from(each) for each in fields]
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise InputError(f"{path}: holds no ratings as the page saves them ({error}).") from error


def _from_yaml(text: str, path: Path, rows: Sequence[Record]) -> list[Rating]:
    verdict = next((word for word in ("artifact", "fail", "pass") if word in path.name.lower()), None)
    if verdict is None:
        raise InputError(f"{path}: must be called qc_fail.yml or qc_artifact.yml, to say what is in it.")
    found: list[Rating] = []
    for item in re.findall(r"^\s*-\s+(.+?)\s*$", text, flags=re.MULTILINE):
        file = _unquote(item)
        hits = [row for row in rows if row.source == file]
        hits = hits or [row for row in rows if row.name == re.split(r"[/\\]", file)[-1]]
        if len({row.source for row in hits}) != 1:
            raise InputError(f"{path}: {file} must be one image of this page, got {len(hits)}.")
        found += [
            Rating(row.key, path.stem, verdict, source=row.source, result=row.origin.result) for row in hits
        ]
    return found


def _unquote(item: str) -> str:
    if item.startswith('"'):
        try:
            return str(json.loads(item))
        except ValueError as error:
            raise InputError(f"{item}: this text in quotes is not understood.") from error
    return item[1:-1].replace("''", "'") if item.startswith("'") else item


def as_yaml(verdict: str, ratings: Iterable[Rating], rows: Sequence[Record]) -> str:
    """Files of one verdict in SCT's form."""
    kinds = {row.key: row.kind for row in rows}
    groups: dict[str, list[str]] = {}
    for rating in ratings:
        if rating.rating == verdict and rating.key in kinds:
            group = groups.setdefault("FILES_LABEL" if kinds[rating.key] == "labels" else "FILES_SEG", [])
            if rating.source not in group:
                group.append(rating.source)
    lines = [
        f"{name}:\n" + "".join(f"- {_quote(file)}\n" for file in group) for name, group in groups.items()
    ]
    return "".join(lines) or "{}\n"


def _quote(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./+@=,-]*", text) else json.dumps(text)


class Journal:
    """Ratings in the folder of a page: each is on the disk before it is said to be saved.

    One file per running server, which no other process writes, and one line per rating: a crash can cost at
    most the line that was being written, which is left out when the file is read.

    Parameters
    ----------
    folder : Path
        The review folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "ratings"
        self._path = self._folder / f"{secrets.token_hex(8)}.jsonl"
        self._lock = threading.Lock()

    def append(self, ratings: Iterable[Rating]) -> None:
        """Write ratings to the disk.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        lines = "".join(json.dumps(asdict(rating)) + "\n" for rating in ratings).encode("ascii")
        try:
            with self._lock:
                self._folder.mkdir(exist_ok=True)
                with self._path.open("ab") as file:
                    file.write(lines)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror}).") from error

    def read(self) -> list[Rating]:
        """All ratings of the folder, the last of each rater on each entry."""
        return read_journals(self._folder.parent)


def read_journals(folder: Path) -> list[Rating]:
    """Ratings that were saved in a review folder, the last of each rater on each entry.

    Parameters
    ----------
    folder : Path
        The review folder.
    """
    found: list[Rating] = []
    for path in sorted((folder / "ratings").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, AttributeError):  # the end of a crash
                found.append(rating_from(json.loads(line)))
    return latest(found)
