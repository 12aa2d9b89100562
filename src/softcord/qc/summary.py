"""What many ratings come to: agreement between raters, and what to leave out."""

import csv
import io
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from softcord.qc.ratings import VERDICTS, Rating
from softcord.qc.record import Record

Rule: TypeAlias = Literal["any", "majority", "all"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two raters agree.

    Attributes
    ----------
    raters : (2,) tuple of str
    n : int
        Entries that both rated.
    share : float
        Of them, those with the same verdict.
    kappa : float
        Cohen's kappa (Educational and Psychological Measurement, 1960): agreement beyond chance, 1 at most;
        NaN if both gave one and the same verdict throughout, when chance alone explains it.
    """

    raters: tuple[str, str]
    n: int
    share: float
    kappa: float


def agreements(ratings: Sequence[Rating]) -> list[Agreement]:
    """Agreement of every two raters who rated an entry in common.

    Parameters
    ----------
    ratings : sequence of Rating
        At most one per rater and entry; those without a verdict are left out.

    Returns
    -------
    list of Agreement
        By name of the raters.

    Examples
    --------
    >>> said = [Rating("1", "A", "pass"), Rating("2", "A", "fail")]
    >>> said += [Rating("1", "B", "pass"), Rating("2", "B", "pass")]
    >>> [(pair.raters, pair.n, pair.share, pair.kappa) for pair in agreements(said)]
    [(('A', 'B'), 2, 0.5, 0.0)]
    """
    by_rater: dict[str, dict[str, str]] = {}
    for rating in ratings:
        if rating.rating:
            by_rater.setdefault(rating.rater, {})[rating.key] = rating.rating
    found = []
    for a, b in itertools.combinations(sorted(by_rater), 2):
        keys = by_rater[a].keys() & by_rater[b].keys()
        if keys:
            pairs = [(by_rater[a][key], by_rater[b][key]) for key in keys]
            found.append(Agreement((a, b), len(pairs), *_kappa(pairs)))
    return found


def _kappa(pairs: Sequence[tuple[str, str]]) -> tuple[float, float]:
    n = len(pairs)
    share = sum(a == b for a, b in pairs) / n
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[verdict] * second[verdict] for verdict in VERDICTS) / n**2
    return share, (share - chance) / (1 - chance) if chance < 1 else math.nan


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An entry to leave out, and who said so."""

    record: Record
    verdicts: tuple[tuple[str, str], ...]
    comment: str


def exclusions(rows: Sequence[Record], ratings: Sequence[Rating], rule: Rule = "any") -> list[Exclusion]:
    """Entries to leave out.

    Parameters
    ----------
    rows : sequence of Record
        Entries of the page.
    ratings : sequence of Rating
        At most one per rater and entry.
    rule : {"any", "majority", "all"}
        How many of those who rated an entry must have said fail or artifact.

    Returns
    -------
    list of Exclusion
        In the order of the rows.
    """
    found = []
    for row in rows:
        said = [rating for rating in ratings if rating.key == row.key and rating.rating]
        said.sort(key=lambda rating: rating.rater)
        bad = [rating for rating in said if rating.rating != "pass"]
        needed = {"any": 1, "majority": len(said) // 2 + 1, "all": max(1, len(said))}[rule]
        if len(bad) >= needed:
            verdicts = tuple((rating.rater, rating.rating) for rating in said)
            found.append(Exclusion(row, verdicts, "; ".join(r.comment for r in bad if r.comment)))
    return found


def as_table(excluded: Sequence[Exclusion]) -> str:
    """TSV of exclusions: image, segmentation, what was said by whom, comments."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(["file", "segmentation", "verdicts", "comment"])
    for each in excluded:
        said = ", ".join(f"{rater or 'unnamed'}: {verdict}" for rater, verdict in each.verdicts)
        writer.writerow([each.record.source, each.record.origin.result, said, each.comment])
    return text.getvalue()
