"""Runs the command line as ``python -m softcord``."""

from softcord.cli import entry

if __name__ == "__main__":
    entry()
