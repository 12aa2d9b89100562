"""`softcord models`: list, describe, install, remove and pack models."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from softcord.cli.console import add_verbosity, say

if TYPE_CHECKING:
    from softcord.models import Installation, ModelInfo

HELP = "list, describe, install, remove or export models"
DESCRIPTION = (
    "The models that softcord can run. The embedded one, softcord, is part of the package; others, such as "
    "the official nnU-Net releases, are installed into the user's data folder, or into the one that the "
    "environment variable SOFTCORD_MODELS names."
)
_INSTALL = (
    "Install a model from an official release by name (v3.0), a URL, a zip, a folder, or a checkpoint. "
    "Nothing in it is run: checkpoints are read without torch, and one that would run something is refused."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="list|info|install|remove|export", required=True)
    listing = actions.add_parser(
        "list", help="name and version of each model", description="All models at hand."
    )
    listing.add_argument(
        "--releases", action="store_true", help="the official releases that can be installed by name"
    )
    details = actions.add_parser(
        "info", help="all that is known of one model", description="One model in full."
    )
    details.add_argument(
        "model", nargs="?", default="softcord", metavar="NAME|PATH", help="default: softcord"
    )
    installing = actions.add_parser("install", help="make a model usable by name", description=_INSTALL)
    _add_install_arguments(installing)
    removing = actions.add_parser(
        "remove", help="delete an installed model", description="Delete an installed model."
    )
    removing.add_argument("model", metavar="NAME", help="of an installed model")
    exporting = actions.add_parser(
        "export",
        help="pack a model into a zip",
        description="Pack a model into a zip that can be installed elsewhere, without a network.",
    )
    exporting.add_argument("model", metavar="NAME|PATH", help="of a model")
    exporting.add_argument("-o", "--output", required=True, metavar="FILE.zip", help="the zip to write")
    exporting.add_argument("--overwrite", action="store_true", help="replace a file of that name")
    for action in (listing, details, installing, removing, exporting):
        action.add_argument("--json", action="store_true", help="as JSON")
        add_verbosity(action)


def _add_install_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="RELEASE|URL|ZIP|FOLDER|CHECKPOINT", help="what to install")
    parser.add_argument("--name", help="what to call it (default: the name of the release, file or folder)")
    parser.add_argument(
        "--sha256",
        metavar="HEX|record",
        help="checksum that the file must have; for a URL it must be given, unless it is known from before: "
        "`record` takes what comes and requires the same from then on (default on a terminal: ask)",
    )
    parser.add_argument(
        "--inside", metavar="FOLDER", help="folder in the zip or folder, if it holds several models"
    )
    parser.add_argument("--offline", action="store_true", help="do not use the network")
    parser.add_argument("--overwrite", action="store_true", help="replace another model of that name")


def run(args: argparse.Namespace) -> int:
    """Do what is asked, and say what came of it."""
    return _ACTIONS[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from softcord import models

    if args.releases:
        rows = [{"name": r.name, "url": r.url, "note": r.note, "sha256": r.sha256} for r in models.RELEASES]
        say(json.dumps(rows, indent=2) if args.json else "\n".join(f"{r['name']}  {r['note']}" for r in rows))
        return 0
    available = models.available()
    if args.json:
        say(json.dumps([describe(info) for info in available], indent=2))
        return 0
    for info in available:
        say(_printable(f"{info.name}  {info.version}  {info.description}"))
    return 0


def _info(args: argparse.Namespace) -> int:
    from softcord import models

    facts = describe(models.describe(args.model))
    say(json.dumps(facts, indent=2) if args.json else _as_lines(facts))
    return 0


def _install(args: argparse.Namespace) -> int:
    from softcord import models

    sha256: str | None = args.sha256
    confirm: Callable[[str, str, int], bool] | None = None
    if sha256 == "record":
        sha256, confirm = None, _take
    elif sha256 is None and sys.stdin.isatty() and sys.stderr.isatty():
        confirm = _ask
    with _progress(enabled=not args.quiet) as report:
        done = models.install(
            args.source,
            name=args.name,
            sha256=sha256,
            inside=args.inside,
            offline=args.offline,
            overwrite=args.overwrite,
            confirm=confirm,
            report=report,
        )
    info = models.describe(done.installed.name)
    if args.json:
        say(json.dumps({**describe(info), "is_new": done.is_new}, indent=2))
    elif not args.quiet:
        say(_summary(done, info))
    return 0


def _remove(args: argparse.Namespace) -> int:
    from softcord import models

    folder = models.remove(args.model)
    if args.json:
        say(json.dumps({"removed": str(folder)}))
    elif not args.quiet:
        say(f"Removed {args.model} from {folder.parent}.")
    return 0


def _export(args: argparse.Namespace) -> int:
    from softcord import models

    sha256 = models.export(args.model, args.output, overwrite=args.overwrite)
    if args.json:
        say(json.dumps({"file": args.output, "sha256": sha256}))
    elif not args.quiet:
        say(f"{args.output}: {_mib(Path(args.output).stat().st_size)}, SHA-256 {sha256}")
    return 0


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "info": _info,
    "install": _install,
    "remove": _remove,
    "export": _export,
}


def describe(info: "ModelInfo") -> dict[str, object]:
    """What is known of a model, ready for JSON."""
    return {
        "name": info.name,
        "version": info.version,
        "sha256": info.sha256,
        "description": info.description,
        "size_bytes": info.size_bytes,
        "folder": str(info.folder),
        "config": info.config,
    }


def _as_lines(facts: dict[str, object]) -> str:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{name}:", *(f"  {key}: {item}" for key, item in value.items())]
        else:
            lines.append(f"{name}: {value}")
    return "\n".join(map(_printable, lines))


def _printable(line: str) -> str:
    """A line without what a terminal would obey: models come from strangers."""
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _summary(done: "Installation", info: "ModelInfo") -> str:
    installed = done.installed
    lines = [f"Installed {installed.name} ({_mib(installed.size_bytes)}) in {installed.folder}."]
    if not done.is_new:
        lines = [f"{installed.name} is installed already, in {installed.folder}."]
    if done.is_first_use:
        lines.append(f"SHA-256 of the download, required from now on: {installed.sha256}")
    if installed.kind == "weights":
        lines.append("It is a checkpoint alone: a training can start from it, but it cannot segment.")
    elif "cannot_segment" in info.config:
        lines.append(f"A training may start from it, but it cannot segment: {info.config['cannot_segment']}")
    else:
        lines.append(f"To use it: softcord segment IMAGE --model {installed.name}")
    return "\n".join(map(_printable, lines))


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _take(_url: str, _sha256: str, _size: int) -> bool:
    return True


def _ask(url: str, sha256: str, size: int) -> bool:
    """Ask whoever sits at the terminal."""
    from softcord.progress import Bar

    Bar.hide_current()
    print(
        f"{url}\n{_mib(size)}, SHA-256 {sha256}\nNo checksum was given. Compare this one with that of the "
        "makers, if they publish it.\nInstall, and require the same from now on? [y/N] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextmanager
def _progress(*, enabled: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A bar that begins with the download, if there is one."""
    from softcord.progress import Bar

    with ExitStack() as stack:
        bars: list[Bar] = []

        def report(done: int, total: int | None) -> None:
            if total is not None and not bars:
                bar = Bar(max(total >> 20, 1), "download (MiB)", enabled=enabled)
                bars.append(stack.enter_context(bar))
            for bar in bars:
                bar.reach(done >> 20)

        yield report
