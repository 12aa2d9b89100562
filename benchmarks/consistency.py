"""Does the area of one person's cord depend on the contrast, or on the scan? On real images, without masks.

    python benchmarks/consistency.py --data FOLDER [--model softcord] [--markdown FILE]

**Across contrasts**: the model segments every image of a person on its own. In each slice of the person's
thickest image, the area is the volume of soft cord within that slice, as it lies in the scanner, over the
slice's thickness: so a thin-slice image is averaged over the thick slice, in the same plane. Printed are the
areas, their standard deviation over contrasts in each slice (the mean of that is the figure), and that of the
mean area; beside them the same of the masks that were drawn on these images, in slices that all of them hold.

**Scan and rescan**: mean area over the slices that all runs hold, and the coefficient of variation within the
person (over all four scans; and of two runs within a session, root mean square over sessions).
"""

import argparse
from pathlib import Path

import numpy as np

from real_images import RealImage, load, rows
from softcord import models
from softcord._typing import FloatArray
from softcord.engines import Network, predict

GROUPS = {
    "sub-ex2014 (kept for tests)": [
        "sub-ex2014_acq-crop_mt-off_MTS",
        "sub-ex2014_acq-crop_mt-on_MTS",
        "sub-ex2014_acq-crop_T2w",
        "sub-ex2014_acq-crop_T1w",
    ],
    "sub-errsm24": ["sub-errsm24_mt-off_MTS", "sub-errsm24_mt-on_MTS", "sub-errsm24_T2w"],
    "sub-unf01": ["sub-unf01_acq-slab_T1w", "sub-unf01_acq-slab_T2star", "sub-unf01_acq-slab_T2w"],
}
RESCANS = [f"sub-gm10062_ses-{s}_run-{r}_T2star" for s in (1, 2) for r in (1, 2)]
THICKEST_MM = 5.0  # slices further apart are taken to be this thick, with gaps
PARTS = 3  # sub-voxels along each axis


def slab_areas(soft: FloatArray, affine: np.ndarray, target: RealImage) -> FloatArray:
    """Area (K,) of soft cord in each slice of another image: its volume there over the slice's thickness."""
    i, j, k = np.nonzero(soft > 0.005)
    values = soft[i, j, k].astype(float) * abs(np.linalg.det(affine[:3, :3])) / PARTS**3
    steps = (np.arange(PARTS) + 0.5) / PARTS - 0.5
    thickness = min(target.zooms[2], THICKEST_MM)
    back = np.linalg.inv(target.affine) @ affine
    last = target.data.shape[2]
    areas = np.zeros(last)
    for di in steps:
        for dj in steps:
            for dk in steps:
                height = back[2, 0] * (i + di) + back[2, 1] * (j + dj) + back[2, 2] * (k + dk) + back[2, 3]
                nearest = np.rint(height).astype(int)
                inside = (np.abs(height - nearest) * target.zooms[2] <= thickness / 2) & (
                    (nearest >= 0) & (nearest < last)
                )
                areas += np.bincount(nearest[inside], values[inside], last)[:last]
    return areas / thickness


def covered(image: RealImage, target: RealImage) -> np.ndarray:
    """Slices (K,) of another image whose whole thickness lies within the view of `image` (at its middle)."""
    shape = np.asarray(image.data.shape, dtype=float)
    ends = [[(shape[0] - 1) / 2, (shape[1] - 1) / 2, edge, 1] for edge in (-0.5, shape[2] - 0.5)]
    heights = sorted((np.linalg.inv(target.affine) @ image.affine @ end)[2] for end in ends)
    half = min(target.zooms[2], THICKEST_MM) / target.zooms[2] / 2
    k = np.arange(target.data.shape[2])
    return (k - half >= heights[0] - 0.02) & (k + half <= heights[1] + 0.02)


def drawn_areas(images: list[RealImage], target: RealImage) -> FloatArray:
    """Areas (images, slices) of the drawn masks in slices of another image that all of them hold."""
    masks = [np.where(image.mask > 0.5, np.float32(1), 0) for image in images if image.mask is not None]
    areas = np.array(
        [slab_areas(mask, image.affine, target) for mask, image in zip(masks, images, strict=True)]
    )
    return areas[:, (areas > 0.5 * np.median(areas[areas > 0])).all(axis=0)]


def find(folder: Path, name: str) -> RealImage:
    """The image of that name."""
    (row,) = [row for row in rows(folder) if Path(row["image"]).name == f"{name}.nii.gz"]
    return load(folder, row)


def across_contrasts(folder: Path, network: Network) -> list[str]:
    """Lines of Markdown: areas of each person by contrast and slice, and their spread."""
    lines = [
        "| person | image | area, mm² | SD in a slice, mm² | SD of the mean | drawn: area | SD in a slice |",
        "|---|---|---|---|---|---|---|",
    ]
    for person, names in GROUPS.items():
        images = [find(folder, name) for name in names]
        target = max(images, key=lambda image: image.zooms[2])
        seen = np.all([covered(image, target) for image in images], axis=0)
        softs = [predict(image.data, image.zooms, network).soft for image in images]
        areas = np.array(
            [slab_areas(soft, image.affine, target)[seen] for soft, image in zip(softs, images, strict=True)]
        )
        spread, of_means = float(areas.std(axis=0, ddof=1).mean()), float(areas.mean(axis=1).std(ddof=1))
        drawn = drawn_areas(images, target)
        for name, area, mask in zip(names, areas, drawn, strict=True):
            lines.append(
                f"| {person} | {name.split('_', 1)[1]} | {area.mean():.1f} | | | {mask.mean():.1f} | |"
            )
        of_drawn = float(drawn.std(axis=0, ddof=1).mean())
        lines.append(
            f"| {person} | {int(seen.sum())} slices | | {spread:.2f} | {of_means:.2f} | | {of_drawn:.2f} |"
        )
        print("\n".join(lines[-len(names) - 1 :]), flush=True)
    return lines


def rescans(folder: Path, network: Network) -> list[str]:
    """Lines of Markdown: mean areas of repeated scans and their coefficient of variation."""
    means = []
    for name in RESCANS:
        image = find(folder, name)
        soft = predict(image.data, image.zooms, network).soft
        areas = soft.sum(axis=(0, 1), dtype=float) * image.zooms[0] * image.zooms[1]
        middle = areas[2:-2] if areas.size > 8 else areas
        means.append(float(middle.mean()))
    runs = np.array(means).reshape(2, 2)
    within = float(np.sqrt((runs.var(axis=1, ddof=1) / runs.mean(axis=1) ** 2).mean()))
    lines = ["| scan | mean area, mm² |", "|---|---|"]
    lines += [
        f"| {name.removeprefix('sub-')} | {mean:.2f} |" for name, mean in zip(RESCANS, means, strict=True)
    ]
    lines += [
        "",
        f"Within the person, over all four: CV {100 * np.std(means, ddof=1) / np.mean(means):.2f} %; ",
    ]
    lines[-1] += f"two runs of a session: CV {100 * within:.2f} %."
    print("\n".join(lines), flush=True)
    return lines


def main() -> None:
    """Print both tables, and write them as Markdown if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="softcord")
    parser.add_argument("--trained", action="store_true", help="leave out images that are kept for tests")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    network = models.load(args.model).network
    if args.trained:
        del GROUPS["sub-ex2014 (kept for tests)"]
    lines = across_contrasts(args.data, network)
    if not args.trained:
        lines += ["", *rescans(args.data, network)]
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
