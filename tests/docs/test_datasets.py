"""The page on datasets: its tables of keys are those of the code, and its recipe is one."""

import re
from dataclasses import MISSING, asdict, fields, is_dataclass

import pytest

from softcord.dataset.reading import read_recipe
from softcord.dataset.recipe import Recipe, Source


@pytest.fixture
def page(root):
    return (root / "docs" / "how-to" / "prepare-datasets.md").read_text(encoding="utf-8")


@pytest.fixture
def yaml():
    return pytest.importorskip("yaml", reason="needs PyYAML, which comes with softcord[dataset]")


@pytest.mark.parametrize(
    ("after", "kind"), [("Keys of the file:", Recipe), ("Keys of each entry of `datasets`:", Source)]
)
def test_the_keys_of_a_recipe_and_their_defaults_are_those_of_the_code(page, yaml, after, kind):
    assert after in page
    rows = re.search(r"^\| --- .*\n((?:\|.*\n)+)", page.partition(after)[2], flags=re.MULTILINE)[1]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]
    written = {row[0].strip("`"): row[1].strip("`") for row in cells}
    assert list(written) == [field.name for field in fields(kind)]
    for field in fields(kind):
        if field.default is not MISSING:
            known = field.default
        else:
            known = None if field.default_factory is MISSING else field.default_factory()
        if is_dataclass(known):
            assert written[field.name] == "{}"
            continue
        plain = list(known) if isinstance(known, tuple) else known
        assert yaml.safe_load(written[field.name]) == plain, field.name


def test_the_example_of_a_recipe_is_one(page, tmp_path, yaml):
    example = re.search(r"```yaml\n(.*?)```", page, flags=re.DOTALL)[1]
    path = tmp_path / "recipe.yaml"
    path.write_text(example, encoding="utf-8")
    recipe = read_recipe(path)
    assert asdict(recipe.datasets[0].pathology)["column"] == "diagnosis"
