"""Write docs/reference/cli.md from the parser of the command line.

    python docs/make_cli_reference.py

The page is made from the parser's own arguments, not from the text of --help, whose layout differs
between versions of Python.
"""

# ruff: noqa: INP001, SLF001  a script; and argparse has no public list of its arguments

import argparse
from pathlib import Path

from softcord.cli import EPILOG, build_parser

PAGE = Path(__file__).parent / "reference" / "cli.md"

HEAD = """# Command line

Made from the help of each command by `docs/make_cli_reference.py`.
"""


def reference() -> str:
    """The whole page."""
    sections = [HEAD, EPILOG, *_sections(build_parser())]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _sections(parser: argparse.ArgumentParser) -> list[str]:
    """One section for each command that does something."""
    commands = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not commands:
        return [
            f"## `{parser.prog}`",
            _escape(parser.description or ""),
            f"```console\n{_usage(parser)}\n```",
            _table(parser),
        ]
    return [
        section
        for action in commands
        for command in action.choices.values()
        for section in _sections(command)
    ]


def _usage(parser: argparse.ArgumentParser) -> str:
    """The shortest command line: what must be given, in its place."""
    words = [parser.prog, "[options]"]
    for action in parser._actions:
        if action.option_strings and action.required:
            words.append(f"{action.option_strings[-1]} {action.metavar}")
        elif not action.option_strings:
            name = str(action.metavar)
            forms = {"?": f"[{name}]", "+": f"{name} [{name} ...]", "*": f"[{name} ...]"}
            words.append(forms.get(str(action.nargs), name))
    return " ".join(words)


def _table(parser: argparse.ArgumentParser) -> str:
    """All arguments but -h."""
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    rows = [f"| {_names(action)} | {_escape(action.help or '')} |" for action in actions]
    return "\n".join(["| argument | meaning |", "|---|---|", *rows])


def _names(action: argparse.Action) -> str:
    """How the argument is spelled: `-o OUT`, `--out OUT`."""
    names = action.metavar if isinstance(action.metavar, tuple) else (action.metavar,)
    value = " ".join(map(str, names)) if action.metavar else "|".join(action.choices or ())
    dots = "..." if action.nargs == "+" else ""
    spellings = [f"{name} {value}{dots}".strip() for name in action.option_strings] or [value]
    return ", ".join(f"`{_escape(spelling)}`" for spelling in spellings)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(reference(), encoding="utf-8")
