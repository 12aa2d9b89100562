"""Installing a model: from a URL, a zip, a folder or a checkpoint, whole or not at all."""

import datetime as dt
import hashlib
import json
import logging
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from softcord.checksum import file_sha256
from softcord.errors import InputError, ModelError, OutputError, UsageError
from softcord.models.archive import open_archive
from softcord.models.describing import content_sha256
from softcord.models.download import DownloadOptions, Report, check_url, download, forget, split_url
from softcord.models.folder import read_model_folder
from softcord.models.layout import WEIGHTS, Layout, find_layout
from softcord.models.releases import find_release
from softcord.models.results import read_results_facts, read_weights_facts
from softcord.models.store import (
    CONTENT,
    Installed,
    check_name,
    find_installed,
    locked,
    models_folder,
    output_errors,
    read_installed,
    work_folder,
    write_record,
)

log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_FILES = 200_000
_CHUNK = 1 << 20

Confirm = Callable[[str, str, int], bool]


@dataclass(frozen=True)
class Installation:
    """What became of an installation.

    Attributes
    ----------
    installed : Installed
    is_new : bool
        False if the same model was there already.
    is_first_use : bool
        Whether the checksum of the download was not known before; from now on it must be this one.
    """

    installed: Installed
    is_new: bool
    is_first_use: bool = False


@dataclass(frozen=True)
class _Source:
    """Where a model comes from."""

    name: str
    text: str  # for the record
    shown: str  # for messages
    sha256: str | None
    url: str | None = None
    path: Path | None = None
    version: str = ""
    is_release: bool = False


def install(
    source: str | Path,
    *,
    name: str | None = None,
    sha256: str | None = None,
    inside: str | None = None,
    offline: bool = False,
    overwrite: bool = False,
    confirm: Confirm | None = None,
    report: Report | None = None,
    options: DownloadOptions | None = None,
) -> Installation:
    """Install a model, so that it can be used by name.

    Parameters
    ----------
    source : str or Path
        An official release (`v3.0`), a URL, a zip, a folder, or a checkpoint.
    name : str, optional
        Default: that of the release, or of the file or folder.
    sha256 : str, optional
        That the zip or checkpoint must have, in hexadecimal. Needed for a URL unless it is known from an
        earlier installation, the URL is that of an official release, or `confirm` is given.
    inside : str, optional
        Folder within the source that holds the model, if there are several.
    offline : bool
        Do not use the network.
    overwrite : bool
        Replace another model of that name (default: refuse).
    confirm : callable, optional
        Asked with URL, SHA-256 and size in bytes of a download whose checksum nobody has given; True takes
        it.
    report : callable, optional
        Gets the number of bytes downloaded and of all (None if not known).
    options : DownloadOptions, optional

    Returns
    -------
    installation : Installation

    Raises
    ------
    ModelError
        The source holds no model, or one that is damaged, hostile or of a kind that cannot be used.
    InputError
        The file or folder is missing.
    UsageError
        Arguments that contradict each other, or a URL without checksum.
    OutputError
        Another model has that name, or the folder of models cannot be written.
    """
    origin = _resolve(str(source), name, sha256)
    is_first_use = origin.url is not None and origin.sha256 is None
    if origin.url is not None:
        check_url(origin.url, is_known=not is_first_use)
    if is_first_use and not (confirm or origin.is_release or _is_same(origin, overwrite=overwrite)):
        raise UsageError(
            f"{origin.url}: a download needs its checksum. Give --sha256 with the one that its makers "
            "publish, or --sha256 record to take what comes and require the same from then on."
        )

    with locked(origin.name) as is_locked:
        if is_locked:
            with output_errors(models_folder()):
                _clean(origin.name)
        if _is_same(origin, overwrite=overwrite):
            return Installation(read_installed(origin.name), is_new=False)
        with ExitStack() as stack:
            if origin.url is not None and offline:
                raise _not_here(origin)
            path = origin.path
            if origin.url is not None:
                ask = None if origin.is_release else confirm
                origin, path = _download(origin, origin.url, ask, report, options, is_locked=is_locked)
                stack.callback(forget, path)
            installed, is_new = _install(origin, path or Path(origin.text), inside, overwrite=overwrite)
    return Installation(installed, is_new=is_new, is_first_use=is_first_use)


# ---- where from


def _resolve(source: str, name: str | None, sha256: str | None) -> _Source:
    if sha256 is not None:
        sha256 = sha256.strip().lower().removeprefix("sha256:")
        if not _SHA256.fullmatch(sha256):
            raise UsageError(f"--sha256 must be 64 hexadecimal digits, got {sha256[:70]!r}.")
    release = find_release(source)
    if release is not None:
        sha256 = sha256 or release.sha256 or _read_pin(release.url)
        own = check_name(name or release.name)
        return _Source(
            own, release.url, release.url, sha256, release.url, version=release.version, is_release=True
        )
    if "://" in source:
        own = check_name(name or _name_of(unquote(Path(split_url(source).path).name)))
        return _Source(own, source, source, sha256 or _read_pin(source), source)
    path = Path(source)
    if not path.exists():
        if path.is_symlink():
            raise InputError(
                f"{source}: a link to a file that is not here. "
                f"In a DataLad dataset, run: datalad get {source}"
            )
        raise InputError(
            f"{source}: no such file or folder, and no release of that name. "
            "See: softcord models list --releases"
        )
    if not (path.is_dir() or path.is_file()):
        raise InputError(f"{source}: expected a zip, a folder or a checkpoint, got neither file nor folder.")
    if path.is_dir() and sha256 is not None:
        raise UsageError("--sha256 is that of a file; a folder has none.")
    path = path.resolve() if path.name in ("", ".", "..") else path.absolute()
    return _Source(check_name(name or _name_of(path.name)), str(path), source, sha256, path=path)


def _name_of(file: str) -> str:
    """A model's name from that of a file."""
    stem = re.sub(r"(_nnunet_compatible)?(\.zip|\.pth)?$", "", file, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64]


def _is_same(origin: _Source, *, overwrite: bool) -> bool:
    """Whether what is installed under that name comes from there; an error if it comes from elsewhere."""
    if find_installed(origin.name) is None:
        return False
    installed = read_installed(origin.name)
    if origin.url is not None:
        is_same = installed.sha256 == origin.sha256 if origin.sha256 else installed.source == origin.text
    elif origin.path is not None and origin.path.is_file():
        is_same = installed.sha256 == file_sha256(origin.path)
    else:
        return False  # a folder: known when its files are read
    if not is_same and not overwrite:
        raise _taken(installed)
    return is_same


def _taken(installed: Installed) -> OutputError:
    return OutputError(
        f"A model called {installed.name} is installed already, from {installed.source}. "
        "Choose another name (--name), or replace it (--overwrite)."
    )


# ---- download


def _not_here(origin: _Source) -> ModelError:
    return ModelError(
        f"{origin.name} is not installed and --offline forbids the network. Bring {origin.url} here by other "
        "means, and install the file."
    )


def _download(
    origin: _Source,
    url: str,
    confirm: Confirm | None,
    report: Report | None,
    options: DownloadOptions | None,
    *,
    is_locked: bool,
) -> tuple[_Source, Path]:
    """Download a source whose checksum is known, or is then confirmed."""
    with output_errors(models_folder()):
        part = work_folder(origin.name) / ("download" if is_locked else f"download-{secrets.token_hex(4)}")
    found = download(url, part, sha256=origin.sha256, report=report, options=options)
    if origin.sha256 is None and confirm is not None and not confirm(url, found, part.stat().st_size):
        forget(part)
        raise ModelError(f"{url}: not installed, as its checksum was not confirmed.")
    return replace(origin, sha256=found), part


def _pin(url: str) -> Path:
    """File that holds the checksum of what came from a URL."""
    return models_folder() / ".checksums" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"


def _read_pin(url: str) -> str | None:
    path = _pin(url)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["sha256"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: not a recorded checksum ({error!r:.60}). Delete it, or give --sha256."
        ) from error
    return str(found)


def _write_pin(url: str, sha256: str) -> None:
    path = _pin(url)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{secrets.token_hex(4)}.tmp")
        unfinished.write_text(json.dumps({"url": url, "sha256": sha256}) + "\n", encoding="utf-8")
        unfinished.replace(path)


# ---- from a file or folder that is here


def _install(origin: _Source, path: Path, inside: str | None, *, overwrite: bool) -> tuple[Installed, bool]:
    """Build the model beside the others, check it, and let it take its name."""
    staged = work_folder(origin.name) / f"new-{secrets.token_hex(4)}"
    try:
        with output_errors(models_folder()):
            (staged / CONTENT).mkdir(parents=True)
        sha256 = None
        if path.is_file():
            sha256 = origin.sha256 if origin.url else _checked(path, origin.shown, origin.sha256)
        layout, files, size = _copy(origin, path, inside, staged / CONTENT)
        facts = _facts(layout, staged / CONTENT, origin.shown)
        installed = Installed(
            name=origin.name,
            kind=layout.kind,
            source=origin.text,
            sha256=sha256,
            content_sha256=content_sha256(files),
            installed=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            version=origin.version,
            folds=tuple(facts.get("folds", ())),
            size_bytes=size,
            files=files,
            facts=facts,
            folder=models_folder() / origin.name,
        )
        with output_errors(staged):
            write_record(installed, staged)
        is_new = _take_name(staged, installed, overwrite=overwrite)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    if origin.url is not None and sha256 is not None:
        _write_pin(origin.url, sha256)
    return read_installed(origin.name), is_new


def _checked(path: Path, shown: str, expected: str | None) -> str:
    found = file_sha256(path)
    if expected is not None and found != expected:
        raise ModelError(
            f"{shown}: SHA-256 is {found}, expected {expected}: not the file that was published, or damaged. "
            "Get it again."
        )
    return found


def _copy(
    origin: _Source, path: Path, inside: str | None, target: Path
) -> tuple[Layout, dict[str, str], int]:
    """Copy the files of the model, and none else; SHA-256 of each, and the number of bytes."""
    with _files(path, origin.shown) as (names, opened):
        layout = find_layout(names, place=origin.shown, inside=inside)
        files, size = {}, 0
        for name, inner in layout.files.items():
            digest = hashlib.sha256()
            with opened(inner) as source, output_errors(target / name):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                with (target / name).open("xb") as copy:
                    while chunk := _read(source, origin.shown, inner):
                        digest.update(chunk)
                        size += len(chunk)
                        copy.write(chunk)
            files[name] = digest.hexdigest()
    return layout, files, size


def _read(source: IO[bytes], shown: str, name: str) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:
        raise InputError(f"{shown}: {name} cannot be read ({error.strerror}). Get it again.") from error


@contextmanager
def _files(path: Path, shown: str) -> Iterator[tuple[list[str], Callable[[str], IO[bytes]]]]:
    """Names of all files in a source, and how to open one."""
    if path.is_dir():
        yield _walk(path), lambda name: _open(path / name)
        return
    name = Path(split_url(shown).path if "://" in shown else shown).name
    if name.endswith((".pth", ".ckpt")):
        yield [name], lambda _: _open(path)
        return
    with open_archive(path, shown=shown) as archive:
        yield [entry.filename for entry in archive.infolist() if not entry.is_dir()], archive.open


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        way_out = f"In a DataLad dataset, run: datalad get {path}" if path.is_symlink() else "Check it"
        raise InputError(f"{path}: cannot be read ({error.strerror}). {way_out}.") from error


def _walk(folder: Path) -> list[str]:
    """Names of all files in a folder, links to files among them."""
    names = []
    for path in folder.rglob("*"):
        if path.is_file() or (path.is_symlink() and not path.exists()):
            names.append(path.relative_to(folder).as_posix())
        if len(names) > _MOST_FILES:
            raise InputError(
                f"{folder}: holds more than {_MOST_FILES} files. Name the folder of the model in it."
            )
    return names


def _facts(layout: Layout, content: Path, shown: str) -> dict[str, Any]:
    """What is known of the network; the model is read and checked for that."""
    try:
        if layout.kind == "nnunet":
            return read_results_facts(content)
        if layout.kind == "weights":
            return read_weights_facts(content / WEIGHTS)
        info = read_model_folder(content).info
        return {"model": info.name, "version": info.version, "description": info.description}
    except ModelError as error:  # the copy goes away: speak of the file that the user knows
        told = str(error).replace(str(content / WEIGHTS), shown).replace(str(content), shown)
        raise ModelError(told) from error


def _take_name(staged: Path, installed: Installed, *, overwrite: bool) -> bool:
    """Let a complete model take its name; False if the same one has it already."""
    folder = installed.folder
    with output_errors(folder):
        if find_installed(installed.name) is not None:
            there = read_installed(installed.name)
            if there.content_sha256 == installed.content_sha256:
                return False
            if not overwrite:
                raise _taken(there)
        if folder.exists():  # replaced, or the rest of something that was no whole model
            folder.rename(work_folder(installed.name) / f"old-{secrets.token_hex(4)}")
        try:
            staged.rename(folder)
        except OSError:
            if find_installed(installed.name) is None:
                raise
            return False  # where there are no locks, another process was quicker
    for old in work_folder(installed.name).glob("old-*"):
        shutil.rmtree(old, ignore_errors=True)
    return True


def _clean(name: str) -> None:
    """Finish or delete what killed processes left; a download that can be gone on with stays."""
    work, folder = work_folder(name), models_folder() / name
    for path in work.glob("old-*"):
        if not folder.exists():  # killed while it was replaced
            path.rename(folder)
    for path in work.glob("*-*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
