"""Time and memory of the morphometrics, and how true the soft area is against SCT's rule.

    python benchmarks/csa.py [--reference FOLDER] [--repeats N]

`--reference` is the folder of SCT's masks and tables (default: ../shared/reference/sct). Prints

1. agreement with SCT's tables, the largest difference per measure, by SCT's definitions and softcord's own;
2. how true the soft area is on cords of known area, by softcord's rule and by SCT's, side by side;
3. seconds for the 55-slice mask, and seconds and peak memory for masks of growing length and a whole head.

Times are CPU seconds of one thread in this process, the best of the repeats; SCT took 1.1 s without and
1.66 s with angle correction for the same mask.
"""

import argparse
import csv
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from softcord.measure import CsaOptions, csa
from softcord.morphometrics import measure_slices
from softcord.orientation import to_canonical
from softcord.phantoms.cords import CordOptions, make_cord

HERE = Path(__file__).resolve().parent
MEASURES = {
    "area": "area_mm2",
    "angle_AP": "angle_ap_deg",
    "angle_RL": "angle_rl_deg",
    "diameter_AP": "diameter_ap_mm",
    "diameter_AP_ellipse": "diameter_ap_ellipse_mm",
    "diameter_RL": "diameter_rl_mm",
    "eccentricity": "eccentricity",
    "orientation": "orientation_deg",
    "solidity": "solidity",
    "length": "length_mm",
}
LIMITS = dict(zip(MEASURES, (0.05, 0.3, 0.3, 0.1, 0.1, 0.1, 0.01, 1.0, 0.01, 0.02), strict=True))
TABLES = {
    "T2": ("t2_seg-manual", "t2_perslice", True),
    "T2, no correction": ("t2_seg-manual", "t2_perslice_nocorr", False),
    "T1": ("t1w_seg-manual", "t1w_perslice", True),
    "T2*": ("t2s_seg-deepseg", "t2s_perslice", True),
}
PHANTOM = {
    "area": "area",
    "angAP": "angle_AP",
    "angRL": "angle_RL",
    "dAP": "diameter_AP",
    "dRL": "diameter_RL",
    "ecc": "eccentricity",
    "len": "length",
}
SHAPES = {
    "straight": CordOptions(shift=(0.2, 0.35)),
    "tilted 35° to the front": CordOptions(tilt_deg=35.0, shift=(0.2, 0.35)),
    "tilted 35° to the right": CordOptions(tilt_deg=35.0, lean_deg=0.0, turn_deg=10.0),
    "tilted 35° between": CordOptions(tilt_deg=35.0, lean_deg=45.0),
    "curved": CordOptions(bend_mm=20.0, shift=(0.2, 0.35)),
    "tapered": CordOptions(taper=0.2),
    "ends filled by 0.25 and 0.5": CordOptions(fill=(0.25, 0.5), tilt_deg=10.0),
}
ZOOMS = ((0.5, 0.5, 0.5), (0.5, 0.5, 3.0), (1.0, 1.0, 1.0), (1.0, 1.0, 5.0), (1.5, 1.5, 1.5), (2.0, 2.0, 2.0))


def load(path: Path) -> tuple[np.ndarray, tuple[float, float, float]]:
    """A mask on canonical axes, and its voxel size."""
    image = nib.load(path)
    canonical = to_canonical(np.asarray(image.dataobj, dtype=np.float32), image.affine)
    return canonical.data, canonical.zooms


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a table."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def column(measure: str) -> str:
    """Name of a measure in SCT's tables."""
    return "SUM(length)" if measure == "length" else f"MEAN({measure})"


def agreement(folder: Path) -> None:
    """Largest differences from SCT's tables."""
    for definition in ("sct", "softcord"):
        print(f"\nLargest difference from SCT per slice, definitions of {definition}:\n")
        print("| mask | slices | " + " | ".join(MEASURES) + " |\n|" + "---|" * (len(MEASURES) + 2))
        print("| limit | | " + " | ".join(f"{limit:g}" for limit in LIMITS.values()) + " |")
        for name, (mask, table, corrected) in TABLES.items():
            soft, zooms = load(folder / "masks" / f"{mask}.nii.gz")
            rows = read(folder / f"{table}.csv")
            measures = measure_slices(soft, zooms, definition=definition, angle_correction=corrected)
            cells = []
            for measure, ours in MEASURES.items():
                theirs = np.array([float(row[column(measure)]) for row in rows])
                cells.append(f"{np.abs(measures.values[ours] - theirs).max():.2g}")
            print(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |")
        print(f"| 11 phantoms | | {phantoms(folder, definition)} |")
    levels(folder)


def phantoms(folder: Path, definition: str) -> str:
    """Largest differences over the phantoms, as cells of a table."""
    worst = dict.fromkeys(MEASURES, np.nan)
    for row in read(folder / "phantoms.csv"):
        soft, zooms = load(folder / "phantoms" / f"phantom{int(row['id']):02d}.nii.gz")
        corrected = row["angle_corr"] == "True"
        values = measure_slices(soft, zooms, definition=definition, angle_correction=corrected).values
        for short, measure in PHANTOM.items():
            summed = np.nansum if measure == "length" else np.nanmean
            off = abs(float(summed(values[MEASURES[measure]])) - float(row[short]))
            worst[measure] = np.nanmax([worst[measure], off])
    return " | ".join("" if np.isnan(value) else f"{value:.2g}" for value in worst.values())


def levels(folder: Path) -> None:
    """Levels and PAM50 against SCT."""
    mask, discs = (folder / "masks" / f"{name}.nii.gz" for name in ("t2_seg-manual", "t2_discs"))
    found = csa(mask, CsaOptions(rows="level", definition="sct"), discs=discs)
    theirs = read(folder / "t2_perlevel.csv")
    worst = max(
        abs(row.values["area_mm2"] - float(other["MEAN(area)"]))
        for row, other in zip(found.rows, theirs, strict=True)
    )
    slices = [f"{row.slices[0]}:{row.slices[-1]}" for row in found.rows]
    same = slices == [other["Slice (I->S)"] for other in theirs]
    print(f"\nlevels: area within {worst:.2g} mm², slices {'the same' if same else 'differ'} ({slices})")
    found = csa(mask, CsaOptions(rows="slice", pam50=True, definition="sct"), discs=discs)
    theirs = read(folder / "t2_PAM50.csv")
    for measure, ours in MEASURES.items():
        if measure == "length":
            continue
        pairs = [
            (row.values[ours], other[column(measure)]) for row, other in zip(found.rows, theirs, strict=True)
        ]
        worst = max(abs(value - float(text)) for value, text in pairs if text)
        print(f"PAM50, {measure}: within {worst:.2g} in {sum(bool(text) for _, text in pairs)} slices")


def truth() -> None:
    """Soft area against the truth, by both rules."""
    print("\nBias of the mean area (largest error of a slice), %, over voxel sizes of 0.5 to 2 mm:\n")
    print("| cord | softcord: bias | worst slice | SCT's rule: bias | worst slice |\n|---|---|---|---|---|")
    for name, options in SHAPES.items():
        cells = []
        for definition in ("softcord", "sct"):
            biases, slices = [], []
            for zooms in ZOOMS:
                cord = make_cord(zooms, options)
                areas = measure_slices(cord.share, zooms, definition=definition).values["area_mm2"]
                biases.append(100 * (areas.sum() / cord.areas_mm2.sum() - 1))
                slices.append(100 * (areas / cord.areas_mm2 - 1))
            worst = max(biases, key=abs)
            cells += [f"{worst:+.2f}", f"{max(np.concatenate(slices), key=abs):+.1f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def times(folder: Path, repeats: int) -> None:
    """CPU seconds of the T2 mask."""
    soft, zooms = load(folder / "masks" / "t2_seg-manual.nii.gz")
    print()
    for definition in ("softcord", "sct"):
        spent = []
        for _ in range(repeats):
            start = time.process_time()
            measure_slices(soft, zooms, definition=definition)
            spent.append(time.process_time() - start)
        best = min(spent)
        print(f"55-slice T2 mask, {definition}: {1000 * best:.1f} ms, SCT's 1.66 s: {1.66 / best:.0f} times")


def memory() -> None:
    """Seconds and peak memory of large masks, each in a new process."""
    print("\n| mask | slices with cord | s | peak above start, MB | peak in all, MB |\n|---|---|---|---|---|")
    for shape, length in (
        ((64, 64, 40), 40),
        ((64, 64, 160), 160),
        ((64, 64, 640), 640),
        ((240, 256, 176), 176),
    ):
        command = [sys.executable, str(HERE / "csa.py"), "--child", *map(str, (*shape, length))]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        print(run.stdout.strip(), flush=True)


def child(i: int, j: int, k: int, length: int) -> None:
    """One mask in this process."""
    import resource

    from softcord.morphometrics import measure_slices

    x, y = np.ogrid[:i, :j]
    disc = (((x - i / 2) / 6.3) ** 2 + ((y - j / 2) / 4.2) ** 2 <= 1).astype(np.float32)
    measure_slices(np.repeat(disc[:, :, None], 6, axis=2), (1.0, 1.0, 1.0))  # imports and first calls
    soft = np.zeros((i, j, k), dtype=np.float32)
    soft[:, :, :length] = disc[:, :, None]
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    start = time.process_time()
    measure_slices(soft, (1.0, 1.0, 1.0))
    spent = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    print(f"| {i}x{j}x{k} | {length} | {spent:.2f} | {after - before:.0f} | {after:.0f} |")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", type=Path, default=HERE.parents[1] / "shared" / "reference" / "sct")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--child", type=int, nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(*args.child)
        return
    agreement(args.reference)
    truth()
    times(args.reference, args.repeats)
    memory()


if __name__ == "__main__":
    main()
