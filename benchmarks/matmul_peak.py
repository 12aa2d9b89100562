"""How many multiplications and additions a second this machine does in float32, by the best of several ways.

    python benchmarks/matmul_peak.py [--threads N]

numpy, torch and OpenVINO, each in a process of its own while this one waits, so that nothing runs beside it:
products of matrices of several sizes, and convolutions, which are products of matrices inside. Each is run
several times, and the best counts, as nothing makes a machine faster than it is. A library that is not
installed is left out.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

Way = tuple[str, float, Callable[[], object]]  # name, multiplications and additions, what does them
SIZES = (1024, 2048, 4096)
CONVOLUTIONS = ((1, 256, 48), (1, 512, 32), (3, 64, 48), (3, 128, 32), (3, 256, 16))  # kernel, channels, edge
LEAST_SECONDS = 1.0  # for each way


def with_numpy(_: int) -> Iterator[Way]:
    """Products of matrices in the BLAS that numpy brings."""
    for n in SIZES:
        a, b, out = (random(n, n, seed=seed) for seed in range(3))
        yield f"product of {n}", 2.0 * n**3, lambda a=a, b=b, out=out: np.matmul(a, b, out=out)


def with_torch(threads: int) -> Iterator[Way]:
    """Products of matrices in torch."""
    import torch

    torch.set_num_threads(threads)
    for n in SIZES:
        a, b, out = (torch.from_numpy(random(n, n, seed=seed)) for seed in range(3))
        yield f"product of {n}", 2.0 * n**3, lambda a=a, b=b, out=out: torch.mm(a, b, out=out)


def with_openvino(threads: int) -> Iterator[Way]:
    """Products of matrices and convolutions in OpenVINO, one operation in each graph."""
    from openvino import Core, Model, Tensor
    from openvino import opset13 as ops

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }

    def graph(image: np.ndarray, build: Callable[[object], object]) -> Callable[[], object]:
        parameter = ops.parameter(image.shape, np.float32)
        compiled = Core().compile_model(Model([build(parameter)], [parameter]), "CPU", settings)
        request, tensor = compiled.create_infer_request(), Tensor(image, shared_memory=True)
        request.set_input_tensor(0, tensor)
        return lambda keep=(compiled, tensor, image): keep and request.infer()

    for n in SIZES:
        weights = ops.constant(random(n, n, seed=1))
        run = graph(random(n, n), lambda x, w=weights: ops.matmul(x, w, transpose_a=False, transpose_b=False))
        yield f"product of {n}", 2.0 * n**3, run
    for kernel, channels, edge in CONVOLUTIONS:
        weights = ops.constant(random(channels, channels, *[kernel] * 3, seed=1))
        run = graph(
            random(1, channels, *[edge] * 3),
            lambda x, w=weights: ops.convolution(x, w, [1] * 3, [0] * 3, [0] * 3, [1] * 3),
        )
        name = f"convolution {'×'.join([str(kernel)] * 3)}, {channels} channels, {edge}³"
        yield name, 2.0 * channels**2 * kernel**3 * (edge - kernel + 1) ** 3, run


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers that overflow nowhere."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


LIBRARIES = {"numpy": with_numpy, "torch": with_torch, "openvino": with_openvino}


def best_rates(library: str, threads: int) -> dict[str, float]:
    """GFLOP/s of each way of one library, the best run of each."""
    rates = {}
    for name, operations, run in LIBRARIES[library](threads):
        run()
        best, begin, runs = float("inf"), time.perf_counter(), 0
        while runs < 5 or time.perf_counter() - begin < LEAST_SECONDS:
            start = time.perf_counter()
            run()
            best, runs = min(best, time.perf_counter() - start), runs + 1
        rates[name] = operations / best / 1e9
    return rates


def measure_peak(threads: int) -> dict[str, dict[str, float]]:
    """GFLOP/s of every way of every library that is installed."""
    environment = {
        **os.environ,
        **{f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")},
    }
    rates = {}
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            continue
        command = [sys.executable, __file__, "--only", library, "--threads", str(threads)]
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if run.returncode:
            raise SystemExit(f"{' '.join(command)}\n{run.stderr}")
        rates[library] = json.loads(run.stdout.splitlines()[-1])
    return rates


def describe(rates: dict[str, dict[str, float]]) -> tuple[float, list[str]]:
    """The best of all, and a table of the best product and the best convolution of each library."""
    lines = ["| library | fastest | GFLOP/s |", "|---|---|---|"]
    for library, ways in rates.items():
        for kind in ("product", "convolution"):
            names = [name for name in ways if name.startswith(kind)]
            if names:
                name = max(names, key=lambda n: ways[n])
                lines.append(f"| {library} | {name} | {ways[name]:.0f} |")
    return max(rate for ways in rates.values() for rate in ways.values()), lines


def main() -> None:
    """Print the table, or measure one library."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=LIBRARIES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(best_rates(args.only, args.threads)))
        return
    peak, lines = describe(measure_peak(args.threads))
    print("\n".join([*lines, "", f"The fastest of all on {args.threads} threads: {peak:.0f} GFLOP/s"]))


if __name__ == "__main__":
    main()
