"""`softcord csa`: segmentations in, tables of areas and shape out."""

import argparse
import logging
import os
import re
from typing import TYPE_CHECKING

from softcord.cli.console import FLAGGED, SOME_FAILED, add_verbosity, complain, say

if TYPE_CHECKING:
    from softcord.measure import Csa, CsaFile, CsaOptions

HELP = "measure areas, diameters and angles of the cord"
DESCRIPTION = (
    "Cross-sectional area and shape of the cord, corrected for its angle, from soft maps or masks: "
    "on average, per level or per slice. One table for all masks; slices are counted from the lowest."
)

_LOG = logging.getLogger("softcord")
_MOST_JOBS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("masks", nargs="*", metavar="MASK", help="soft map or mask (.nii, .nii.gz)")
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="instead of MASK: two times or two methods of one person, paired along the centreline",
    )
    _add_output_arguments(parser)
    _add_choice_arguments(parser)
    _add_level_arguments(parser)
    _add_definition_arguments(parser)
    parser.add_argument(
        "--jobs",
        type=_positive,
        metavar="N",
        help=f"masks at a time (default: one per core, at most {_MOST_JOBS})",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 8 if any result has a flag (default: flags change nothing)",
    )
    add_verbosity(parser)


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="the table; - for the terminal (default: csa.tsv, or compare.tsv with --compare)",
    )
    parser.add_argument(
        "--format",
        choices=["tsv", "csv", "sct"],
        help="columns with units, as TSV or CSV (default: by the ending of FILE), or the CSV of "
        "sct_process_segmentation with its definitions",
    )
    parser.add_argument("--append", action="store_true", help="add to a table that has the same columns")
    parser.add_argument("--overwrite", action="store_true", help="replace a table that exists")


def _add_choice_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--perslice", action="store_true", help="one row per slice (default: one per mask)")
    parser.add_argument("--perlevel", action="store_true", help="one row per vertebral level")
    parser.add_argument(
        "-z",
        "--slices",
        metavar="A:B",
        help="slices to use, both ends included, as 5:23 or 1:3,8 (default: all)",
    )
    parser.add_argument(
        "--vert", metavar="A:B", help="vertebral levels to use, as 2:3, C2:C3 or 3 (default: all)"
    )
    parser.add_argument("--volume", type=_index, metavar="N", help="volume of a 4-D map, from 0")


def _add_level_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--levels",
        metavar="FILE",
        help="vertebral levels: labels on the cord, of TotalSpineSeg, or one voxel per disc; {stem}, "
        "{folder}, {sub} and other entities are filled in from each mask's name",
    )
    parser.add_argument(
        "--discs", metavar="FILE", help="one voxel per disc, 3 for C2-C3; filled in like --levels"
    )
    parser.add_argument(
        "--disc",
        action="append",
        type=_disc,
        metavar="N=I,J,K",
        help="a disc by hand: its number and its voxel in the mask's file, from 0; may be repeated",
    )
    parser.add_argument("--pmj", metavar="FILE|I,J,K", help="label or voxel of the pontomedullary junction")
    parser.add_argument(
        "--pmj-distance", type=float, metavar="MM", help="use the cord at this distance below the junction"
    )
    parser.add_argument(
        "--pmj-extent", type=float, default=20.0, metavar="MM", help="length of cord used there (default: 20)"
    )
    parser.add_argument(
        "--normalize-pam50",
        action="store_true",
        help="bring slices to the scale of the PAM50 template, the same number per level for everybody",
    )


def _add_definition_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-angle-correction",
        action="store_true",
        help="measure in the plane of the slice, not across the cord",
    )
    parser.add_argument(
        "--definition",
        choices=["softcord", "sct"],
        help="whose definitions: the sum of a slice is its area, or SCT's to the digit (default: softcord; "
        "sct for --format sct)",
    )
    parser.add_argument(
        "--interval",
        choices=["auto", "mask", "network"],
        default="auto",
        help="whose errors the 95 %% interval of an area holds: of a mask as it is, or of softcord's network "
        "too (default: by the sidecar)",
    )
    parser.add_argument(
        "--norms",
        nargs="?",
        const="spine-generic",
        choices=["spine-generic", "whole-spine", "AOMIC"],
        metavar="DATASET",
        help="z-scores and percentiles against healthy people: spine-generic (default), whole-spine or AOMIC",
    )
    parser.add_argument("--sex", choices=["F", "M", "all"], default="all", help="whose norms (default: all)")


def run(args: argparse.Namespace) -> int:
    """Measure, write the table, and return the exit code."""
    from softcord.errors import UsageError

    if bool(args.compare) == bool(args.masks):
        raise UsageError("Give masks to measure, or two to compare (--compare A B), but not both.")
    if args.out is None:
        args.out = "compare.tsv" if args.compare else "csa.tsv"
    if args.compare:
        return _compare(args)
    return _measure(args)


def _measure(args: argparse.Namespace) -> int:
    from softcord.measure import csa_files, table_text

    options, discs = _options(args), _discs(args)
    jobs = args.jobs or max(1, min(_MOST_JOBS, os.cpu_count() or 1, len(args.masks) // 2))
    to_terminal = args.out == "-"
    if args.norms or args.sex != "all":
        from softcord.norms import CAUTION

        _LOG.warning(CAUTION)
    results = csa_files(
        args.masks,
        None if to_terminal else args.out,
        options,
        levels=args.levels,
        discs=discs,
        pmj=_pmj(args.pmj),
        format=args.format,
        append=args.append,
        overwrite=args.overwrite,
        jobs=jobs,
        progress=not args.quiet,
        on_result=lambda result: _report(result, quiet=bool(args.quiet) or to_terminal),
    )
    if to_terminal:
        say(table_text(results, args.format or "tsv").rstrip("\n"))
    return _conclude(results, strict=args.strict)


def _compare(args: argparse.Namespace) -> int:
    """Pair two masks, write the table, and say how they differ."""
    from pathlib import Path

    from softcord.measure import compare_csa, comparison_text, csa_files, write_comparison

    results = csa_files(
        args.compare,
        None,
        _options(args),
        levels=args.levels,
        discs=_discs(args),
        pmj=_pmj(args.pmj),
        on_result=lambda result: _report(result, quiet=True),
    )
    code = _conclude(results, strict=args.strict)
    one, other = (result.csa for result in results)
    if one is None or other is None:
        return code
    comparison = compare_csa(one, other)
    if args.out == "-":
        say(comparison_text(comparison).rstrip("\n"))
        return code
    write_comparison(
        comparison, args.out, inputs=tuple(map(Path, args.compare)), overwrite=bool(args.overwrite)
    )
    if not args.quiet:
        say(
            f"mean area {comparison.mean_a_mm2:.1f} -> {comparison.mean_b_mm2:.1f} mm2 "
            f"({comparison.change_percent:+.2f} %), {len(comparison.points)} points aligned by "
            f"{comparison.aligned_by}; limits of agreement {comparison.low_mm2:+.1f} to "
            f"{comparison.high_mm2:+.1f} mm2"
        )
    if comparison.aligned_by == "space":
        _LOG.warning("Without labels, the two are aligned by scanner coordinates: the person must lie alike.")
    return code


def _discs(args: argparse.Namespace) -> "str | dict[int, tuple[float, ...]] | None":
    from softcord.errors import UsageError

    if not args.disc:
        discs: str | None = args.discs
        return discs
    if args.discs:
        raise UsageError("Discs come from --discs or from --disc, not from both.")
    return dict(args.disc)


def _options(args: argparse.Namespace) -> "CsaOptions":
    from softcord.errors import UsageError
    from softcord.levels import parse_levels
    from softcord.measure import CsaOptions

    if args.perslice and args.perlevel:
        raise UsageError("--perslice and --perlevel are different rows: choose one.")
    return CsaOptions(
        rows="slice" if args.perslice else "level" if args.perlevel else "all",
        vert=parse_levels(args.vert) if args.vert else (),
        slices=_ranges(args.slices) if args.slices else (),
        pmj_distance_mm=args.pmj_distance,
        pmj_extent_mm=args.pmj_extent,
        pam50=args.normalize_pam50,
        definition=args.definition,
        angle_correction=not args.no_angle_correction,
        interval=args.interval,
        sex=args.sex,
        norms=args.norms,
        volume=args.volume,
    )


def _report(result: "CsaFile", *, quiet: bool) -> None:
    """Say what became of one mask."""
    if result.error is not None:
        complain(str(result.error))
        return
    if result.csa is None:
        return
    if not quiet:
        say(_summary(result.input.name, result.csa))
    for flag in result.csa.flags:
        _LOG.info("%s: %s: %s", result.input.name, flag.code, flag.reason)


def _summary(name: str, csa: "Csa") -> str:
    """One line on one mask."""
    import numpy as np

    values = [
        (row.values["area_mm2"], row.values["area_low_mm2"], row.values["area_high_mm2"])
        for row in csa.rows
        if np.isfinite(row.values["area_mm2"])
    ]
    area, low, high = np.mean(values, axis=0) if values else (np.nan,) * 3
    flags = ", ".join(dict.fromkeys(flag.code for flag in csa.flags)) or "none"
    levels = "unknown" if csa.levels is None else "known"
    return (
        f"{name}: mean area {area:.1f} mm2 (95 % interval {low:.1f} to {high:.1f}), {len(csa.rows)} rows, "
        f"levels {levels}, flags: {flags}"
    )


def _conclude(results: "list[CsaFile]", *, strict: bool) -> int:
    failed = {str(result.input): result.error.exit_code for result in results if result.error is not None}
    if len(results) == 1 and failed:
        return next(iter(failed.values()))
    if failed:
        names = ", ".join(f"{name} ({code})" for name, code in failed.items())
        complain(f"{len(failed)} of {len(results)} masks failed (exit code of each): {names}")
        return SOME_FAILED
    return FLAGGED if strict and any(result.csa and result.csa.flags for result in results) else 0


def _ranges(text: str) -> tuple[tuple[int, int], ...]:
    """Read the value of --slices."""
    from softcord.errors import UsageError

    ranges = []
    for part in re.split(r"[,;]", text):
        match = re.fullmatch(r"\s*(\d+)(?::(\d+))?\s*", part)
        if match is None:
            raise UsageError(f"Slices must be like 5:23, 7 or 1:3,8, counted from 0; got {text!r}.")
        ranges.append((int(match[1]), int(match[2] or match[1])))
    return tuple(ranges)


def _disc(text: str) -> tuple[int, tuple[float, ...]]:
    """Read the value of --disc."""
    match = re.fullmatch(r"(\d+)=(.+)", text)
    point = _voxel(match[2]) if match else None
    if match is None or point is None or not 1 <= int(match[1]) <= 25:
        raise argparse.ArgumentTypeError(
            f"must be the number of a disc (3 is C2-C3) and its voxel, as 3=30,41,26; got {text!r}"
        )
    return int(match[1]), point


def _pmj(text: str | None) -> "str | tuple[float, ...] | None":
    """Read the value of --pmj."""
    return (_voxel(text) or text) if text else None


def _voxel(text: str) -> tuple[float, ...] | None:
    if not re.fullmatch(r"\s*\d+(\.\d+)?(\s*,\s*\d+(\.\d+)?){2}\s*", text):
        return None
    return tuple(float(number) for number in text.split(","))


def _index(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"must be the index of a volume from 0, got {text!r}")


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
