"""`softcord info`: versions, models and devices."""

import argparse

from softcord.cli.console import add_verbosity, say
from softcord.errors import ModelError, UsageError

HELP = "show versions, models and devices"
DESCRIPTION = (
    "Versions of softcord and of what it stands on, the models at hand, and the engine and devices that run "
    "them."
)

_PACKAGES = ("numpy", "scipy", "nibabel", "onnxruntime", "openvino", "pillow", "torch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_verbosity(parser)


def run(args: argparse.Namespace) -> int:
    """Print what there is."""
    import json

    facts = collect()
    if args.json:
        say(json.dumps(facts, indent=2))
        return 0
    for name, value in facts.items():
        say(f"{name + ':':12} {_as_text(value)}")
    return 0


def collect() -> dict[str, object]:
    """Everything that a report of a problem should hold."""
    import os
    import platform

    import softcord
    from softcord.engines import choose_device

    return {
        "softcord": softcord.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {package: _version(package) for package in _PACKAGES},
        "models": _models(),
        "engine": _engine(),
        "devices": ["cuda", "cpu"] if choose_device("auto") == "cuda" else ["cpu"],
    }


def _models() -> dict[str, str]:
    """Name and version of each model; a damaged one is no reason to say nothing."""
    from softcord import models

    try:
        return {info.name: info.version for info in models.available()}
    except ModelError as error:
        return {models.EMBEDDED: f"cannot be used: {error}"}


def _engine() -> str:
    """The library that runs networks on the CPU."""
    from softcord.engines.runtime import choose_engine

    try:
        return choose_engine()
    except UsageError as error:
        return f"cannot be used: {error}"


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
