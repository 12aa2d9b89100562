"""What each kind of training sample is worth: four short trainings, scored on people that none of them saw.

    python benchmarks/ablation.py --data FOLDER --recipe recipes/softcord-compact-4.yaml --out FOLDER
        [--steps 1000] [--pseudo FOLDER] [--markdown FILE]

Each training starts from random weights and has the same budget: synthetic anatomy alone; with label maps;
with real images, too; with pseudo-labelled images (--pseudo, see `softcord train pseudo`), too. Left out of
the real images are the people named below, whose images give the scores: of the network alone, everywhere,
on its own grid. What was interrupted goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from scipy.ndimage import binary_dilation

from real_images import COPIED, compare, masked
from softcord import models
from softcord._typing import FloatArray, Zooms
from softcord.engines import Network
from softcord.engines.intensity import grey_scale
from softcord.engines.pieces import cord_pieces
from softcord.engines.refine import compute_whole
from softcord.resample import resample
from softcord.train.config import SynthConfig
from softcord.train.reading import read_config, to_dict
from softcord.train.synth import train_synth

LEFT_OUT = ("errsm24", "t2sa", "unf01")


def variants(recipe: SynthConfig, steps: int, *, pseudo: bool) -> dict[str, SynthConfig]:
    """The configurations that are compared."""
    schedule = replace(
        recipe.schedule, steps=steps, warm_up=100, ema=0.99, pool=300, learning_rate=0.002, calibration=0
    )
    images = [replace(s, exclude=(*s.exclude, *LEFT_OUT)) for s in recipe.images if not s.pseudo]
    unlabelled = [source for source in recipe.images if source.pseudo]
    base = replace(recipe, schedule=schedule, images=images)
    mix = base.mix
    found = {
        "synthetic anatomy alone": replace(base, maps=[], images=[], mix=replace(mix, maps=0.0, images=0.0)),
        "+ label maps": replace(base, images=[], mix=replace(mix, images=0.0)),
        "+ real images": base,
    }
    if pseudo:
        found["+ pseudo-labelled images"] = replace(base, images=[*images, *unlabelled])
    return found


def scores(model: Path, data: Path) -> np.ndarray:
    """Dice, soft Dice, volume ratio, slices missed and calibration error (N, 5) of the images left out."""
    network = models.load(model).network
    return np.array(
        [
            score(real.data, real.mask, real.zooms, network)
            for real in masked(data, "train")
            if real.row["participant"] in LEFT_OUT
            and COPIED not in real.row["note"]
            and real.mask is not None
        ]
    )


def score(
    image: FloatArray, mask: FloatArray, zooms: Zooms, network: Network
) -> tuple[float, float, float, int, float]:
    """Scores of the network alone, on its fine grid.

    Everything is looked at, the largest chain of pieces counts, and the evidence that a cord must give
    otherwise is not asked for: no network gives it after so few steps.
    """
    grid = network.fine_grid(image.shape, zooms)
    whole = compute_whole(image, grey_scale(image), grid, lambda part: [network.shares(part)])
    shares = whole.looks[0]
    near = binary_dilation(cord_pieces(shares, grid.zooms, level=0.5), iterations=3)
    return compare(np.where(near, shares, np.float32(0)), resample(mask, grid), grid.zooms)


def main() -> None:
    """Train, score, print the table, and write it as Markdown if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--pseudo", type=Path)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    lines = [
        "| trained on | Dice, median | Dice, worst | soft Dice, median | volume ratio | slices missed |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for number, (name, config) in enumerate(
        variants(read_config(args.recipe), args.steps, pseudo=args.pseudo is not None).items()
    ):
        folder = args.out / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        path = args.out / f"{number}.yaml"
        path.write_text(yaml.safe_dump(to_dict(config)), encoding="utf-8")
        found = scores(train_synth(path, folder, data=args.data, pseudo=args.pseudo), args.data)
        dices, softs, ratios, missed = found[:, :4].T
        lines.append(
            f"| {name} | {np.median(dices):.3f} | {dices.min():.3f} | {np.median(softs):.3f} "
            f"| {ratios.min():.2f} to {ratios.max():.2f} | {int(missed.sum())} |"
        )
        print(lines[-1], flush=True)
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
