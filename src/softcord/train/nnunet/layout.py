"""The folder of a run, and what nnU-Net must be told about it.

::

    RUN/
      run.json            what was planned, from which dataset, with which settings trained
      raw/, preprocessed/, results/     nnU-Net's three folders
      soft/               soft labels on the grids of the preprocessed arrays
      tensorboard/
"""

import contextlib
import io
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softcord.errors import InputError, OutputError

log = logging.getLogger(__name__)

RECORD = "run.json"


@dataclass(frozen=True, slots=True)
class Run:
    """Where everything of a run lies.

    Attributes
    ----------
    folder : Path
    dataset_name : str
        As ``"Dataset101_Cord"``.
    plans_name, configuration : str
    results : str
        Folder of the trained models; another one holds the same training from scratch.
    """

    folder: Path
    dataset_name: str
    plans_name: str
    configuration: str
    results: str = "results"

    @property
    def raw(self) -> Path:
        """nnU-Net's description of the dataset."""
        return self.folder / "raw" / self.dataset_name

    @property
    def preprocessed(self) -> Path:
        """Fingerprint, plans, splits and arrays."""
        return self.folder / "preprocessed" / self.dataset_name

    @property
    def plans(self) -> Path:
        """The plans."""
        return self.preprocessed / f"{self.plans_name}.json"

    @property
    def soft(self) -> Path:
        """Soft labels, resampled as the arrays are."""
        return self.folder / "soft" / self.dataset_name

    @property
    def model(self) -> Path:
        """The trained model, in the layout of nnU-Net."""
        name = f"nnUNetTrainer__{self.plans_name}__{self.configuration}"
        return self.folder / self.results / self.dataset_name / name

    def fold(self, fold: int | str) -> Path:
        """Checkpoints, logs and validation of one fold."""
        return self.model / f"fold_{fold}"


def open_run(folder: Path, *, results: str = "results") -> tuple[Run, dict[str, Any]]:
    """A run that was planned, and its record.

    Parameters
    ----------
    folder : Path
    results : str
        See `Run`.

    Raises
    ------
    InputError
        `folder` holds no run.
    """
    record = read_json(folder / RECORD, "Make it with: softcord train plan")
    try:
        run = Run(folder, record["dataset_name"], record["plans_name"], record["configuration"], results)
    except KeyError as error:
        raise InputError(f"{folder / RECORD}: {error} is missing. Plan the run again.") from error
    return run, record


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """A JSON file that holds a mapping.

    Raises
    ------
    InputError
        It is missing or something else; `advice` ends the message.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). {advice}") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}). {advice}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping, got {type(content).__name__}. {advice}")
    return content


def write_json(content: object, path: Path) -> None:
    """Write whole or not at all.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}). Choose another folder.") from error


@contextlib.contextmanager
def nnunet_folders(run: Run, *, workers: int = 0) -> Iterator[None]:
    """Let nnU-Net find its three folders in a run; what the environment said before is restored.

    Parameters
    ----------
    run : Run
    workers : int
        Processes that draw patches; 0 draws them between the steps.
    """
    wanted = {
        "nnUNet_raw": str(run.raw.parent.resolve()),
        "nnUNet_preprocessed": str(run.preprocessed.parent.resolve()),
        "nnUNet_results": str((run.folder / run.results).resolve()),
        "nnUNet_n_proc_DA": str(workers),
        "nnUNet_wandb_enabled": "0",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def what_it_prints_to_the_log() -> Iterator[None]:
    """Let the library be silent: what nnU-Net prints becomes lines of the log, for -vv."""
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            yield
    finally:
        for line in filter(str.strip, text.getvalue().splitlines()):
            log.debug("nnU-Net: %s", line)
