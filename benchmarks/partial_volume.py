"""How true is the area? Soft and thresholded area over a ladder of resolutions, on phantoms of known area.

    python benchmarks/partial_volume.py [--seeds N] [--model softcord] [--markdown FILE]

Each rung is a voxel size; on each, phantoms of random anatomy and three contrasts are made, whose true
area in every slice follows from a formula. Compared are the sum of soft values and the 0.5 mask, for the
exact shares (the limit of what any method can reach) and for the shares that the model predicts. Bias is
the mean relative error of the slices' areas, CV the standard deviation of that error over slices; slices
within 6 mm of the field of view's ends are left out.
"""

import argparse
from pathlib import Path

import numpy as np

from softcord import models
from softcord.engines import predict
from softcord.phantoms import AnatomyOptions, Phantom, make_phantom

IN_PLANE = (0.5, 0.8, 1.0, 1.5, 2.0)
THICKNESS = (1.0, 3.0, 5.0, 8.0)
CONTRASTS = ("T2w", "T1w", "T2star")
FIELD_MM = (72.0, 72.0, 72.0)
END_MM = 6.0


def make(seed: int, in_plane: float, thickness: float) -> Phantom:
    """A phantom with an upright grid, so that the area of each slice is known."""
    zooms = (in_plane, in_plane, thickness)
    shape = tuple(max(4, round(f / z)) for f, z in zip(FIELD_MM, zooms, strict=True))
    parts = (max(2, round(in_plane / 0.3)), max(2, round(in_plane / 0.3)), max(1, round(thickness / 1.0)))
    return make_phantom(
        seed,
        shape=shape,
        zooms=zooms,
        contrast=CONTRASTS[seed % len(CONTRASTS)],
        oversample=parts,
        anatomy=AnatomyOptions(area_mm2=(45.0, 100.0), pathology=False, ends=False),
    )


def relative_errors(soft: np.ndarray, phantom: Phantom) -> np.ndarray:
    """Relative error of the area in each slice, away from the ends."""
    pixel = phantom.zooms[0] * phantom.zooms[1]
    areas = soft.sum(axis=(0, 1), dtype=float) * pixel
    end = min(max(1, round(END_MM / phantom.zooms[2])), (areas.size - 1) // 2)
    inside = slice(end, areas.size - end)
    return areas[inside] / phantom.areas_mm2[inside] - 1


def main() -> None:
    """Print the table, and write it as Markdown if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--model", default="softcord")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    network = models.load(args.model).network
    kinds = ("exact soft", "exact 0.5", "model soft", "model 0.5")
    lines = [
        "| in plane, mm | slice, mm | "
        + " | ".join(f"{k}: bias, CV (%)" for k in kinds)
        + " | model soft: median error (%) | slices missed |",
        "|" + "---|" * (len(kinds) + 4),
    ]
    print("\n".join(lines), flush=True)
    for in_plane in IN_PLANE:
        for thickness in THICKNESS:
            errors: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
            missed = total = 0
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                phantom = make(seed, in_plane, thickness)
                soft = predict(phantom.image, phantom.zooms, network).soft
                for name, values in (("exact", phantom.share), ("model", soft)):
                    errors[f"{name} soft"].append(relative_errors(values, phantom))
                    errors[f"{name} 0.5"].append(relative_errors(values > 0.5, phantom))
                missed += int((errors["model 0.5"][-1] == -1).sum())
                total += errors["model 0.5"][-1].size
            cells = [
                f"{100 * np.concatenate(e).mean():+.1f}, {100 * np.concatenate(e).std():.1f}"
                for e in errors.values()
            ]
            cells.append(f"{100 * np.median(np.concatenate(errors['model soft'])):+.1f}")
            lines.append(f"| {in_plane} | {thickness:g} | " + " | ".join(cells) + f" | {missed} of {total} |")
            print(lines[-1], flush=True)
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
