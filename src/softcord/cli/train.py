"""`softcord train`: train the compact model on synthetic anatomy."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from softcord.cli.console import add_verbosity, say
from softcord.cli.segment import positive
from softcord.errors import MissingExtraError

HELP = "train a model"
DESCRIPTION = "Train a model of one's own; needs pip install 'softcord[synth]'."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="synth", required=True)
    synth = actions.add_parser(
        "synth",
        help="train the compact model on synthetic anatomy",
        description="Train the compact model on synthetic anatomy, label maps and images, as a YAML file "
        "says. The same command goes on with a run that was interrupted.",
    )
    synth.add_argument(
        "--config", required=True, metavar="FILE", help="YAML file: network, data, steps; see recipes/"
    )
    synth.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="folder of the run; holds the model at the end"
    )
    synth.add_argument(
        "--data", metavar="DIR", help="folder below which the label maps and images of CONFIG lie"
    )
    synth.add_argument(
        "--from",
        dest="before",
        metavar="RUN",
        help="folder of another run, whose weights are the start of this one (default: random weights)",
    )
    synth.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: auto")
    synth.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: one per core)")
    add_verbosity(synth)


def run(args: argparse.Namespace) -> int:
    """Train, and say where the model is."""
    if find_spec("torch") is None or find_spec("yaml") is None:
        raise MissingExtraError("Training needs more packages. Run: pip install 'softcord[synth]'")
    from softcord.train.synth import train_synth

    def on_step(step: int, steps: int, loss: float) -> None:
        if not args.quiet:
            say(f"step {step} of {steps}, loss {loss:.4f}")

    model = train_synth(
        Path(args.config),
        Path(args.out),
        data=Path(args.data) if args.data else None,
        before=Path(args.before) if args.before else None,
        device=args.device,
        threads=args.threads,
        on_step=on_step,
    )
    if not args.quiet:
        say(f"Written to {model}")
    return 0
