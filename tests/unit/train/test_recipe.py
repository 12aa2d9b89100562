"""The recipes of the embedded model, and one that goes on from it: can they be read, was it trained so?"""

import json

import pytest

pytest.importorskip("yaml", reason="needs PyYAML, which comes with softcord[synth]")

from softcord.phantoms import Tissue
from softcord.train.config import NetworkConfig
from softcord.train.reading import from_dict, read_config, to_dict

PARTS = ["softcord-compact.yaml", *(f"softcord-compact-{part}.yaml" for part in (2, 3, 4, 5))]
FURTHER = "softcord-compact-slabs.yaml"


@pytest.fixture(params=[*PARTS, FURTHER])
def name(request):
    return request.param


@pytest.fixture
def recipe(root, name):
    return read_config(root / "recipes" / name)


def test_the_recipe_is_a_configuration_for_which_the_defaults_of_code_do_not_matter(recipe, root, name):
    assert recipe.name == ("softcord-slabs" if name == FURTHER else "softcord")
    assert recipe.description
    assert recipe.network.multiple == NetworkConfig().multiple
    written = (root / "recipes" / name).read_text(encoding="utf-8")
    plain = to_dict(recipe)
    for group in ("network", "grid", "mix", "schedule"):
        for key in plain[group]:
            assert f"{key}:" in written, f"{group}.{key} is left to its default"


def test_the_recipe_never_trains_on_what_is_kept_for_tests(recipe):
    assert {source.split for source in recipe.images if not source.pseudo} == {"train"}
    assert {source.split for source in recipe.images if source.pseudo} <= {"unlabelled"}


def test_every_kind_of_label_map_says_which_label_is_the_cord(recipe):
    for source in recipe.maps:
        assert source.cord in source.tissues[Tissue.WHITE.name]


@pytest.mark.parametrize("name", PARTS)
def test_the_embedded_model_was_trained_with_the_recipes(recipe, root, name):
    path = root / "src" / "softcord" / "models" / "embedded" / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    stored = [*content["training_before"], content["training"]]
    assert len(stored) == len(PARTS)
    assert to_dict(from_dict(stored[PARTS.index(name)], str(path))) == to_dict(recipe)


def test_the_recipe_that_goes_on_has_the_embedded_network(root):
    further, last = (read_config(root / "recipes" / name) for name in (FURTHER, PARTS[-1]))
    assert further.network == last.network


def test_the_embedded_model_is_what_the_last_recipe_makes(root):
    path = root / "src" / "softcord" / "models" / "embedded" / "model.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    recipe = read_config(root / "recipes" / PARTS[-1])
    assert (content["name"], content["version"]) == (recipe.name, recipe.version)
    assert content["multiple"] == list(recipe.network.multiple)
    assert (content["in_plane_mm"], content["along_mm"]) == (recipe.grid.in_plane, recipe.grid.along)
    assert content["coarse"] == recipe.grid.coarse
