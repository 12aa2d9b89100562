"""Time and memory of `softcord segment`, from the shell prompt to the files, step by step.

    python benchmarks/segment.py [--runs N] [--threads N] [--markdown FILE]

Two phantoms are written as 16-bit NIfTI: a head and neck at 1 mm (192×260×320) and a cervical spine at
0.8 mm (64×320×320). Each is segmented in a process of its own; wall time and peak memory are those of
the process, the steps those of the sidecar, and "start" (interpreter, imports, loading the model) is
what the steps leave. Then, in the same run, the same network is applied to the whole volume without
finding the cord first.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from softcord.phantoms import make_phantom

CASES = {
    "192x260x320, 1 mm": {"shape": (192, 260, 320), "zooms": (1.0, 1.0, 1.0), "contrast": "T1w"},
    "64x320x320, 0.8 mm": {"shape": (64, 320, 320), "zooms": (0.8, 0.8, 0.8), "contrast": "T2w"},
}
STEPS = ("start", "read", "find", "segment", "judge", "write")
HEADER = (
    "| image | way | wall, s | peak, GB | " + " | ".join(STEPS) + " |",
    "|" + "---|" * (4 + len(STEPS)),
)
WHOLE = """
from importlib import import_module
from softcord.engines import PredictOptions
whole = PredictOptions(whole=True)
import_module("softcord.segment.image").engines.PredictOptions = lambda **_: whole
from softcord.cli import entry
entry()
"""


def run(arguments: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory (GB) of a process."""
    start = time.perf_counter()
    process = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"failed with status {status}: {' '.join(arguments)}")
    return time.perf_counter() - start, usage.ru_maxrss / 1e6


def measure(arguments: list[str], sidecar: Path) -> list[float]:
    """Wall seconds, peak memory (GB) and seconds of each step of a process that writes `sidecar`."""
    wall, peak = run(arguments)
    seconds = json.loads(sidecar.read_text())["Seconds"]
    spent = [seconds.get(step, 0.0) for step in STEPS[1:]]
    return [wall, peak, wall - sum(spent), *spent]


def median_row(image: str, way: str, rows: list[list[float]]) -> str:
    """A row of the table: medians of all runs but the first, which warms up."""
    middle = [statistics.median(column) for column in zip(*rows[1:], strict=True)]
    return f"| {image} | {way} | " + " | ".join(f"{value:.2f}" for value in middle) + " |"


def write_phantom(path: Path, **options: object) -> None:
    """A phantom as a scanner's export would be: 16-bit whole numbers, compressed."""
    phantom = make_phantom(5, oversample=(1, 1, 1), **options)
    image = nib.Nifti1Image((phantom.image * 1000).astype(np.int16), phantom.affine)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


def main() -> None:
    """Print the table, and write it as Markdown if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument(
        "--skip-whole", action="store_true", help="leave out the network over the whole volume"
    )
    args = parser.parse_args()
    lines = list(HEADER)
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, options in CASES.items():
            source, out = Path(folder) / "image.nii.gz", Path(folder) / "out.nii.gz"
            write_phantom(source, **options)
            common = [
                "segment",
                str(source),
                "-o",
                str(out),
                "--overwrite",
                "-q",
                "--threads",
                str(args.threads),
            ]
            ways = {"softcord segment": ["-m", "softcord", *common], "whole volume": ["-c", WHOLE, *common]}
            for way, arguments in ways.items():
                if way == "whole volume" and args.skip_whole:
                    continue
                runs = args.runs + 1 if way != "whole volume" else 2
                rows = [measure(arguments, Path(folder) / "out.json") for _ in range(runs)]
                lines.append(median_row(name, way, rows))
                print(lines[-1], flush=True)
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
