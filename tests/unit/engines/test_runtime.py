"""Graphs run alike in every engine, and what cannot be loaded is said clearly."""

import numpy as np
import pytest

from softcord.engines import choose_device, load_engine
from softcord.engines.runtime import ENGINE_VARIABLE, ENGINES, choose_engine
from softcord.errors import ModelError, UsageError


@pytest.fixture
def graph(tmp_path):
    """A graph that triples its input."""
    onnx = pytest.importorskip("onnx", reason="graphs are written with onnx: pip install 'softcord[synth]'")
    shape = [1, 1, "I", "J", "K"]
    inputs, outputs = (
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)]
        for name in ("image", "logits")
    )
    three = onnx.numpy_helper.from_array(np.array(3, np.float32), "three")
    nodes = [onnx.helper.make_node("Mul", ["image", "three"], ["logits"])]
    content = onnx.helper.make_graph(nodes, "triple", inputs, outputs, [three])
    opset = [onnx.helper.make_opsetid("", 18)]
    path = tmp_path / "triple.onnx"
    onnx.save(onnx.helper.make_model(content, opset_imports=opset, ir_version=9), path)
    return path


def load(graph, engine, **options):
    if engine == "openvino":
        pytest.importorskip("openvino", reason="needs pip install 'softcord[openvino]'")
    return load_engine(graph, engine=engine, **options)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_runs_any_shape_and_keeps_earlier_results(graph, engine):
    loaded = load(graph, engine, threads=1)
    first = np.random.default_rng(0).random((4, 6, 8)).astype(np.float32)
    second = np.asfortranarray(first[:2] + 1)
    tripled = loaded.run(first)
    assert loaded.run(second).shape == (2, 6, 8)
    np.testing.assert_allclose(tripled, 3 * first, rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_graph_is_a_model_error_that_names_the_file(graph, engine):
    graph.write_bytes(graph.read_bytes()[:40] + b"\xff" * 40)
    with pytest.raises(ModelError, match=r"triple\.onnx"):
        load(graph, engine)


def test_the_engine_can_be_chosen_by_the_environment(monkeypatch):
    for name in ENGINES:
        monkeypatch.setenv(ENGINE_VARIABLE, name)
        assert choose_engine() == name
    monkeypatch.setenv(ENGINE_VARIABLE, "abacus")
    with pytest.raises(UsageError, match="abacus"):
        choose_engine()


def test_cuda_is_taken_only_where_it_is_offered(monkeypatch):
    monkeypatch.setattr("softcord.engines.runtime._cuda_offered", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(UsageError, match="onnxruntime-gpu"):
        choose_device("cuda")
    monkeypatch.setattr("softcord.engines.runtime._cuda_offered", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == "cuda"
    assert choose_device("cpu") == "cpu"


def test_an_unknown_device_and_no_threads_are_usage_errors(graph):
    with pytest.raises(UsageError, match="tpu"):
        choose_device("tpu")
    with pytest.raises(UsageError, match="threads"):
        load_engine(graph, threads=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_failure_while_running_is_a_model_error(graph, engine):
    loaded = load(graph, engine, threads=1)
    name = "_session" if engine == "onnxruntime" else "_compiled"

    class Broken:
        def run(self, *_):
            raise RuntimeError("out of memory")

        def __call__(self, *_):
            raise RuntimeError("out of memory")

    setattr(loaded, name, Broken())
    with pytest.raises(ModelError, match=r"2×3×4 samples \(out of memory\)"):
        loaded.run(np.zeros((2, 3, 4), np.float32))
