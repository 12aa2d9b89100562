"""What `torch.save` writes, read without torch: the zip format since torch 1.6 and the format before it."""

import io
import mmap
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from softcord.engines.nnunet.tensors import NAMES, Storage, storage_type, width
from softcord.engines.nnunet.unpickle import read_pickle
from softcord.errors import ModelError

_LARGEST_PROGRAM = 32 << 20  # bytes of the pickle; those of nnU-Net have less than one million
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_WAY_OUT = "Give a checkpoint of nnU-Net."

Reader = Callable[[Storage], bytes]


@contextmanager
def open_torch_file(path: Path) -> Iterator[Any]:
    """Read what was saved: plain values, with a `softcord.engines.nnunet.tensors.Tensor` for each tensor.

    The numbers of tensors are read when `read_tensors` asks for them, which must be within the block.

    Raises
    ------
    ModelError
        The file is missing, damaged, none of torch's, or would run something.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
            if start == b"PK\x03\x04":
                with _zip_errors(path), zipfile.ZipFile(file) as archive:
                    yield _read_zip(path, archive)
            elif start[:1] == b"\x80":  # a pickle
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    yield _read_legacy(path, content)
            elif start:
                raise ModelError(f"{path}: expected a file that torch wrote, got something else. {_WAY_OUT}")
            else:
                raise ModelError(f"{path}: the file is empty. Copy or download it again.")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}). Check the name.") from error


# ---- since torch 1.6: a zip of a pickle and one entry for each storage


@contextmanager
def _zip_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise _damaged(path, error) from error


def _read_zip(path: Path, archive: zipfile.ZipFile) -> Any:  # noqa: ANN401
    entries = {info.filename: info for info in archive.infolist()}
    prefix = _prefix(path, entries)
    _check_stored(path, archive.infolist(), path.stat().st_size)
    order = archive.read(f"{prefix}byteorder") if f"{prefix}byteorder" in entries else b"little"

    def from_file(storage: Storage) -> bytes:
        return archive.read(f"{prefix}data/{storage.key}")

    read = _remembered(from_file, is_big_endian=order == b"big")

    def load(reference: object) -> Storage:
        storage = _storage(reference, read)
        entry = entries.get(f"{prefix}data/{storage.key}")
        if entry is None or entry.file_size < storage.count * width(storage.dtype):
            raise ValueError("a storage that is missing or short")
        return storage

    return read_pickle(io.BytesIO(archive.read(f"{prefix}data.pkl")), NAMES, load, path=path)


def _prefix(path: Path, entries: dict[str, zipfile.ZipInfo]) -> str:
    """Name of the folder in the zip that everything lies in."""
    if any(name.endswith("/constants.pkl") for name in entries):
        raise ModelError(f"{path}: expected a checkpoint, got a TorchScript program. It is not read.")
    found = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise ModelError(
            f"{path}: a zip, but not one that torch wrote (it must hold one data.pkl). Give a checkpoint."
        )
    return found[0].removesuffix("data.pkl")


def _check_stored(path: Path, entries: list[zipfile.ZipInfo], there: int) -> None:
    """Refuse what torch never writes: it compresses nothing, so that no entry can be larger than the file."""
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in entries):
        raise ModelError(f"{path}: refused: it is compressed or encrypted, which torch never does.")
    if sum(info.file_size for info in entries) > there:
        raise ModelError(f"{path}: refused: its entries overlap, so that they unpack to more than is there.")
    if any(info.filename.endswith("data.pkl") and info.file_size > _LARGEST_PROGRAM for info in entries):
        raise ModelError(f"{path}: refused: its description takes more than {_LARGEST_PROGRAM >> 20} MiB.")


# ---- before: pickles one after the other, then the storages


def _read_legacy(path: Path, content: mmap.mmap) -> Any:  # noqa: ANN401
    places: dict[str, slice] = {}  # key of a storage: where its bytes are
    storages: dict[str, Storage] = {}
    file = cast(IO[bytes], content)  # reads no more than is there, whatever a pickle asks for

    def load(reference: object) -> Storage:
        if isinstance(reference, tuple) and len(reference) == 6 and reference[5] is None:
            reference = reference[:5]  # the sixth is for a storage that is part of another one
        storage = _storage(reference, read)
        if storages.setdefault(storage.key, storage).dtype != storage.dtype:
            raise ValueError("a storage of two types")
        return storage

    if read_pickle(file, {}, load, path=path) != _LEGACY_MAGIC:
        raise ModelError(f"{path}: expected a file that torch wrote, got a bare pickle. {_WAY_OUT}")
    protocol, system = (read_pickle(file, {}, load, path=path) for _ in range(2))
    if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
        raise ModelError(f"{path}: this version of torch's format is not known. Save it with a newer torch.")
    is_big_endian = system.get("little_endian") is False
    read = _remembered(lambda storage: content[places[storage.key]], is_big_endian=is_big_endian)
    value = read_pickle(file, NAMES, load, path=path)
    keys = read_pickle(file, {}, load, path=path)
    _find_storages(path, content, keys, storages, places)
    return value


def _find_storages(
    path: Path,
    content: mmap.mmap,
    keys: object,
    storages: dict[str, Storage],
    places: dict[str, slice],
) -> None:
    """Note where the numbers of each storage lie."""
    if not isinstance(keys, list) or not set(storages) <= {key for key in keys if isinstance(key, str)}:
        raise _damaged(path, ValueError("storages are missing"))
    first = content.tell()
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or first + 8 > len(content):
            raise _damaged(path, ValueError("it ends early"))
        (count,) = struct.unpack_from("<q", content, first)
        size = count * width(storage.dtype)
        if count != storage.count or first + 8 + size > len(content):
            raise _damaged(path, ValueError("it ends early"))
        places[key] = slice(first + 8, first + 8 + size)
        first += 8 + size


# ---- both


def _storage(reference: object, read: Reader) -> Storage:
    """What a pickle says about a storage."""
    if not isinstance(reference, tuple) or len(reference) != 5 or reference[0] != "storage":
        raise ValueError("a reference to something that is no storage")
    _, kind, key, _place, count = reference
    if not isinstance(key, str) or type(count) is not int or count < 0:
        raise ValueError("a storage without name or size")
    return Storage(key, storage_type(kind), count, read)


def _remembered(read: Reader, *, is_big_endian: bool) -> Reader:
    """Read each storage once, little-endian."""
    known: dict[str, bytes] = {}

    def once(storage: Storage) -> bytes:
        if storage.key not in known:
            content = read(storage)
            if is_big_endian:
                content = np.frombuffer(content, f"u{width(storage.dtype)}").byteswap().tobytes()
            known[storage.key] = content
        return known[storage.key]

    return once


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path}: not a whole checkpoint ({error}). Get it again.")
