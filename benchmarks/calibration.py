"""What the calibration of the logits does: area bias and reliability, with it and without.

    python benchmarks/calibration.py [--data FOLDER] [--seeds 12] [--model softcord] [--markdown FILE]

On phantoms whose shares are known (three contrasts, 0.5 to 1.5 mm in plane, slices of 1 to 5 mm) and, with
--data, on the real images of `--split`. Bias is that of the summed share against the true or drawn volume
(mean over images, and its standard deviation); the calibration error is that of `real_images.py`: within 5 mm
of the edge, ten bins of the soft value against the true share in each.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from partial_volume import make
from real_images import COPIED, calibration_error, masked
from softcord import models
from softcord._typing import FloatArray, Zooms
from softcord.engines import predict

ZOOMS = ((0.5, 3.0), (0.8, 1.0), (1.0, 5.0), (1.5, 3.0))


def main() -> None:
    """Print the table, and write it as Markdown if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first-seed", type=int, default=3000)
    parser.add_argument("--model", default="softcord")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    network = models.load(args.model).network
    ways = {"before": replace(network, scale=1.0, shift=0.0), "after": network}
    cases: dict[str, list[tuple[FloatArray, FloatArray, Zooms]]] = {"phantoms": []}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        phantom = make(seed, *ZOOMS[seed % len(ZOOMS)])
        cases["phantoms"].append((phantom.image, phantom.share, phantom.zooms))
    if args.data:
        cases[f"real images ({args.split})"] = [
            (real.data, real.mask, real.zooms)
            for real in masked(args.data, args.split)
            if real.mask is not None and COPIED not in real.row["note"]
        ]
    lines = ["| images | calibration | bias of the area, SD (%) | ECE within 5 mm |", "|---|---|---|---|"]
    for name, images in cases.items():
        for way, calibrated in ways.items():
            biases, errors = [], []
            for data, share, zooms in images:
                soft = predict(data, zooms, calibrated).soft
                drawn = (share > 0.5).any(axis=(0, 1))
                biases.append(100 * (soft[..., drawn].sum() / share[..., drawn].sum() - 1))
                errors.append(calibration_error(soft, share, zooms))
            lines.append(
                f"| {name} ({len(images)}) | {way} | {np.mean(biases):+.1f}, {np.std(biases):.1f} "
                f"| {np.mean(errors):.3f} |"
            )
    print("\n".join(lines))
    print(f"\nscale {network.scale:.3f}, shift {network.shift:+.3f}")
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
