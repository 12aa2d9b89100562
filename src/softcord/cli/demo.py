"""`softcord demo`: a phantom through all of softcord."""

import argparse

from softcord.cli.console import NO_CORD, add_verbosity, complain, say

HELP = "make a phantom, segment it, and say where to look"
DESCRIPTION = (
    "Make a synthetic image whose truth is known, segment it, compare area by area with the truth, and "
    "write the review page. What an earlier demo wrote in the folder is replaced."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument(
        "folder", nargs="?", default="demo-out", metavar="DIR", help="where to (default: demo-out)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another phantom (default: 0)")
    parser.add_argument(
        "--contrast", default="T2w", metavar="NAME", help="contrast of the phantom (default: T2w)"
    )
    add_verbosity(parser)


def run(args: argparse.Namespace) -> int:
    """Run the demo and say where its files are."""
    from softcord.workflows.demo import demo

    result = demo(args.folder, seed=args.seed, contrast=args.contrast)
    if not result.mean_area_mm2:
        complain(f"{result.image}: no cord found in this phantom, so the map {result.soft} is empty.")
        return NO_CORD
    if args.quiet:
        return 0
    say(f"A phantom was made and segmented in {sum(result.seconds.values()):.1f} s.")
    say(f"  image         {result.image}")
    say(f"  soft map      {result.soft}")
    say(f"  true map      {result.truth}")
    say(f"  table         {result.table}")
    say(f"  review page   {result.page}")
    say(
        f"Mean area of the cord: {result.mean_area_mm2:.1f} mm2, true {result.true_mean_area_mm2:.1f} mm2 "
        f"({result.area_error_percent:+.1f} %)."
    )
    say(f"Open {result.page} in a browser to look at it.")
    return 0
