"""`softcord segment`: images in, soft cord maps out."""

import argparse

from softcord.cli.console import add_verbosity, conclude, report, show_viewers

HELP = "segment the spinal cord on MRI of any contrast"
DESCRIPTION = (
    "Soft segmentation of the spinal cord: each voxel's value is the share of its volume that is cord. "
    "The result has the image's own grid; a JSON sidecar says how it was made and why it may be wrong."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="NIfTI file (.nii, .nii.gz), 3-D or 4-D")
    add_output_arguments(parser)
    add_model_arguments(parser)
    add_review_arguments(parser)
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 8 if any result has a flag (default: flags change nothing)",
    )
    add_verbosity(parser)


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what is written, and where."""
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help="soft map of the one image (.nii, .nii.gz), or a folder, ending in a slash if it is to be made, "
        "for default names (default: beside each image)",
    )
    parser.add_argument("--mask", action="store_true", help="also write the binary mask")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="share of cord (0 to 1) that voxels of the mask exceed; asks for the mask (default: 0.5)",
    )
    parser.add_argument(
        "--volumes",
        type=volumes,
        default="mean",
        metavar="mean|each|N",
        help="volumes of a 4-D image: their mean, each on its own, or the one of index N (default: mean)",
    )
    parser.add_argument(
        "--naming",
        choices=["bids", "sct"],
        default="bids",
        help="default names: BIDS derivatives for BIDS images, or _softseg and _seg for all (default: bids)",
    )
    parser.add_argument(
        "--uncertainty", action="store_true", help="also write the spread under test-time augmentation"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip images whose results are complete and made in the same way",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what computes, and on what."""
    parser.add_argument(
        "--model",
        default="softcord",
        metavar="NAME|PATH",
        help="see: softcord models list (default: softcord)",
    )
    parser.add_argument(
        "--mode",
        choices=["exact", "follow"],
        help="of an nnU-Net model: compute all tiles of the image, or those that the cord passes through "
        "(default: follow, if the model looks for the cord or something in it)",
    )
    parser.add_argument(
        "--mirror",
        action="store_true",
        help="of an nnU-Net model: average over mirrored images, which takes 2 to 8 times as long",
    )
    parser.add_argument(
        "--channel",
        action="append",
        default=[],
        metavar="IMAGE",
        help="of an nnU-Net model of several channels: a further image on the same grid; once for each, in "
        "the model's order",
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: auto)"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: one per core)")


def add_review_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the review page."""
    parser.add_argument("--qc", metavar="DIR", help="add each result to the review page in this folder")
    parser.add_argument(
        "--qc-subject", metavar="ID", help="subject shown on the page (default: from the file name)"
    )


def run(args: argparse.Namespace) -> int:
    """Segment, report, and return the exit code."""
    from softcord.segment import FileOptions
    from softcord.workflows.review import segment_and_review

    options = FileOptions(
        out=args.out,
        naming=args.naming,
        mask=args.mask,
        threshold=args.threshold,
        volumes=args.volumes,
        uncertainty=args.uncertainty,
        mode=args.mode,
        mirror=args.mirror,
        channels=args.channel,
        overwrite=args.overwrite,
        resume=args.resume,
    )
    results = segment_and_review(
        args.images,
        options,
        qc=args.qc,
        subject=args.qc_subject,
        model=args.model,
        device=args.device,
        threads=args.threads,
        progress=not args.quiet,
        on_result=lambda result, _: report(result, quiet=bool(args.quiet)),
    )
    if not args.quiet:
        show_viewers(results)
    return conclude(results, strict=args.strict)


def volumes(text: str) -> int | str:
    """Read the value of --volumes."""
    if text in ("mean", "each"):
        return text
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"must be mean, each or the index of a volume from 0, got {text!r}")


def positive(text: str) -> int:
    """Read a whole number from 1."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
