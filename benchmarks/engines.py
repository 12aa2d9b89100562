"""ONNX Runtime or OpenVINO: the same command in both, in turn, in one run.

    python benchmarks/engines.py [--runs N] [--threads N] [--markdown FILE]

Images and columns are those of `benchmarks/segment.py`. The size that each engine adds to an installation is
printed below the table.
"""

import argparse
import importlib.util
import os
import tempfile
from pathlib import Path

from segment import CASES, HEADER, measure, median_row, write_phantom

ENGINES = ("onnxruntime", "openvino")


def installed_megabytes(package: str) -> float:
    """Size of a package's folder."""
    spec = importlib.util.find_spec(package)
    folder = Path(str(spec.origin)).parent if spec else Path()
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def main() -> None:
    """Print the table, and write it as Markdown if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    lines = [line.replace("way", "engine") for line in HEADER]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "image.nii.gz", Path(folder) / "out.nii.gz"
        command = ["-m", "softcord", "segment", str(source), "-o", str(out), "--overwrite", "-q"]
        for name, options in CASES.items():
            write_phantom(source, **options)
            rows: dict[str, list[list[float]]] = {engine: [] for engine in ENGINES}
            for _ in range(args.runs + 1):
                for engine in ENGINES:
                    os.environ["SOFTCORD_ENGINE"] = engine
                    rows[engine].append(
                        measure([*command, "--threads", str(args.threads)], Path(folder) / "out.json")
                    )
            for engine in ENGINES:
                lines.append(median_row(name, engine, rows[engine]))
                print(lines[-1], flush=True)
    lines.append("")
    lines.append(", ".join(f"{engine}: {installed_megabytes(engine):.0f} MB" for engine in ENGINES))
    print(lines[-1])
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
