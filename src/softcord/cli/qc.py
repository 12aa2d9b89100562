"""`softcord qc`: put results on the review page, open it, sum up what raters said."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from softcord.cli.console import SOME_FAILED, add_verbosity, complain, say

if TYPE_CHECKING:
    from softcord.qc.ratings import Rating
    from softcord.qc.record import Record

HELP = "review results on one page: add, open, sum up ratings"
DESCRIPTION = (
    "Three uses. IMAGE SEG ... --qc DIR adds segmentations of an image, of any tool, to the review page in "
    "DIR. open DIR serves the page to this computer's browser and saves each rating at once; without it, "
    "open DIR/index.html and save ratings from there. summary DIR says how far raters agree and what to "
    "leave out."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument(
        "words",
        nargs="+",
        metavar="WORD",
        help="IMAGE SEG [SEG ...]: an image, and soft maps, masks or label maps of it; or: open DIR; or: "
        "summary DIR [RATINGS ...] with files that the page saved (TSV, JSON, qc_fail.yml)",
    )
    add = parser.add_argument_group("adding")
    add.add_argument("--qc", metavar="DIR", help="folder of the review page; made when missing")
    add.add_argument(
        "--qc-subject", metavar="ID", help="subject shown on the page (default: from the file name)"
    )
    add.add_argument(
        "--levels", metavar="FILE", help="vertebral levels, as for csa: norms by level on the page"
    )
    serve = parser.add_argument_group("open")
    serve.add_argument(
        "--port", type=int, metavar="N", help="port to listen on (default: one that belongs to the folder)"
    )
    serve.add_argument("--no-browser", action="store_true", help="only say the address")
    summary = parser.add_argument_group("summary")
    summary.add_argument(
        "--exclude",
        choices=["any", "majority", "all"],
        help="raters who must have said fail or artifact for an image to be left out (default: any)",
    )
    summary.add_argument(
        "-o", "--out", metavar="FILE", help="write what to leave out (.tsv, or .yml in SCT's form)"
    )
    summary.add_argument("--overwrite", action="store_true", help="replace a list that exists")
    add_verbosity(parser)


def run(args: argparse.Namespace) -> int:
    """Do one of the three."""
    use = args.words[0] if args.words[0] in ("open", "summary") else "add"
    _check(args, use)
    return {"add": _add, "open": _open, "summary": _summary}[use](args)


def _check(args: argparse.Namespace, use: str) -> None:
    from softcord.errors import UsageError

    if use == "open" and len(args.words) != 2:
        raise UsageError("softcord qc open takes one folder: softcord qc open DIR.")
    if use == "summary" and len(args.words) < 2:
        raise UsageError("softcord qc summary takes a folder: softcord qc summary DIR [RATINGS ...].")
    if use == "add" and (len(args.words) < 2 or not args.qc):
        raise UsageError(
            "an image, its segmentations and a folder are needed: softcord qc IMAGE SEG --qc DIR."
        )
    own = {
        "add": ("qc", "qc_subject", "levels"),
        "open": ("port", "no_browser"),
        "summary": ("exclude", "out", "overwrite"),
    }
    for other, names in own.items():
        for name in names:
            if other != use and getattr(args, name) not in (None, False):
                raise UsageError(f"--{name.replace('_', '-')} does not go with this use of softcord qc.")


def _add(args: argparse.Namespace) -> int:
    from softcord.errors import SoftcordError
    from softcord.workflows.review import review_files

    image, *segmentations = args.words
    entries = review_files(image, segmentations, args.qc, subject=args.qc_subject, levels=args.levels)
    failed = 0
    for segmentation, entry in zip(segmentations, entries, strict=True):
        if isinstance(entry, SoftcordError):
            complain(str(entry))
            failed += 1
        elif not args.quiet:
            say(f"{Path(segmentation).name}: added -> {Path(args.qc) / 'index.html'}")
    if not failed:
        return 0
    only = entries[0]
    return only.exit_code if len(entries) == 1 and isinstance(only, SoftcordError) else SOME_FAILED


def _open(args: argparse.Namespace) -> int:
    import webbrowser

    from softcord.qc.server import ReviewServer

    with ReviewServer(Path(args.words[1]), args.port) as server:
        say(f"Open {server.address}")
        say("Ratings are saved at once. Keep the address to yourself. Stop with Ctrl-C.")
        if not args.no_browser:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("Stopped; every rating that was said to be saved is in the folder.")
    return 0


def _summary(args: argparse.Namespace) -> int:
    from softcord.qc.folder import read_rows
    from softcord.qc.ratings import latest, read_journals, read_ratings
    from softcord.qc.summary import agreements, exclusions

    folder = Path(args.words[1])
    rows = read_rows(folder)
    given = [rating for name in args.words[2:] for rating in read_ratings(Path(name), rows)]
    keys = {row.key for row in rows}
    ratings = [rating for rating in latest([*read_journals(folder), *given]) if rating.key in keys]
    excluded = exclusions(rows, ratings, args.exclude or "any")
    if not args.quiet:
        _say_counts(rows, ratings)
        for pair in agreements(ratings):
            names = " and ".join(name or "unnamed" for name in pair.raters)
            say(f"{names}: {pair.n} in common, agree on {100 * pair.share:.0f} %, kappa {pair.kappa:.2f}")
        say(f"To leave out ({args.exclude or 'any'} rater): {len(excluded)} of {len(rows)}")
        for each in excluded:
            said = ", ".join(f"{rater or 'unnamed'}: {verdict}" for rater, verdict in each.verdicts)
            say(f"  {each.record.source} ({said})".replace("\n", "\\n"))
    if args.out:
        _write(args, rows, [each.record for each in excluded], ratings)
    return 0


def _say_counts(rows: "list[Record]", ratings: "list[Rating]") -> None:
    rated = {rating.key for rating in ratings if rating.rating}
    say(f"{len(rows)} results, {len(rated)} rated")
    for rater in sorted({rating.rater for rating in ratings}):
        own = [rating.rating for rating in ratings if rating.rater == rater]
        counts = ", ".join(f"{own.count(verdict)} {verdict}" for verdict in ("pass", "fail", "artifact"))
        say(f"  {rater or 'unnamed'}: {counts}")


def _write(
    args: argparse.Namespace, rows: "list[Record]", records: "list[Record]", ratings: "list[Rating]"
) -> None:
    from softcord.errors import UsageError
    from softcord.nifti import write_text
    from softcord.qc.ratings import Rating, as_yaml
    from softcord.qc.summary import as_table, exclusions

    suffix = Path(args.out).suffix.lower()
    if suffix == ".tsv":
        text = as_table(exclusions(rows, ratings, args.exclude or "any"))
    elif suffix in (".yml", ".yaml"):
        text = as_yaml("fail", [Rating(r.key, rating="fail", source=r.source) for r in records], rows)
    else:
        raise UsageError(f"{args.out}: the list must end in .tsv, or in .yml for SCT's form.")
    write_text(text, args.out, overwrite=args.overwrite)
    say(f"-> {args.out}")
