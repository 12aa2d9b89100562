import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[synth]")
pytest.importorskip("onnx", reason="needs onnx, which comes with softcord[synth]")

import onnx
import onnxruntime
import torch

from softcord import models
from softcord.errors import OutputError
from softcord.models.folder import read_model_folder
from softcord.train.export import export_model, from_onnx, to_onnx
from softcord.train.network import CompactUNet
from softcord.train.reading import to_dict


def network(channels=(4, 6, 8), fold=(2, 2, 1), seed=0, grey_powers=0) -> CompactUNet:
    torch.manual_seed(seed)
    made = CompactUNet(channels, fold, grey_powers).eval()
    with torch.no_grad():
        for values in made.parameters():  # scales and shifts start as 1 and 0, which would hide a mix-up
            values.add_(0.1 * torch.randn_like(values))
    return made


def session(model: "onnx.ModelProto") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize(
    ("channels", "fold", "powers"),
    [((4, 6, 8), (2, 2, 1), 0), ((4, 6, 8), (2, 2, 1), 2), ((5,), (1, 2, 3), 1), ((3, 4), (1, 1, 1), 3)],
)
def test_the_graph_computes_what_the_network_computes_for_any_shape(channels, fold, powers):
    compact = network(channels, fold, grey_powers=powers)
    run = session(to_onnx(compact))
    for times in ((1, 1, 1), (2, 3, 1), (3, 1, 4)):
        shape = [4 * m * t for m, t in zip(compact.multiple, times, strict=True)]
        image = np.random.default_rng(0).uniform(0, 1.5, (1, 1, *shape)).astype(np.float32)
        with torch.no_grad():
            expected = compact(torch.from_numpy(image)).numpy()
        found = run.run(None, {"image": image})[0]
        assert found.shape == image.shape
        assert expected.std() > 0.01
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("powers", [0, 2])
def test_weights_come_back_from_the_graph_as_they_were(tmp_path, powers):
    compact = network(grey_powers=powers)
    onnx.save(to_onnx(compact), tmp_path / "network.onnx")
    weights = from_onnx(tmp_path / "network.onnx")
    assert weights.keys() == compact.state_dict().keys()
    for name, values in compact.state_dict().items():
        torch.testing.assert_close(weights[name], values, atol=0, rtol=0)


def test_the_graph_says_which_axes_may_vary():
    graph = to_onnx(network()).graph
    for value, name in ((graph.input[0], "image"), (graph.output[0], "logits")):
        assert value.name == name
        sizes = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        assert sizes == [1, 1, "I", "J", "K"]
    assert len(graph.input) == len(graph.output) == 1


def test_the_graph_holds_the_weights_and_nothing_else_of_size():
    compact = network()
    stored = sum(int(np.prod(tensor.dims)) for tensor in to_onnx(compact).graph.initializer)
    weights = sum(values.numel() for values in compact.parameters())
    folded, doubled = np.prod(compact.fold), 8 * sum(compact.channels[1:])
    assert stored == weights + folded**2 + doubled  # and the kernels that fold voxels and double grids


def test_the_same_weights_give_the_same_bytes():
    first, again = (to_onnx(network()).SerializeToString() for _ in range(2))
    assert first == again


@pytest.fixture
def exported(tiny, tmp_path):
    config = replace(tiny, version="3", description="For tests")
    compact = network(config.network.channels, config.network.fold)
    return config, export_model(config, compact, tmp_path / "a" / "model", calibration=(1.2, -0.3))


def test_the_model_folder_describes_itself(exported):
    config, folder = exported
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "network.onnx"]
    content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert content["sha256"] == hashlib.sha256((folder / "network.onnx").read_bytes()).hexdigest()
    assert content["training"] == to_dict(config)
    read = read_model_folder(folder)
    assert (read.info.name, read.info.version, read.info.description) == ("tiny", "3", "For tests")
    assert read.multiple == config.network.multiple
    assert (read.in_plane, read.along, read.coarse) == (0.75, 1.5, 2.0)
    assert (read.scale, read.shift) == (1.2, -0.3)


def test_an_exported_model_can_be_loaded_and_run(exported):
    config, folder = exported
    loaded = models.load(folder, device="cpu", threads=1)
    compact = network(config.network.channels, config.network.fold)
    image = np.random.default_rng(0).uniform(0, 1, (16, 16, 8)).astype(np.float32)
    with torch.no_grad():
        logits = compact(torch.from_numpy(image)[None, None])[0, 0].numpy()
    expected = 1 / (1 + np.exp(-(1.2 * logits - 0.3)))
    np.testing.assert_allclose(loaded.network.shares(image), expected, atol=1e-4)


def test_a_model_is_exported_over_an_older_one(exported, tiny):
    config, folder = exported
    export_model(replace(config, version="4"), network(tiny.network.channels, seed=1), folder)
    read = read_model_folder(folder)
    assert (read.info.version, read.scale, read.shift) == ("4", 1.0, 0.0)


def test_a_folder_that_cannot_be_made_is_an_output_error(tiny, tmp_path):
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match=r"network.onnx: cannot be written"):
        export_model(tiny, network(tiny.network.channels), tmp_path / "taken" / "model")
