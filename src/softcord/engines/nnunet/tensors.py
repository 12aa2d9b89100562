"""The names that checkpoints of torch use, and what each gives here: arrays and plain values.

A tensor is a view of a storage. Storages are not read until a tensor of theirs is asked for, so that the
state of the optimizer, which is as large as two sets of weights, never comes into memory.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from softcord.engines.nnunet.unpickle import Call, Named, Ordered, PickleBuild

Array: TypeAlias = npt.NDArray[Any]

# the name of a type in torch: its type in numpy, which has no bfloat16
_TYPES = {
    "float32": "f4", "float64": "f8", "float16": "f2", "bfloat16": "bf16", "int64": "i8", "int32": "i4",
    "int16": "i2", "int8": "i1", "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "bool": "b1",
}  # fmt: skip
_STORAGES = {
    "Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
}  # fmt: skip
_NUMPY_CODE = re.compile(r"[fiu][1248]|b1")
_MOST_DIMENSIONS = 32


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file.

    Attributes
    ----------
    key : str
        By which the file knows it.
    dtype : str
        Name of the type in torch; `uint8` for one of bytes, whose tensors say what they hold.
    count : int
        Of numbers.
    read : callable
        Gives its bytes, little-endian, always the same ones.
    """

    key: str
    dtype: str
    count: int
    read: Callable[["Storage"], bytes]


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; `read_tensors` makes arrays of these."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def width(dtype: str) -> int:
    """Bytes of one number."""
    return 2 if dtype == "bfloat16" else np.dtype(_TYPES[dtype]).itemsize


def storage_type(kind: object) -> str:
    """Type of the numbers in a storage, by the class that the pickle names."""
    name = kind.name if isinstance(kind, Named) else ""
    if name == "torch.storage.UntypedStorage":
        return "uint8"
    short = name.removeprefix("torch.").removesuffix("Storage")
    if short not in _STORAGES:
        raise ValueError(f"a storage of {name or type(kind).__name__}")
    return _STORAGES[short]


def read_tensors(tensors: dict[str, Tensor]) -> dict[str, Array]:
    """Arrays of tensors; those that share a storage share memory. Read-only.

    float16 stays what it is; bfloat16, which numpy lacks, becomes float32 of the same values.
    """
    numbers: dict[tuple[str, str], Array] = {}
    arrays = {}
    for name, tensor in tensors.items():
        key = (tensor.storage.key, tensor.dtype)
        if key not in numbers:
            numbers[key] = _decode(tensor.storage.read(tensor.storage), tensor.dtype)
        array = np.lib.stride_tricks.as_strided(
            numbers[key][tensor.offset :],
            tensor.shape,
            [stride * numbers[key].itemsize for stride in tensor.strides],
            writeable=False,
        )
        arrays[name] = array
    return arrays


def _decode(content: bytes, dtype: str) -> Array:
    content = content[: len(content) // width(dtype) * width(dtype)]
    if dtype == "bfloat16":  # the upper half of a float32
        widened: Array = np.frombuffer(content, "<u2").astype("<u4") << np.uint32(16)
        return widened.view("<f4")
    return np.frombuffer(content, np.dtype(_TYPES[dtype]).newbyteorder("<"))


def _tensor(storage: object, dtype: str, offset: object, size: object, stride: object) -> Tensor:
    """A tensor that lies within its storage."""
    shape, strides = _whole_numbers(size), _whole_numbers(stride)
    (first,) = _whole_numbers((offset,))
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("a tensor without numbers")
    if dtype != storage.dtype and storage.dtype != "uint8":
        raise ValueError("a tensor of another type than its storage")
    there = storage.count * width(storage.dtype) // width(dtype)
    count = math.prod(shape)
    last = first + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
    if count and (last >= there or count > there):
        raise ValueError("a tensor that is larger than its storage")
    if not count:
        first, strides = 0, (0,) * len(shape)
    return Tensor(storage, dtype, first, shape, strides)


def _whole_numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > _MOST_DIMENSIONS:
        raise ValueError("sizes of a tensor expected")
    for value in values:
        if type(value) is not int or not 0 <= value < 2**48:
            raise ValueError("a size of a tensor that is no whole number")
    return tuple(values)


# ---- what the names of torch give


def _rebuild_tensor(storage: object, offset: object, size: object, stride: object, *_more: object) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without numbers")
    return _tensor(storage, storage.dtype, offset, size, stride)


def _rebuild_typed(  # the order of arguments is torch's
    storage: object, offset: object, size: object, stride: object,
    _grad: object, _hooks: object, dtype: object, *_more: object,
) -> Tensor:  # fmt: skip
    name = dtype.name.removeprefix("torch.") if isinstance(dtype, Named) else ""
    if name not in _TYPES:
        raise ValueError(f"numbers of type {name}")
    return _tensor(storage, name, offset, size, stride)


def _first(value: object, *_more: object) -> object:
    """What wraps a tensor gives the tensor."""
    return value


def _of_type(function: object, _kind: object, arguments: Sequence[object], *_state: object) -> object:
    """A tensor that carries attributes gives the bare tensor."""
    if not isinstance(function, Named) or function.call is None or not isinstance(arguments, tuple):
        raise ValueError("a tensor of an unknown kind")
    return function.call(*arguments)


def _items(items: object = ()) -> tuple[object, ...]:
    """A size or a set gives its items."""
    if not isinstance(items, (tuple, list)):
        raise ValueError("a list expected")
    return tuple(items)


def _ordered(*items: object) -> Ordered:
    """An empty dict: the items come after it."""
    if items not in ((), ([],)):
        raise ValueError("an ordered dict that is not made empty")
    return Ordered()


def _text(*parts: object) -> str:
    """A device or a path gives its name."""
    return "/".join(str(part) for part in parts if isinstance(part, (str, int)))


# ---- what the names of numpy give


class NumpyType(PickleBuild):
    """A type of numpy: `f8`, with the order of its bytes; types that are no numbers are only named."""

    def __init__(self, code: object, *_more: object) -> None:
        known = code if isinstance(code, str) and _NUMPY_CODE.fullmatch(code) else "V"
        self.dtype = np.dtype(known).newbyteorder("<")

    def build(self, state: object) -> None:
        """Take the order of the bytes."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class NumpyArray(PickleBuild):
    """An array of numpy, which is left unread: weights are tensors."""

    def __init__(self, *_more: object) -> None:
        pass


def _scalar(kind: object, content: object) -> object:
    """A number of numpy gives that of Python."""
    if not isinstance(kind, NumpyType) or not isinstance(content, bytes):
        raise ValueError("a number of an unknown kind")
    if kind.dtype.kind == "V":
        return None
    (value,) = np.frombuffer(content, kind.dtype).tolist()
    return value


def _encode(text: object, encoding: object = "utf-8") -> bytes:
    """Bytes, which pickles of protocol 2 hold as text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("text that stands for no bytes")
    return text.encode("latin1")


def _names() -> dict[str, Call | None]:
    names: dict[str, Call | None] = {
        "torch._utils._rebuild_tensor": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v3": _rebuild_typed,
        "torch._utils._rebuild_parameter": _first,
        "torch._utils._rebuild_parameter_with_state": _first,
        "torch._tensor._rebuild_from_type_v2": _of_type,
        "torch.Tensor": None,
        "torch.nn.parameter.Parameter": None,
        "torch.storage.UntypedStorage": None,
        "torch.Size": _items,
        "torch.device": _text,
        "collections.OrderedDict": _ordered,
        "pathlib.PosixPath": _text,
        "pathlib.PurePosixPath": _text,
        "pathlib.WindowsPath": _text,
        "pathlib._local.PosixPath": _text,
        "pathlib._local.WindowsPath": _text,
        "_codecs.encode": _encode,
        "builtins.set": _items,
        "__builtin__.set": _items,
        "numpy.dtype": NumpyType,
        "numpy.ndarray": None,
    }
    for module in ("numpy.core", "numpy._core"):  # before numpy 2, and since
        names[f"{module}.multiarray.scalar"] = _scalar
        names[f"{module}.multiarray._reconstruct"] = NumpyArray
        names[f"{module}.numeric._frombuffer"] = NumpyArray
    names.update({f"torch.{kind}Storage": None for kind in _STORAGES})
    names.update({f"torch.{dtype}": None for dtype in _TYPES})
    return names


NAMES = _names()
