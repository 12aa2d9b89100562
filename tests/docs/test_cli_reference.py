"""The reference of the command line says what the parser knows, and the page of bad input is linked to it."""

import importlib.util
import sys

import pytest

from softcord.cli import _COMMANDS


@pytest.fixture
def maker(root, monkeypatch):
    """docs/make_cli_reference.py as a module."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location(
        "make_cli_reference", root / "docs" / "make_cli_reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_fresh(maker):
    """If not: python docs/make_cli_reference.py."""
    assert maker.PAGE.read_text(encoding="utf-8") == maker.reference()


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_is_in_the_reference(command, maker):
    assert f"## `softcord {command}" in maker.reference()


def test_every_argument_is_explained(maker):
    rows = [line for line in maker.reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert [row for row in rows if row.replace("\\|", "").rsplit("|", 2)[1].strip() in ("", "None")] == []
