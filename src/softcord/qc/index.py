"""The index of a review folder, always built from the entries that lie in it."""

import logging
from pathlib import Path

from softcord.nifti import write_text
from softcord.qc.pages import Record, index_page, read_record

_LOG = logging.getLogger(__name__)
_HEAD_BYTES = 1 << 16


def write_index(folder: Path) -> Path:
    """Write ``index.html`` of a review folder from its entries, worst first.

    Parameters
    ----------
    folder : Path
        The review folder.

    Returns
    -------
    Path
        The index.
    """
    entries: list[tuple[str, Record]] = []
    for path in sorted((folder / "entries").glob("*.html")):
        record = _record_of(path)
        if record is None:
            _LOG.warning("%s is not an entry of this page and is not listed.", path)
        else:
            entries.append((path.name, record))
    index = folder / "index.html"
    write_text(index_page(entries), index, overwrite=True)
    return index


def _record_of(path: Path) -> Record | None:
    """Record at the head of an entry; what is behind it is only read if the record is very long."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            record = read_record(head.decode("utf-8", errors="replace"))
            return record or read_record((head + file.read()).decode("utf-8", errors="replace"))
    except OSError:
        return None
