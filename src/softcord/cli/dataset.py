"""`softcord dataset`: from a recipe to data that nnU-Net can be trained on."""

import argparse

from softcord.cli.console import SOME_FAILED, add_verbosity, complain, say
from softcord.cli.segment import positive

HELP = "get datasets, make soft labels, split people, convert for nnU-Net"
DESCRIPTION = (
    "Prepare datasets for training; needs pip install 'softcord[dataset]'. A recipe, a YAML file, names "
    "datasets, labels and how people are split. Each step goes on where it was when it is run again."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="get|soft-labels|split|convert", required=True)
    _add_split(actions)
    _add_convert(actions)


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
    from softcord.progress import Bar

    bar: Bar | None = None

    def on_case(_name: str, _result: object, done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = Bar(total - done + 1, "convert", enabled=not args.quiet)
            bar.__enter__()
        bar.advance()

    try:
        made = convert(
            args.recipe,
            args.data,
            args.out,
            split=args.split,
            soft=args.soft,
            jobs=args.jobs,
            overwrite=args.overwrite,
            on_case=on_case,
        )
    finally:
        if bar is not None:
            bar.__exit__(None, None, None)
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
