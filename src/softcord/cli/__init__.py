"""The command line: one module per command, each with its help, its arguments and one call into the library.

Building the parsers imports nothing heavy, so that help is quick; a command imports what it needs when it
runs.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from softcord import __version__
from softcord.cli import csa, dataset, demo, evaluate, info, models, qc, sct_deepseg, segment, train
from softcord.cli.console import INTERRUPTED, complain, logging_to_stderr, silence
from softcord.errors import SoftcordError

DESCRIPTION = "Soft segmentation of the spinal cord on MRI of any contrast. Research use only."
EPILOG = (
    "Exit codes: 0 done; 2 usage; 3 bad input; 4 no cord found; 5 model; 6 output; "
    "7 some inputs of many failed; 8 done, but with flags and --strict; 130 interrupted."
)

_COMMANDS = {
    "segment": segment,
    "csa": csa,
    "evaluate": evaluate,
    "qc": qc,
    "sct-deepseg": sct_deepseg,
    "models": models,
    "dataset": dataset,
    "train": train,
    "info": info,
    "demo": demo,
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, not the whole usage with the reason at its end."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message}. See: {self.prog} --help")
        raise SystemExit(2)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = _Parser(prog="softcord", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"softcord {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, module in _COMMANDS.items():
        command = commands.add_parser(
            name, help=module.HELP, description=module.DESCRIPTION, epilog=EPILOG, allow_abbrev=False
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name. Default: those of the process.

    Returns
    -------
    int
        The exit code.
    """
    parser = build_parser()
    try:
        args, unknown = parser.parse_known_args(argv)
        if unknown:
            program = " ".join(filter(None, [parser.prog, args.command]))
            complain(f"unrecognized arguments: {' '.join(unknown)}. See: {program} --help")
            return 2
        if args.command is None:
            parser.print_help(sys.stderr)
            return 2
        with logging_to_stderr(getattr(args, "verbose", 0) - getattr(args, "quiet", 0)):
            code: int = args.run(args)
            return code
    except SystemExit as leaving:  # argparse leaves after help, --version and usage errors
        return leaving.code if isinstance(leaving.code, int) else 0
    except SoftcordError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        complain("interrupted; no file is half-written")
        return INTERRUPTED


def entry() -> NoReturn:
    """Run the command of this process and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file name may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    code = main()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    sys.exit(code)
