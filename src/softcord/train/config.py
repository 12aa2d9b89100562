"""The training configuration: one YAML file, checked when it is read, stored with the weights."""

from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from softcord.errors import InputError


@dataclass(frozen=True)
class NetworkConfig:
    """Channels of each level, and voxels folded into channels along each axis."""

    channels: tuple[int, ...] = (16, 32, 64, 128)
    fold: tuple[int, int, int] = (2, 2, 1)


@dataclass(frozen=True)
class GridConfig:
    """The grids on which the network works.

    Attributes
    ----------
    in_plane, along : float, mm
        Wanted distance of samples across and along the cord, see `softcord.resample.working_grid`.
    coarse : float
        How many times larger both are when the cord is looked for in the whole volume.
    patch : (3,) tuple of int
        Samples of a training patch.
    """

    in_plane: float = 0.75
    along: float = 1.5
    coarse: float = 2.0
    patch: tuple[int, int, int] = (64, 64, 32)


@dataclass(frozen=True)
class MixConfig:
    """What samples are drawn.

    Attributes
    ----------
    phantoms, maps, images : float
        Shares of the three kinds; they are scaled to a sum of 1.
    near_cord : float
        How often a label map or an image is looked at near its cord.
    coarse : float
        Share of samples on the coarse grid.
    """

    phantoms: float = 0.35
    maps: float = 0.2
    images: float = 0.45
    near_cord: float = 0.8
    coarse: float = 0.25


@dataclass(frozen=True)
class ScheduleConfig:
    """How long and how fast.

    Attributes
    ----------
    steps, batch : int
    learning_rate, weight_decay : float
    warm_up : int
        Steps over which the learning rate rises; it then falls along a half cosine to 1 % of its height.
    ema : float
        Decay of the running average of the weights, which is what is exported.
    pool : int
        Samples held; every `renew_every` steps one of them is replaced.
    dice : float
        Weight of the soft Dice loss beside the cross-entropy.
    calibration : int
        Samples on which the logits are calibrated at the end.
    """

    steps: int = 12_000
    batch: int = 2
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warm_up: int = 300
    ema: float = 0.998
    pool: int = 500
    renew_every: int = 2
    dice: float = 1.0
    calibration: int = 300


@dataclass(frozen=True)
class MapSource:
    """Label maps of one kind.

    Attributes
    ----------
    files : str
        Pattern (glob) below the data folder.
    cord : int
        The label that is the cord.
    tissues : mapping of str to list of int
        Names of `softcord.phantoms.Tissue` and the labels that are that tissue.
    fill_zero : bool
        Label 0 is unlabelled tissue, not air.
    cord_suffix : (2,) tuple of str, optional
        The cord lies in a file of its own, whose name has the second part in place of the first; where that
        file is above 0, the label is `cord`.
    """

    files: str
    cord: int = 1
    tissues: dict[str, list[int]] = field(default_factory=dict)
    fill_zero: bool = False
    cord_suffix: tuple[str, str] | None = None


@dataclass(frozen=True)
class ImageSource:
    """Real images with masks: a table of them, and which of its rows to take.

    Attributes
    ----------
    table : str
        Tab-separated file below the data folder with columns participant, split, image and cord_mask; the
        last two are paths in the folder `bids` beside the table.
    split : str
        Rows with this split are taken if they have a mask.
    exclude : tuple of str
        Participants that are left out.
    """

    table: str
    split: str = "train"
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class SynthConfig:
    """Everything that a training of the compact model depends on."""

    name: str
    version: str = "0"
    description: str = ""
    seed: int = 0
    network: NetworkConfig = NetworkConfig()
    grid: GridConfig = GridConfig()
    mix: MixConfig = MixConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    maps: list[MapSource] = field(default_factory=list)
    images: list[ImageSource] = field(default_factory=list)
    workers: int = 1
    checkpoint_every: int = 500


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
        raise InputError(f"{source}: {where or 'the file'} must be a mapping, got {type(content).__name__}.")
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
    return kind(**values)


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
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise InputError(f"{source}: {where} must be {getattr(hint, '__name__', hint)}, got {value!r}.")
