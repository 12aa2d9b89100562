import hashlib
import io
import json
import subprocess
import sys

import pytest

from nnunet_models import plans, serve, write_model, zip_folder
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


# ---- install, remove, export


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTCORD_MODELS", str(tmp_path / "store"))
    return zip_folder(write_model(tmp_path / "m", folds=("0", "1")), tmp_path / "cord.zip")


def test_a_model_is_installed_listed_described_packed_and_removed(archive, tmp_path, capsys):
    assert main(["models", "install", str(archive)]) == 0
    said = capsys.readouterr().out
    assert "Installed cord (" in said
    assert "softcord segment IMAGE --model cord" in said
    assert main(["models", "install", str(archive)]) == 0
    assert "installed already" in capsys.readouterr().out

    main(["models", "list"])
    assert "cord  -  nnU-Net 3d_fullres: sc; 2 folds" in capsys.readouterr().out.splitlines()
    main(["models", "info", "cord"])
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "  classes: {'sc': 1}",
        "  spacing: [1.0, 0.8, 0.8]",
        "  patch: [16, 32, 48]",
        "  folds: ['0', '1']",
        f"  source: {archive}",
        f"  source_sha256: {hashlib.sha256(archive.read_bytes()).hexdigest()}",
    ):
        assert line in lines

    assert main(["models", "export", "cord", "-o", str(tmp_path / "out.zip"), "--json"]) == 0
    packed = json.loads(capsys.readouterr().out)
    again = ["models", "install", packed["file"], "--sha256", packed["sha256"], "--name", "again", "--json"]
    assert main(again) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["is_new"] is True
    assert facts["config"]["folds"] == ["0", "1"]
    assert main(["models", "remove", "cord"]) == 0
    assert "Removed cord" in capsys.readouterr().out
    assert main(["models", "info", "cord"]) == 5


def test_what_cannot_segment_is_said_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOFTCORD_MODELS", str(tmp_path / "store"))
    model = write_model(tmp_path / "m")
    (model / "plans.json").write_text(json.dumps(plans(UNet_class_name="Primus\x1b[2J")))
    assert main(["models", "install", str(model)]) == 0
    reason = (
        r"UNet_class_name: Primus\x1b[2J is not supported by softcord. "
        "Run this nnU-Net model with nnU-Net itself."
    )
    line = f"A training may start from it, but it cannot segment: {reason}"
    said = capsys.readouterr().out
    assert line in said.splitlines()
    assert "softcord segment" not in said
    main(["models", "install", str(model)])
    assert line in capsys.readouterr().out.splitlines()
    main(["models", "info", "m"])
    assert f"  cannot_segment: {reason}" in capsys.readouterr().out.splitlines()
    main(["models", "list"])
    assert "m  -  nnU-Net 3d_fullres: sc; 1 fold; it cannot segment" in capsys.readouterr().out.splitlines()


def test_releases_are_listed_with_their_names(capsys):
    assert main(["models", "list", "--releases"]) == 0
    assert "contrast-agnostic-v3.0  " in capsys.readouterr().out
    main(["models", "list", "--releases", "--json"])
    assert all(row["url"].startswith("https://") for row in json.loads(capsys.readouterr().out))


def test_a_script_must_say_that_it_takes_what_comes(archive, capsys):
    with serve(archive.read_bytes()) as server:
        assert main(["models", "install", server.url]) == 2
        assert "--sha256 record" in capsys.readouterr().err
        assert main(["models", "install", server.url, "--sha256", "record"]) == 0
        assert "required from now on: " in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 5), ("", 5), ("no\n", 5)])
def test_at_a_terminal_the_checksum_is_shown_and_asked_about(archive, capsys, monkeypatch, answer, code):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", screen)
    with serve(archive.read_bytes()) as server:
        assert main(["models", "install", server.url]) == code
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in screen.getvalue()
    assert "download (MiB)" in screen.getvalue()


def test_installing_loads_no_torch(archive):
    program = f"import sys; from softcord.cli import main; main(['models', 'install', {str(archive)!r}]); "
    program += "main(['models', 'list']); print(sorted({'torch', 'nnunetv2', 'onnx'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
