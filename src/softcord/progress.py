"""A progress bar on a terminal; silent unless it is asked for and there is a terminal to draw it on."""

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import ClassVar, TextIO, TypeVar

T = TypeVar("T")

_CELLS = 24
_ERASE = "\r\x1b[K"  # back to the start of the line, then clear to its end


class Bar:
    """A bar on the last line of a terminal, kept up to date while the block runs.

    Nothing is written when it is not enabled, or when the stream is no terminal.

    Parameters
    ----------
    total : int
        Number of steps.
    label : str
        What is being done.
    enabled : bool
        Whether a bar is wanted.
    stream : text stream, optional
        Where to draw. Default: standard error.

    Examples
    --------
    >>> with Bar(2, "segment") as bar:
    ...     for name in ("a", "b"):
    ...         bar.hide()  # so that what is printed starts on a clean line
    ...         print(name)
    ...         bar.advance()
    a
    b
    """

    _current: ClassVar["Bar | None"] = None

    def __init__(
        self, total: int, label: str, *, enabled: bool = False, stream: TextIO | None = None
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._visible = enabled and total > 0 and self._stream.isatty()
        self._total = total
        self._label = label
        self._done = 0
        self._outer: Bar | None = None  # the one around it, if it is one of several
        self._start = time.monotonic()

    def __enter__(self) -> "Bar":
        self._outer, Bar._current = Bar._current, self
        self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hide()
        Bar._current = self._outer

    @classmethod
    def hide_current(cls) -> None:
        """Erase the bar that is drawn now, if there is one, until its next step.

        For text that is printed from inside a loop over `track`.
        """
        if cls._current is not None:
            cls._current.hide()

    def advance(self) -> None:
        """Count one step as done and draw the bar."""
        self._done = min(self._done + 1, self._total)
        self._draw()

    def reach(self, done: int, total: int | None = None) -> None:
        """Say how many steps are done, of how many as far as is known, and draw the bar if that is news."""
        total = self._total if total is None else max(total, 1)
        done = min(done, total)
        if (done, total) != (self._done, self._total):
            self._done, self._total = done, total
            self._draw()

    def hide(self) -> None:
        """Erase the bar until the next step."""
        self._write(_ERASE)

    def _draw(self) -> None:
        if self._visible:
            columns = shutil.get_terminal_size().columns
            self._write(_ERASE + self._line()[: columns - 1])

    def _line(self) -> str:
        """The bar as text: ``segment [######------] 1/2, about 0:12 left``."""
        cells = _CELLS * self._done // self._total
        line = f"{self._label} [{'#' * cells}{'-' * (_CELLS - cells)}] {self._done}/{self._total}"
        if 0 < self._done < self._total:
            passed_s = time.monotonic() - self._start
            line += f", about {_clock(passed_s / self._done * (self._total - self._done))} left"
        return line

    def _write(self, text: str) -> None:
        if self._visible:
            self._stream.write(text)
            self._stream.flush()


def track(
    items: Iterable[T], label: str, *, enabled: bool = False, stream: TextIO | None = None
) -> Iterator[T]:
    """Yield the items one by one, with a progress bar.

    Parameters
    ----------
    items : iterable
        What to go through; read into memory first if it has no length and a bar is wanted.
    label : str
        What is being done.
    enabled : bool
        Whether a bar is wanted; it is drawn only on a terminal.
    stream : text stream, optional
        Where to draw. Default: standard error.

    Yields
    ------
    item
        Each of `items`, in order.
    """
    if not enabled:
        yield from items
        return
    sized = items if isinstance(items, Sized) else list(items)
    with Bar(len(sized), label, enabled=True, stream=stream) as bar:
        for item in sized:
            yield item
            bar.advance()


def _clock(duration_s: float) -> str:
    """Time as ``m:ss`` or ``h:mm:ss``."""
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
