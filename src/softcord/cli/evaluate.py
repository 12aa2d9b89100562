"""`softcord evaluate`: segmentations against references."""

import argparse
from typing import TYPE_CHECKING

from softcord.cli.console import SOME_FAILED, add_verbosity, complain, say

if TYPE_CHECKING:
    from softcord.evaluate import EvaluatedFile

HELP = "compare segmentations with references"
DESCRIPTION = (
    "Dice, hard and soft, volume error, distances of surfaces in mm, and errors of areas, of one "
    "segmentation or of all in a folder. Files of two folders are matched by subject, session and contrast."
)

_SAID = {
    "dice": ("Dice", ""),
    "soft_dice": ("soft Dice", ""),
    "volume_error_percent": ("volume error", " %"),
    "assd_mm": ("surface distance", " mm"),
    "hd95_mm": ("HD95", " mm"),
    "area_error_percent": ("area error", " %"),
    "area_absolute_error_percent": ("size of area error", " %"),
    "slices_missed": ("slices missed", ""),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("prediction", metavar="PREDICTION", help="soft map or mask, or a folder of them")
    parser.add_argument(
        "reference", metavar="REFERENCE", help="reference on the same grid, or a folder of them"
    )
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="write the table (.tsv, .csv), and a JSON file beside it"
    )
    parser.add_argument(
        "--perslice", action="store_true", help="table of areas per slice (default: one row per image)"
    )
    parser.add_argument(
        "--perlevel", action="store_true", help="table of errors of areas per vertebral level"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="T",
        help="share of cord that voxels of the masks exceed (default: 0.5)",
    )
    parser.add_argument(
        "--within-reference",
        action="store_true",
        help="only slices in which the reference has cord (default: all)",
    )
    parser.add_argument(
        "--levels",
        metavar="FILE",
        help="vertebral levels, as for csa; {name}, {stem} and {folder} are filled in",
    )
    parser.add_argument(
        "--discs", metavar="FILE", help="one voxel per disc, as for csa; filled in like --levels"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a table that exists")
    add_verbosity(parser)


def run(args: argparse.Namespace) -> int:
    """Compare, report, and return the exit code."""
    from softcord.errors import UsageError
    from softcord.evaluate import evaluate_files

    if args.perslice and args.perlevel:
        raise UsageError("--perslice and --perlevel are different rows: choose one.")
    results = evaluate_files(
        args.prediction,
        args.reference,
        args.out,
        rows="slice" if args.perslice else "level" if args.perlevel else "image",
        threshold=args.threshold,
        levels=args.levels,
        discs=args.discs,
        within_reference=args.within_reference,
        overwrite=args.overwrite,
        progress=not args.quiet,
        on_result=lambda result: _report(result, quiet=bool(args.quiet)),
    )
    if len(results) > 1 and not args.quiet:
        _summarise(results)
    return _conclude(results)


def _report(result: "EvaluatedFile", *, quiet: bool) -> None:
    """One line on one pair."""
    name, found = result.pair.name, result.evaluation
    if found is None:
        problem = result.error or f"{result.pair.reference}: no segmentation of {name} was found."
        complain(str(problem))
        return
    if quiet:
        return
    if found.note == "both_empty":
        say(f"{name}: both are empty, which is no Dice of 1")
        return
    empty = f", {found.note.replace('_', ' ')}" if found.note else ""
    say(
        f"{name}: Dice {found.dice:.3f}, soft {found.soft_dice:.3f}, "
        f"volume {found.volume_error_percent:+.1f} %, surface distance {found.assd_mm:.2f} mm, "
        f"HD95 {found.hd95_mm:.2f} mm, area {found.area_error_percent:+.1f} %, "
        f"slices missed {found.n_missed} of {found.n_slices}{empty}"
    )


def _summarise(results: "list[EvaluatedFile]") -> None:
    from softcord.evaluate import summarise

    say(f"{'':20} {'n':>4} {'median':>9} {'mean':>9} {'sd':>9} {'lowest':>9} {'highest':>9}")
    for name, summary in summarise(results).items():
        if name not in _SAID:
            continue
        words, unit = _SAID[name]
        numbers = (summary.median, summary.mean, summary.sd, summary.low, summary.high)
        say(f"{words + unit:20} {summary.n:4d} " + " ".join(f"{number:9.3f}" for number in numbers))


def _conclude(results: "list[EvaluatedFile]") -> int:
    failed = [result for result in results if result.evaluation is None]
    if len(results) == 1 and failed:
        return failed[0].error.exit_code if failed[0].error else 3
    if failed:
        complain(f"{len(failed)} of {len(results)} comparisons failed or have no segmentation.")
        return SOME_FAILED
    return 0
