"""A pool of training samples, renewed by other processes while the network trains.

Sample number n depends on the seed and n alone, and which numbers are in the pool depends on the step alone,
so that a run gives the same result however fast its workers are, and a resumed run goes on where it stopped.
"""

from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import final

import numpy as np

from softcord.errors import SoftcordError
from softcord.train.config import ScheduleConfig, SynthConfig
from softcord.train.samples import Sample, draw_sample
from softcord.train.sources import Sources, load_sources


@dataclass(frozen=True)
class Task:
    """What a worker needs to draw any sample."""

    config: SynthConfig
    data: Path | None
    pseudo: Path | None = None


class _Worker:
    """The state of a worker process: its sources, read once, or why they could not be read."""

    task: Task
    sources: Sources
    error: SoftcordError | None = None


def _start(task: Task) -> None:
    """Read the sources; an error raised here would only be known as a broken pool, so it is kept."""
    try:
        _Worker.task, _Worker.sources = task, load_sources(task.config, task.data, task.pseudo)
    except SoftcordError as error:
        _Worker.error = error


def _draw(number: int) -> Sample:
    if _Worker.error is not None:
        raise _Worker.error
    return draw_numbered(_Worker.task, _Worker.sources, number)


def draw_numbered(task: Task, sources: Sources, number: int) -> Sample:
    """Sample `number` of a run."""
    rng = np.random.default_rng([task.config.seed, number])
    return draw_sample(rng, sources, task.config.mix, task.config.grid)


def renewals_before(step: int, schedule: ScheduleConfig) -> int:
    """How many samples have been replaced when `step` begins; it replaces another one if it is due itself."""
    return max(0, step - 1) // schedule.renew_every


def slot_of(number: int, pool: int) -> int:
    """Where in a pool of that size a sample lies: renewal starts at the second slot and goes round."""
    return number if number < pool else (number + 1) % pool


def numbers_at(step: int, schedule: ScheduleConfig) -> list[int]:
    """Which samples the pool holds when `step` begins, by slot."""
    held = list(range(schedule.pool))
    for number in range(schedule.pool, schedule.pool + renewals_before(step, schedule)):
        held[slot_of(number, schedule.pool)] = number
    return held


@final
class SamplePool:
    """Samples in memory; a context manager that ends its workers.

    Parameters
    ----------
    task : Task
    workers : int
        Processes that draw samples; 0 draws them in this one.
    step : int
        The step that is trained next.
    """

    def __init__(self, task: Task, *, workers: int, step: int = 0) -> None:
        self._task, self._schedule = task, task.config.schedule
        self._executor: ProcessPoolExecutor | None = None
        if workers:
            self._executor = ProcessPoolExecutor(
                workers, mp_context=get_context("spawn"), initializer=_start, initargs=(task,)
            )
        else:
            self._sources = load_sources(task.config, task.data, task.pseudo)
        self._waiting: deque[Future[Sample]] = deque()
        self._next = self._schedule.pool + renewals_before(step, self._schedule)
        self._submitted = self._next
        self._ahead = 4 * max(1, workers)
        try:
            self.samples = self._fill(numbers_at(step, self._schedule))
        except BaseException:
            self.__exit__()
            raise

    def _fill(self, numbers: list[int]) -> list[Sample]:
        if self._executor is not None:
            return list(self._executor.map(_draw, numbers, chunksize=4))
        return [draw_numbered(self._task, self._sources, number) for number in numbers]

    def __enter__(self) -> "SamplePool":
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images, shares and weights of the batch of `step`, each (N, 1, I, J, K) float32.

        Renews the pool as due, so that steps must be asked for in order.
        A sample that is drawn again is not the same: it is mirrored half of the time, its grey levels are
        stretched and bent, and some noise is added.
        """
        if step and step % self._schedule.renew_every == 0:
            slot = slot_of(self._next, self._schedule.pool)
            self.samples[slot] = self._fresh()
        rng = np.random.default_rng([self._task.config.seed, 2**31, step])
        chosen = [
            self.samples[n] for n in rng.choice(self._schedule.pool, self._schedule.batch, replace=False)
        ]
        image = np.stack([s.image for s in chosen])[:, None].astype(np.float32)
        stretch = rng.uniform(0.7, 1.2, (len(chosen), 1, 1, 1, 1)).astype(np.float32)
        image = np.clip(image * stretch, 0, None) ** rng.uniform(0.8, 1.25, stretch.shape).astype(np.float32)
        grain = rng.uniform(0, 0.02, stretch.shape) * (rng.random(stretch.shape) < 0.5)
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image = np.maximum(image + grain.astype(np.float32) * noise, 0)
        share, weight = (
            np.stack([getattr(s, name) for s in chosen])[:, None].astype(np.float32)
            for name in ("share", "weight")
        )
        mirrored = rng.random(len(chosen)) < 0.5
        for array in (image, share, weight):
            array[mirrored] = array[mirrored, :, ::-1]
        return image, share, weight

    def _fresh(self) -> Sample:
        number, self._next = self._next, self._next + 1
        if self._executor is None:
            return draw_numbered(self._task, self._sources, number)
        while self._submitted < number + self._ahead:
            self._waiting.append(self._executor.submit(_draw, self._submitted))
            self._submitted += 1
        return self._waiting.popleft().result()
