"""Models by name: the embedded one, or a folder; checked, then loaded once for many images."""

import logging
from dataclasses import dataclass
from pathlib import Path

from softcord.engines import Network, choose_device, load_engine
from softcord.engines.nnunet import NnunetNetwork
from softcord.errors import ModelError, UsageError
from softcord.models.folder import ModelFolder, ModelInfo, read_model_folder
from softcord.models.nnunet import NnunetFolder, find_nnunet, load_nnunet, read_nnunet_folder

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
    network : Network or NnunetNetwork
        What `softcord.engines.predict` or `softcord.engines.nnunet.predict_nnunet` takes.
    device : {"cpu", "cuda"}
    guide : Network, optional
        Of an nnU-Net model: the compact network that says where to start.
    """

    info: ModelInfo
    network: Network | NnunetNetwork
    device: str
    guide: Network | None = None

    @property
    def compact(self) -> Network:
        """The network of a model of softcord's own.

        Raises
        ------
        ModelError
            It is an nnU-Net model.
        """
        if isinstance(self.network, NnunetNetwork):
            raise ModelError(
                f"{self.info.name}: this is an nnU-Net model, and one of softcord's own is needed here. "
                f"Use {EMBEDDED}."
            )
        return self.network


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
        The name of a model, a folder that holds `model.json`, or a folder that holds the `plans.json` and
        `dataset.json` of an nnU-Net model and the folders of its folds.
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
        return _load(folder, chosen, threads)
    except UsageError as error:
        if device != "auto" or chosen == "cpu":
            raise
        log.warning("CUDA is offered but cannot be used, so the CPU is: %s", error)
        return _load(folder, "cpu", threads)


def _load(folder: ModelFolder | NnunetFolder, device: str, threads: int | None) -> Model:
    if isinstance(folder, NnunetFolder):
        network = load_nnunet(folder, device=device, threads=threads)
        guide = _load(read_model_folder(_EMBEDDED_FOLDER), device, threads).compact
        return Model(folder.info, network, device, guide)
    compact = Network(
        engine=load_engine(folder.graph, device=device, threads=threads),
        multiple=folder.multiple,
        in_plane=folder.in_plane,
        along=folder.along,
        coarse=folder.coarse,
        scale=folder.scale,
        shift=folder.shift,
    )
    return Model(folder.info, compact, device)


def _find(name: str | Path) -> ModelFolder | NnunetFolder:
    if str(name) == EMBEDDED:
        return read_model_folder(_EMBEDDED_FOLDER)
    folder = Path(name)
    if not folder.is_dir():
        raise ModelError(
            f"Model {str(name)!r} is not known: it is neither a model's name ({EMBEDDED}) nor a folder. "
            "See: softcord models list"
        )
    nnunet = find_nnunet(folder)
    if nnunet is not None:
        return read_nnunet_folder(nnunet, name=folder.resolve().name)
    return read_model_folder(folder)
