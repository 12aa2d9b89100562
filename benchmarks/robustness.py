"""How does the score hold with less context, more noise and larger voxels? Ladders on real images with masks.

    python benchmarks/robustness.py --data FOLDER [--split train|test] [--model softcord] [--markdown FILE]

Crop ladder: the image is cut to the box of its mask and 20, 10, 5, 0 mm around it across the cord; along it,
nothing is cut. Noise ladder: Gaussian noise of 5, 10, 20 % of the grey range (0.5th to 99.5th percentile).
Resolution ladder: voxels averaged 2 × 2 across the cord, and slices averaged to about 5 mm; the reference is
averaged too. Printed is the Dice of the 0.5 mask against the reference's, in the slices that it holds.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from real_images import COPIED, RealImage, masked
from softcord import models
from softcord._typing import FloatArray, Zooms
from softcord.engines import Network, predict
from softcord.engines.intensity import grey_range
from softcord.phantoms.acquisition import thin_out
from softcord.scores import dice

View = tuple[FloatArray, FloatArray, Zooms]
THICK_MM = 5.0


def full(data: FloatArray, mask: FloatArray, zooms: Zooms) -> View:
    """As it is."""
    return data, mask, zooms


def crop(context_mm: float) -> Callable[[FloatArray, FloatArray, Zooms], View]:
    """Cut across to the box of the mask and a margin."""

    def cut(data: FloatArray, mask: FloatArray, zooms: Zooms) -> View:
        box = []
        for axis in (0, 1):
            inside = np.flatnonzero((mask > 0.5).any(axis=(1 - axis, 2)))
            margin = round(context_mm / zooms[axis])
            box.append(slice(max(0, inside[0] - margin), inside[-1] + margin + 1))
        return np.ascontiguousarray(data[box[0], box[1]]), mask[box[0], box[1]], zooms

    return cut


def noise(share: float) -> Callable[[FloatArray, FloatArray, Zooms], View]:
    """Add Gaussian noise."""

    def add(data: FloatArray, mask: FloatArray, zooms: Zooms) -> View:
        low, high = grey_range(data)
        grain = np.random.default_rng(0).standard_normal(data.shape, dtype=np.float32)
        return data + np.float32(share * (high - low)) * grain, mask, zooms

    return add


def larger(across: int, along_mm: float) -> Callable[[FloatArray, FloatArray, Zooms], View]:
    """Average voxels across, and slices up to a thickness."""

    def average(data: FloatArray, mask: FloatArray, zooms: Zooms) -> View:
        slices = max(1, round(along_mm / zooms[2])) if along_mm else 1
        factors = (across, across, min(slices, data.shape[2]))
        i, j, k = (zoom * factor for zoom, factor in zip(zooms, factors, strict=True))
        return thin_out(data, factors), thin_out(mask, factors), (i, j, k)

    return average


RUNGS = {
    "full view": full,
    "20 mm": crop(20),
    "10 mm": crop(10),
    "5 mm": crop(5),
    "0 mm": crop(0),
    "noise 5 %": noise(0.05),
    "noise 10 %": noise(0.1),
    "noise 20 %": noise(0.2),
    "pixels 2 × 2": larger(2, 0),
    "slices of 5 mm": larger(1, THICK_MM),
}


def score(real: RealImage, rung: str, network: Network) -> float:
    """Dice of an image on a rung."""
    assert real.mask is not None
    data, mask, zooms = RUNGS[rung](real.data, real.mask, real.zooms)
    drawn = (mask > 0.5).any(axis=(0, 1))
    soft = predict(np.ascontiguousarray(data), zooms, network).soft
    return dice(soft[..., drawn] > 0.5, mask[..., drawn] > 0.5)


def main() -> None:
    """Print the ladders, and write them as Markdown if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--model", default="softcord")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    network = models.load(args.model).network
    lines = ["| image | " + " | ".join(RUNGS) + " |", "|" + "---|" * (len(RUNGS) + 1)]
    print("\n".join(lines), flush=True)
    scores = []
    for real in masked(args.data, args.split):
        if COPIED in real.row["note"]:
            continue
        scores.append([score(real, rung, network) for rung in RUNGS])
        lines.append(f"| {real.name} | " + " | ".join(f"{s:.3f}" for s in scores[-1]) + " |")
        print(lines[-1], flush=True)
    for name, values in (("median", np.median(scores, axis=0)), ("worst", np.min(scores, axis=0))):
        lines.append(f"| **{name}** | " + " | ".join(f"{s:.3f}" for s in values) + " |")
        print(lines[-1], flush=True)
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
