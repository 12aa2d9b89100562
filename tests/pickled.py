"""Pickles and files of `torch.save` written by hand, instruction by instruction, without torch.

So a test can write what torch writes where there is no torch, and what no honest software writes.
"""

import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "u1": "Byte", "b1": "Bool"}


@dataclass(frozen=True)
class Name:
    """A global, as `Name("posix", "system")`."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """The result of a call, with the state that it is given after that, or the items."""

    function: Name
    arguments: tuple
    state: Any = None
    items: dict | None = None


@dataclass(frozen=True)
class Persistent:
    """What lies outside of the pickle."""

    reference: tuple


@dataclass(frozen=True)
class Raw:
    """Instructions as they are."""

    code: bytes


def pickled(value: Any) -> bytes:
    """A pickle of protocol 2."""
    return b"\x80\x02" + _code(value) + b"."


def _code(value: Any) -> bytes:  # noqa: C901 - one line for each kind
    match value:
        case Raw(code):
            return code
        case Name(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(function, arguments, state, items):
            code = _code(function) + _code(arguments) + b"R"
            if items:
                code += b"(" + b"".join(_code(key) + _code(item) for key, item in items.items()) + b"u"
            return code if state is None else code + _code(state) + b"b"
        case Persistent(reference):
            return _code(reference) + b"Q"
        case None:
            return b"N"
        case True:
            return b"\x88"
        case False:
            return b"\x89"
        case int():
            size = (value.bit_length() + 8) // 8
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            text = value.encode()
            return b"X" + struct.pack("<I", len(text)) + text
        case tuple():
            return b"(" + b"".join(map(_code, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_code, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_code(key) + _code(item) for key, item in value.items()) + b"u"
    raise TypeError(type(value))


def ordered(items: dict) -> Call:
    """An ordered dict as torch's state dicts are: with a state of its own."""
    versions = {"_metadata": Call(Name("collections", "OrderedDict"), (), items={"": {"version": 1}})}
    return Call(Name("collections", "OrderedDict"), (), state=versions, items=items)


def storage(array: np.ndarray, key: str, *, place: str = "cpu", more: tuple = ()) -> Persistent:
    """The reference to a storage."""
    kind = Name("torch", f"{_STORAGES[array.dtype.str[1:]]}Storage")
    return Persistent(("storage", kind, key, place, array.size, *more))


def tensor(array: np.ndarray, key: str, *, more: tuple = ()) -> Call:
    """A whole storage as a tensor."""
    strides = tuple(step // array.itemsize for step in array.strides)
    hooks = Call(Name("collections", "OrderedDict"), ())
    arguments = (storage(array, key, more=more), 0, array.shape, strides, False, hooks)
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)


def write_zip(path: Path, value: Any, storages: dict[str, np.ndarray] = {}, *, order: str = "little") -> Path:  # noqa: B006
    """Write what torch has written since 1.6."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/data.pkl", pickled(value))
        archive.writestr(f"{path.stem}/byteorder", order)
        for key, array in storages.items():
            kind = array.dtype.newbyteorder(">" if order == "big" else "<")
            archive.writestr(f"{path.stem}/data/{key}", array.astype(kind).tobytes())
        archive.writestr(f"{path.stem}/version", "3\n")
    return path


def write_legacy(path: Path, value: Any, storages: dict[str, np.ndarray]) -> Path:
    """Write what torch wrote before 1.6."""
    parts = [pickled(LEGACY_MAGIC), pickled(1001), pickled({"little_endian": True, "type_sizes": {"int": 4}})]
    parts += [pickled(value), pickled(list(storages))]
    for array in storages.values():
        parts.append(struct.pack("<q", array.size) + array.tobytes())
    path.write_bytes(b"".join(parts))
    return path
