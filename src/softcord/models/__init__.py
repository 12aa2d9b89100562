"""Models by name: the embedded one, or a folder; checked, then loaded once for many images."""

import logging
from dataclasses import dataclass
from pathlib import Path

from softcord.engines import Network, choose_device, load_engine
from softcord.errors import ModelError, UsageError
from softcord.models.folder import ModelFolder, ModelInfo, read_model_folder

log = logging.getLogger(__name__)

EMBEDDED = "softcord"
_EMBEDDED_FOLDER = Path(__file__).parent / "embedded"

__all__ = ["EMBEDDED", "Model", "ModelInfo", "available", "describe", "load"]


@dataclass(frozen=True)
class Model:
    """A model that is ready to run.

    Attributes
    ----------
    info : ModelInfo
    network : Network
        What `softcord.engines.predict` takes.
    device : {"cpu", "cuda"}
    """

    info: ModelInfo
    network: Network
    device: str


def available() -> list[ModelInfo]:
    """The models that can be used by name."""
    return [read_model_folder(_EMBEDDED_FOLDER).info]


def describe(name: str | Path = EMBEDDED) -> ModelInfo:
    """What is known of a model, by name or folder, without loading it.

    Raises
    ------
    ModelError
        No such model, or its files are damaged.
    """
    return _find(name).info


def load(name: str | Path = EMBEDDED, *, device: str = "auto", threads: int | None = None) -> Model:
    """Load a model.

    Parameters
    ----------
    name : str or Path
        The name of a model, or a folder that holds `model.json`.
    device : {"auto", "cpu", "cuda"}
        `auto` takes CUDA where it can be had.
    threads : int, optional
        On the CPU. Default: one per processor.

    Returns
    -------
    model : Model

    Raises
    ------
    ModelError
        No such model, or its files are damaged.
    UsageError
        The device cannot be had.
    """
    folder = _find(name)
    chosen = choose_device(device)
    try:
        engine = load_engine(folder.graph, device=chosen, threads=threads)
    except UsageError as error:
        if device != "auto" or chosen == "cpu":
            raise
        log.warning("CUDA is offered but cannot be used, so the CPU is: %s", error)
        chosen = "cpu"
        engine = load_engine(folder.graph, device=chosen, threads=threads)

    network = Network(
        engine=engine,
        multiple=folder.multiple,
        in_plane=folder.in_plane,
        along=folder.along,
        coarse=folder.coarse,
        scale=folder.scale,
        shift=folder.shift,
    )
    return Model(folder.info, network, chosen)


def _find(name: str | Path) -> ModelFolder:
    if str(name) == EMBEDDED:
        return read_model_folder(_EMBEDDED_FOLDER)
    folder = Path(name)
    if not folder.is_dir():
        raise ModelError(
            f"Model {str(name)!r} is not known: it is neither a model's name ({EMBEDDED}) nor a folder. "
            "See: softcord models list"
        )
    return read_model_folder(folder)
