import json
import sys

import softcord
from softcord.cli import main
from softcord.errors import ModelError


def test_info_as_text_names_versions_models_and_devices(fake, capsys):
    assert main(["info"]) == 0
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["softcord"].strip() == softcord.__version__
    assert "numpy " in lines["packages"]
    assert lines["models"].strip() == "softcord fake"
    assert "cpu" in lines["devices"]


def test_info_as_json_holds_the_same(fake, capsys):
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["softcord"] == softcord.__version__
    assert facts["models"] == {"softcord": "fake"}
    assert "cpu" in facts["devices"]
    assert facts["packages"]["nibabel"][0].isdigit()


def test_a_package_that_is_not_there_is_said(fake, capsys, monkeypatch):
    monkeypatch.setattr("softcord.cli.info._PACKAGES", ("numpy", "no-such-package"))
    main(["info", "--json"])
    assert json.loads(capsys.readouterr().out)["packages"]["no-such-package"] == "not installed"


def test_a_damaged_model_is_said_and_does_not_hide_the_rest(fake, capsys, monkeypatch):
    def fail():
        raise ModelError("weights.onnx: damaged")

    monkeypatch.setattr(sys.modules["softcord.models"], "available", fail)
    assert main(["info", "--json"]) == 0
    assert "damaged" in json.loads(capsys.readouterr().out)["models"]["softcord"]


def test_the_engine_is_the_one_that_the_environment_names(fake, capsys, monkeypatch):
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setenv("SOFTCORD_ENGINE", name)
        main(["info", "--json"])
        assert json.loads(capsys.readouterr().out)["engine"] == name
    monkeypatch.setenv("SOFTCORD_ENGINE", "other")
    assert main(["info", "--json"]) == 0
    assert "cannot be used" in json.loads(capsys.readouterr().out)["engine"]
