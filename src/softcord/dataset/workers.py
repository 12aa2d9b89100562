"""Work on many items with several processes, none of which outlives the one that started it."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from softcord.errors import SoftcordError, UsageError

T = TypeVar("T")
R = TypeVar("R")

_MOST = 8  # more than that wait for the disk


def default_jobs() -> int:
    """Number of processes if nobody says otherwise."""
    return min(os.cpu_count() or 1, _MOST)


def work_on(
    items: Sequence[T], function: Callable[[T], R], jobs: int
) -> Iterator[tuple[T, R | SoftcordError]]:
    """Call a function of one argument on many items.

    Parameters
    ----------
    items : sequence
    function : callable
        At the top of its module, so that other processes can find it.
    jobs : int
        Number of processes; 1: this one.

    Yields
    ------
    item
        In the order in which they are done.
    result : object or SoftcordError
        What the function gave, or the error that it raised.

    Raises
    ------
    UsageError
        If `jobs` is below 1.
    SoftcordError
        If a process was ended from outside, as for want of memory.
    """
    if jobs < 1:
        raise UsageError(f"jobs must be 1 or more, got {jobs}.")
    if jobs == 1 or len(items) < 2:
        for item in items:
            yield item, _guarded(function, item)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks of threads
    with ProcessPoolExecutor(min(jobs, len(items)), context, initializer=_end_with_parent) as pool:
        left = iter(items)
        running: dict[Future[R | SoftcordError], T] = {}
        try:
            while True:
                for item in left:
                    running[pool.submit(_guarded, function, item)] = item
                    if len(running) >= 2 * jobs:
                        break
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BrokenProcessPool as error:
            raise SoftcordError(
                "A process was ended from outside, perhaps for want of memory. What is done is kept: run the "
                "same again, with fewer jobs (--jobs)."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _guarded(function: Callable[[T], R], item: T) -> R | SoftcordError:
    try:
        return function(item)
    except SoftcordError as error:
        return error


def _end_with_parent() -> None:
    """Leave when the process that started this one is gone, be it killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for, args=(parent,), daemon=True).start()


def _wait_for(parent: "multiprocessing.process.BaseProcess") -> None:
    parent.join()
    os._exit(1)
