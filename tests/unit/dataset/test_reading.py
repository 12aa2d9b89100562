import pytest

from softcord.dataset import read_recipe
from softcord.dataset.reading import read_frozen
from softcord.errors import InputError


def read(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path)


LEAST = "name: Cord\ndatasets:\n  - name: one\n    path: one\n    labels: {suffix: label-SC_seg}\n"


def test_a_short_recipe_has_the_defaults_of_the_original(tmp_path):
    recipe = read(tmp_path, LEAST)
    assert recipe.datasets[0].labels.suffix == ("label-SC_seg",)
    assert recipe.datasets[0].labels.folder == "derivatives/labels"
    assert (recipe.seed, recipe.number, recipe.ratios) == (50, 999, (0.8, 0.1, 0.1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "the file must be a mapping"),
        ("name: [", "not valid YAML"),
        (LEAST + "sede: 1\n", "unknown key sede; known are name, datasets"),
        (LEAST + "seed: one\n", "seed must be a whole number, got 'one'"),
        (LEAST + "ratios: [0.5, 0.5]\n", "ratios must be a list of 3"),
        (LEAST + "ratios: [0.5, 0.5, 0.5]\n", "add up to 1, got 0.5, 0.5, 0.5"),
        (LEAST + "orientation: RPI\n", "orientation must be one of LAS, RAS, got 'RPI'"),
        (LEAST + "number: 1000\n", "number must be 1 to 999"),
        ("name: Cord\n", "key datasets is missing"),
        ("name: My Cord\ndatasets: []\n", "letters and digits, got 'My Cord'"),
        (LEAST + LEAST.partition("datasets:\n")[2], "different names, got one twice"),
        ("name: Cord\ndatasets:\n  - name: one\n", r"key datasets\[0\].labels is missing"),
        (LEAST.replace("path: one", "path: one\n    url: file:///x"), r"datasets\[0\].url and path exclude"),
        (LEAST.replace("path: one", "path: one\n    version: v1"), "version needs a url"),
        (LEAST.replace("path: one", "images: ../x"), "must lie below the dataset, got '../x'"),
        (LEAST.replace("path: one", "contrasts: [T2 w]"), "suffixes such as T2w or mt-on_MTS, got 'T2 w'"),
        (LEAST.replace("path: one", "frozen: {}"), r"datasets\[0\].frozen.frozen must have either a file or"),
        (LEAST.replace("label-SC_seg", "[]"), r"datasets\[0\].labels.suffix must name at least one"),
    ],
)
def test_a_wrong_recipe_names_the_file_and_the_key(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as raised:
        read(tmp_path, text)
    assert str(tmp_path / "recipe.yaml") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_recipe_that_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.yaml: cannot be read"):
        read_recipe(tmp_path / "none.yaml")


def test_a_frozen_list_may_leave_out_the_prefix(tmp_path):
    path = tmp_path / "lists.yaml"
    path.write_text("test: [sub-02, '01']\n", encoding="utf-8")
    assert read_frozen(path) == {"train": (), "val": (), "test": ("sub-01", "sub-02")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("test: [sub-01]\ntrain: [sub-02, sub-01]\n", "sub-01 is in train and in test"),
        ("tset: [sub-01]\n", "expected the keys test, train and val"),
        ("test: sub-01\n", "test must be a list of subjects"),
    ],
)
def test_a_wrong_frozen_list_is_an_error(tmp_path, text, message):
    path = tmp_path / "lists.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_frozen(path)


def test_the_recipes_of_the_repository_are_valid(root):
    recipes = sorted((root / "recipes").glob("dataset-*.yaml"))
    assert {path.name for path in recipes} >= {"dataset-contrast-agnostic.yaml", "dataset-shared-bids.yaml"}
    for path in recipes:
        read_recipe(path)
