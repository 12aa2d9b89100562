"""Checksums of files, by which images and models are known again."""

import hashlib
import os
from pathlib import Path

from softcord.errors import InputError

_CHUNK = 1 << 20  # bytes


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: cannot be read ({error.strerror}).") from error
    return digest.hexdigest()
