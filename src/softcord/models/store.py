"""The folder of installed models: where it is, what is in it, and who may change it."""

import errno
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from softcord.errors import ModelError, OutputError, UsageError
from softcord.models.layout import Kind

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "SOFTCORD_MODELS"
RECORD = "installed.json"
CONTENT = "model"
FORMAT = 1
EMBEDDED = "softcord"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WAIT_S = 2.0  # before it is said that another process is waited for


@dataclass(frozen=True)
class Installed:
    """An installed model, as its record says.

    Attributes
    ----------
    name : str
    kind : {"nnunet", "weights", "compact"}
        A results folder of nnU-Net; a checkpoint alone, for trainings to start from; softcord's own.
    source : str
        URL or path that it was installed from.
    sha256 : str or None
        Of the file that it was installed from; None for a folder.
    content_sha256 : str
        Of the files of the model, whatever they were packed in: the same model has the same.
    installed : str
        When, in UTC.
    version : str
        Of the release; empty for others.
    folds : tuple of str
    size_bytes : int
    files : dict of str to str
        SHA-256 of each file in `content`.
    facts : dict
        What is known of the network: classes, spacing, patch and more.
    folder : Path
    """

    name: str
    kind: Kind
    source: str
    sha256: str | None
    content_sha256: str
    installed: str
    version: str
    folds: tuple[str, ...]
    size_bytes: int
    files: dict[str, str]
    facts: dict[str, Any]
    folder: Path

    @property
    def content(self) -> Path:
        """Folder of the model itself."""
        return self.folder / CONTENT


def models_folder() -> Path:
    """Folder of installed models: the one that SOFTCORD_MODELS names, else one in the user's data folder."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_path("softcord", appauthor=False)) / "models"


def find_installed(name: str) -> Path | None:
    """Folder of an installed model, with `installed.json` and `model/`; None if there is none."""
    folder = models_folder() / name
    return folder if _NAME.fullmatch(name) and (folder / RECORD).is_file() else None


def list_installed() -> list[Installed]:
    """All installed models, by name. One whose record is damaged is left out, with a warning."""
    try:
        names = sorted(path.name for path in models_folder().iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ModelError(
            f"{models_folder()}: cannot be read ({error.strerror}). Check {FOLDER_VARIABLE}."
        ) from error
    found = []
    for name in names:
        if find_installed(name) is None:
            continue
        try:
            found.append(read_installed(name))
        except ModelError as error:
            log.warning("%s", error)
    return found


def read_installed(name: str) -> Installed:
    """What the record of an installed model says.

    Raises
    ------
    ModelError
        There is none of that name, or its record is damaged.
    """
    folder = find_installed(name)
    if folder is None:
        raise ModelError(f"Model {name!r} is not installed in {models_folder()}. See: softcord models list")
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record.pop("format")
        if version == FORMAT:
            return Installed(**{**record, "name": name, "folds": tuple(record["folds"]), "folder": folder})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not the record of a model ({error}). Install it again.") from error
    raise ModelError(f"{path}: format {version} is not known to this softcord. Update softcord.")


def write_record(installed: Installed, folder: Path) -> None:
    """Write the record of a model into a folder."""
    record = {"format": FORMAT, **asdict(installed)}
    del record["folder"]
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")


def remove(name: str) -> Path:
    """Remove an installed model.

    Parameters
    ----------
    name : str

    Returns
    -------
    folder : Path
        Where it was.

    Raises
    ------
    UsageError
        It is the embedded one.
    ModelError
        It is not installed.
    OutputError
        It cannot be removed.
    """
    if name == EMBEDDED:
        raise UsageError(f"{EMBEDDED} is part of the package and cannot be removed.")
    with locked(name):
        folder = find_installed(name)
        if folder is None:
            raise ModelError(
                f"Model {name!r} is not installed in {models_folder()}. See: softcord models list"
            )
        with output_errors(folder):
            aside = work_folder(name) / f"gone-{secrets.token_hex(4)}"
            folder.rename(aside)  # at once, so that nobody finds half of it
            shutil.rmtree(aside)
    return folder


def check_name(name: str) -> str:
    """Refuse what is no name of a model, or one that would hide another.

    Raises
    ------
    UsageError
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"A model's name must be of letters, digits, '.', '_' and '-', at most 64, got {name[:80]!r}. "
            "Choose another (--name)."
        )
    if name.casefold() == EMBEDDED:
        raise UsageError(f"{EMBEDDED} is the name of the embedded model. Choose another (--name).")
    return name


def work_folder(name: str) -> Path:
    """Folder for what is unfinished under that name, on the disk of the models; made if need be."""
    folder = models_folder() / ".unfinished" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(name: str) -> Iterator[bool]:
    """Let one process at a time change the model of that name; others wait. A killed process holds no lock.

    Yields
    ------
    is_locked : bool
        False where the disk knows no locks. What happens then is still whole or not at all, but may be done
        by two processes at once.
    """
    import filelock

    with output_errors(models_folder()):
        lock = filelock.FileLock(work_folder(name) / "lock")
        try:
            try:
                lock.acquire(timeout=_WAIT_S)
            except filelock.Timeout:
                log.warning("another process is busy with %s; waiting for it", name)
                lock.acquire()
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (
                errno.ENOSYS,
                errno.ENOLCK,
                errno.EOPNOTSUPP,
            ):
                raise
            log.warning("%s: no locks are to be had on this disk", models_folder())
    try:
        yield lock.is_locked
    finally:
        lock.release()


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Say which file or folder could not be written, and what to do."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        way_out = "Free some space" if is_full else f"Choose another folder ({FOLDER_VARIABLE})"
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}). {way_out}.") from error
