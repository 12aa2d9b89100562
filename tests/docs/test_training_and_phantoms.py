"""The pages on training and on phantoms: their tables are those of the code, their examples run."""

import ast
import doctest
import re
from dataclasses import MISSING, Field, fields, is_dataclass

import pytest

from softcord.phantoms import CONTRASTS, AnatomyOptions, Phantom, PhantomOptions, Tissue
from softcord.train.config import ImageSource, MapSource, SynthConfig


@pytest.fixture
def training(root):
    return (root / "docs" / "how-to" / "train-the-compact-model.md").read_text(encoding="utf-8")


@pytest.fixture
def phantoms(root):
    return (root / "docs" / "phantoms.md").read_text(encoding="utf-8")


def table(text: str, after: str) -> dict[str, str]:
    """First and second cell of each row of the first table after a phrase."""
    assert after in text
    rows = re.search(r"^\| --- .*\n((?:\|.*\n)+)", text.partition(after)[2], flags=re.MULTILINE)[1]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]
    assert all(row[-1] for row in cells)
    return {row[0].strip("`"): row[1].strip("`") for row in cells}


def default_of(field: Field) -> object:
    if field.default is not MISSING:
        return field.default
    return None if field.default_factory is MISSING else field.default_factory()


def keys_of(kind: type, prefix: str = "") -> dict[str, object]:
    """Keys of a configuration with their defaults; those of its groups by dotted names."""
    found = {}
    for field in fields(kind):
        default = default_of(field)
        if is_dataclass(default):
            found |= keys_of(type(default), f"{field.name}.")
        else:
            found[prefix + field.name] = default
    return found


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        ("## What the configuration says", SynthConfig),
        ("Each entry of `maps`", MapSource),
        ("Each entry of `images`", ImageSource),
    ],
)
def test_the_keys_of_a_configuration_and_their_defaults_are_those_of_the_code(training, after, kind):
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which comes with softcord[synth]")
    written, known = table(training, after), keys_of(kind)
    assert written.keys() == known.keys()
    for key, default in known.items():
        plain = list(default) if isinstance(default, tuple) else default
        assert yaml.safe_load(written[key]) == plain, key


@pytest.mark.parametrize(
    ("after", "kind"),
    [("## How it is scanned", PhantomOptions), ("## What the body may look like", AnatomyOptions)],
)
def test_the_options_of_phantoms_and_their_defaults_are_those_of_the_code(phantoms, after, kind):
    written = table(phantoms, after)
    known = {field.name: default_of(field) for field in fields(kind)}
    assert written.keys() == known.keys()
    for name, default in known.items():
        if not is_dataclass(default):
            assert ast.literal_eval(written[name]) == default, name


def test_every_field_of_a_phantom_is_described(phantoms):
    assert list(table(phantoms, "## What comes back")) == [field.name for field in fields(Phantom)]


def test_every_contrast_is_named(phantoms):
    line = phantoms.partition("## Contrasts\n\n")[2].partition("\n")[0]
    assert re.findall(r"`(\w+)`", line) == [*CONTRASTS, "random"]


def test_every_tissue_is_named_with_its_number(phantoms):
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", phantoms.partition("## Tissues")[2], flags=re.MULTILINE)
    assert [(int(number), name) for number, name in rows] == [(int(t), t.name) for t in Tissue]


def test_the_examples_of_phantoms_run_and_give_what_they_say(root):
    results = doctest.testfile(str(root / "docs" / "phantoms.md"), module_relative=False, encoding="utf-8")
    assert results.attempted > 6
    assert results.failed == 0
