"""The review folder on disk, safe for many writers that share it and know nothing of one another.

=====================  ==========================================================================
``index.html, page/``  the page itself, the same in every folder
``report.js``          the folder's own name, by which a browser keeps ratings; never changed
``entries/KEY.js``     one entry: record, pictures, areas along the cord
``index/N.js``         row N of the table; the page asks for rows 0, 1, 2, … until there are none
``index/pack-N.js``    a hundred rows in one file
``volumes/KEY.js``     a small copy of image and segmentation for the viewer
``ratings/*.jsonl``    ratings that were given while ``softcord qc open`` ran
=====================  ==========================================================================

A row is never changed: a new run of an entry adds a row, and the page shows the one drawn last. A writer
takes the first free number by making a file that must not exist, which is safe on shared file systems too.
When a hundred rows are full, the next writer copies them into one file, once. Nothing is ever rebuilt, so
that the thousandth entry costs as much as the first.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from softcord.errors import InputError, OutputError
from softcord.nifti import write_text
from softcord.qc.record import Record, read_record, row_script

_PAGE_FILES = (
    "page.css",
    "table.js",
    "draw.js",
    "ratings.js",
    "viewer.js",
    "page.js",
    "niivue.js",
    "NIIVUE-LICENSE.txt",
)
PACK = 100  # rows in one pack; page.js knows it too
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def prepare(folder: Path) -> None:
    """Make a review folder, or bring the page of one up to date."""
    try:
        for name in ("entries", "index", "page"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make the review folder ({error.strerror}).") from error
    source = files("softcord.qc") / "page"
    for name in _PAGE_FILES:
        _keep_same((source / name).read_bytes(), folder / "page" / name)
    _keep_same((source / "index.html").read_bytes(), folder / "index.html")
    if not (folder / "report.js").exists():
        _create(f'softcord.report("{secrets.token_hex(8)}");\n', folder / "report.js")


def _keep_same(content: bytes, path: Path) -> None:
    """Write a file of the page unless it is there as it should be."""
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return
    write_text(content.decode("utf-8"), path, overwrite=True)


def _create(text: str, path: Path) -> bool:
    """Make a file that must not exist, whole; whether it was made by this call."""
    unfinished = path.with_name(f".softcord-{secrets.token_hex(6)}.tmp")
    write_text(text, unfinished)
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error
        return _create_without_link(text, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def _create_without_link(text: str, path: Path) -> bool:
    """The same on a file system without hard links, where the file is empty for a moment."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def write_row(folder: Path, record: Record) -> Path:
    """Add a row to the table; of two rows of one entry, the one drawn last counts.

    Parameters
    ----------
    folder : Path
        The review folder.
    record : Record
        What the row says.

    Returns
    -------
    Path
        The row's file.
    """
    text = row_script(record)
    number = _first_free(folder)
    while not _create(text, row_path(folder, number)):
        number += 1
    _pack(folder, number // PACK - 1)
    return row_path(folder, number)


def row_path(folder: Path, number: int) -> Path:
    """File of row `number`."""
    return folder / "index" / f"{number}.js"


def _pack(folder: Path, number: int) -> None:
    """Put a full block of rows, which will not change, in one file that loads faster; once."""
    path = folder / "index" / f"pack-{number}.js"
    if number < 0 or path.exists():
        return
    lines = []
    for row in range(number * PACK, (number + 1) * PACK):
        record = _read_first_line(row_path(folder, row))
        if record is None:  # removed, or being written: the page takes such a block row by row
            return
        lines.append(row_script(record))
    _create("".join(lines), path)


def _first_free(folder: Path) -> int:
    """A free number near the end of the rows, found by doubling and halving: rows are not counted."""
    high = 1
    if not row_path(folder, 0).exists():
        return 0
    while row_path(folder, high).exists():
        high *= 2
    low = high // 2  # exists
    while high - low > 1:
        middle = (low + high) // 2
        if row_path(folder, middle).exists():
            low = middle
        else:
            high = middle
    return high


def read_entry(path: Path) -> Record | None:
    """Record of an entry's file; None if it is missing or no entry."""
    return _read_first_line(path)


def _read_first_line(path: Path) -> Record | None:
    try:
        with path.open(encoding="utf-8") as file:
            return read_record(file.readline())
    except (OSError, ValueError):
        return None


def read_rows(folder: Path) -> list[Record]:
    """Every entry of a review folder, each once.

    Parameters
    ----------
    folder : Path
        The review folder.

    Returns
    -------
    list of Record
        In the order in which the rows were added; of an entry with two rows the one drawn last.

    Raises
    ------
    InputError
        If this is no review folder.
    """
    if not (folder / "index").is_dir():
        raise InputError(f"{folder}: no review page. Give the folder that --qc was given.")
    found: dict[str, Record] = {}
    for record in _rows(folder):
        if record.key not in found or found[record.key].drawn <= record.drawn:
            found[record.key] = record
    return list(found.values())


def _rows(folder: Path) -> Iterator[Record]:
    numbers = sorted(int(path.stem) for path in (folder / "index").glob("*.js") if path.stem.isdecimal())
    for number in numbers:
        record = _read_first_line(row_path(folder, number))
        if record is not None and (folder / "entries" / f"{record.key}.js").exists():
            yield record


def report_name(folder: Path) -> str:
    """The name by which browsers keep the ratings of this folder."""
    try:
        return (folder / "report.js").read_text(encoding="utf-8").split('"')[1]
    except (OSError, IndexError) as error:
        raise InputError(f"{folder}: report.js is missing or damaged; this is no review page.") from error
