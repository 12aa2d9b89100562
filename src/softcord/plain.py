"""Plain values, as YAML and JSON hold them, made into frozen dataclasses: every key and type is checked."""

from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from softcord.errors import InputError

T = TypeVar("T")


def from_plain(kind: type[T], content: object, source: str) -> T:
    """Dataclass made of plain values.

    Parameters
    ----------
    kind : type
        A dataclass. Its fields may be numbers, text, booleans, literals, other dataclasses, tuples and
        dictionaries of these, or one of these or None.
    content : object
        What a file held.
    source : str
        Named in errors, as the path of the file.

    Returns
    -------
    value : instance of `kind`

    Raises
    ------
    InputError
        If a key is unknown or missing, a value has the wrong type, or the dataclass refuses it with a
        ValueError. The message names source and key.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Point:
    ...     x: float
    >>> from_plain(Point, {"x": 1}, "point.yaml")
    Point(x=1.0)
    >>> from_plain(Point, {"x": "one"}, "point.yaml")
    Traceback (most recent call last):
    softcord.errors.InputError: point.yaml: x must be a number, got 'one'.
    """
    return cast("T", _build(kind, content, source, ""))


def _build(kind: Any, content: object, source: str, where: str) -> object:  # noqa: ANN401  a class
    if not isinstance(content, dict):
        name = where.rstrip(".") or "the file"
        raise InputError(f"{source}: {name} must be a mapping, got {type(content).__name__}.")
    known = {f.name: f for f in fields(kind)}
    unknown = [key for key in content if key not in known]
    if unknown:
        raise InputError(f"{source}: unknown key {where}{unknown[0]}; known are {', '.join(known)}.")
    hints = get_type_hints(kind)
    values = {name: _value(hints[name], value, source, f"{where}{name}") for name, value in content.items()}
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{source}: key {where}{name} is missing.")
    try:
        return kind(**values)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{source}: {where}{error}") from error


def _value(hint: Any, value: object, source: str, where: str) -> object:  # noqa: ANN401  a type
    if is_dataclass(hint):
        return _build(hint, value, source, f"{where}.")
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return None if value is None else _value(inner[0], value, source, where)
    if origin is Literal:
        if value in inner:
            return value
        choices = ", ".join(map(str, inner))
        raise InputError(f"{source}: {where} must be one of {choices}, got {value!r}.")
    if origin is dict and isinstance(value, dict):
        return {str(key): _value(inner[1], item, source, f"{where}.{key}") for key, item in value.items()}
    if origin in (list, tuple) and isinstance(value, list):
        kinds = inner if origin is tuple and inner[-1] is not Ellipsis else [inner[0]] * len(value)
        if len(kinds) == len(value):
            pairs = enumerate(zip(kinds, value, strict=True))
            return origin(_value(kind, item, source, f"{where}[{n}]") for n, (kind, item) in pairs)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise InputError(f"{source}: {where} must be {_in_words(hint)}, got {value!r:.60}.")


def _in_words(hint: Any) -> str:  # noqa: ANN401  a type
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is tuple and inner[-1] is not Ellipsis:
        return f"a list of {len(inner)}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}
    return words.get(kind, "a list")
