"""What the documents say is true: commands parse, code runs, links lead somewhere, versions agree."""

import argparse
import contextlib
import re
import shlex
from pathlib import Path

import nibabel as nib
import pytest

import softcord
from softcord.cli import build_parser
from softcord.cli.console import FLAGGED, INTERRUPTED, NO_CORD, SOME_FAILED
from softcord.phantoms import make_phantom

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def console_lines(program: str) -> list[str]:
    """Every command line of a program in any document but the reference, which shows patterns."""
    found = [
        line
        for document in DOCUMENTS
        if "reference" not in document.parts
        for block in blocks(document.read_text(encoding="utf-8"), "console")
        for line in block.replace("\\\n", " ").splitlines()
        if line.split()[:1] == [program]
    ]
    return sorted(set(found))


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Parsers of the commands, by name."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(actions[0].choices)


# ---- commands


@pytest.mark.parametrize("line", console_lines("softcord"))
def test_an_example_of_a_command_is_understood(line, capsys):
    with contextlib.suppress(SystemExit):
        build_parser().parse_args(shlex.split(line)[1:])
    assert capsys.readouterr().err == ""


def test_the_table_of_commands_names_all_of_them_and_no_other():
    table = README.partition("## All commands")[2].partition("\n\nEach tells")[0]
    assert set(re.findall(r"`softcord ([a-z-]+)`", table)) == set(commands_of(build_parser()))


def test_the_table_of_options_names_all_options_of_segment_and_no_other():
    table = README.partition("| option | meaning |")[2].partition("\n\n")[0]
    written = set(re.findall(r"`(?:[^`]*?\s)?(--[a-z-]+)", table))
    known = {
        option
        for action in commands_of(build_parser())["segment"]._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    everywhere = {
        "--help",
        "--verbose",
        "--quiet",
        "--out",
        "--output",
    }  # the same for every command, or `-o`
    assert written - everywhere == known - everywhere


def test_the_table_of_exit_statuses_holds_all_of_them():
    table = README.partition("| status | meaning |")[2].partition("\n\n")[0]
    written = {int(status) for status in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)}
    kinds = [softcord.SoftcordError, *all_kinds(softcord.SoftcordError)]
    errors = {kind.exit_code for kind in kinds} - {softcord.SoftcordError.exit_code}
    assert written == {0, *errors, NO_CORD, SOME_FAILED, FLAGGED, INTERRUPTED}


def all_kinds(error: type[softcord.SoftcordError]) -> list[type[softcord.SoftcordError]]:
    """Every kind of an error, and kinds of kinds."""
    return [kind for direct in error.__subclasses__() for kind in (direct, *all_kinds(direct))]


@pytest.mark.parametrize("line", console_lines("make"))
def test_a_target_of_make_exists(line):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in line.split()[1:])


@pytest.mark.parametrize("line", console_lines("pip"))
def test_an_extra_that_is_installed_exists(line):
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = [extra for group in re.findall(r"\[([a-z,]+)\]", line) for extra in group.split(",")]
    assert all(re.search(rf"^{extra} = \[", settings, flags=re.MULTILINE) for extra in extras)


# ---- code


def python_examples() -> list[object]:
    """Blocks of Python in all documents."""
    return [
        pytest.param(block, id=f"{document.relative_to(ROOT)}-{n}")
        for document in DOCUMENTS
        for n, block in enumerate(blocks(document.read_text(encoding="utf-8"), "python"))
    ]


@pytest.mark.parametrize("code", python_examples())
def test_an_example_in_python_runs(code, two_images, monkeypatch):
    monkeypatch.chdir(two_images)
    exec(compile(code, "<example>", "exec"), {})


@pytest.fixture(scope="module")
def two_images(tmp_path_factory):
    """A folder with the images that the examples read."""
    folder = tmp_path_factory.mktemp("examples")
    for subject in ("01", "02"):
        phantom = make_phantom(int(subject))
        image = nib.Nifti1Image(phantom.image, phantom.affine)
        nib.save(image, folder / f"sub-{subject}_T2w.nii.gz")
    return folder


# ---- links and versions


def anchor(heading: str) -> str:
    """Anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_inside_the_repository_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", text):
        path, _, fragment = target.partition("#")
        goal = (document.parent / path).resolve() if path else document
        assert goal.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.+)$", goal.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert fragment in {anchor(heading) for heading in headings}, target


def test_the_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, flags=re.MULTILINE)[1] == softcord.__version__
    assert f"## [{softcord.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_readme_says_which_pythons_the_package_takes():
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.10,<3.14"' in settings
    assert "Python 3.10 to 3.13" in README
