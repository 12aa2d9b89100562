"""`softcord models`: which models are at hand, and what is known of one."""

import argparse
from typing import TYPE_CHECKING

from softcord.cli.console import add_verbosity, say

if TYPE_CHECKING:
    from softcord.models import ModelInfo

HELP = "list models, or describe one"
DESCRIPTION = "The models that softcord can run. The embedded one, softcord, is part of the package."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="list|info", required=True)
    listing = actions.add_parser(
        "list", help="name and version of each model", description="All models at hand."
    )
    details = actions.add_parser(
        "info", help="all that is known of one model", description="One model in full."
    )
    details.add_argument(
        "model", nargs="?", default="softcord", metavar="NAME|PATH", help="default: softcord"
    )
    for action in (listing, details):
        action.add_argument("--json", action="store_true", help="as JSON")
        add_verbosity(action)


def run(args: argparse.Namespace) -> int:
    """Print the list, or one model."""
    import json

    from softcord import models

    if args.action == "info":
        facts = describe(models.describe(args.model))
        say(json.dumps(facts, indent=2) if args.json else _as_lines(facts))
        return 0
    available = models.available()
    if args.json:
        say(json.dumps([describe(info) for info in available], indent=2))
        return 0
    for info in available:
        say(f"{info.name}  {info.version}  {info.description}")
    return 0


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
    return "\n".join(lines)
