"""`softcord train plan|run|finetune|all|export`: retraining with nnU-Net."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softcord.cli.console import FLAGGED, add_verbosity, complain, say
from softcord.cli.segment import positive
from softcord.errors import MissingExtraError

if TYPE_CHECKING:
    from softcord.train.nnunet.trainers import Epoch, TrainOptions

_PATCH = "voxels of a patch along R-L, A-P and S-I"


def add_actions(actions: "argparse._SubParsersAction[Any]") -> None:
    """Describe the commands."""
    _add_plan(actions)
    _add_run(actions)
    _add_finetune(actions)
    _add_all(actions)
    _add_export(actions)


def _add_plan(actions: "argparse._SubParsersAction[Any]") -> None:
    parser = actions.add_parser(
        "plan",
        help="plan a training with nnU-Net and preprocess its dataset",
        description="Look at a dataset, write plans for nnU-Net and preprocess the images, with their soft "
        "labels. Needs pip install 'softcord[train]'.",
    )
    parser.add_argument(
        "dataset",
        metavar="DATASET",
        help="folder made by softcord dataset convert, or a raw dataset of nnU-Net",
    )
    parser.add_argument("-o", "--out", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--topology",
        default="contrast-agnostic",
        choices=["contrast-agnostic", "contrast-agnostic-small", "nnunet"],
        help="that of the contrast-agnostic model, the same with a quarter of its channels, or what "
        "nnU-Net's own planner finds (default: contrast-agnostic)",
    )
    parser.add_argument(
        "--patch",
        nargs=3,
        type=positive,
        metavar=("RL", "AP", "SI"),
        help=f"{_PATCH}, multiples of 16, 32 and 32 (default: 64 192 320)",
    )
    parser.add_argument(
        "--spacing",
        nargs=3,
        type=float,
        metavar=("RL", "AP", "SI"),
        help="mm between voxels for the network (default: the median of the images)",
    )
    parser.add_argument(
        "--batch", type=positive, default=2, metavar="N", help="patches per step (default: 2)"
    )
    parser.add_argument(
        "--gpu-memory", type=float, metavar="GB", help="for --topology nnunet: what it may use (default: 8)"
    )
    _add_workers(parser)
    add_verbosity(parser)
    parser.set_defaults(act=_plan)


def _add_run(actions: "argparse._SubParsersAction[Any]") -> None:
    parser = actions.add_parser(
        "run",
        help="train with nnU-Net, with hard or soft labels",
        description="Train one fold of a run made by softcord train plan. The same command goes on with a "
        "training that was interrupted.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="folder made by softcord train plan")
    _add_training(parser, epochs=1000, rate=0.01)
    add_verbosity(parser)
    parser.set_defaults(act=_run)


def _add_finetune(actions: "argparse._SubParsersAction[Any]") -> None:
    parser = actions.add_parser(
        "finetune",
        help="fine-tune a model on a dataset of one's own",
        description="Train a model on with another dataset: its topology, plans and weights are taken; its "
        "last layers, too, if the labels are the same. Labels may be others, such as lesions or rootlets.",
    )
    parser.add_argument(
        "dataset",
        metavar="DATASET",
        help="folder made by softcord dataset convert, or a raw dataset of nnU-Net",
    )
    parser.add_argument(
        "--from",
        dest="model",
        required=True,
        metavar="MODEL",
        help="name of an installed model, folder of a model of nnU-Net, or archive of a release",
    )
    parser.add_argument("-o", "--out", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--patch", nargs=3, type=positive, metavar=("RL", "AP", "SI"), help=f"{_PATCH} (default: the model's)"
    )
    parser.add_argument("--batch", type=positive, metavar="N", help="patches per step (default: the model's)")
    parser.add_argument(
        "--scratch", action="store_true", help="train random weights the same way, to compare with"
    )
    parser.add_argument(
        "--frozen",
        nargs="+",
        metavar="IMAGE",
        help="images on which the cord's area must stay as it was; a report says if it does",
    )
    parser.add_argument(
        "--drift-limit",
        type=float,
        default=2.0,
        metavar="PERCENT",
        help="largest mean change of area, and half the largest of one image (default: 2)",
    )
    _add_training(parser, epochs=200, rate=0.001)
    add_verbosity(parser)
    parser.set_defaults(act=_finetune)


def _add_all(actions: "argparse._SubParsersAction[Any]") -> None:
    parser = actions.add_parser(
        "all",
        help="everything from a recipe to a release",
        description="Get the datasets of a recipe, split and convert them, plan, train and export. What is "
        "done is not done again: the same command goes on where it was.",
    )
    parser.add_argument("recipe", metavar="RECIPE", help="YAML file that names the datasets, see recipes/")
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="folder for everything")
    parser.add_argument("--name", required=True, metavar="NAME", help="of the release")
    parser.add_argument(
        "--topology",
        default="contrast-agnostic",
        choices=["contrast-agnostic", "contrast-agnostic-small", "nnunet"],
        help="see softcord train plan (default: contrast-agnostic)",
    )
    parser.add_argument(
        "--patch", nargs=3, type=positive, metavar=("RL", "AP", "SI"), help=f"{_PATCH} (default: 64 192 320)"
    )
    _add_training(parser, epochs=1000, rate=0.01)
    add_verbosity(parser)
    parser.set_defaults(act=_all)


def _add_export(actions: "argparse._SubParsersAction[Any]") -> None:
    parser = actions.add_parser(
        "export",
        help="pack a trained model as a release",
        description="Write model_NAME_DATE_nnunet_compatible.zip: run by softcord and by nnU-Net, laid out "
        "as the Spinal Cord Toolbox expects, with a model card and where all of it came from.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "-o", "--out", default=".", metavar="DIR", help="folder for the archive (default: here)"
    )
    parser.add_argument("--name", required=True, metavar="NAME", help="of the release, as contrast_agnostic")
    parser.add_argument("--date", metavar="YYYYMMDD", help="of the release (default: today)")
    parser.add_argument(
        "--fold", action="append", default=[], metavar="N", help="may be given again (default: all)"
    )
    parser.add_argument(
        "--scratch", action="store_true", help="pack what was trained from scratch to compare with"
    )
    parser.add_argument("--onnx", action="store_true", help="write each fold's network as ONNX, too")
    parser.add_argument(
        "--with-optimiser",
        action="store_true",
        help="keep what nnU-Net needs to go on training (twice the size)",
    )
    parser.add_argument(
        "--accept-drift", action="store_true", help="pack a model whose areas have drifted, too"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an archive of that name")
    add_verbosity(parser)
    parser.set_defaults(act=_export)


def _add_training(parser: argparse.ArgumentParser, *, epochs: int, rate: float) -> None:
    """What a training is asked for."""
    parser.add_argument(
        "--labels",
        choices=["auto", "soft", "hard"],
        default="auto",
        help="auto: soft where the dataset has soft labels (default: auto)",
    )
    parser.add_argument(
        "--loss",
        choices=["dice-ce", "wing"],
        default="dice-ce",
        help="Dice and cross-entropy, or adaptive wing, for soft labels (default: dice-ce)",
    )
    parser.add_argument(
        "--foreground-weight",
        type=float,
        default=8.0,
        metavar="W",
        help="for --loss wing: errors in and next to the cord count 1 + W times (default: 8)",
    )
    parser.add_argument(
        "--fold", default="0", metavar="N|all", help="of the splits; all: every case (default: 0)"
    )
    parser.add_argument("--epochs", type=positive, default=epochs, metavar="N", help=f"default: {epochs}")
    parser.add_argument(
        "--iterations", type=positive, default=250, metavar="N", help="steps per epoch (default: 250)"
    )
    parser.add_argument(
        "--validation-iterations", type=positive, default=50, metavar="N", help="per epoch (default: 50)"
    )
    parser.add_argument(
        "--learning-rate", type=float, default=rate, metavar="R", help=f"at the start (default: {rate})"
    )
    parser.add_argument(
        "--mirror",
        choices=["auto", "left-right", "all", "none"],
        default="auto",
        help="axes along which samples are mirrored; auto: left-right, unless labels have sides "
        "(default: auto)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: auto")
    parser.add_argument("--gpus", type=positive, default=1, metavar="N", help="of this machine (default: 1)")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: one per core)")
    _add_workers(parser)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes for reading and augmentation (default: 0)",
    )


def check_extra() -> None:
    """Raise MissingExtraError unless nnU-Net is installed."""
    if find_spec("nnunetv2") is None:
        raise MissingExtraError(
            "Training with nnU-Net needs more packages. Run: pip install 'softcord[train]'"
        )


def _plan(args: argparse.Namespace) -> int:
    check_extra()
    from softcord.train.nnunet.planning import PlanOptions, plan

    options = PlanOptions(
        topology=args.topology,
        patch=args.patch and tuple(args.patch),
        spacing=args.spacing and tuple(args.spacing),
        batch=args.batch,
        gpu_memory_gb=args.gpu_memory,
    )
    run = plan(
        Path(args.dataset), Path(args.out), options, workers=max(1, args.workers), progress=not args.quiet
    )
    if not args.quiet:
        say(f"Planned: {run.plans}")
        say(f"Next: softcord train run {args.out}")
    return 0


def _run(args: argparse.Namespace) -> int:
    check_extra()
    from softcord.train.nnunet.training import train

    checkpoint = train(
        Path(args.run_folder),
        _options(args),
        **_how(args),
        on_epoch=lambda epoch: None if args.quiet else say(epoch_line(epoch)),
    )
    if not args.quiet:
        say(f"Trained: {checkpoint}")
    return 0


def _finetune(args: argparse.Namespace) -> int:
    check_extra()
    from softcord.workflows.finetune import finetune_and_compare

    def on_epoch(which: str, epoch: "Epoch") -> None:
        if not args.quiet:
            say(f"{which}: {epoch_line(epoch)}")

    result = finetune_and_compare(
        Path(args.dataset),
        args.model,
        Path(args.out),
        _options(args),
        frozen=[Path(path) for path in args.frozen or ()],
        limit_percent=args.drift_limit,
        patch=args.patch and tuple(args.patch),
        batch=args.batch,
        scratch=args.scratch,
        on_epoch=on_epoch,
        **_how(args),
    )
    if not args.quiet:
        say(f"Fine-tuned: {result.tuned.checkpoint}")
        for line in result.lines:
            say(line)
    if result.drift is not None and not result.drift.accepted:
        complain(f"The model is not accepted: {result.drift.reason}")
        return FLAGGED
    return 0


def _all(args: argparse.Namespace) -> int:
    check_extra()
    from softcord.workflows.train_all import train_all

    how = _how(args)
    archive = train_all(
        Path(args.recipe),
        Path(args.out),
        name=args.name,
        options=_options(args),
        topology=args.topology,
        patch=args.patch and tuple(args.patch),
        on_step=lambda line: None if args.quiet else say(line),
        on_epoch=lambda epoch: None if args.quiet else say(epoch_line(epoch)),
        **how,
    )
    if not args.quiet:
        say(f"Released: {archive}")
    return 0


def _export(args: argparse.Namespace) -> int:
    check_extra()
    from softcord.train.nnunet.release import release

    made = release(
        Path(args.run_folder),
        Path(args.out),
        name=args.name,
        day=args.date,
        results="scratch" if args.scratch else "results",
        folds=args.fold,
        onnx=args.onnx,
        optimiser=args.with_optimiser,
        accept_drift=args.accept_drift,
        overwrite=args.overwrite,
    )
    if not args.quiet:
        for path in made.onnx:
            say(f"Network: {path}")
        say(f"Released: {made.archive} (SHA-256 {made.sha256})")
    return 0


def epoch_line(epoch: "Epoch") -> str:
    """One line on an epoch."""
    return (
        f"epoch {epoch.epoch} of {epoch.epochs}: loss {epoch.train_loss:.4f}, "
        f"validation {epoch.validation_loss:.4f}, Dice {epoch.dice:.3f}, "
        f"volume {epoch.volume_ratio:.2f} of the true one, {epoch.seconds:.0f} s"
    )


def _options(args: argparse.Namespace) -> "TrainOptions":
    from softcord.train.nnunet.trainers import TrainOptions

    return TrainOptions(
        labels=args.labels,
        loss=args.loss,
        foreground_weight=args.foreground_weight,
        epochs=args.epochs,
        iterations=args.iterations,
        validation_iterations=args.validation_iterations,
        learning_rate=args.learning_rate,
        mirror=args.mirror,
        seed=args.seed,
    )


def _how(args: argparse.Namespace) -> dict[str, Any]:
    """Where and with how much of the machine."""
    return {
        "fold": args.fold if args.fold == "all" else _fold(args.fold),
        "device": args.device,
        "gpus": args.gpus,
        "threads": args.threads,
        "workers": args.workers,
        "progress": not args.quiet,
    }


def _fold(text: str) -> int:
    from softcord.errors import UsageError

    if text.isdecimal():
        return int(text)
    raise UsageError(f"--fold must be a whole number from 0, or all; got {text!r}.")
