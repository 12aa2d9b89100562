import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softcord.dataset.stratify import make_folds, set_sizes, stratify

RATIOS = {"train": 0.65, "val": 0.15, "test": 0.2}


def crowd(n=240):
    """People of 12 sites, 3 pathologies and up to 3 contrasts."""
    rng = random.Random(3)
    return {
        f"sub-{k:03d}": [
            ("site", f"site{rng.randrange(12)}"),
            ("pathology", rng.choice(["HC", "HC", "MS", "DCM"])),
            *[("contrast", name) for name in ("T1w", "T2w", "PSIR") if rng.random() < 0.6],
        ]
        for k in range(n)
    }


def test_every_trait_is_spread_over_the_sets_as_the_ratios_say():
    people = crowd()
    sets = stratify(people, RATIOS, seed=50)
    counts = Counter((trait, sets[person]) for person, own in people.items() for trait in own)
    totals = Counter(trait for own in people.values() for trait in own)
    assert len(totals) == 18
    for trait, total in totals.items():
        for name, ratio in RATIOS.items():
            assert abs(counts[trait, name] - ratio * total) <= max(1.5, 0.05 * total), (trait, name)


def test_a_random_split_would_not_pass_the_test_above():
    people = crowd()
    rng = random.Random(0)
    names = sorted(people)
    rng.shuffle(names)
    test = set(names[: round(0.2 * len(names))])
    totals = Counter(trait for own in people.values() for trait in own)
    counts = Counter(trait for person in test for trait in people[person])
    assert any(abs(counts[trait] - 0.2 * n) > max(1.5, 0.05 * n) for trait, n in totals.items())


def test_the_order_of_people_and_traits_does_not_matter():
    people = crowd()
    shuffled = [(name, random.Random(1).sample(own, len(own))) for name, own in people.items()]
    random.Random(2).shuffle(shuffled)
    assert stratify(dict(shuffled), RATIOS, seed=50) == stratify(people, RATIOS, seed=50)


def test_another_seed_is_another_split():
    assert stratify(crowd(), RATIOS, seed=50) != stratify(crowd(), RATIOS, seed=51)


@given(st.integers(0, 300), st.sampled_from([(0.8, 0.1, 0.1), (0.65, 0.15, 0.2), (0.9, 0.1, 0.0), (1, 0, 0)]))
def test_sizes_are_the_rounded_ratios_and_nobody_is_lost(n, shares):
    sizes = set_sizes(n, dict(zip(("train", "val", "test"), shares, strict=True)))
    assert sum(sizes.values()) == n
    for size, share in zip(sizes.values(), shares, strict=True):
        assert size >= 0
        assert share or size == 0
        assert abs(size - n * share) <= 2


@pytest.mark.parametrize("n_folds", [2, 5])
def test_folds_are_of_one_size(n_folds):
    folds = Counter(make_folds(crowd(100), n_folds, seed=1).values())
    assert set(folds) == set(range(n_folds))
    assert max(folds.values()) - min(folds.values()) <= 1


def test_people_of_whom_nothing_is_known_are_split_too():
    assert Counter(stratify({f"p{n}": [] for n in range(20)}, RATIOS, seed=1).values()) == {
        "train": 13,
        "val": 3,
        "test": 4,
    }
