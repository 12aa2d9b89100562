"""How good is a model on real images? One line per image, then per contrast.

    python benchmarks/real_images.py --data FOLDER [--split train|test] [--model softcord] [--markdown FILE]

FOLDER holds `images.tsv` (columns participant, split, image, cord_mask, contrast, note) and the images in
`bids/`. Compared are, in the slices along the cord's axis where the reference holds cord: Dice of the 0.5
mask, soft Dice, the ratio of the soft sum to the reference's volume, slices without any cord, and the
expected calibration error within 5 mm of the reference's edge (ten bins of the soft value, against the share
of reference voxels in each). Each look at images kept for tests belongs into the log in docs/benchmarks.md.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from softcord import models
from softcord._typing import FloatArray, Zooms
from softcord.engines import Network, predict
from softcord.nifti import load_image, read_volume
from softcord.orientation import to_canonical
from softcord.scores import dice, soft_dice, volume_ratio

COPIED = "not redrawn"  # in the note of an image whose mask was drawn on another one
EDGE_MM = 5.0
BINS = 10


@dataclass(frozen=True)
class RealImage:
    """A row of the table: an image, and the mask drawn on it if there is one; arrays are RAS+."""

    row: dict[str, str]
    data: FloatArray
    affine: np.ndarray
    zooms: Zooms
    mask: FloatArray | None

    @property
    def name(self) -> str:
        """The file's name without folder and ending."""
        return Path(self.row["image"]).name.removesuffix(".nii.gz").removeprefix("sub-")


def read(path: Path) -> tuple[FloatArray, np.ndarray, Zooms]:
    """Voxels of an image (the mean of its volumes), affine and voxel size, RAS+."""
    image = load_image(path)
    data, _ = read_volume(image)
    canonical = to_canonical(data, image.affine)
    return np.ascontiguousarray(canonical.data), canonical.affine, canonical.zooms


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of the table."""
    with (folder / "images.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def load(folder: Path, row: dict[str, str]) -> RealImage:
    """The image of a row."""
    data, affine, zooms = read(folder / "bids" / row["image"])
    mask = read(folder / "bids" / row["cord_mask"])[0] if row["cord_mask"] else None
    return RealImage(row, data, affine, zooms, mask)


def masked(folder: Path, split: str) -> Iterator[RealImage]:
    """Images of a split that have a mask."""
    for row in rows(folder):
        if row["split"] == split and row["cord_mask"]:
            yield load(folder, row)


def calibration_error(soft: FloatArray, share: FloatArray, zooms: Zooms) -> float:
    """Expected calibration error within 5 mm of the edge: mean over voxels of |soft - share| of their bin."""
    inside = share > 0.5
    distance = distance_transform_edt(inside, zooms) + distance_transform_edt(~inside, zooms)
    near = (distance < EDGE_MM) & inside.any(axis=(0, 1))
    values, truth = soft[near].astype(float), share[near].astype(float)
    bins = np.minimum((values * BINS).astype(int), BINS - 1)
    said, found = np.bincount(bins, values, BINS), np.bincount(bins, truth, BINS)
    return float(np.abs(said - found).sum() / values.size)


def compare(soft: FloatArray, mask: FloatArray, zooms: Zooms) -> tuple[float, float, float, int, float]:
    """Dice, soft Dice, volume ratio, slices missed and calibration error."""
    drawn = (mask > 0.5).any(axis=(0, 1))
    p, r = soft[..., drawn], (mask[..., drawn] > 0.5)
    reference = r.astype(np.float32)
    missed = int((~(p > 0.5).any(axis=(0, 1))).sum())
    error = calibration_error(soft, mask, zooms)
    return dice(p > 0.5, r), soft_dice(p, reference), volume_ratio(p, reference), missed, error


def table(folder: Path, split: str, network: Network) -> tuple[list[str], dict[str, list[float]]]:
    """Lines of a Markdown table, and the Dice of the images with a mask of their own, by contrast."""
    lines = [
        "| image | contrast | Dice | soft Dice | volume ratio | slices missed | ECE |",
        "|---|---|---|---|---|---|---|",
    ]
    found: dict[str, list[float]] = {}
    for real in masked(folder, split):
        assert real.mask is not None
        soft = predict(real.data, real.zooms, network).soft
        score, soft_score, ratio, missed, error = compare(soft, real.mask, real.zooms)
        own = COPIED not in real.row["note"]
        name = real.name if own else f"{real.name} (mask of the other run)"
        lines.append(
            f"| {name} | {real.row['contrast']} | {score:.3f} | {soft_score:.3f} | {ratio:.2f} "
            f"| {missed} | {error:.3f} |"
        )
        print(lines[-1], flush=True)
        if own:
            found.setdefault(real.row["contrast"], []).append(score)
    return lines, found


def summary(found: dict[str, list[float]]) -> str:
    """Median, mean and worst over all, and the median of each contrast."""
    every = [score for scores in found.values() for score in scores]
    each = ", ".join(f"{name} {np.median(scores):.3f} ({len(scores)})" for name, scores in found.items())
    return (
        f"{len(every)} images with a mask of their own: median {np.median(every):.3f}, "
        f"mean {np.mean(every):.3f}, worst {min(every):.3f}. Median by contrast (images): {each}."
    )


def main() -> None:
    """Print the table and its summary, and write them as Markdown if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--model", default="softcord")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    lines, found = table(args.data, args.split, models.load(args.model).network)
    print(f"\n{summary(found)}")
    if args.markdown:
        args.markdown.write_text("\n".join([*lines, "", summary(found)]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
