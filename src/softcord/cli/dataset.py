"""`softcord dataset`: from a recipe to data that nnU-Net can be trained on."""

import argparse

from softcord.cli.console import SOME_FAILED, add_verbosity, complain, say
from softcord.cli.segment import positive
from softcord.progress import Bar

HELP = "get datasets, make soft labels, split people, convert for nnU-Net"
DESCRIPTION = (
    "Prepare datasets for training; needs pip install 'softcord[dataset]'. A recipe, a YAML file, names "
    "datasets, labels and how people are split. Each step goes on where it was when it is run again."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="get|soft-labels|split|convert", required=True)
    _add_get(actions)
    _add_soft_labels(actions)
    _add_split(actions)
    _add_convert(actions)


def _add_get(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    get = actions.add_parser(
        "get",
        help="clone datasets with DataLad and fetch the files that a recipe needs",
        description="Clone the datasets of a recipe with DataLad and fetch, with git-annex, only the files "
        "that the recipe needs. Commit and changes of each dataset are recorded. What cannot be had is "
        "listed, and does not stop the rest.",
    )
    _add_recipe(get)
    get.add_argument("-o", "--out", required=True, metavar="DIR", help="folder for the datasets")
    get.add_argument(
        "--folder",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="use the dataset NAME of the recipe where it lies; may be given several times",
    )
    get.add_argument("--jobs", type=positive, default=4, metavar="N", help="downloads at a time (default: 4)")
    add_verbosity(get)
    get.set_defaults(act=_get)


def _add_soft_labels(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    soft = actions.add_parser(
        "soft-labels",
        help="average the labels of each person over contrasts and raters",
        description="Make the soft label of every image: the labels of the person's other contrasts are "
        "aligned and averaged, on the image's own grid, where they cover it.",
    )
    _add_recipe(soft)
    _add_data(soft)
    soft.add_argument("-o", "--out", required=True, metavar="DIR", help="folder for the soft labels")
    soft.add_argument(
        "--method",
        choices=["centermass", "rigid", "none"],
        default="centermass",
        help="alignment: centres of mass slice by slice, a rigid movement (mutual information around the "
        "cord), or the scanner's coordinates as they are (default: centermass)",
    )
    soft.add_argument(
        "--raters",
        choices=["mean", "majority", "staple"],
        default="mean",
        help="how labels of several raters of one image are merged first (default: mean)",
    )
    soft.add_argument(
        "--reference", metavar="CONTRAST", help="onto which the others are aligned (default: the recipe's)"
    )
    soft.add_argument("--qc", metavar="DIR", help="add every soft label to the review page in DIR")
    _add_jobs(soft)
    add_verbosity(soft)
    soft.set_defaults(act=_soft_labels)


def _add_split(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    split = actions.add_parser(
        "split",
        help="split people into train, val and test",
        description="Split people, not images, into train, val and test: alike in contrast, site and "
        "pathology, the same on every computer. Lists that the recipe calls frozen are kept. A person in two "
        "sets is an error.",
    )
    _add_recipe(split)
    _add_data(split)
    split.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="folder for split.json, images.tsv, statistics.md"
    )
    split.add_argument("--overwrite", action="store_true", help="replace another split")
    add_verbosity(split)
    split.set_defaults(act=_split)


def _add_convert(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    convert = actions.add_parser(
        "convert",
        help="make a raw dataset of nnU-Net, with hard and soft labels",
        description="Make a raw dataset of nnU-Net: one order of axes, each label on the grid of its image, "
        "hard and soft, folds from the split, and a table of where everything came from.",
    )
    _add_recipe(convert)
    _add_data(convert)
    convert.add_argument("--split", required=True, metavar="DIR", help="folder of softcord dataset split")
    convert.add_argument(
        "--soft",
        metavar="DIR",
        help="folder of softcord dataset soft-labels (default: the labels of the datasets)",
    )
    convert.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="folder in which DatasetNNN_Name is made"
    )
    _add_jobs(convert)
    convert.add_argument(
        "--overwrite", action="store_true", help="replace a dataset made from another recipe or split"
    )
    add_verbosity(convert)
    convert.set_defaults(act=_convert)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="YAML file; see recipes/dataset-*.yaml")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="folder of softcord dataset get")


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=positive, metavar="N", help="processes (default: one per core, at most 8)"
    )


def run(args: argparse.Namespace) -> int:
    """Do one step and say where its result is."""
    status: int = args.act(args)
    return status


def _get(args: argparse.Namespace) -> int:
    from softcord.dataset import get_datasets
    from softcord.errors import UsageError

    folders = {}
    for words in args.folder:
        name, equals, place = words.partition("=")
        if not (name and equals and place):
            raise UsageError(f"--folder must be NAME=DIR, got {words!r}.")
        folders[name] = place
    with _Counter("get", enabled=not args.quiet) as counter:
        result = get_datasets(args.recipe, args.out, folders=folders, jobs=args.jobs, on_file=counter.count)
    if not args.quiet:
        for state in result.states:
            at = f" at {state.commit[:10]}" if state.commit else ""
            changes = f", with {len(state.modified)} changed files" if state.dirty else ""
            say(f"{state.name}{at}{changes}")
        say(f"{result.n_files} files here, {result.n_new} of them new. Written to {args.out}")
    for one in result.missing:
        complain(f"{one.dataset}: {one.path + ': ' if one.path else ''}{one.reason}")
    if result.missing:
        complain(f"{len(result.missing)} could not be had; see missing.tsv in {args.out}")
        return SOME_FAILED
    return 0


def _soft_labels(args: argparse.Namespace) -> int:
    from softcord.workflows.soft_labels import make_and_review

    with _Counter("soft labels", enabled=not args.quiet) as counter:
        made = make_and_review(
            args.recipe,
            args.data,
            args.out,
            qc=args.qc,
            method=args.method,
            raters=args.raters,
            reference=args.reference,
            jobs=args.jobs,
            on_person=lambda _rows, done, total: counter.count("soft labels", done, total),
        )
    if not args.quiet:
        flagged = [row for row in made.rows if row.flags]
        for row in flagged:
            say(f"{row.case}: {' '.join(flag.reason for flag in row.flags)}")
        before = f" ({made.n_before} done before)" if made.n_before else ""
        say(f"{len(made.rows)} soft labels{before}, {len(flagged)} with flags. Written to {made.folder}")
    for name, error in made.failed:
        complain(f"{name}: {error}")
    if made.failed:
        complain(f"{len(made.failed)} people have none: {', '.join(name for name, _ in made.failed)}")
        return SOME_FAILED
    return 0


class _Counter:
    """A progress bar for steps that say how many are done, anew for each part of the work."""

    def __init__(self, label: str, *, enabled: bool) -> None:
        self._label, self._enabled = label, enabled
        self._bar: Bar | None = None
        self._name = ""
        self._done = 0

    def __enter__(self) -> "_Counter":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def count(self, name: str, done: int, total: int) -> None:
        """Draw that so many of so many are done."""
        if self._bar is None or name != self._name:
            self.__exit__()
            self._bar, self._name, self._done = (
                Bar(total, name or self._label, enabled=self._enabled),
                name,
                0,
            )
            self._bar.__enter__()
        for _ in range(done - self._done):
            self._bar.advance()
        self._done = max(self._done, done)


def _split(args: argparse.Namespace) -> int:
    from softcord.dataset import split_subjects

    split = split_subjects(args.recipe, args.data, args.out, overwrite=args.overwrite)
    if not args.quiet:
        sizes = [
            f"{sum(map(len, getattr(split, name).values()))} in {name}" for name in ("train", "val", "test")
        ]
        say(f"Subjects: {', '.join(sizes)}. Written to {args.out}")
        for name, frozen in split.frozen.items():
            if frozen.absent:
                say(f"{name}: no labelled image of {', '.join(frozen.absent)} (in {frozen.source})")
    return 0


def _convert(args: argparse.Namespace) -> int:
    from softcord.dataset import convert

    with _Counter("convert", enabled=not args.quiet) as counter:
        made = convert(
            args.recipe,
            args.data,
            args.out,
            split=args.split,
            soft=args.soft,
            jobs=args.jobs,
            overwrite=args.overwrite,
            on_case=lambda _name, _result, done, total: counter.count("convert", done, total),
        )
    if not args.quiet:
        for record in made.mismatches:
            say(f"{record.case}: {record.notes}")
        before = f" ({made.n_before} done before)" if made.n_before else ""
        say(f"{len(made.records)} cases{before}. Written to {made.folder}")
    for name, error in made.failed:
        complain(f"{name}: {error}")
    if made.failed:
        complain(f"{len(made.failed)} cases left out: {', '.join(name for name, _ in made.failed)}")
        return SOME_FAILED
    return 0
