"""Packing a model into one zip, which can be installed again."""

import json
import secrets
import shutil
import zipfile
from pathlib import Path

from softcord.checksum import file_sha256
from softcord.errors import ModelError, OutputError, UsageError
from softcord.models.layout import find_layout
from softcord.models.store import CONTENT, RECORD, output_errors

_OLDEST = (1980, 1, 1, 0, 0, 0)  # the date of every entry, so that equal content is an equal zip


def export_folder(name: str, folder: Path, path: Path, *, overwrite: bool = False) -> str:
    """Write a zip of a model, whole or not at all.

    Parameters
    ----------
    name : str
        Of the model; the folder in the zip is called so.
    folder : Path
        That holds the model.
    path : Path
        The zip to write, in a folder that exists.
    overwrite : bool
        Replace a file of that name (default: refuse).

    Returns
    -------
    sha256 : str
        Of the zip. The same model gives the same zip.

    Raises
    ------
    ModelError
        The folder holds no model, or its files are not those that were installed.
    OutputError
        The zip exists, or cannot be written.
    UsageError
        The name does not end in .zip.
    """
    _check_target(path, overwrite=overwrite)
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    layout = find_layout(names, place=str(folder))
    files = {inner: folder / source for inner, source in sorted(layout.files.items())}
    _check_files(folder, files)
    unfinished = path.with_name(f".softcord-{secrets.token_hex(6)}.tmp")
    with output_errors(path):
        try:
            with zipfile.ZipFile(unfinished, "x") as archive:
                for inner, file in files.items():
                    _add(archive, f"{name}/{inner}", file)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return file_sha256(path)


def _check_target(path: Path, *, overwrite: bool) -> None:
    if path.suffix != ".zip":
        raise UsageError(f"{path}: the name must end in .zip. Rename it.")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Make it or choose another.")
    if path.is_dir():
        raise OutputError(f"{path}: this is a folder. Give the name of a file.")
    if not overwrite and (path.exists() or path.is_symlink()):
        raise OutputError(f"{path}: exists already. Choose another name, or replace it (--overwrite).")


def _check_files(folder: Path, files: dict[str, Path]) -> None:
    """Refuse to pass on an installed model that has changed since."""
    record = folder.parent / RECORD
    if folder.name != CONTENT or not record.is_file():
        return
    expected = json.loads(record.read_text(encoding="utf-8"))["files"]
    for inner, file in files.items():
        if file_sha256(file) != expected.get(inner):
            raise ModelError(f"{file}: not the file that was installed. Install the model again.")


def _add(archive: zipfile.ZipFile, name: str, file: Path) -> None:
    entry = zipfile.ZipInfo(name, _OLDEST)
    # weights hardly get smaller
    entry.compress_type = zipfile.ZIP_DEFLATED if file.suffix == ".json" else zipfile.ZIP_STORED
    entry.external_attr = 0o644 << 16
    with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target, 1 << 20)
