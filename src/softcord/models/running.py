"""Whether an nnU-Net model can be run, as far as that can be said without its weights."""

from pathlib import Path

from softcord.engines.nnunet.labels import Labels, read_labels
from softcord.engines.nnunet.margins import read_margins
from softcord.engines.nnunet.network import training_ornt
from softcord.engines.nnunet.plans import Plans, read_plans
from softcord.errors import ModelError
from softcord.models.layout import CROP
from softcord.models.results import read_json

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_LONGEST = 300  # characters of a reason


def why_not_segment(folder: Path, configuration: str) -> str | None:
    """Why a model cannot segment, though a training may start from it; None if nothing speaks against it.

    Parameters
    ----------
    folder : Path
        Holds `plans.json`, `dataset.json` and `fold_*/checkpoint_*.pth`.
    configuration : str
        That its checkpoints are of.
    """
    try:
        plans = read_plans(read_json(folder / "plans.json"), configuration)
        labels = read_labels(read_json(folder / "dataset.json"))
        check_channels(labels, plans)
        training_ornt(labels, plans.reader)
        if (folder / CROP).exists():
            read_margins(read_json(folder / CROP))
        find_checkpoints(folder)
    except ModelError as error:
        reason = str(error)
        return reason if len(reason) <= _LONGEST else f"{reason[: _LONGEST - 1]}…"
    return None


def check_channels(labels: Labels, plans: Plans) -> None:
    """Whether the dataset and the plans speak of as many channels.

    Raises
    ------
    ModelError
        They do not.
    """
    if len(labels.channels) != len(plans.normalisations):
        raise ModelError(
            f"dataset.json names {len(labels.channels)} channels, and the plans {len(plans.normalisations)}. "
            "Install the model again."
        )


def find_checkpoints(folder: Path) -> tuple[Path, ...]:
    """The checkpoint of each fold; of `fold_all` only if it is the only one, as nnU-Net has it.

    Raises
    ------
    ModelError
        There is none.
    """
    found = {}
    for fold in sorted(folder.glob("fold_*")):
        path = next((fold / name for name in CHECKPOINTS if (fold / name).is_file()), None)
        if path is not None:
            found[fold.name] = path
    numbered = {name: path for name, path in found.items() if name != "fold_all"}
    if not found:
        raise ModelError(
            f"{folder}: no fold_*/checkpoint_final.pth or checkpoint_best.pth is there. Give the folder of a "
            "trained nnU-Net model."
        )
    return tuple((numbered or found).values())
