"""Training configurations as plain values: read from YAML, checked, and stored with the weights."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from softcord.errors import InputError
from softcord.plain import from_plain
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
    return from_plain(SynthConfig, content, source)


def _plain(value: object) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
