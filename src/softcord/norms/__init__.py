"""Healthy people's cords: how far a value is from theirs, by vertebral level and sex.

The norms come from masks of SCT's contrast-agnostic model, version 3. Another method or another contrast
moves areas by several percent, so that a z-score is no diagnosis: compare people measured alike.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, TypeAlias

from softcord.errors import UsageError

Sex: TypeAlias = Literal["all", "F", "M"]

METRICS = ("area_mm2", "diameter_ap_mm", "diameter_rl_mm", "eccentricity", "solidity")
"""Measures that have norms."""

DATASETS = ("spine-generic", "whole-spine", "AOMIC")
"""Groups of people; where one lacks a level, the next one that has it is used."""

CAUTION = (
    "Norms: masks by SCT's contrast-agnostic model v3 on T2w (AOMIC: T1w) images. Another method or contrast "
    "shifts areas by several percent: compare people who were measured alike."
)


@dataclass(frozen=True, slots=True)
class Norm:
    """Healthy people's values of one measure.

    Attributes
    ----------
    dataset : str
        Which people.
    sex : str
        ``"F"``, ``"M"`` or ``"all"``.
    n : int
        How many, at least.
    mean, sd : float
        In the unit of the measure.
    low, high : float
        0.1 % of the people are below, and as many above.
    """

    dataset: str
    sex: str
    n: int
    mean: float
    sd: float
    low: float
    high: float

    def z(self, value: float) -> float:
        """Distance of a value from the mean, in standard deviations."""
        return (value - self.mean) / self.sd

    def percentile(self, value: float) -> float:
        """Share of healthy people below a value, in percent, as if they were normally distributed."""
        return 50 * math.erfc(-self.z(value) / math.sqrt(2))

    def is_outside(self, value: float) -> bool:
        """Whether a value is beyond those of 99.8 % of healthy people."""
        return not self.low <= value <= self.high


def find_norm(
    metric: str, levels: Sequence[int], *, sex: Sex = "all", dataset: str = DATASETS[0]
) -> Norm | None:
    """Norm of a measure at one level, or on average over several.

    Parameters
    ----------
    metric : str
        One of `METRICS`.
    levels : sequence of int
        Vertebral levels, 1 for C1; repeated for a weighted average.
    sex : {"all", "F", "M"}
        Whose values; ``"all"`` is used where there are too few of one sex.
    dataset : str
        One of `DATASETS`, tried first.

    Returns
    -------
    norm : Norm or None
        None if there is no norm for one of the levels, or no level.

    Raises
    ------
    UsageError
        If there is no such sex or dataset.

    Examples
    --------
    >>> norm = find_norm("area_mm2", [2, 3], sex="F")
    >>> norm.n > 90, round(norm.z(norm.mean - norm.sd), 6)
    (True, -1.0)
    """
    if sex not in ("all", "F", "M"):
        raise UsageError(f"sex must be F, M or all, got {sex!r}.")
    if dataset not in DATASETS:
        raise UsageError(f"norms must be one of {', '.join(DATASETS)}; got {dataset!r}.")
    table = _table()
    for people in [dataset, *(name for name in DATASETS[:2] if name != dataset)]:
        for group in dict.fromkeys([sex, "all"]):
            rows = [table.get((people, group, metric, int(level))) for level in levels]
            found = [row for row in rows if row is not None]
            if found and len(found) == len(rows):
                n = min(int(row[0]) for row in found)
                mean, sd, low, high = (sum(row[i] for row in found) / len(found) for i in (1, 2, 3, 4))
                return Norm(people, group, n, mean, sd, low, high)
    return None


@functools.cache
def _table() -> dict[tuple[str, str, str, int], tuple[float, float, float, float, float]]:
    """(dataset, sex, metric, level) -> n, mean, sd, 0.1 % and 99.9 %."""
    text = (files("softcord.norms") / "levels.tsv").read_text(encoding="utf-8")
    header, *lines = (line.split("\t") for line in text.splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    return {
        (row["dataset"], row["sex"], row["metric"], int(row["level"])): (
            float(row["n"]),
            float(row["mean"]),
            float(row["sd"]),
            float(row["p0_1"]),
            float(row["p99_9"]),
        )
        for row in rows
    }
