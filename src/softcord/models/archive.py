"""Zips from strangers: every entry is looked at before any is unpacked, and only those asked for are."""

import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from softcord.errors import ModelError, SoftcordError

_MOST_ENTRIES = 20_000
_LARGEST = 16 << 30  # bytes of all entries, unpacked
_HIGHEST_RATIO = 100  # unpacked to packed; weights reach 1.1, descriptions 20
_SMALL = 16 << 20  # bytes that may unpack from as little as they like
_LONGEST_NAME = 1000
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


@contextmanager
def open_archive(path: Path, *, shown: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose entries can all be unpacked without harm.

    Parameters
    ----------
    path : Path
    shown : str
        What to call it in messages.

    Raises
    ------
    ModelError
        It is no zip, is damaged, or holds what no model needs: places outside of it, links, bombs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check(shown, path.stat().st_size, archive)
            yield archive
    except SoftcordError:
        raise
    except _DAMAGE as error:
        raise ModelError(f"{shown}: {_describe(path)}. Get it again.") from error


def _check(shown: str, size: int, archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise ModelError(f"{shown}: refused: {len(entries)} entries are more than any model has.")
    names: set[str] = set()
    for entry in entries:
        reason = _harm(entry, names)
        if reason:
            raise ModelError(
                f"{shown}: refused: {_show(entry.filename)} {reason}. Get it from another source."
            )
        names.add(entry.filename.casefold())
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > _LARGEST:
        raise ModelError(f"{shown}: refused: it would unpack to {unpacked / 2**30:.0f} GiB.")
    if sum(entry.compress_size for entry in entries) > size:
        raise ModelError(f"{shown}: refused: its entries overlap, as those of a bomb do.")


def _harm(entry: zipfile.ZipInfo, names: set[str]) -> str | None:
    """Why an entry must not be unpacked."""
    name = entry.filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    reason = None
    if len(name) > _LONGEST_NAME or re.search(r"[\x00-\x1f\x7f]", entry.orig_filename):
        reason = "is no name of a file"
    elif name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) or "\\" in name:
        reason = "is not a place within the zip"
    elif ".." in name.split("/"):
        reason = "leads out of the zip"
    elif kind == stat.S_IFLNK:
        reason = "is a link"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        reason = "is neither a file nor a folder"
    elif entry.flag_bits & 1:
        reason = "is encrypted"
    elif name.casefold() in names:
        reason = "is there twice"
    elif entry.file_size > max(_SMALL, _HIGHEST_RATIO * entry.compress_size):
        reason = f"would unpack to more than {_HIGHEST_RATIO} times its size, as a bomb does"
    return reason


def _show(name: str) -> str:
    shown = name if len(name) <= 80 else name[:80] + "…"
    return shown if shown.isprintable() else ascii(shown)


def _describe(path: Path) -> str:
    """What is wrong with a file that is no whole zip."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "the file is empty"
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")) or start[257:262] == b"ustar":
        return "expected a zip, got a tar archive; unpack it and give its folder"
    if start.lstrip()[:1] == b"<":
        return "expected a zip, got a web page"
    if start.startswith(b"version https://git-lfs"):
        return "expected a zip, got a pointer of Git LFS; fetch the file first"
    return "a damaged zip" if start.startswith(b"PK") else "expected a zip, got something else"
