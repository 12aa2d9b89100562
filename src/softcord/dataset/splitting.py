"""Split people into training, validation and test."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import softcord
from softcord.checksum import file_sha256
from softcord.dataset.cases import Case, find_cases
from softcord.dataset.participants import read_participants
from softcord.dataset.people import check_leaks, group_people, identities
from softcord.dataset.reading import read_frozen, read_recipe, recipe_sha256
from softcord.dataset.recipe import SETS, Recipe, Source
from softcord.dataset.states import folder_of, read_states
from softcord.dataset.statistics import statistics
from softcord.dataset.stratify import Trait, make_folds, stratify
from softcord.errors import InputError, OutputError
from softcord.nifti import FileSet
from softcord.plain import from_plain

SPLIT, STATISTICS, IMAGES = "split.json", "statistics.md", "images.tsv"

Subjects = dict[str, tuple[str, ...]]  # by dataset


@dataclass(frozen=True)
class FrozenList:
    """Where a list of people with known sets came from.

    Attributes
    ----------
    source : str
        Name of the file, or of the column of participants.tsv.
    sha256 : str
        Of that file.
    absent : tuple of str
        People of the list of whom the dataset has no image now. They keep their set.
    """

    source: str
    sha256: str
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """Who is in which set.

    Attributes
    ----------
    recipe, recipe_sha256 : str
        Name and checksum of the recipe.
    seed : int
    commits : dict of str to str
        By dataset; with ``+changes`` if files differed from the commit.
    train, val, test : dict of str to tuple of str
        Subjects by dataset.
    folds : dict of str to tuple of dict
        Empty for one fold; else, under ``val``, the subjects that each fold leaves out.
    frozen : dict of str to FrozenList
        By dataset.
    softcord : str
        Version that made the split.
    """

    recipe: str
    recipe_sha256: str
    seed: int
    commits: dict[str, str]
    train: Subjects
    val: Subjects
    test: Subjects
    folds: tuple[Subjects, ...] = ()
    frozen: dict[str, FrozenList] = field(default_factory=dict)
    softcord: str = softcord.__version__

    def set_of(self, dataset: str, subject: str) -> str | None:
        """Set of a subject; None if it is in none."""
        for name in SETS:
            people: Subjects = getattr(self, name)
            if subject in people.get(dataset, ()):
                return name
        return None

    def fold_of(self, dataset: str, subject: str) -> int | None:
        """The fold that leaves a subject out of training; None for a subject of the test set."""
        for number, people in enumerate(self.folds or (self.val,)):
            if subject in people.get(dataset, ()):
                return number
        return None


def split_subjects(
    recipe: str | Path, data: str | Path, out: str | Path, *, overwrite: bool = False
) -> Split:
    """Split the people of a recipe's datasets and write the split with its statistics.

    Parameters
    ----------
    recipe : path
        YAML file.
    data : path
        Folder of `softcord.dataset.get_datasets`. Images need not be here: only their names count, except in
        the statistics.
    out : path
        Folder for ``split.json`` and ``statistics.md``, made when missing.
    overwrite : bool
        Replace a split that says otherwise (default: refuse).

    Returns
    -------
    split : Split

    Raises
    ------
    InputError
        If a person would be in two sets, or if a set that the ratios ask for would be empty.
    OutputError
        If `out` holds another split.
    """
    recipe, data, out = Path(recipe), Path(data), Path(out)
    plan = read_recipe(recipe)
    states = read_states(data, plan)
    cases: list[Case] = []
    known: dict[tuple[str, str], str] = {}
    frozen: dict[str, FrozenList] = {}
    for source in plan.datasets:
        found = find_cases(source, folder_of(data, states[source.name]))
        if source.frozen is not None:
            lists, frozen[source.name] = _frozen_lists(source, recipe, found)
            # lists that know no val say who is not in test; who of them is in val is for the ratios to say
            fixed = [name for name in SETS if name != "train" or lists["val"]]
            known |= {(source.name, subject): name for name in fixed for subject in lists[name]}
            if source.frozen.column:
                found = _listed(found, lists)
        cases += found
    sets, folds = assign_sets(cases, plan, known)
    split = Split(
        recipe=plan.name,
        recipe_sha256=recipe_sha256(recipe),
        seed=plan.seed,
        commits={name: state.commit + ("+changes" if state.dirty else "") for name, state in states.items()},
        train=_by_dataset(sets, "train"),
        val=_by_dataset(sets, "val"),
        test=_by_dataset(sets, "test"),
        folds=tuple(_by_dataset(folds, fold) for fold in range(plan.folds)) if plan.folds > 1 else (),
        frozen=frozen,
    )
    _write(split, [(case, sets[case.owner]) for case in cases], out, overwrite=overwrite)
    return split


def assign_sets(
    cases: Sequence[Case], plan: Recipe, known: Mapping[tuple[str, str], str]
) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], int]]:
    """Set of every subject, and the fold that leaves it out of training.

    Parameters
    ----------
    cases : sequence of Case
    plan : Recipe
    known : dict of (dataset, subject) to str
        Subjects whose set is known beforehand.

    Returns
    -------
    sets : dict of (dataset, subject) to str
    folds : dict of (dataset, subject) to int
        Of the subjects of train and val; empty if the recipe wants one fold.

    Raises
    ------
    InputError
        If what is known puts a person into two sets, or if a set would be empty.
    """
    tokens = identities(cases)
    people = group_people(cases, tokens)
    sets: dict[int, str] = {}  # by person
    for number, group in enumerate(people):
        given = [index for index in group if cases[index].owner in known]
        _check_known(cases, tokens, given, known)
        if given:
            sets[number] = known[cases[given[0]].owner]
    is_test_given = "test" in sets.values()
    waiting: dict[str, list[int]] = defaultdict(list)
    closed = {source.name for source in plan.datasets if source.frozen is not None}
    for number, group in enumerate(people):
        if number not in sets:
            homes = [cases[index].dataset for index in group]
            # nobody may enter the test set of a frozen dataset by way of another one
            waiting[next((home for home in homes if home in closed), homes[0])].append(number)
    for source in plan.datasets:
        ratios = _ratios(source, plan)
        names = {_name(cases, people[number]): number for number in waiting[source.name]}
        traits = {name: _traits(cases, people[number]) for name, number in names.items()}
        for name, chosen in stratify(traits, ratios, plan.seed).items():
            sets[names[name]] = chosen
    _check_sizes(sets, plan, is_test_given=is_test_given)
    by_owner = {cases[index].owner: sets[number] for number, group in enumerate(people) for index in group}
    check_leaks(cases, [by_owner[case.owner] for case in cases], tokens)
    kept = {_name(cases, group): group for n, group in enumerate(people) if sets[n] != "test"}
    return by_owner, _folds(cases, kept, plan) if plan.folds > 1 else {}


def read_split(path: str | Path) -> Split:
    """Read ``split.json``.

    Parameters
    ----------
    path : path

    Returns
    -------
    split : Split

    Raises
    ------
    InputError
        If it cannot be read, is another file, or has a subject in two sets.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Make it with softcord dataset split.") from error
    split = from_plain(Split, content, str(path))
    seen: dict[tuple[str, str], str] = {}
    for name in SETS:
        people: Subjects = getattr(split, name)
        for key in ((dataset, subject) for dataset, own in people.items() for subject in own):
            if key in seen:
                raise InputError(f"{path}: {'/'.join(key)} is in {seen[key]} and in {name}.")
            seen[key] = name
    return split


def _frozen_lists(
    source: Source, recipe: Path, cases: Sequence[Case]
) -> tuple[dict[str, tuple[str, ...]], FrozenList]:
    """Subjects of each set as known beforehand, and where that is written."""
    frozen = source.frozen
    assert frozen is not None  # noqa: S101  for the type checker
    present = {case.subject for case in cases}
    if frozen.file:
        path = recipe.parent / frozen.file
        lists = read_frozen(path, dataset=source.name)
    else:
        root = cases[0].root
        path = root / "participants.tsv"
        rows = read_participants(root)
        if not any(row.get(frozen.column) in SETS for row in rows.values()):
            raise InputError(f"{path}: column {frozen.column} has neither train, val nor test in any row.")
        lists = {
            name: tuple(sorted(subject for subject, row in rows.items() if row.get(frozen.column) == name))
            for name in SETS
        }
    absent = tuple(sorted({subject for own in lists.values() for subject in own} - present))
    return lists, FrozenList(frozen.file or f"participants.tsv:{frozen.column}", file_sha256(path), absent)


def _listed(cases: Sequence[Case], lists: Mapping[str, Sequence[str]]) -> list[Case]:
    """Cases of the people in a table; who has no set there is left out."""
    members = {subject for own in lists.values() for subject in own}
    return [case for case in cases if case.subject in members]


def _check_known(
    cases: Sequence[Case],
    tokens: Sequence[Mapping[str, str]],
    given: Sequence[int],
    known: Mapping[tuple[str, str], str],
) -> None:
    """Refuse lists that put a person into two sets; `given` are the person's images in the lists."""
    sets = [known[cases[index].owner] for index in given]
    if len(set(sets)) > 1:
        check_leaks([cases[index] for index in given], sets, [tokens[index] for index in given])
        chain = ", ".join(
            f"{'/'.join(cases[index].owner)} ({name})" for index, name in zip(given, sets, strict=True)
        )
        raise InputError(f"A person must be in one set only, but these are one person: {chain}.")


def _folds(
    cases: Sequence[Case], people: Mapping[str, Sequence[int]], plan: Recipe
) -> dict[tuple[str, str], int]:
    if len(people) < plan.folds:
        raise InputError(f"{plan.folds} folds need as many people in train and val, got {len(people)}.")
    traits = {name: _traits(cases, group) for name, group in people.items()}
    folds = make_folds(traits, plan.folds, plan.seed)
    return {cases[index].owner: folds[name] for name, group in people.items() for index in group}


def _ratios(source: Source, plan: Recipe) -> dict[str, float]:
    """Shares of the sets; of datasets whose test list is frozen, nobody else goes there."""
    ratios = dict(zip(SETS, source.ratios or plan.ratios, strict=True))
    if source.frozen is not None:
        ratios["test"] = 0.0
        left = sum(ratios.values())
        ratios = {name: ratio / left for name, ratio in ratios.items()}
    return ratios


def _check_sizes(sets: Mapping[int, str], plan: Recipe, *, is_test_given: bool) -> None:
    """Refuse a split in which a set that is wanted is empty."""
    sizes = Counter(sets.values())
    for name, ratio in zip(SETS, plan.ratios, strict=True):
        if ratio > 0 and not sizes[name] and not (name == "test" and is_test_given):
            raise InputError(
                f"{name} would be empty: {len(sets)} people are too few for the ratios "
                f"{', '.join(f'{share:g}' for share in plan.ratios)}. Change the ratios or add people."
            )


def _name(cases: Sequence[Case], group: Sequence[int]) -> str:
    """What a person is called, whatever the order of their images."""
    return " ".join(sorted({f"{cases[index].dataset}/{cases[index].subject}" for index in group}))


def _traits(cases: Sequence[Case], group: Sequence[int]) -> list[Trait]:
    traits: set[Trait] = set()
    for index in group:
        case = cases[index]
        traits |= {("contrast", case.contrast), ("site", case.site), ("pathology", case.pathology)}
    return sorted(traits)


def _by_dataset(values: Mapping[tuple[str, str], object], wanted: object) -> Subjects:
    found: dict[str, list[str]] = defaultdict(list)
    for (dataset, subject), value in sorted(values.items()):
        if value == wanted:
            found[dataset].append(subject)
    return {dataset: tuple(subjects) for dataset, subjects in found.items()}


def _write(split: Split, rows: Sequence[tuple[Case, str]], out: Path, *, overwrite: bool) -> None:
    """Write the files, the split last; the same split again changes nothing."""
    path = out / SPLIT
    if path.exists() and not overwrite and read_split(path) != split:
        raise OutputError(
            f"{path}: holds another split; recipe, datasets or version have changed since. Models are only "
            "comparable on one split: choose another folder, or replace it (--overwrite)."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot make the folder ({error.strerror}).") from error
    page, table = statistics(split.recipe, rows)
    with FileSet(overwrite=True) as files:
        files.add_text(page, out / STATISTICS)
        files.add_text(table, out / IMAGES)
        files.add_text(json.dumps(asdict(split), indent=2) + "\n", path)
        files.commit()
