"""The engine: runs one graph on an array. The only place that knows ONNX Runtime and OpenVINO."""

import importlib.util
import logging
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from softcord._typing import FloatArray
from softcord.errors import MissingExtraError, ModelError, UsageError

log = logging.getLogger(__name__)

ENGINES = ("onnxruntime", "openvino")
ENGINE_VARIABLE = "SOFTCORD_ENGINE"


class Engine(Protocol):
    """Anything that turns scaled grey levels into logits."""

    def run(self, image: FloatArray) -> FloatArray:
        """Logits (I, J, K) float32 of grey levels (I, J, K) float32; the shape must fit the graph."""
        ...  # pragma: no cover


class ChannelEngine(Engine, Protocol):
    """An engine of graphs with several inputs and outputs."""

    def run_channels(self, image: FloatArray) -> FloatArray:
        """Logits (N, I, J, K) float32 of grey levels (C, I, J, K) float32."""
        ...  # pragma: no cover


class OnnxRuntimeEngine:
    """A graph in ONNX Runtime, on the CPU or on CUDA.

    Parameters
    ----------
    graph : Path
    device : {"cpu", "cuda"}
    threads : int
        0: as many as the library thinks fit.
    """

    def __init__(self, graph: Path, *, device: str = "cpu", threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # the arena keeps the largest volume's memory for ever
        providers = (
            ["CUDAExecutionProvider", "CPUExecutionProvider"]
            if device == "cuda"
            else ["CPUExecutionProvider"]
        )
        try:
            self._session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
        except Exception as error:
            raise ModelError(
                f"{graph}: ONNX Runtime cannot load this graph ({error}). Install the model again."
            ) from error
        if device == "cuda" and "CUDAExecutionProvider" not in self._session.get_providers():
            raise UsageError(
                "--device cuda: ONNX Runtime could not start CUDA. Check the driver, or use --device cpu."
            )

    def run(self, image: FloatArray) -> FloatArray:
        """See `Engine`."""
        logits: FloatArray = self.run_channels(image[None])[0]
        return logits

    def run_channels(self, image: FloatArray) -> FloatArray:
        """See `Engine`."""
        seen = np.ascontiguousarray(image[None], dtype=np.float32)
        try:
            (logits,) = self._session.run(None, {"image": seen})
        except Exception as error:
            raise _failed("ONNX Runtime", image, error) from error
        result: FloatArray = logits[0]
        return result


class OpenVinoEngine:
    """A graph in OpenVINO, on the CPU.

    Parameters
    ----------
    graph : Path
    threads : int
        0: as many as the library thinks fit.
    """

    def __init__(self, graph: Path, *, threads: int = 0) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingExtraError(
                "The OpenVINO engine needs OpenVINO. Run: pip install 'softcord[openvino]'"
            ) from error
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = openvino.Core().compile_model(str(graph), "CPU", settings)
        except RuntimeError as error:
            raise ModelError(
                f"{graph}: OpenVINO cannot load this graph ({error}). Install the model again."
            ) from error

    def run(self, image: FloatArray) -> FloatArray:
        """See `Engine`."""
        logits: FloatArray = self.run_channels(image[None])[0]
        return logits

    def run_channels(self, image: FloatArray) -> FloatArray:
        """See `Engine`."""
        seen = np.ascontiguousarray(image[None], dtype=np.float32)
        try:
            logits = self._compiled(seen)[0]
        except RuntimeError as error:
            raise _failed("OpenVINO", image, error) from error
        result: FloatArray = np.array(logits[0])  # a copy: the library uses its buffer again
        return result


def _failed(library: str, image: FloatArray, error: Exception) -> ModelError:
    """What to say when a network that was loaded cannot be run: mostly, memory is short."""
    shape = "×".join(str(n) for n in image.shape[1:])
    return ModelError(
        f"{library} failed on a block of {shape} samples ({error}). Free memory, or use --device cpu."
    )


def choose_device(device: str) -> str:
    """The device that will be used: `auto` is CUDA where ONNX Runtime offers it, else the CPU.

    Raises
    ------
    UsageError
        An unknown name, or `cuda` where ONNX Runtime has no CUDA.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device must be auto, cpu or cuda, got {device!r}.")
    if device == "cpu":
        return "cpu"
    if _cuda_offered():
        return "cuda"
    if device == "cuda":
        raise UsageError(
            "--device cuda: this ONNX Runtime has no CUDA. Run: pip uninstall onnxruntime; pip install "
            "'onnxruntime-gpu[cuda,cudnn]'; or use --device cpu."
        )
    log.debug("device auto: the CPU, as ONNX Runtime offers no CUDA here")
    return "cpu"


def _cuda_offered() -> bool:
    try:
        import onnxruntime
    except ImportError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def choose_engine() -> str:
    """The CPU engine: the one that the environment variable SOFTCORD_ENGINE names, else ONNX Runtime.

    Raises
    ------
    UsageError
        The variable holds another name.
    """
    name = os.environ.get(ENGINE_VARIABLE, "onnxruntime")
    if name not in ENGINES:
        raise UsageError(f"{ENGINE_VARIABLE} must be {' or '.join(ENGINES)}, got {name!r}.")
    return name


def choose_large_engine() -> str:
    """The CPU engine for networks that take minutes: OpenVINO where it is installed, if none is named.

    Raises
    ------
    UsageError
        As `choose_engine`.
    """
    if ENGINE_VARIABLE in os.environ:
        return choose_engine()
    if importlib.util.find_spec("openvino") is not None:
        return "openvino"
    log.warning(
        "OpenVINO is not installed, so ONNX Runtime computes, which takes about twice as long for such "
        "networks. Run: pip install 'softcord[openvino]'"
    )
    return "onnxruntime"


def load_engine(
    graph: Path, *, device: str = "cpu", threads: int | None = None, engine: str | None = None
) -> ChannelEngine:
    """Load a graph.

    Parameters
    ----------
    graph : Path
        ONNX.
    device : {"cpu", "cuda"}
        As `choose_device` gives it.
    threads : int, optional
        Default: one per processor that this process may use.
    engine : {"onnxruntime", "openvino"}, optional
        Default: see `choose_engine`; CUDA is always ONNX Runtime.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}.")
    count = threads or usable_processors()
    if device == "cpu" and (engine or choose_engine()) == "openvino":
        return OpenVinoEngine(graph, threads=count)
    return OnnxRuntimeEngine(graph, device=device, threads=count)


def usable_processors() -> int:
    """Processors that this process may use (cgroup-blind, affinity-aware)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
