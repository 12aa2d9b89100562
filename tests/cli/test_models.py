import json

import pytest

from softcord.cli import main


def test_list_has_a_line_per_model(fake, capsys):
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out == "softcord  fake  Takes bright voxels for cord\n"


@pytest.mark.parametrize("name", [[], ["softcord"]])
def test_info_says_all_of_one_model(name, fake, capsys):
    assert main(["models", "info", *name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "sha256: " + "f" * 64 in lines
    assert "  steps: 3" in lines


def test_both_can_be_read_by_a_machine(fake, capsys):
    main(["models", "list", "--json"])
    (listed,) = json.loads(capsys.readouterr().out)
    main(["models", "info", "--json"])
    assert json.loads(capsys.readouterr().out) == listed
    assert listed["config"] == {"steps": 3}


def test_no_weights_are_loaded(fake):
    main(["models", "list"])
    main(["models", "info"])
    assert fake.loads == []


def test_an_unknown_model_is_a_model_error(fake, capsys):
    assert main(["models", "info", "other"]) == 5
    assert "Model 'other' is not known" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["instal"]])
def test_without_a_known_action_it_is_a_usage_error(arguments, capsys):
    assert main(["models", *arguments]) == 2
    assert "list|info" in capsys.readouterr().err
