"""Training configurations as plain values: read from YAML, checked, and stored with the weights."""

from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from softcord.errors import InputError
from softcord.train.config import SynthConfig


def read_config(path: Path) -> SynthConfig:
    """Read and check a configuration.

    Raises
    ------
    InputError
        The file cannot be read, is not YAML, or holds a key or a value that is not known; the message names
        the key.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}). Give the path of a training configuration."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8. Give the path of a training configuration.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    return from_dict(content, str(path))


def to_dict(config: SynthConfig) -> dict[str, Any]:
    """Plain values, as YAML and JSON hold them."""
    plain: dict[str, Any] = _plain(asdict(config))
    return plain


def from_dict(content: object, source: str = "configuration") -> SynthConfig:
    """The inverse of `to_dict`; `source` is named in errors."""
    config: SynthConfig = _build(SynthConfig, content, source, "")
    return config


def _plain(value: object) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _build(kind: Any, content: object, source: str, where: str) -> Any:
    """Make a dataclass of plain values, with every key and type checked."""
    if not isinstance(content, dict):
        raise InputError(
            f"{source}: {where.rstrip('.') or 'the file'} must be a mapping, got {type(content).__name__}."
        )
    known = {f.name: f for f in fields(kind)}
    unknown = [key for key in content if key not in known]
    if unknown:
        raise InputError(f"{source}: unknown key {where}{unknown[0]}; known are {', '.join(known)}.")
    hints = get_type_hints(kind)
    values = {name: _value(hints[name], value, source, f"{where}{name}") for name, value in content.items()}
    missing = [
        n
        for n, f in known.items()
        if n not in values and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise InputError(f"{source}: key {where}{missing[0]} is missing.")
    try:
        return kind(**values)
    except ValueError as error:
        raise InputError(f"{source}: {where}{error}") from error


def _value(hint: Any, value: object, source: str, where: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, value, source, f"{where}.")
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return None if value is None else _value(inner[0], value, source, where)
    if origin is dict and isinstance(value, dict):
        return {str(key): _value(inner[1], item, source, f"{where}.{key}") for key, item in value.items()}
    if origin in (list, tuple) and isinstance(value, list):
        kinds = inner if origin is tuple and inner[-1] is not Ellipsis else [inner[0]] * len(value)
        if len(kinds) == len(value):
            return origin(
                _value(k, v, source, f"{where}[{n}]")
                for n, (k, v) in enumerate(zip(kinds, value, strict=True))
            )
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise InputError(f"{source}: {where} must be {_in_words(hint)}, got {value!r}.")


def _in_words(hint: Any) -> str:
    kind = get_origin(hint) or hint
    if kind is tuple and get_args(hint)[-1] is not Ellipsis:
        return f"a list of {len(get_args(hint))}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}
    return words.get(kind, "a list")
