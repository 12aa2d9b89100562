"""`softcord sct-deepseg`: the command lines that users of sct_deepseg know, done by softcord."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from softcord.cli.console import conclude, report, say, show_viewers
from softcord.errors import UsageError

if TYPE_CHECKING:
    from softcord.bids import Outputs

HELP = "understand the command lines of sct_deepseg"
DESCRIPTION = (
    "Takes the options of sct_deepseg, old and new, and segments the cord with softcord. The file of -o "
    "holds the mask, as there; the soft map lies beside it (<name>_softseg), with a JSON sidecar."
)

TASKS = {
    "spinalcord": "",
    "seg_sc_contrast_agnostic": "",
    "seg_sc_lesion_t2w_sci": "softcord segments the cord and no lesions: the result is the cord alone.",
}
OFFICIAL = "https://github.com/sct-pipeline/contrast-agnostic-softseg-spinalcord/releases"

_LOG = logging.getLogger("softcord.cli")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments, spelled as sct_deepseg spells them."""
    known = ", ".join(TASKS)
    parser.add_argument("task", nargs="?", metavar="TASK", help=f"one of: {known}")
    parser.add_argument("-task", dest="old_task", metavar="TASK", help="the same, as older versions spell it")
    parser.add_argument(
        "-install-task", metavar="TASK", help="say what has to be installed for a task (nothing)"
    )
    parser.add_argument("-install", action="store_true", help="the same, as newer versions spell it")
    parser.add_argument("-i", nargs="+", metavar="IMAGE", help="NIfTI file, or several")
    parser.add_argument(
        "-o",
        metavar="OUT",
        help="mask of the one image, or a folder (default: <image>_seg.nii.gz beside each image)",
    )
    parser.add_argument(
        "-thr",
        type=float,
        metavar="T",
        help="share of cord that a voxel of the mask exceeds (default: 0.5); with 0, -o holds the soft map",
    )
    parser.add_argument("-qc", metavar="DIR", help="add each result to the review page in this folder")
    parser.add_argument("-qc-subject", metavar="ID", help="subject shown on the page")
    parser.add_argument("-qc-dataset", metavar="NAME", help="accepted and ignored: the page has no datasets")
    parser.add_argument("-qc-plane", metavar="PLANE", help="accepted and ignored: the page shows both planes")
    parser.add_argument(
        "-largest", choices=["0", "1"], help="accepted and ignored: only the cord is kept anyway"
    )
    parser.add_argument("-r", choices=["0", "1"], help="accepted and ignored: there are no temporary files")
    parser.add_argument(
        "-v",
        dest="verbose",
        type=_verbosity,
        default=0,
        metavar="0|1|2",
        help="errors; results; all (default: 1)",
    )


def run(args: argparse.Namespace) -> int:
    """Segment, or say that nothing has to be installed."""
    task = _task(args)
    if args.install or args.install_task:
        say("The model of softcord is part of the package: nothing has to be installed.")
        say(f"The official weights are at {OFFICIAL}; install them with: softcord models install v3.0")
        return 0
    if not args.i:
        raise UsageError("Name the image to segment: -i IMAGE")
    if TASKS[task]:
        _LOG.warning("%s", TASKS[task])
    _say_what_is_ignored(args)
    return _segment(args)


def _verbosity(text: str) -> int:
    """Read -v as a step from the usual: 0 is quieter, 2 says more."""
    if text not in ("0", "1", "2"):
        raise argparse.ArgumentTypeError(f"must be 0, 1 or 2, got {text!r}")
    return int(text) - 1


def _task(args: argparse.Namespace) -> str:
    """The one task that is named, wherever it stands."""
    named = {name for name in (args.task, args.old_task, args.install_task) if name}
    known = ", ".join(TASKS)
    if len(named) != 1:
        found = " and ".join(sorted(named)) or "none"
        raise UsageError(f"Exactly one task must be named, got {found}. Known tasks: {known}.")
    task = named.pop()
    if task not in TASKS:
        raise UsageError(f"Unknown task {task}. Known tasks: {known}.")
    return str(task)


def _say_what_is_ignored(args: argparse.Namespace) -> None:
    reasons = {
        "-qc-dataset": (args.qc_dataset, "the page has no datasets"),
        "-qc-plane": (args.qc_plane, "the page shows both planes"),
        "-largest": (args.largest, "only the cord is kept anyway"),
        "-r": (args.r, "there are no temporary files"),
    }
    for option, (value, reason) in reasons.items():
        if value is not None:
            _LOG.warning("%s is ignored: %s", option, reason)


def _segment(args: argparse.Namespace) -> int:
    from softcord.segment import FileOptions
    from softcord.workflows.review import segment_and_review

    soft_only = args.thr == 0
    options = FileOptions(mask=not soft_only, threshold=None if soft_only else args.thr, overwrite=True)
    outputs = plan(args.i, args.o, soft_only=soft_only)
    for place in outputs:
        for path in {place.soft, place.mask}:
            if path.exists():
                _LOG.warning("%s exists and is replaced, as sct_deepseg does", path)
    quiet = args.verbose < 0
    results = segment_and_review(
        args.i,
        options,
        qc=args.qc,
        subject=args.qc_subject,
        outputs=outputs,
        progress=not quiet,
        on_result=lambda result, _: report(result, quiet=quiet, place=result.outputs.mask),
    )
    if not quiet:
        show_viewers(results)
    return conclude(results)


def plan(images: list[str], out: str | None, *, soft_only: bool) -> "list[Outputs]":
    """Where the results go: the mask where sct_deepseg puts it, soft map and sidecar beside it.

    Parameters
    ----------
    images : list of str
        The images.
    out : str, optional
        Value of -o: a file, with or without its ending, or a folder.
    soft_only : bool
        Whether the soft map takes the place of the mask.

    Raises
    ------
    UsageError
        If one file is to hold the results of several images, or two would write one file.
    """
    from softcord.bids import image_stem, plan_outputs

    is_folder = out is not None and (out.endswith("/") or Path(out).is_dir())
    if out is None or is_folder:
        outputs = plan_outputs(images, out=out, naming="sct")
    elif len(images) > 1:
        raise UsageError(
            f"{out}: one file cannot hold the results of several images. Name a folder, as in {out}/"
        )
    else:
        mask = Path(out) if out.endswith((".nii", ".nii.gz")) else Path(f"{out}.nii.gz")
        stem = image_stem(mask)
        ending = mask.name.removeprefix(stem)
        soft = mask.with_name(f"{stem.removesuffix('_seg')}_softseg{ending}")
        outputs = plan_outputs(images, out=soft)
        outputs = [replace(place, mask=mask, new_folder=mask.parent) for place in outputs]
    if soft_only:
        outputs = [
            replace(place, soft=place.mask, sidecar=place.mask.with_name(f"{image_stem(place.mask)}.json"))
            for place in outputs
        ]
    return outputs
