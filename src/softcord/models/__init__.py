"""Models by name: embedded, installed, or a folder; checked, then loaded once for many images."""

import logging
from dataclasses import dataclass
from pathlib import Path

from softcord.engines import Network, choose_device, load_engine
from softcord.engines.nnunet import NnunetNetwork
from softcord.errors import ModelError, UsageError
from softcord.models.describing import describe_folder, describe_installed
from softcord.models.exporting import export_folder
from softcord.models.folder import ModelFolder, ModelInfo, read_model_folder
from softcord.models.installing import Installation, install
from softcord.models.layout import WEIGHTS
from softcord.models.nnunet import NnunetFolder, find_nnunet, load_nnunet, read_nnunet_folder
from softcord.models.releases import RELEASES, find_release
from softcord.models.store import (
    CONTENT,
    EMBEDDED,
    RECORD,
    find_installed,
    list_installed,
    models_folder,
    read_installed,
    remove,
)

log = logging.getLogger(__name__)

_EMBEDDED_FOLDER = Path(__file__).parent / "embedded"

__all__ = [
    "EMBEDDED",
    "RELEASES",
    "Installation",
    "Model",
    "ModelInfo",
    "available",
    "describe",
    "export",
    "install",
    "load",
    "locate",
    "models_folder",
    "remove",
]


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
    """The models that can be used by name: the embedded one, then the installed ones."""
    embedded = read_model_folder(_EMBEDDED_FOLDER).info
    return [embedded, *(describe_installed(installed) for installed in list_installed())]


def describe(name: str | Path = EMBEDDED) -> ModelInfo:
    """What is known of a model, by name or folder, without loading it.

    Raises
    ------
    ModelError
        No such model, or its files are damaged.
    """
    if str(name) != EMBEDDED and find_installed(str(name)) is not None:
        return describe_installed(read_installed(str(name)))
    return describe_folder(locate(name))


def locate(name: str | Path = EMBEDDED) -> Path:
    """Folder of a model's own files, by name or folder, without looking into them.

    Parameters
    ----------
    name : str or Path
        The embedded model, an installed one, or a folder that holds `model.json` or `plans.json`, or an
        installed model. An installed model comes before a folder of the same name; write `./NAME` for that.

    Raises
    ------
    ModelError
        No such model.
    """
    if str(name) == EMBEDDED:
        return _EMBEDDED_FOLDER
    installed = find_installed(str(name))
    if installed is not None:
        return installed / CONTENT
    folder = Path(name)
    if (folder / RECORD).is_file() and (folder / CONTENT).is_dir():
        return folder / CONTENT
    if folder.is_dir():
        return folder
    release = find_release(str(name))
    if release is not None:
        raise ModelError(
            f"Model {release.name} is not installed. Run: softcord models install {release.name}"
        )
    raise ModelError(
        f"Model {str(name)!r} is not known: it is neither a model's name ({EMBEDDED}) nor a folder. "
        "See: softcord models list"
    )


def export(name: str | Path, path: str | Path, *, overwrite: bool = False) -> str:
    """Pack a model into a zip that `install` accepts; return its SHA-256.

    Parameters
    ----------
    name : str or Path
        Name or folder of a model.
    path : str or Path
        The zip to write.
    overwrite : bool
        Replace a file of that name (default: refuse).

    Raises
    ------
    ModelError
        No such model, or its files have changed since it was installed.
    OutputError
        The zip exists, or cannot be written.
    UsageError
        The name of the zip does not end in .zip.
    """
    folder = locate(name)
    own = folder.resolve().parent.name if folder.name == CONTENT else folder.resolve().name
    called = str(name) if str(name) == EMBEDDED else own
    return export_folder(called, folder, Path(path), overwrite=overwrite)


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
    folder = locate(name)
    if (folder / WEIGHTS).is_file() and not (folder / "model.json").exists():
        raise ModelError(
            f"Model {str(name)!r} is a checkpoint alone, which does not say how images are prepared: it "
            "cannot segment. Start a training from it, or install a release with plans.json."
        )
    nnunet = find_nnunet(folder)
    if nnunet is not None:
        return read_nnunet_folder(nnunet, name=folder.resolve().name)
    return read_model_folder(folder)
