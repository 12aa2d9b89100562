"""Time of `softcord dataset convert`, against reading and writing the same files with nibabel alone.

    python benchmarks/convert.py [--images 200] [--jobs 1 2]

Makes phantom images with masks in a folder that is removed at the end, converts them, and prints seconds per
image beside the size of what was read and written. The same files are also loaded and saved by nibabel, which
neither looks at them nor checks anything: a conversion can hardly be faster than that.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from softcord.dataset import convert, split_subjects
from softcord.phantoms import make_phantom

GRIDS = {  # as cervical T2w, T1w head and neck in part, axial T2*, axial MT
    "T2w": ((64, 320, 320), (0.8, 0.8, 0.8)),
    "T1w": ((192, 260, 160), (1.0, 1.0, 1.0)),
    "T2star": ((320, 320, 15), (0.5, 0.5, 5.0)),
    "mt-on_MTS": ((192, 192, 22), (0.9, 0.9, 5.0)),
}
KINDS = 8  # different phantoms; more images are copies with their own noise


def main() -> None:
    """Make images, convert them, print times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="softcord-convert-"))
    try:
        recipe, data, pairs = _make(folder, args.images)
        _measure(folder, recipe, data, pairs, args.jobs)
    finally:
        shutil.rmtree(folder)


def _make(folder: Path, n_images: int) -> tuple[Path, Path, list[tuple[Path, Path]]]:
    root, pairs = folder / "phantoms", []
    phantoms = {
        (name, seed): make_phantom(seed, shape=shape, zooms=zooms)
        for name, (shape, zooms) in GRIDS.items()
        for seed in range(KINDS // len(GRIDS))
    }
    for n in range(n_images):
        name = list(GRIDS)[n % len(GRIDS)]
        phantom = phantoms[name, n // len(GRIDS) % (KINDS // len(GRIDS))]
        subject = f"sub-{n // len(GRIDS):03d}"
        noise = np.random.default_rng(n).normal(0, 10, phantom.image.shape)
        image = np.clip(1000 * phantom.image + noise, 0, 4095).astype(np.int16)
        mask = (phantom.share >= 0.5).astype(np.uint8)
        paths = []
        for values, place in ((image, ""), (mask, "derivatives/labels")):
            path = (
                root / place / subject / "anat" / f"{subject}_{name}{'_label-SC_seg' if place else ''}.nii.gz"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            stored = nib.Nifti1Image(values, phantom.affine)
            stored.header.set_xyzt_units("mm")
            nib.save(stored, path)
            paths.append(path)
        pairs.append((paths[0], paths[1]))
    content = {"name": "Phantoms", "datasets": [{"name": "phantoms", "labels": {"suffix": "label-SC_seg"}}]}
    (folder / "recipe.yaml").write_text(json.dumps(content))
    data = folder / "data"
    data.mkdir()
    row = {"name": "phantoms", "folder": str(root)}
    (data / "datasets.json").write_text(json.dumps({"datasets": [row]}))
    return folder / "recipe.yaml", data, pairs


def _measure(folder: Path, recipe: Path, data: Path, pairs: list[tuple[Path, Path]], jobs: list[int]) -> None:
    start = time.perf_counter()
    split_subjects(recipe, data, folder / "split")
    print(f"split: {time.perf_counter() - start:.1f} s for {len(pairs)} images")
    read = sum(path.stat().st_size for pair in pairs for path in pair)
    plain = _plain(folder / "plain", pairs)
    print(f"nibabel alone, 1 process: {plain / len(pairs):.3f} s per image, {read / 1e6:.0f} MB read")
    for n in jobs:
        out = folder / f"raw{n}"
        start = time.perf_counter()
        made = convert(recipe, data, out, split=folder / "split", jobs=n)
        passed = time.perf_counter() - start
        written = sum(path.stat().st_size for path in made.folder.glob("*T[rs]/*"))
        moved = (read + written) / 1e6
        print(
            f"softcord, {n} process{'es' if n > 1 else ''}: {passed / len(pairs):.3f} s per image, "
            f"{passed:.1f} s in all; {read / 1e6:.0f} MB read, {written / 1e6:.0f} MB written, "
            f"{moved / passed:.1f} MB/s; {passed / plain:.2f} × nibabel alone"
        )
        if made.failed or len(made.records) != len(pairs):
            sys.exit(f"{len(made.failed)} images failed")


def _plain(out: Path, pairs: list[tuple[Path, Path]]) -> float:
    """Seconds to load and save every image and mask, the mask a second time as float32."""
    out.mkdir()
    start = time.perf_counter()
    for image, mask in pairs:
        for path, kind, ending in ((image, None, "image"), (mask, None, "hard"), (mask, np.float32, "soft")):
            loaded = nib.load(path)
            values = np.asanyarray(loaded.dataobj)
            stored = nib.Nifti1Image(values if kind is None else values.astype(kind), loaded.affine)
            nib.save(stored, out / f"{image.stem}.{ending}.nii.gz")
    passed = time.perf_counter() - start
    shutil.rmtree(out)
    return passed


if __name__ == "__main__":
    main()
