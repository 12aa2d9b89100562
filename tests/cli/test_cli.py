"""What all commands share: help, errors, verbosity, the process."""

import logging
import os
import re
import subprocess
import sys
import time
import warnings

import pytest

import softcord
from fakes import save_cord
from softcord.cli import build_parser, console, main

COMMANDS = ["segment", "sct-deepseg", "models", "train", "info", "demo"]


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert [name for name in COMMANDS if not re.search(rf"^    {name}\b", text, re.MULTILINE)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_the_exit_codes(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: softcord {command}")
    assert "Exit codes: 0 done;" in text


@pytest.mark.parametrize(
    "command", [["segment"], ["models", "list"], ["models", "info"], ["info"], ["demo"], ["train", "synth"]]
)
def test_every_command_knows_v_and_q(command, capsys):
    main([*command, "--help"])
    text = capsys.readouterr().out
    assert "-v, --verbose" in text
    assert "-q, --quiet" in text


def test_the_version_is_said(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"softcord {softcord.__version__}\n"


def test_without_a_command_help_is_shown_and_it_is_a_usage_error(capsys):
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().err


def test_an_unknown_command_is_a_usage_error_in_one_line_that_lists_the_known_ones(capsys):
    assert main(["segmnet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(name in line for name in COMMANDS)


def run(*arguments, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "softcord", *arguments]
    return subprocess.run(command, check=False, env=environment, capture_output=True, **options)


def test_help_is_quick():
    """At most 0.3 s on an idle machine; the best of three tries, in relation to a bare Python."""

    def seconds(*command):
        start = time.perf_counter()
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        return time.perf_counter() - start

    bare = min(seconds(sys.executable, "-c", "") for _ in range(3))
    full = min(seconds(sys.executable, "-m", "softcord", "--help") for _ in range(3))
    assert full < max(0.3, 8 * bare)


def test_the_process_leaves_with_the_exit_code_of_the_command(tmp_path):
    missing = run("segment", "absent.nii.gz", cwd=tmp_path)
    assert missing.returncode == 3
    assert missing.stderr == b"softcord: error: absent.nii.gz: no such file. Check the name.\n"


def test_a_name_that_the_terminal_cannot_show_is_no_bug(tmp_path):
    name = os.fsencode("müde.nii.gz") + b"\xff.nii.gz"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "softcord", "segment", name], check=False, env=environment, capture_output=True
    )
    assert done.returncode == 3
    assert done.stderr.startswith(b"softcord: error: m\\xfcde.nii.gz")


@pytest.fixture
def deaf():
    """A pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["info"], 0), (["--help"], 0), (["models", "info", "x"], 5)]
)
def test_a_reader_that_goes_away_neither_hides_nor_changes_the_exit_code(arguments, code, deaf):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "softcord", *arguments]
    done = subprocess.run(command, check=False, env=environment, stdout=deaf, stderr=subprocess.PIPE)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_images_are_segmented_although_nobody_reads_the_lines(deaf, tmp_path):
    images = [save_cord(tmp_path / f"{name}.nii.gz") for name in "abc"]
    code = "import sys, pytest, fakes; fakes.install_fake_network(pytest.MonkeyPatch()); import softcord.cli"
    command = [sys.executable, "-c", f"{code}; softcord.cli.entry()", "segment", *map(str, images)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=False, env=environment, stdout=deaf, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(list(tmp_path.glob("*_softseg.nii.gz"))) == 3


# ---- what is said


def test_an_error_of_several_lines_is_one_line(capsys):
    console.complain("first\n  second\r\nthird")
    assert capsys.readouterr().err == "softcord: error: first second third\n"


def test_warnings_of_libraries_are_lines_of_softcord(fake, tmp_path, monkeypatch, capsys):
    fake_predict = fake.predict

    def predict(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("a library warns", stacklevel=1)
        return fake_predict(*arguments)

    monkeypatch.setattr(sys.modules["softcord.engines"], "predict", predict)
    assert main(["segment", str(save_cord(tmp_path / "t2.nii.gz"))]) == 0
    assert capsys.readouterr().err == "softcord: warning: a library warns\n"


@pytest.mark.parametrize(
    ("options", "levels"),
    [
        (["-q"], ["error"]),
        ([], ["error", "warning"]),
        (["-v"], ["error", "warning", "info"]),
        (["-vv"], ["error", "warning", "info", "debug"]),
    ],
    ids=["-q", "none", "-v", "-vv"],
)
def test_verbosity_chooses_what_of_the_log_is_shown(options, levels, monkeypatch, capsys):
    def run_info(args):
        for level in ("error", "warning", "info", "debug"):
            getattr(logging.getLogger("softcord.somewhere"), level)("a line")
        return 0

    parser = build_parser()
    monkeypatch.setattr("softcord.cli.build_parser", lambda: parser)
    args = parser.parse_args(["info", *options])
    args.run = run_info
    monkeypatch.setattr(parser, "parse_known_args", lambda argv: (args, []))
    assert main([]) == 0
    assert capsys.readouterr().err.splitlines() == [f"softcord: {level}: a line" for level in levels]


def test_a_command_leaves_the_log_as_it_was(fake, tmp_path):
    log = logging.getLogger("softcord")
    before = log.level, list(log.handlers)
    main(["segment", str(save_cord(tmp_path / "t2.nii.gz")), "-vv"])
    assert (log.level, log.handlers) == before
