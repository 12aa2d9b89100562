"""The network of an nnU-Net model as an ONNX graph, from its plans and weights.

The graph computes what the original does, with three differences that leave its numbers as they are: the
heads of deep supervision are left out, a bias that the instance norm after it takes away again is left out,
and the convolution of two maps laid side by side is the sum of one convolution of each, so that they are
never copied into one array.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from softcord.engines.nnunet.plans import Topology, Triple
from softcord.errors import ModelError

OPSET, IR = 17, 8  # what ONNX Runtime 1.19 and OpenVINO 2024.4 know
Weights = Mapping[str, npt.NDArray[np.generic]]


def build_graph(
    topology: Topology, weights: Weights, *, channels: int, outputs: int, patch: Triple
) -> onnx.ModelProto:
    """Build the graph of a network.

    Parameters
    ----------
    topology : Topology
    weights : mapping of str to array
        As a checkpoint names them.
    channels, outputs : int
        Of its first and its last layer.
    patch : (3,) tuple of int
        Shape of its input.

    Returns
    -------
    model : onnx.ModelProto
        From ``image`` (1, channels, I, J, K) to ``logits`` (1, outputs, I, J, K).

    Raises
    ------
    ModelError
        A weight is missing or has another shape than the plans say.
    """
    drawing = _Drawing(topology, weights)
    skips = drawing.encode("image", channels)
    drawing.decode(skips, outputs)
    shape_in, shape_out = [1, channels, *patch], [1, outputs, *patch]
    graph = helper.make_graph(
        drawing.nodes,
        topology.network,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape_out)],
        drawing.constants,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="softcord"
    )


class _Drawing:
    """A graph that grows node by node; each method adds nodes and returns the name of their result."""

    def __init__(self, topology: Topology, weights: Weights) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._topology = topology
        self._weights = weights

    def encode(self, image: str, channels: int) -> list[tuple[str, int]]:
        """The encoder: name and channels of the result of each stage."""
        t = self._topology
        now = (image, channels)
        if t.network == "ResidualEncoderUNet":
            features = t.stem or t.features[0]
            now = self._block("encoder.stem.convs.0", [now], features, t.kernels[0], (1, 1, 1))
        results = []
        for stage, (features, kernel, stride) in enumerate(
            zip(t.features, t.kernels, t.strides, strict=True)
        ):
            for part in range(t.encoder[stage]):
                step = stride if part == 0 else (1, 1, 1)
                if t.network == "PlainConvUNet":
                    where = f"encoder.stages.{stage}.0.convs.{part}"
                    now = self._block(where, [now], features, kernel, step)
                else:
                    now = self._residual(f"encoder.stages.{stage}.blocks.{part}", now, features, kernel, step)
            results.append(now)
        return results

    def decode(self, skips: list[tuple[str, int]], outputs: int) -> None:
        """The decoder, up to the logits."""
        t = self._topology
        now = skips[-1]
        for stage, skip in enumerate(reversed(skips[:-1])):
            stride = t.strides[-1 - stage]
            up = self._up(f"decoder.transpconvs.{stage}", now, skip[1], stride)
            inputs = [up, skip]
            for part in range(t.decoder[stage]):
                where = f"decoder.stages.{stage}.convs.{part}"
                now = self._block(where, inputs, skip[1], t.kernels[-2 - stage], (1, 1, 1))
                inputs = [now]
        head = f"decoder.seg_layers.{len(skips) - 2}"
        kernel = self._weight(f"{head}.weight", (outputs, now[1], 1, 1, 1))
        bias = self._weight(f"{head}.bias", (outputs,))
        self._add("Conv", [now[0], kernel, bias], "logits", kernel_shape=[1, 1, 1])

    def _block(
        self, where: str, inputs: list[tuple[str, int]], features: int, kernel: Triple, stride: Triple
    ) -> tuple[str, int]:
        """Convolution, instance norm and leaky ReLU."""
        return self._activated(self._conv_norm(where, inputs, features, kernel, stride)), features

    def _residual(
        self, where: str, now: tuple[str, int], features: int, kernel: Triple, stride: Triple
    ) -> tuple[str, int]:
        """Two convolutions beside a short cut (ResNet-D: pooled, then projected, as far as need be)."""
        first = self._block(f"{where}.conv1", [now], features, kernel, stride)
        second = self._conv_norm(f"{where}.conv2", [first], features, kernel, (1, 1, 1))
        short, step = now, 0
        if stride != (1, 1, 1):
            name = f"{where}.skip.0"
            self._add("AveragePool", [now[0]], name, kernel_shape=list(stride), strides=list(stride))
            short, step = (name, now[1]), 1
        if now[1] != features:
            name = self._conv_norm(f"{where}.skip.{step}", [short], features, (1, 1, 1), (1, 1, 1))
            short = (name, features)
        self._add("Add", [second, short[0]], f"{where}.sum")
        return self._activated(f"{where}.sum"), features

    def _conv_norm(
        self, where: str, inputs: list[tuple[str, int]], features: int, kernel: Triple, stride: Triple
    ) -> str:
        count = sum(n for _, n in inputs)
        whole = self._array(f"{where}.conv.weight", (features, count, *kernel))
        pads = [(k - 1) // 2 for k in kernel] * 2
        parts, start = [], 0
        for number, (name, n) in enumerate(inputs):
            part = self._constant(f"{where}.conv.weight.{number}", whole[:, start : start + n])
            result = f"{where}.conv.{number}"
            self._add(
                "Conv", [name, part], result, kernel_shape=list(kernel), strides=list(stride), pads=pads
            )
            parts.append(result)
            start += n
        while len(parts) > 1:
            self._add("Add", parts[:2], f"{where}.sum.{len(parts)}")
            parts = [f"{where}.sum.{len(parts)}", *parts[2:]]
        scale, shift = (
            self._weight(f"{where}.norm.{name}", (features,))
            if self._topology.affine
            else self._constant(f"{where}.norm.{name}", np.full(features, value))
            for name, value in (("weight", 1.0), ("bias", 0.0))
        )
        self._add(
            "InstanceNormalization", [parts[0], scale, shift], f"{where}.norm", epsilon=self._topology.eps
        )
        return f"{where}.norm"

    def _up(self, where: str, now: tuple[str, int], features: int, stride: Triple) -> tuple[str, int]:
        inputs = [now[0], self._weight(f"{where}.weight", (now[1], features, *stride))]
        if self._topology.bias:
            inputs.append(self._weight(f"{where}.bias", (features,)))
        self._add("ConvTranspose", inputs, where, kernel_shape=list(stride), strides=list(stride))
        return where, features

    def _activated(self, name: str) -> str:
        result = f"{name}.nonlin"
        if self._topology.slope == 0:
            self._add("Relu", [name], result)
        else:
            self._add("LeakyRelu", [name], result, alpha=self._topology.slope)
        return result

    def _weight(self, name: str, shape: tuple[int, ...]) -> str:
        return self._constant(name, self._array(name, shape))

    def _constant(self, name: str, array: npt.NDArray[np.generic]) -> str:
        values = np.ascontiguousarray(array, dtype=np.float32)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def _array(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
        if name not in self._weights:
            raise ModelError(
                f"The checkpoint holds no {name}, which its plans ask for. Take the plans that belong to it."
            )
        array = self._weights[name]
        if array.shape != shape:
            raise ModelError(
                f"{name} has the shape {array.shape} in the checkpoint, and {shape} by its plans. "
                "Take the plans that belong to it."
            )
        return array

    def _add(self, kind: str, inputs: list[str], result: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [result], name=result, **attributes))
