"""Pickles from strangers, read without running anything that they name.

A pickle is a program. Python's own unpickler imports and calls what the program names; this one walks through
the program itself and knows only plain values and a short list of names that its caller gives meanings to.
Everything else ends with an error that says what the program wanted to run.
"""

import pickletools
import re
from collections.abc import Callable, Mapping
from typing import IO, Any

from softcord.errors import ModelError

_LONGEST_NAME = 80
_MOST_INSTRUCTIONS = 5_000_000  # nnU-Net has tens of thousands; this many empty lists take 3 s and 0.4 GB
_LARGEST_KEY = 2**53  # larger whole numbers could be chosen so that all collide in a dict

Call = Callable[..., object]


class PickleBuild:
    """A value that a pickle makes in two steps: with a call, then with the state that it keeps."""

    def build(self, state: object) -> None:
        """Take the state."""


class Named:
    """Something that a pickle may name, and what a call of it gives here.

    Parameters
    ----------
    name : str
        Module and name, as in `collections.OrderedDict`.
    call : callable, optional
        Default: it is only named, never called.
    """

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Call | None = None) -> None:
        self.name = name
        self.call = call


class Ordered(dict[Any, Any], PickleBuild):
    """An ordered dict, whose attributes (torch keeps versions of layers there) are left out."""

    __slots__ = ()


def read_pickle(
    file: IO[bytes], known: Mapping[str, Call | None], load: Callable[[object], object], *, path: object
) -> Any:  # noqa: ANN401 - whatever the pickle holds
    """Read the next pickle of a file.

    Parameters
    ----------
    file : binary file
        At the first byte of a pickle of protocol 2 to 5; left behind its last.
    known : mapping of str to callable or None
        Names that the pickle may use, with what a call of each gives.
    load : callable
        What a persistent id stands for.
    path : path
        For messages.

    Returns
    -------
    value : object
        Made of plain values and of what `known` and `load` return. Parts may be shared, even with their
        own parts: walk through it with a limit.

    Raises
    ------
    ModelError
        The pickle names or does anything else, or is damaged.
    """
    machine = _Machine(known, load, path)
    try:
        for _ in range(_MOST_INSTRUCTIONS):
            if not machine.step(file):
                return machine.finish()
    except _DAMAGE as error:
        raise ModelError(f"{path}: not a whole checkpoint ({_shorten(error)}). Get it again.") from error
    raise ModelError(f"{path}: refused: its description has more parts than that of any model.")


# what a program that no software wrote can lead to, here or in pickletools
_DAMAGE = (
    AttributeError, IndexError, KeyError, MemoryError, OverflowError, RecursionError, TypeError, ValueError,
)  # fmt: skip
_MARK = object()
_INSTRUCTIONS = {code.code: code for code in pickletools.opcodes}
_VALUES = (
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
).split()


class _Machine:
    """The stack and the memory of one pickle."""

    def __init__(
        self, known: Mapping[str, Call | None], load: Callable[[object], object], path: object
    ) -> None:
        self._known = known
        self._load = load
        self._path = path
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        # what pickles of protocol 2 to 5 are made of; the rest is older, or not what torch and numpy write
        self._steps: dict[str, Callable[[Any], None]] = {
            "PROTO": lambda _: None,
            "FRAME": lambda _: None,
            **dict.fromkeys(_VALUES, self._stack.append),
            "NONE": lambda _: self._stack.append(None),
            "NEWTRUE": lambda _: self._stack.append(True),
            "NEWFALSE": lambda _: self._stack.append(False),
            "EMPTY_TUPLE": lambda _: self._stack.append(()),
            "EMPTY_LIST": lambda _: self._stack.append([]),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "EMPTY_SET": lambda _: self._stack.append(set()),
            "MARK": lambda _: self._stack.append(_MARK),
            "TUPLE": self._tuple,
            "TUPLE1": lambda _: self._take(1),
            "TUPLE2": lambda _: self._take(2),
            "TUPLE3": lambda _: self._take(3),
            "LIST": self._list,
            "DICT": self._dict,
            "FROZENSET": self._frozenset,
            "APPEND": self._append,
            "APPENDS": self._appends,
            "SETITEM": self._set_item,
            "SETITEMS": self._set_items,
            "ADDITEMS": self._add_items,
            "BINPUT": self._put,
            "LONG_BINPUT": self._put,
            "MEMOIZE": self._memoize,
            "BINGET": self._get,
            "LONG_BINGET": self._get,
            "GLOBAL": self._global,
            "STACK_GLOBAL": self._stack_global,
            "INST": self._inst,
            "REDUCE": self._reduce,
            "BUILD": self._build,
            "BINPERSID": self._persistent,
        }

    def step(self, file: IO[bytes]) -> bool:
        """Do what the next instruction says; False if it was the last."""
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends early")
        code = _INSTRUCTIONS[byte.decode("latin-1")]
        if code.name == "STOP":
            return False
        if code.name not in self._steps:  # before its argument is read, which may take any form
            raise self._refusal(f"the pickle instruction {code.name}")
        if code.name in ("GLOBAL", "INST"):
            self._steps[code.name](tuple(_line(file) for _ in range(2)))
        else:
            self._steps[code.name](None if code.arg is None else code.arg.reader(file))
        return True

    def finish(self) -> Any:  # noqa: ANN401 - whatever the pickle holds
        """The one value that is left."""
        (value,) = self._stack
        return value

    # ---- names and calls

    def _global(self, argument: tuple[str, str]) -> None:
        self._stack.append(self._name(*argument))

    def _stack_global(self, _argument: None) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is no text")
        self._stack.append(self._name(module, name))

    def _name(self, module: str, name: str) -> Named:
        full = f"{module}.{name}"
        if full not in self._known:
            raise self._refusal(printable(full))
        return Named(full, self._known[full])

    def _inst(self, argument: tuple[str, str]) -> None:
        raise self._refusal(printable(".".join(argument)))

    def _reduce(self, _argument: None) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is no function")
        if function.call is None:
            raise self._refusal(function.name)
        self._stack.append(function.call(*arguments))

    def _build(self, _argument: None) -> None:
        state, value = self._stack.pop(), self._stack[-1]
        if not isinstance(value, PickleBuild):
            raise ValueError(f"a state for a value of type {type(value).__name__}")
        value.build(state)

    def _persistent(self, _argument: None) -> None:
        self._stack.append(self._load(self._stack.pop()))

    def _refusal(self, what: str) -> ModelError:
        return ModelError(
            f"{self._path}: refused: opened by other software, it would run {what}, which no weights need. "
            "Get the model from a source that you trust."
        )

    # ---- containers

    def _marked(self) -> list[Any]:
        """What lies above the last mark, which is taken away."""
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _MARK:
                above = self._stack[index + 1 :]
                del self._stack[index:]
                return above
        raise ValueError("no mark")

    def _tuple(self, _argument: None) -> None:
        self._stack.append(tuple(self._marked()))

    def _list(self, _argument: None) -> None:
        self._stack.append(self._marked())

    def _dict(self, _argument: None) -> None:
        items = self._marked()
        self._stack.append({})
        self._set(items)

    def _frozenset(self, _argument: None) -> None:
        self._stack.append(frozenset(_key(item) for item in self._marked()))

    def _append(self, _argument: None) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _argument: None) -> None:
        self._extend(self._marked())

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError("items for something that is no list")
        self._stack[-1].extend(items)

    def _set_item(self, _argument: None) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _set_items(self, _argument: None) -> None:
        self._set(self._marked())

    def _set(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], dict) or len(items) % 2:
            raise ValueError("items for something that is no dict")
        self._stack[-1].update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def _add_items(self, _argument: None) -> None:
        items = self._marked()
        if not isinstance(self._stack[-1], set):
            raise ValueError("items for something that is no set")
        self._stack[-1].update(map(_key, items))

    def _take(self, count: int) -> None:
        if len(self._stack) < count:
            raise ValueError("too few values")
        items = tuple(self._stack[len(self._stack) - count :])
        del self._stack[len(self._stack) - count :]
        self._stack.append(items)

    # ---- memory

    def _put(self, argument: int) -> None:
        self._memo[argument] = self._stack[-1]

    def _memoize(self, _argument: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, argument: int) -> None:
        self._stack.append(self._memo[argument])


def _line(file: IO[bytes]) -> str:
    """The next line, as Python's unpickler reads names (pickletools undoes escapes in them)."""
    line = file.readline()
    if not line.endswith(b"\n"):
        raise ValueError("it ends early")
    return line[:-1].decode()


def _key(key: object) -> object:
    """A key of a dict or set, if it is one that cannot do harm (as deeply nested tuples do)."""
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if isinstance(part, int) and abs(part) > _LARGEST_KEY:
            raise ValueError("a key that is too large")
        if part is not None and not isinstance(part, (str, int, bytes)):
            raise ValueError(f"a key of type {type(part).__name__}")
    return key


def printable(name: str) -> str:
    """A name as it can be shown: short, and without what a terminal would obey."""
    short = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
    return short if re.fullmatch(r"[\w.…]+", short) else ascii(short)


def _shorten(error: Exception) -> str:
    return printable(str(error) or type(error).__name__).strip("'\"")
