"""`softcord train`: train the compact model, or train with nnU-Net (`softcord.cli.train_nnunet`)."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from softcord.cli import train_nnunet
from softcord.cli.console import add_verbosity, say
from softcord.cli.segment import positive
from softcord.errors import MissingExtraError

HELP = "train a model"
DESCRIPTION = (
    "Train a model of one's own; needs pip install 'softcord[train]', and for synth and pseudo "
    "'softcord[synth]'."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    actions = parser.add_subparsers(
        dest="action", metavar="plan|run|finetune|all|export|synth|pseudo", required=True
    )
    train_nnunet.add_actions(actions)
    synth = actions.add_parser(
        "synth",
        help="train the compact model on synthetic anatomy",
        description="Train the compact model on synthetic anatomy, label maps and images, as a YAML file "
        "says. The same command goes on with a run that was interrupted.",
    )
    _add_config(synth)
    synth.add_argument(
        "-o", "--out", required=True, metavar="DIR", help="folder of the run; holds the model at the end"
    )
    synth.add_argument(
        "--data", metavar="DIR", help="folder below which the label maps and images of CONFIG lie"
    )
    synth.add_argument(
        "--pseudo",
        metavar="DIR",
        help="folder of maps made by softcord train pseudo, if CONFIG asks for them",
    )
    synth.add_argument(
        "--from",
        dest="before",
        metavar="NAME|DIR",
        help="a model, or the folder of another run: its weights are the start of this one (default: random)",
    )
    synth.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: auto")
    synth.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: one per core)")
    add_verbosity(synth)
    synth.set_defaults(act=_synth)
    pseudo = actions.add_parser(
        "pseudo",
        help="label images without masks for a training",
        description="Let a model label the images without masks that a YAML file names, where its views of "
        "them agree. A training takes the maps with --pseudo.",
    )
    _add_config(pseudo)
    pseudo.add_argument("-o", "--out", required=True, metavar="DIR", help="folder for the maps")
    pseudo.add_argument(
        "--data", required=True, metavar="DIR", help="folder below which the images of CONFIG lie"
    )
    pseudo.add_argument(
        "--model", default="softcord", metavar="NAME|PATH", help="what labels them (default: softcord)"
    )
    pseudo.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: one per core)")
    add_verbosity(pseudo)
    pseudo.set_defaults(act=_pseudo)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="YAML file: network, data, steps; see recipes/"
    )


def run(args: argparse.Namespace) -> int:
    """Train, or label images for a training, and say where the result is."""
    status: int = args.act(args)
    return status


def _check_extra() -> None:
    if find_spec("torch") is None or find_spec("yaml") is None:
        raise MissingExtraError("Training needs more packages. Run: pip install 'softcord[synth]'")


def _synth(args: argparse.Namespace) -> int:
    _check_extra()
    from softcord import models
    from softcord.train.synth import train_synth

    def on_step(step: int, steps: int, loss: float) -> None:
        if not args.quiet:
            say(f"step {step} of {steps}, loss {loss:.4f}")

    model = train_synth(
        Path(args.config),
        Path(args.out),
        data=_path(args.data),
        pseudo=_path(args.pseudo),
        before=models.locate(args.before) if args.before else None,
        device=args.device,
        threads=args.threads,
        on_step=on_step,
    )
    if not args.quiet:
        say(f"Written to {model}")
    return 0


def _pseudo(args: argparse.Namespace) -> int:
    _check_extra()
    from softcord import models
    from softcord.train.pseudo import label_images
    from softcord.train.reading import read_config

    def on_image(name: str, known: float) -> None:
        if not args.quiet:
            say(f"{name}: {100 * known:.0f} % of the cord is known")

    config = read_config(Path(args.config))
    network = models.load(args.model, device="cpu", threads=args.threads).compact
    paths = label_images(config, network, Path(args.out), data=Path(args.data), on_image=on_image)
    if not args.quiet:
        say(f"{len(paths)} maps written to {args.out}")
    return 0


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
