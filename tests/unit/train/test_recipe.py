"""The recipe of the embedded model: it can be read, and it is what the model was trained with."""

import json

import pytest

pytest.importorskip("yaml", reason="needs PyYAML, which comes with softcord[synth]")

from softcord.phantoms import Tissue
from softcord.train.config import NetworkConfig
from softcord.train.reading import from_dict, read_config, to_dict


@pytest.fixture
def recipe(root):
    return read_config(root / "recipes" / "softcord-compact.yaml")


def test_the_recipe_is_a_configuration_for_which_the_defaults_of_code_do_not_matter(recipe, root):
    assert recipe.name == "softcord"
    assert recipe.description
    assert recipe.network.multiple == NetworkConfig().multiple
    written = (root / "recipes" / "softcord-compact.yaml").read_text(encoding="utf-8")
    plain = to_dict(recipe)
    for group in ("network", "grid", "mix", "schedule"):
        for key in plain[group]:
            assert f"{key}:" in written, f"{group}.{key} is left to its default"


def test_the_recipe_never_trains_on_what_is_kept_for_tests(recipe):
    assert {source.split for source in recipe.images} == {"train"}


def test_every_kind_of_label_map_says_which_label_is_the_cord(recipe):
    for source in recipe.maps:
        assert source.cord in source.tissues[Tissue.WHITE.name]


def test_the_embedded_model_was_trained_with_the_recipe(recipe, root):
    path = root / "src" / "softcord" / "models" / "embedded" / "model.json"
    if not path.exists():
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    assert to_dict(from_dict(content["training"], str(path))) == to_dict(recipe)
    assert (content["name"], content["version"]) == (recipe.name, recipe.version)
    assert content["multiple"] == list(recipe.network.multiple)
    assert (content["in_plane_mm"], content["along_mm"]) == (recipe.grid.in_plane, recipe.grid.along)
    assert content["coarse"] == recipe.grid.coarse
