"""What the commands say, where they say it, and the exit code that follows from results.

Results go to stdout, everything else to stderr. Lines are written past a progress bar.
"""

import argparse
import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from softcord.progress import Bar

if TYPE_CHECKING:
    from softcord.segment import FileResult

NO_CORD = 4
SOME_FAILED = 7
FLAGGED = 8
INTERRUPTED = 130

_LOG = logging.getLogger("softcord")


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add -v and -q, which every command has."""
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice for debugging")
    parser.add_argument("-q", "--quiet", action="count", default=0, help="say nothing but errors")


def say(line: str) -> None:
    """Write a line of the result."""
    _write(line, sys.stdout)


def complain(message: str) -> None:
    """Write an error: one line that names the program."""
    _write("softcord: error: " + re.sub(r"\s*[\r\n]+\s*", " ", message), sys.stderr)


def _write(line: str, stream: TextIO) -> None:
    Bar.hide_current()
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        silence(stream)


def silence(stream: TextIO) -> None:
    """Let a stream lead nowhere, as its reader has gone (as `head` does); the work goes on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class _Handler(logging.Handler):
    """Log lines on stderr, with their level, past a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        _write(f"softcord: {record.levelname.lower()}: {record.getMessage()}", sys.stderr)


@contextmanager
def logging_to_stderr(verbosity: int) -> Iterator[None]:
    """Show the library's log and Python's warnings on stderr while a command runs.

    Parameters
    ----------
    verbosity : int
        -1: errors only; 0: warnings; 1: information; 2: debugging.
    """
    handler = _Handler()
    before = _LOG.level
    _LOG.addHandler(handler)
    _LOG.setLevel(
        {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(max(verbosity, -1), logging.DEBUG)
    )
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(before)


def _show_warning(message: Warning | str, *_details: object, **_more: object) -> None:
    _LOG.warning("%s", message)


def summarise(result: "FileResult", place: Path) -> str:
    """One line on one input: volume, area, flags, time and where the result is."""
    name = result.input.name
    flags = ", ".join(dict.fromkeys(flag.code for flag in result.flags)) or "none"
    measures = f"volume {result.volume_mm3:.0f} mm3, mean area {result.mean_area_mm2:.1f} mm2, flags: {flags}"
    spent = "done before" if result.skipped else f"{sum(result.seconds.values()):.1f} s"
    return f"{name}: {measures}, {spent} -> {place}"


def report(result: "FileResult", *, quiet: bool, place: Path | None = None) -> None:
    """Say what became of one input: its summary, the reasons of its flags on demand, or its error.

    Parameters
    ----------
    result : FileResult
        What became of it.
    quiet : bool
        Leave out the summary.
    place : Path, optional
        The result to name. Default: the soft map.
    """
    if result.error is not None:
        complain(str(result.error))
        return
    if not quiet:
        say(summarise(result, place or result.outputs.soft))
    if result.seconds:
        steps = ", ".join(f"{step} {spent:.2f} s" for step, spent in result.seconds.items())
        _LOG.info("%s: %s", result.input.name, steps)
    for flag in result.flags:
        _LOG.info("%s: %s: %s", result.input.name, flag.code, flag.reason)
    if not result.cord_found:
        complain(
            f"{result.input}: no cord found, so the map {result.outputs.soft} is empty. "
            "Check that the image shows the cord and that its orientation is right."
        )


def conclude(results: Sequence["FileResult"], *, strict: bool = False) -> int:
    """Exit code of a run: an input's own if there is one input, else whether any failed.

    Parameters
    ----------
    results : sequence of FileResult
        All of the run.
    strict : bool
        Whether flags are a failure.
    """
    failed = {str(result.input): _exit_code(result) for result in results if _exit_code(result)}
    if len(results) == 1 and failed:
        return next(iter(failed.values()))
    if failed:
        names = ", ".join(f"{name} ({code})" for name, code in failed.items())
        complain(f"{len(failed)} of {len(results)} images failed (exit code of each): {names}")
        return SOME_FAILED
    return FLAGGED if strict and any(result.flags for result in results) else 0


def _exit_code(result: "FileResult") -> int:
    if result.error is not None:
        return result.error.exit_code
    return 0 if result.cord_found else NO_CORD


def show_viewers(results: Sequence["FileResult"]) -> None:
    """On a terminal, give the lines that open the first image with its result."""
    shown = next((result for result in results if result.error is None), None)
    if shown is None or not sys.stdout.isatty():
        return
    image, soft = shlex.quote(str(shown.input)), shlex.quote(str(shown.outputs.soft))
    say("To look at it, in FSLeyes or in ITK-SNAP:")
    say(f"  fsleyes {image} {soft} -cm red-yellow -dr 0.05 1 -a 60")
    say(f"  itksnap -g {image} -o {soft}")
