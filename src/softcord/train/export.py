"""From trained weights to the files that softcord ships, an ONNX graph and `model.json`, and back.

The graphs are written node by node, so that they hold what the network does and nothing else: any shape that
is a multiple of what the network needs goes in, logits of the same shape come out.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from softcord.checksum import file_sha256
from softcord.errors import OutputError
from softcord.models.folder import FORMAT
from softcord.train.config import SynthConfig
from softcord.train.network import GREY_GAIN, GREY_MIDDLE, CompactUNet
from softcord.train.reading import to_dict

OPSET = 18
IR_VERSION = 9


class _Graph:
    """Nodes and weights in the order in which they are added; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def block(self, prefix: str, block: nn.Sequential, x: str) -> str:
        for n, layer in enumerate(block):
            label = f"{prefix}.{n}"
            if isinstance(layer, nn.Conv3d):
                x = self.add("Conv", x, self.constant(f"{label}.weight", _array(layer.weight)), pads=[1] * 6)
            elif isinstance(layer, nn.InstanceNorm3d):
                scale = self.constant(f"{label}.scale", _array(layer.weight))
                shift = self.constant(f"{label}.shift", _array(layer.bias))
                x = self.add("InstanceNormalization", x, scale, shift, epsilon=layer.eps)
            else:
                x = self.add("LeakyRelu", x, alpha=0.01)
        return x


def _array(values: torch.Tensor | None) -> np.ndarray:
    if values is None:
        raise ValueError("a layer has no weights")
    array: np.ndarray = values.detach().cpu().numpy().astype(np.float32)
    return array


def to_onnx(network: CompactUNet) -> onnx.ModelProto:
    """The network as an ONNX graph, from `image` to `logits`, both (1, 1, I, J, K) float32.

    Folding is a convolution with a stride, and unfolding its transpose, both with fixed kernels, so that
    shapes may vary.
    """
    graph = _Graph()
    a, b, c = network.fold
    fold = np.eye(a * b * c, dtype=np.float32).reshape(a * b * c, 1, a, b, c)
    kernel = graph.constant("fold", fold)
    x = folded = graph.add("Conv", "image", kernel, strides=[a, b, c])
    skips: list[str] = []
    for depth, block in enumerate(network.down):
        if depth:
            x = graph.add("MaxPool", x, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
        x = graph.block(f"down.{depth}", _sequential(block), x)
        skips.append(x)
    x = skips.pop()
    for level, (block, channels) in enumerate(zip(network.up, network.channels[:0:-1], strict=True)):
        ones = graph.constant(f"up.{level}.ones", np.ones((channels, 1, 2, 2, 2), dtype=np.float32))
        # each voxel doubled along each axis, as Resize would do it, only five times faster
        x = graph.add("ConvTranspose", x, ones, strides=[2, 2, 2], group=channels)
        x = graph.add("Concat", skips.pop(), x, axis=1)
        x = graph.block(f"up.{level}", _sequential(block), x)
    head = network.head
    x = graph.add(
        "Conv",
        x,
        graph.constant("head.weight", _array(head.weight)),
        graph.constant("head.bias", _array(head.bias)),
    )
    if network.grey_powers:
        x = _grey_polynomial(graph, x, folded, network.grey_powers)
    graph.add("ConvTranspose", x, kernel, strides=[a, b, c])
    graph.nodes[-1].output[0] = "logits"
    shape = [1, 1, "I", "J", "K"]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)]
    proto = helper.make_graph(graph.nodes, "softcord", inputs, outputs, graph.weights)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def _grey_polynomial(graph: _Graph, head: str, folded: str, powers: int) -> str:
    """The base of the logits and the terms in the grey level, summed as in `CompactUNet.forward`."""
    names = [f"coefficients.{power}" for power in range(1 + powers)]
    graph.nodes.append(helper.make_node("Split", [head], names, name="split", axis=1, num_outputs=1 + powers))
    middle, gain = (
        graph.constant(name, np.float32(value).reshape(1))
        for name, value in (("grey.middle", GREY_MIDDLE), ("grey.gain", GREY_GAIN))
    )
    x, distance = names[0], graph.add("Sub", folded, middle)
    term = graph.add("Mul", distance, gain)
    for power, coefficient in enumerate(names[1:]):
        if power:
            term = graph.add("Mul", term, distance)
        x = graph.add("Add", x, graph.add("Mul", coefficient, term))
    return x


def from_onnx(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a graph that `to_onnx` made, by the names that `CompactUNet` gives them."""
    weights = {}
    for tensor in onnx.load(path).graph.initializer:
        name = tensor.name.replace(".scale", ".weight").replace(".shift", ".bias")
        if name != "fold" and not name.startswith("grey.") and not name.endswith(".ones"):
            weights[name] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    return weights


def _sequential(module: nn.Module) -> nn.Sequential:
    if not isinstance(module, nn.Sequential):
        raise TypeError(f"expected a sequence of layers, got {type(module).__name__}")
    return module


def export_model(
    config: SynthConfig,
    network: CompactUNet,
    folder: Path,
    *,
    calibration: tuple[float, float] = (1.0, 0.0),
    earlier: Sequence[SynthConfig] = (),
) -> Path:
    """Write the model folder: `network.onnx`, then `model.json`.

    Parameters
    ----------
    config : SynthConfig
        Stored in `model.json`.
    network : CompactUNet
    folder : Path
        Made if it is missing.
    calibration : (2,) tuple of float
        Scale and shift of the logits.
    earlier : sequence of SynthConfig
        Of the runs that led to the start of this one, the first one first; stored too.

    Returns
    -------
    folder : Path

    Raises
    ------
    OutputError
        `folder` cannot be written.
    """
    path = folder / "network.onnx"
    _replace(path, to_onnx(network).SerializeToString())
    content = {
        "format": FORMAT,
        "name": config.name,
        "version": config.version,
        "description": config.description,
        "graph": path.name,
        "sha256": file_sha256(path),
        "multiple": list(network.multiple),
        "in_plane_mm": config.grid.in_plane,
        "along_mm": config.grid.along,
        "coarse": config.grid.coarse,
        "calibration": {"scale": calibration[0], "shift": calibration[1]},
        "training": to_dict(config),
        "training_before": [to_dict(config) for config in earlier],
    }
    _replace(folder / "model.json", (json.dumps(content, indent=1) + "\n").encode())
    return folder


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}). Choose another folder.") from error
