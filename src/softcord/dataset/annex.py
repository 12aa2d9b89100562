"""Datasets under git and git-annex: clone with DataLad, get single files, say which commit is checked out.

The programs run as they would from a shell. The two that come from the Python extra, `datalad` and
`git-annex`, lie beside this Python, so that the environment need not be activated.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from softcord.errors import InputError, MissingExtraError, SoftcordError

_LOG = logging.getLogger(__name__)
_FILES_AT_ONCE = 200  # names on one command line


class DatasetUnavailableError(SoftcordError):
    """A dataset that cannot be had: no such place, or no right to it."""

    exit_code = 3


@dataclass(frozen=True)
class Got:
    """What became of one file.

    Attributes
    ----------
    path : str
        Relative to the dataset.
    error : str
        Empty if its content is here.
    """

    path: str
    error: str = ""


def check_programs() -> None:
    """Raise MissingExtraError unless git, git-annex and DataLad are there."""
    if shutil.which("git", path=_environment()["PATH"]) is None:
        raise MissingExtraError("Getting datasets needs git. Install it, such as with apt-get install git.")
    for program in ("git-annex", "datalad"):
        if shutil.which(program, path=_environment()["PATH"]) is None:
            raise MissingExtraError(f"Getting datasets needs {program}. Run: pip install 'softcord[dataset]'")


def clone(url: str, folder: Path, version: str) -> None:
    """Clone a dataset without content, and check out a version; a clone that fails leaves nothing.

    Parameters
    ----------
    url : str
        Whatever DataLad understands.
    folder : Path
        Must not exist.
    version : str
        Commit, tag or branch; empty: what is current.

    Raises
    ------
    DatasetUnavailableError
        If it cannot be cloned or has no such version.
    """
    unfinished = folder.with_name(f".{folder.name}.partial")
    remove_folder(unfinished)
    try:
        run = _run(["datalad", "-l", "warning", "clone", url, str(unfinished)], folder.parent)
        if run.returncode:
            raise DatasetUnavailableError(f"{url}: cannot be cloned ({_reason(run)}).")
        if version:
            check_out(unfinished, version, url)
        unfinished.rename(folder)
    except BaseException:
        remove_folder(unfinished)
        raise


def check_out(folder: Path, version: str, url: str) -> None:
    """Check out a version that the clone knows."""
    commit = find_commit(folder, version)
    if commit is None:
        raise DatasetUnavailableError(f"{url}: has no commit, tag or branch {version}. Check the recipe.")
    run = _run(["git", "checkout", "--quiet", "--detach", commit], folder)
    if run.returncode:
        raise DatasetUnavailableError(f"{folder}: cannot check out {version} ({_reason(run)}).")


def fetch(folder: Path) -> None:
    """Learn of new commits; no harm if the remote cannot be reached."""
    run = _run(["git", "fetch", "--quiet", "--tags", "origin"], folder)
    if run.returncode:
        _LOG.warning("%s: cannot fetch (%s).", folder, _reason(run))


def find_commit(folder: Path, version: str) -> str | None:
    """Commit that a name means, be it a tag, a commit or a branch of the remote."""
    for name in (f"refs/tags/{version}", version, f"refs/remotes/origin/{version}"):
        run = _run(["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], folder)
        if run.returncode == 0:
            return run.stdout.strip()
    return None


def state_of(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Commit of a folder and tracked files that differ from it; empty for a folder without git.

    Returns
    -------
    commit : str
    modified : tuple of str
    """
    top = _run(["git", "rev-parse", "--show-toplevel"], folder) if shutil.which("git") else None
    if top is None or top.returncode or Path(top.stdout.strip()).resolve() != folder.resolve():
        return "", ()
    commit = _run(["git", "rev-parse", "--verify", "--quiet", "HEAD"], folder).stdout.strip()
    run = _run(["git", "status", "--porcelain", "-z", "--untracked-files=no", "--no-renames"], folder)
    return commit, tuple(sorted(line[3:] for line in run.stdout.split("\0") if line))


def get_files(folder: Path, paths: Sequence[str], jobs: int) -> Iterator[Got]:
    """Get the content of files.

    Parameters
    ----------
    folder : Path
        A clone.
    paths : sequence of str
        Relative to it.
    jobs : int
        Downloads at a time.

    Yields
    ------
    got : Got
        For each file, in the order in which they come.
    """
    for start in range(0, len(paths), _FILES_AT_ONCE):
        part = paths[start : start + _FILES_AT_ONCE]
        left = dict.fromkeys(part)
        command = ["git-annex", "get", "--json", "--json-error-messages", f"--jobs={jobs}", "--", *part]
        with subprocess.Popen(  # noqa: S603  a list of words, not a line for a shell
            command,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # errors are in the answers
            text=True,
        ) as process:
            assert process.stdout is not None  # noqa: S101  it is a pipe
            for line in process.stdout:
                answer = _parse(line)
                name = answer.get("file")
                if isinstance(name, str) and name in left:
                    del left[name]
                    yield Got(name, "" if answer.get("success") else _why(answer))
        # files of which nothing is said are here already, are no files of git-annex, or do not exist
        for name in left:
            path = folder / name
            lacking = "git-annex does not know it, or it has no copy" if path.is_symlink() else "no such file"
            yield Got(name, "" if path.is_file() else lacking)


def remove_folder(folder: Path) -> None:
    """Remove a clone that was never finished; git-annex write-protects what it keeps."""
    if not folder.exists():
        return
    for path in [folder, *(p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink())]:
        path.chmod(0o700)
    shutil.rmtree(folder)


def _environment() -> dict[str, str]:
    """Environment of the programs: they find one another, ask nothing, and have somebody to commit as."""
    beside = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]),
        "GIT_TERMINAL_PROMPT": "0",
        "DATALAD_UI_PROGRESSBAR": "none",
        "LC_ALL": "C.UTF-8",
    }
    for who in ("AUTHOR", "COMMITTER"):
        environment.setdefault(f"GIT_{who}_NAME", "softcord")
        environment.setdefault(f"GIT_{who}_EMAIL", "softcord@localhost")
    return environment


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  a list of words, not a line for a shell
            command,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise InputError(f"{command[0]}: cannot be run in {folder} ({error.strerror}).") from error


def _reason(run: subprocess.CompletedProcess[str]) -> str:
    """The last lines that a program wrote, as one."""
    lines = [line.strip() for line in (run.stderr or run.stdout).splitlines() if line.strip()]
    return " ".join(lines[-3:]).rstrip(".") or f"exit status {run.returncode}"


def _why(answer: dict[str, object]) -> str:
    messages = answer.get("error-messages")
    said = [str(message).strip() for message in messages] if isinstance(messages, list) else []
    note = answer.get("note")
    return " ".join(" ".join([*said, note if isinstance(note, str) else ""]).split()) or "no reason was given"


def _parse(line: str) -> dict[str, object]:
    try:
        answer = json.loads(line)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
