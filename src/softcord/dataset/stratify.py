"""Sets of given sizes that are alike in everything that is counted: iterative stratification."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping

Trait = tuple[str, str]


def stratify(
    traits: Mapping[str, Collection[Trait]], ratios: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Give every person a set, so that each trait is spread over the sets as the ratios say.

    Parameters
    ----------
    traits : dict of str to collection of (str, str)
        What is known of each person, as ``("site", "zurich")``; of one kind there may be several.
    ratios : dict of str to float
        Shares of the sets; they add up to 1.
    seed : int

    Returns
    -------
    sets : dict of str to str
        The set of each person. Depends on names, traits, ratios and seed, and on the order of nothing.

    Notes
    -----
    Sechidis, Tsoumakas and Vlahavas, On the stratification of multi-label data (2011): of the people who have
    no set yet, those with the rarest trait come first; each goes to the set that lacks most of that trait.
    The sizes of sets are fixed beforehand: the ratios rounded, but one person at least where there are enough
    for one in each.

    Examples
    --------
    >>> people = {f"sub-{n}": [("site", "a" if n < 6 else "b")] for n in range(10)}
    >>> sets = stratify(people, {"train": 0.5, "test": 0.5}, seed=1)
    >>> sum(sets[name] == "test" and people[name] == [("site", "b")] for name in people)
    2
    """
    room = Counter(set_sizes(len(traits), ratios))
    totals = Counter(trait for own in traits.values() for trait in set(own))
    lacking = {name: {trait: ratios[name] * n for trait, n in totals.items()} for name in ratios}
    order = sorted(traits, key=lambda person: _random_key(person, seed))
    rank = {name: position for position, name in enumerate(ratios)}
    waiting = dict.fromkeys(order)
    sets: dict[str, str] = {}
    while waiting:
        left = Counter(trait for person in waiting for trait in set(traits[person]))
        rarest = min(left, key=lambda trait: (left[trait], trait)) if left else None
        for person in [one for one in waiting if rarest is None or rarest in traits[one]]:
            own = set(traits[person])
            needs = {
                name: (
                    round(lacking[name][rarest], 9) if rarest else 0.0,
                    round(sum(lacking[name][trait] / totals[trait] for trait in sorted(own)), 9),
                    room[name],
                    -rank[name],
                )
                for name in ratios
                if room[name] > 0
            }
            chosen = max(needs, key=needs.__getitem__)
            sets[person] = chosen
            room[chosen] -= 1
            for trait in own:
                lacking[chosen][trait] -= 1
            del waiting[person]
    return sets


def set_sizes(n: int, ratios: Mapping[str, float]) -> dict[str, int]:
    """Sizes of sets, which add up to `n`: rounded ratios, at least 1 where there are enough people.

    Examples
    --------
    >>> set_sizes(14, {"train": 0.8, "val": 0.1, "test": 0.1})
    {'train': 12, 'val': 1, 'test': 1}
    >>> set_sizes(4, {"train": 0.8, "val": 0.1, "test": 0.1})
    {'train': 2, 'val': 1, 'test': 1}
    """
    wanted = [name for name in ratios if ratios[name] > 0]
    first, *rest = wanted
    least = 1 if n >= len(wanted) else 0
    sizes = dict.fromkeys(ratios, 0)
    left = n
    for name in rest:
        sizes[name] = min(max(least, int(n * ratios[name] + 0.5)), left)
        left -= sizes[name]
    sizes[first] = left
    return sizes


def make_folds(traits: Mapping[str, Collection[Trait]], n_folds: int, seed: int) -> dict[str, int]:
    """Number of the fold in which each person is left out of training."""
    ratios = {str(fold): 1 / n_folds for fold in range(n_folds)}
    return {person: int(fold) for person, fold in stratify(traits, ratios, seed).items()}


def _random_key(person: str, seed: int) -> tuple[str, str]:
    return hashlib.sha256(f"{seed}\0{person}".encode()).hexdigest(), person
