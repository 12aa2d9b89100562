"""Counts cords that are found where there is none, or missed where there is one.

    python benchmarks/detection.py [--data FOLDER] [--count 200] [--model softcord] [--markdown FILE]

Negatives, a quarter each: synthetic bodies without a cord (an empty canal with roots, or no spine); scans of
nothing (noise, ramps, bare objects); with --data also crops of real images that keep 15 mm from the drawn
cord, and scans of whole-head label maps that hold no cord. Without --data, half are of each synthetic kind. A
false cord is any voxel above 0.5. Positives: synthetic bodies whose cord lies in a corner of the view, or of
which a slab of 1 to 10 slices is seen; in half of them, with --data, the cord is that of a label map. A cord
is missed if no voxel above 0.5 lies on it. Seeds, fields of view and voxel sizes are others than in training.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation

from real_images import masked
from softcord import models
from softcord._typing import FloatArray, Zooms
from softcord.engines import Network, predict
from softcord.phantoms.anatomy import AnatomyOptions
from softcord.phantoms.labelmaps import LabelMap, scan_label_map
from softcord.phantoms.patches import Scan, ScanGeometry, draw_geometry, draw_nothing, draw_scan

SEED = 77_000_000
FINEST = (0.55, 0.9)
AWAY_MM = 15.0
HEADS = "anatomy/SynthSeg_head_neck/*.nii.gz"
TISSUES = {
    "WHITE": [512], "CSF": [24, 4, 5, 14, 15, 43, 44], "BRAIN": [16, 2, 41, 7, 46], "GREY": [3, 42, 8, 47],
    "MUSCLE": [507], "CORTEX": [515], "MARROW": [516], "VESSEL": [502, 514], "SKIN": [511],
}  # fmt: skip


def geometry(rng: np.random.Generator, low: float, high: float) -> ScanGeometry:
    """A scan of random resolution, whose sides are `low` to `high` mm."""
    x, y, z = (float(side) for side in rng.uniform(low, high, 3))
    return draw_geometry(rng, (x, y, z), FINEST)


def bodies_without_cord(rng: np.random.Generator) -> Scan:
    """A synthetic body without a cord."""
    return draw_scan(rng, geometry(rng, 45, 110), AnatomyOptions(cord=False))


def nothing(rng: np.random.Generator) -> Scan:
    """A scan of nothing."""
    return draw_nothing(rng, geometry(rng, 45, 110))


def heads_without_cord(rng: np.random.Generator, heads: list[LabelMap]) -> Scan:
    """A part of a head without cord."""
    while True:
        head = heads[rng.integers(len(heads))]
        inside = np.flatnonzero(head.labels > 0)
        centre = np.array(np.unravel_index(int(rng.choice(inside)), head.labels.shape), dtype=float)
        scan = scan_label_map(rng, head, geometry(rng, 45, 110), centre)
        if not (scan.share > 0.02).any() and (scan.image > 0).mean() > 0.3:
            return scan


def crops_without_cord(rng: np.random.Generator, images: list[tuple[FloatArray, FloatArray, Zooms]]) -> Scan:
    """A crop of a real image that keeps away from the drawn cord, in slices whose cord was drawn."""
    while True:
        data, mask, zooms = images[rng.integers(len(images))]
        drawn = np.flatnonzero((mask > 0.5).any(axis=(0, 1)))
        near = binary_dilation((mask > 0.5).any(axis=2), iterations=max(1, round(AWAY_MM / min(zooms[:2]))))
        sides = [max(8, round(float(rng.uniform(28, 70)) / zoom)) for zoom in zooms[:2]]
        starts = [int(rng.integers(0, max(1, n - s))) for n, s in zip(data.shape, sides, strict=False)]
        box = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        part = data[(*box, slice(drawn[0], drawn[-1] + 1))]
        level = np.percentile(data, 50)
        if not near[box].any() and min(part.shape[:2]) >= 8 and np.median(part) >= level and np.ptp(part) > 0:
            return Scan(np.ascontiguousarray(part), np.zeros_like(part), zooms)


def cord_in_corner_or_slab(rng: np.random.Generator, heads: list[LabelMap]) -> Scan:
    """A view with the cord in a corner, or a slab of few slices, of a synthetic body or of a head."""
    while True:
        shape = geometry(rng, 35, 90)
        if rng.random() < 0.5:
            slices = int(rng.integers(1, 11))
            shape = ScanGeometry((*shape.shape[:2], min(slices, shape.shape[2])), shape.zooms, shape.parts)
        if heads and rng.random() < 0.5:
            head = heads[rng.integers(len(heads))]
            inside = np.flatnonzero(head.share > 0.5)
            centre = np.array(np.unravel_index(int(rng.choice(inside)), head.share.shape), dtype=float)
            half = np.array([n * z / 2 - 8 for n, z in zip(shape.shape[:2], shape.zooms[:2], strict=True)])
            centre[:2] += rng.choice([-1, 1], 2) * rng.uniform(0, np.maximum(half, 0.1)) / head.zooms[:2]
            scan = scan_label_map(rng, head, shape, centre)
        else:
            scan = draw_scan(rng, shape, AnatomyOptions(pathology=False, ends=False))
        areas = (scan.share * (scan.share > 0.5)).sum(axis=(0, 1)) * scan.zooms[0] * scan.zooms[1]
        if areas.min() > 20 and visible(scan):
            return scan


def visible(scan: Scan) -> bool:
    """Whether cord and what surrounds it differ by more than the noise within the cord."""
    inside = scan.share > 0.95
    around = binary_dilation(scan.share > 0.05, iterations=2) & (scan.share < 0.05)
    if inside.sum() < 5 or around.sum() < 5:
        return False
    gap = abs(np.median(scan.image[inside]) - np.median(scan.image[around]))
    return bool(gap > 1.5 * scan.image[inside].std())


def numbered(draw: Callable[[np.random.Generator], Scan], first: int) -> Iterator[Scan]:
    """Scans of the seeds from `first` on."""
    return (draw(np.random.default_rng([SEED, first, n])) for n in count())


def read_heads(folder: Path) -> list[LabelMap]:
    """The whole heads of the data folder, read as a training reads them."""
    from softcord.train.config import MapSource
    from softcord.train.sources import load_maps

    return load_maps(MapSource(HEADS, cord=512, tissues=TISSUES), folder)


def main() -> None:
    """Print how many of each kind went wrong, and write the table as Markdown if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--split", default="train", help="of the real images that are cropped")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--model", default="softcord")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    network: Network = models.load(args.model).network
    heads = read_heads(args.data) if args.data else []
    negatives = {
        "bodies without a cord": numbered(bodies_without_cord, 1),
        "scans of nothing": numbered(nothing, 2),
    }
    if args.data:
        images = [
            (real.data, real.mask, real.zooms)
            for real in masked(args.data, args.split)
            if real.mask is not None
        ]
        negatives["crops of real images beside the cord"] = numbered(
            lambda rng: crops_without_cord(rng, images), 3
        )
        negatives["parts of heads without cord"] = numbered(lambda rng: heads_without_cord(rng, heads), 4)
    lines = ["| what | scans | went wrong | share (%) |", "|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    each, wrong_all = args.count // len(negatives), 0
    for name, scans in negatives.items():
        wrong = sum(
            bool(predict(s.image, s.zooms, network).soft.max() > 0.5)
            for _, s in zip(range(each), scans, strict=False)
        )
        wrong_all += wrong
        lines.append(f"| {name}: a false cord | {each} | {wrong} | {100 * wrong / each:.1f} |")
        print(lines[-1], flush=True)
    total = each * len(negatives)
    lines.append(f"| **all negatives** | {total} | {wrong_all} | {100 * wrong_all / total:.1f} |")
    print(lines[-1], flush=True)
    missed = 0
    for _, scan in zip(
        range(args.count), numbered(lambda rng: cord_in_corner_or_slab(rng, heads), 5), strict=False
    ):
        missed += not ((predict(scan.image, scan.zooms, network).soft > 0.5) & (scan.share > 0.5)).any()
    share = 100 * missed / args.count
    lines.append(f"| **cord in a corner or a slab: missed** | {args.count} | {missed} | {share:.1f} |")
    print(lines[-1], flush=True)
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
