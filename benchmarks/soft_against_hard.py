"""Does training on soft labels make the soft area truer? The same network, data and time, soft against hard.

    python benchmarks/soft_against_hard.py OUT [--data DIR] [--minutes 20] [--markdown FILE]

Trains the small topology twice with the same patches per epoch, for as many epochs as fit into half of the
minutes, on phantoms of three contrasts and, with --data, on the images of split `train` in DIR/images.tsv
(masks in DIR/bids). Both are then asked for phantoms that neither has seen, each anatomy in three contrasts:
Dice of the share cut at 0.5, bias of the area of the soft map (the sum of shares over the true one), and the
standard deviation of the area across the contrasts of one anatomy. Run again, it goes on where it was.
"""

import argparse
import json
import time
from pathlib import Path

import blosc2
import nibabel as nib
import numpy as np
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from softcord import scores
from softcord.phantoms import AnatomyOptions, make_phantom
from softcord.train.nnunet.layout import Run, open_run
from softcord.train.nnunet.planning import PlanOptions, plan
from softcord.train.nnunet.trainers import TrainOptions
from softcord.train.nnunet.training import train
from softcord.train.nnunet.validate import load_network

CONTRASTS = ("T2w", "T1w", "T2star")
PATCH, SPACING = (32, 64, 64), (1.0, 1.0, 2.0)
SHAPE, ZOOMS = (48, 64, 32), (1.0, 1.0, 2.0)
ANATOMY = AnatomyOptions(pathology=False, ends=False)
ITERATIONS = 10


def save(values: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write an image with axes that run to LAS."""
    image = nib.Nifti1Image(values, affine)
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(("L", "A", "S")))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(turn), path)


def write_case(folder: Path, name: str, image: np.ndarray, share: np.ndarray, affine: np.ndarray) -> None:
    """One case of a raw dataset."""
    save(image.astype(np.float32), affine, folder / "imagesTr" / f"{name}_0000.nii.gz")
    save((share > 0.5).astype(np.uint8), affine, folder / "labelsTr" / f"{name}.nii.gz")
    save(share.astype(np.float32), affine, folder / "softTr" / f"{name}.nii.gz")


def write_dataset(folder: Path, data: Path | None, people: int, unseen: int) -> None:
    """Phantoms and images to train on; the last phantoms are for the comparison."""
    train_names, test_names = [], []
    for person in range(people + unseen):
        for contrast in CONTRASTS:
            phantom = make_phantom(
                2000 + person, shape=SHAPE, zooms=ZOOMS, contrast=contrast, anatomy=ANATOMY
            )
            name = f"phantom{person:02d}_{contrast}"
            write_case(folder, name, phantom.image, phantom.share, phantom.affine)
            (train_names if person < people else test_names).append(name)
    rows = [] if data is None else (data / "images.tsv").read_text(encoding="utf-8").splitlines()
    head = rows[0].split("\t") if rows else []
    for n, row in enumerate(rows[1:]):
        values = dict(zip(head, row.split("\t"), strict=False))
        if values["split"] != "train" or not values["cord_mask"]:
            continue
        image = nib.load(data / "bids" / values["image"])
        mask = np.asarray(nib.load(data / "bids" / values["cord_mask"]).dataobj) > 0
        around = nib.affines.voxel_sizes(image.affine)
        along = io_orientation(image.affine)[:, 0] == 2  # slices that nobody drew say nothing
        margins = [0 if is_along else int(30 / mm) for is_along, mm in zip(along, around, strict=True)]
        box = tuple(
            slice(max(0, at.min() - margin), at.max() + margin + 1)
            for at, margin in zip(np.nonzero(mask), margins, strict=True)
        )
        moved = image.affine.copy()
        moved[:3, 3] += image.affine[:3, :3] @ [part.start for part in box]
        name = f"image{n:02d}"
        write_case(folder, name, np.asarray(image.dataobj)[box], mask[box].astype(float), moved)
        train_names.append(name)
    content = {
        "channel_names": {"0": "acq"},
        "labels": {"background": 0, "sc": 1},
        "numTraining": len(train_names) + len(test_names),
        "file_ending": ".nii.gz",
        "softcord": {"orientation": "LAS", "soft_labels": "softTr"},
    }
    (folder / "splits_final.json").write_text(json.dumps([{"train": train_names, "val": test_names}]))
    (folder / "dataset.json").write_text(json.dumps(content))


def seconds_per_epoch(run: Run, out: Path) -> float:
    """Of one epoch after the first, measured once and kept."""
    path = out / "epoch.json"
    if not path.is_file():
        took: list[float] = []
        options = TrainOptions(epochs=2, iterations=ITERATIONS, validation_iterations=1)
        train(run.folder, options, results="warm-up", device="cpu", final_validation=False,
              on_epoch=lambda epoch: took.append(epoch.seconds))  # fmt: skip
        path.write_text(json.dumps(took[-1]))
    return float(json.loads(path.read_text()))


def compare(run: Run) -> tuple[float, float, float]:
    """Mean Dice, bias of the soft area (%), and its standard deviation across contrasts (% of the area)."""
    network = load_network(run, run.fold(0) / "checkpoint_final.pth", torch.device("cpu"))
    names = json.loads((run.preprocessed / "splits_final.json").read_text())[0]["val"]
    arrays = run.preprocessed / "softcordPlans_3d_fullres"
    dices, ratios, people = [], [], {}
    for name in names:
        image = torch.from_numpy(blosc2.open(str(arrays / f"{name}.b2nd"), mode="r")[:])
        true = blosc2.open(str(run.soft / f"{name}.b2nd"), mode="r")[:][0]
        pads = [(-n) % m for n, m in zip(image.shape[1:], (16, 32, 32), strict=True)]
        padded = torch.nn.functional.pad(image, [p for pad in pads[::-1] for p in (0, pad)])
        with torch.no_grad():
            share = network(padded[None]).softmax(1)[0, 1].numpy()[tuple(slice(n) for n in true.shape)]
        dices.append(scores.dice(share >= 0.5, true >= 0.5))
        ratios.append(scores.volume_ratio(share, true))
        people.setdefault(name.partition("_")[0], []).append(ratios[-1])
    spread = np.mean([np.std(values, ddof=1) for values in people.values()])
    return float(np.mean(dices)), 100 * (float(np.mean(ratios)) - 1), 100 * float(spread)


def main() -> None:
    """Train both, print the table, and write it as Markdown if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--people", type=int, default=8, help="phantoms to train on, each in three contrasts")
    parser.add_argument("--unseen", type=int, default=4, help="phantoms to compare on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    raw = args.out / "raw" / "Dataset900_SoftHard"
    if not (raw / "dataset.json").is_file():
        write_dataset(raw, args.data, args.people, args.unseen)
    options = PlanOptions("contrast-agnostic-small", patch=PATCH, spacing=SPACING)
    run = plan(raw, args.out / "run", options)
    epochs = max(2, int(args.minutes * 30 / seconds_per_epoch(run, args.out)))
    lines = [
        "| labels | Dice | bias of the soft area (%) | SD across contrasts (%) | minutes |",
        "|---|---|---|---|---|",
    ]
    for labels in ("soft", "hard"):
        begun = time.monotonic()
        train(
            run.folder,
            TrainOptions(labels=labels, epochs=epochs, iterations=ITERATIONS, validation_iterations=1),
            results=labels,
            device="cpu",
            final_validation=False,
            on_epoch=lambda epoch, labels=labels: print(labels, epoch, flush=True),
        )
        minutes = (time.monotonic() - begun) / 60
        trained, _ = open_run(run.folder, results=labels)
        dice, bias, spread = compare(trained)
        lines.append(f"| {labels} | {dice:.3f} | {bias:+.1f} | {spread:.1f} | {minutes:.1f} |")
    text = "\n".join([f"{epochs} epochs of {ITERATIONS} steps each", "", *lines])
    print(text)
    if args.markdown:
        args.markdown.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
