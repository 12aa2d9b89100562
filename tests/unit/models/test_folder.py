"""A model folder is checked before it is used."""

import json
import shutil

import pytest

from softcord import models
from softcord.errors import ModelError, UsageError
from softcord.models.folder import read_model_folder


@pytest.fixture
def folder(tmp_path):
    """A copy of the embedded model."""
    copy = tmp_path / "model"
    shutil.copytree(models.describe().folder, copy)
    return copy


def change(folder, **values):
    path = folder / "model.json"
    content = json.loads(path.read_text())
    content.update(values)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_the_embedded_model_is_found_by_name_and_by_folder(folder):
    by_name, by_folder = models.describe("softcord"), models.describe(folder)
    assert by_name.sha256 == by_folder.sha256
    assert by_name == models.available()[0]
    assert by_folder.folder == folder


def test_the_embedded_model_fits_into_15_megabytes():
    assert sum(f.stat().st_size for f in models.describe().folder.iterdir()) <= 15e6


def test_a_changed_weight_is_noticed(folder):
    graph = folder / "network.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(ModelError, match="SHA-256"):
        models.load(folder)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"format": 99}, "format 99"),
        ({"graph": None}, "incomplete"),
        ({"graph": "other.onnx"}, "missing"),
        ({"multiple": [16, 16]}, "incomplete"),
        ({"coarse": "x"}, "incomplete"),
        ({"calibration": {}}, "incomplete"),
    ],
)
def test_a_wrong_description_is_refused_with_its_reason(folder, values, reason):
    change(folder, **values)
    with pytest.raises(ModelError, match=reason):
        read_model_folder(folder)


def test_a_graph_outside_the_folder_is_never_read(folder):
    outside = folder.parent / "outside.onnx"
    shutil.move(folder / "network.onnx", outside)
    change(folder, graph="../outside.onnx")
    with pytest.raises(ModelError, match="missing"):
        read_model_folder(folder)


def test_text_that_is_no_description_is_refused(folder):
    for text in ("", "[]", "{", "null"):
        (folder / "model.json").write_text(text)
        with pytest.raises(ModelError, match=r"model\.json"):
            read_model_folder(folder)


def test_an_unknown_name_says_where_to_look(tmp_path):
    with pytest.raises(ModelError, match="models list"):
        models.load("nowhere")
    with pytest.raises(ModelError, match=r"model\.json"):
        models.load(tmp_path)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_auto_takes_the_cpu_where_cuda_is_offered_but_cannot_start(monkeypatch, caplog):
    monkeypatch.setattr("softcord.engines.runtime._cuda_offered", lambda: True)
    assert models.load(device="auto").device == "cpu"
    assert "CUDA" in caplog.text
    with pytest.raises(UsageError, match="--device cuda"):
        models.load(device="cuda")
