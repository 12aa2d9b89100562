from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softcord.errors import InputError
from softcord.train import pool as pool_module
from softcord.train.config import ScheduleConfig
from softcord.train.pool import SamplePool, Task, draw_numbered, numbers_at
from softcord.train.sources import Sources


def simulate(step: int, schedule: ScheduleConfig) -> list[int]:
    """The numbers in the pool when `step` begins, by doing every step before it."""
    numbers, fresh = list(range(schedule.pool)), schedule.pool
    for past in range(1, step):
        if past % schedule.renew_every == 0:
            numbers[(fresh + 1) % schedule.pool] = fresh
            fresh += 1
    return numbers


@given(step=st.integers(0, 200), pool=st.integers(2, 9), renew_every=st.integers(1, 7))
def test_the_numbers_in_the_pool_are_those_of_a_run_that_was_never_interrupted(step, pool, renew_every):
    schedule = ScheduleConfig(pool=pool, renew_every=renew_every)
    assert numbers_at(step, schedule) == simulate(step, schedule)


@pytest.fixture
def numbered(monkeypatch):
    """Samples that hold their number, so that a pool shows what it drew."""

    def draw(task, sources, number):
        return pool_module.Sample(*(np.full((2, 2, 2), number, dtype=np.float16) for _ in range(3)))

    monkeypatch.setattr(pool_module, "draw_numbered", draw)


def held(pool: SamplePool) -> list[int]:
    return [int(sample.share[0, 0, 0]) for sample in pool.samples]


@pytest.mark.parametrize("start", [0, 1, 2, 3, 4, 6, 9, 30])
def test_a_pool_that_starts_late_goes_on_as_if_it_had_started_early(tiny, numbered, start):
    config = replace(tiny, schedule=replace(tiny.schedule, pool=4, renew_every=3))
    with (
        SamplePool(Task(config, None), workers=0) as early,
        SamplePool(Task(config, None), workers=0, step=start) as late,
    ):
        for step in range(start):
            early.batch(step)
        assert held(early) == held(late) == numbers_at(start, config.schedule)
        for step in range(start, start + 14):
            for first, second in zip(early.batch(step), late.batch(step), strict=True):
                np.testing.assert_array_equal(first, second)
            assert held(early) == held(late)


def test_a_sample_depends_on_the_seed_and_its_number_alone(tiny):
    task = Task(tiny, None)
    first, again = (draw_numbered(task, Sources((), ()), 11) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.share, again.share)
    others = [
        draw_numbered(task, Sources((), ()), 12),
        draw_numbered(Task(replace(tiny, seed=4), None), Sources((), ()), 11),
    ]
    assert not any(np.array_equal(first.image, other.image) for other in others)


def test_workers_give_the_same_batches_as_none(mixed, data):
    task = Task(mixed, data)
    with SamplePool(task, workers=0, step=1) as alone, SamplePool(task, workers=1, step=1) as helped:
        for step in range(1, 8):
            for first, second in zip(alone.batch(step), helped.batch(step), strict=True):
                np.testing.assert_array_equal(first, second)


def test_a_batch_has_a_channel_and_is_what_the_network_takes(tiny):
    with SamplePool(Task(tiny, None), workers=0) as pool:
        for array in pool.batch(0):
            assert array.shape == (2, 1, 16, 16, 8)
            assert array.dtype == np.float32


def test_the_same_sample_looks_a_little_different_each_time(tiny):
    config = replace(tiny, schedule=replace(tiny.schedule, pool=2, renew_every=1000))
    with SamplePool(Task(config, None), workers=0) as pool:
        looks = [pool.batch(step) for step in range(6)]
    assert len({image.sum() for image, _, _ in looks}) == 6
    first, second = looks[0][1]
    for image, share, _ in looks:
        for one in share:
            drawn = [other for each in (first, second) for other in (each, each[:, ::-1])]
            assert any(np.array_equal(one, other) for other in drawn)  # as it was drawn, or mirrored
        assert image.min() >= 0
    assert any(not np.array_equal(share, looks[0][1]) for _, share, _ in looks)


def test_what_a_worker_cannot_read_is_told_in_its_own_words(mixed, tmp_path):
    with pytest.raises(InputError, match=r"maps.*no such label maps"):
        SamplePool(Task(mixed, tmp_path), workers=1)
