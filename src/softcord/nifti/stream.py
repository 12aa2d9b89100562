"""The bytes of a .nii or .nii.gz file, read forward without holding more than is asked for."""

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from softcord.errors import InputError

SUFFIXES = (".nii", ".nii.gz")
GZIP_MAGIC = b"\x1f\x8b"

_COMPRESSED = 1 << 18  # bytes read from a compressed file at a time
_SKIPPED = 1 << 20  # bytes passed over at a time


class Gunzip:
    """Uncompressed bytes of a gzip file.

    Does what `gzip.GzipFile` does for reading forward, in less time: before Python 3.12, that class
    asks the file for 8 KiB at a time. The checksum is compared when the end of the data is reached.

    Parameters
    ----------
    file : binary file
        At the start of the compressed data.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(31)
        self._rest = b""

    def read(self, count: int, /) -> bytes:
        """Next `count` bytes; fewer at the end of the data.

        Raises
        ------
        EOFError
            If the file ends before the compressed data do.
        zlib.error
            If the data are damaged.
        """
        pieces = []
        while count > 0 and (piece := self._read_some(count)):
            pieces.append(piece)
            count -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_some(self, count: int) -> bytes:
        while not self._inflate.eof or self._open_next_member():
            compressed = self._rest or self._file.read(_COMPRESSED)
            piece = self._inflate.decompress(compressed, count)
            self._rest = self._inflate.unconsumed_tail
            if piece:
                return piece
            if not compressed and not self._inflate.eof:
                raise EOFError("the compressed data end early")
        return b""

    def _open_next_member(self) -> bool:
        """Go on with the next gzip stream of the file; what else follows the last one is left alone."""
        rest = self._inflate.unused_data
        if len(rest) < len(GZIP_MAGIC):
            rest += self._file.read(_COMPRESSED)
        if not rest.startswith(GZIP_MAGIC):
            return False
        self._inflate, self._rest = zlib.decompressobj(31), rest
        return True


@contextlib.contextmanager
def open_bytes(path: Path, offset: int = 0) -> Iterator[BinaryIO | Gunzip]:
    """Stream of the uncompressed bytes of a file.

    Parameters
    ----------
    path : Path
        Compressed if its name ends in .gz.
    offset : int
        Number of uncompressed bytes to pass over.
    """
    with path.open("rb") as file:
        if not is_gzip_name(path):
            file.seek(offset)
            yield file
            return
        stream = Gunzip(file)
        while offset > 0 and (skipped := stream.read(min(offset, _SKIPPED))):
            offset -= len(skipped)
        yield stream


def is_gzip_name(path: Path) -> bool:
    """True if the name of a file says that it is compressed."""
    return path.name.lower().endswith(".gz")


def damaged(name: str | Path, error: Exception) -> InputError:
    """Error for a file whose bytes cannot be read."""
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"{name}: the file cannot be read, {reason}. Copy or download it again.")
