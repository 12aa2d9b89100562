"""How honest are the intervals of areas? Fit their widths on some phantoms, check them on others.

    python benchmarks/intervals.py [--fit] [--exact N] [--network N] [--model softcord]

Exact cases are bare cords (`softcord.phantoms.cords`) of random size, shape, tilt, place and resolution,
whose area across the cord is known; every other one is cut at 0.5. Network cases are noisy phantoms with a
body, segmented by the model. Without --fit, the intervals are checked as they stand in
`softcord.morphometrics.interval`, on seeds that no fit has seen. With --fit, weights and quantiles are fitted
first, on other seeds, printed for that module, and used for the check.

Counted is whether the true area of a slice lies in its 95 % interval: in one slice drawn at random per case
(so that cases are independent), and in all slices.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.optimize import minimize

import softcord
from softcord import models
from softcord.centerline import fit_centerline
from softcord.morphometrics import choose_pieces, interval, measure_slices
from softcord.morphometrics.interval import error_sources
from softcord.orientation import to_canonical
from softcord.phantoms import AnatomyOptions, make_phantom
from softcord.phantoms.cords import CordOptions, make_cord

FIT_SEED, CHECK_SEED = 1_000_000, 2_000_000
CONTRASTS = ("T1w", "T2w", "T2star", "MTon", "DWI", "STIR")
GEOMETRY = 1, 2, 3  # sources of error: rounding, scatter of the centres, fit
END_MM = 6.0  # network cases: phantoms are cut at their ends, where any network sees less

Case = tuple[np.ndarray, np.ndarray, np.ndarray]  # measured areas, sources of error, true areas; by slice


def exact_cases(seed: int, n: int) -> Iterator[Case]:
    """Cords whose shares are exact, soft and binary in turn."""
    for number in range(n):
        rng = np.random.default_rng(seed + number)
        in_plane = float(rng.choice([0.5, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0]))
        thickness = float(rng.choice([in_plane, 1.0, 2.0, 3.0, 5.0]))
        options = CordOptions(
            half_rl=rng.uniform(4.5, 8.0),
            half_ap=rng.uniform(3.0, 5.5),
            turn_deg=rng.uniform(-20, 20),
            tilt_deg=rng.uniform(0, 35),
            lean_deg=rng.uniform(0, 360),
            bend_mm=rng.uniform(0, 15),
            taper=rng.uniform(-0.15, 0.15),
            shift=(rng.uniform(-1, 1), rng.uniform(-1, 1)),
            length_mm=rng.uniform(30, 60),
        )
        cord = make_cord((in_plane, in_plane, thickness), options)
        share = (cord.share > 0.5).astype(np.float32) if number % 2 else cord.share
        yield measured(share, cord.zooms, cord.areas_mm2)


def network_cases(seed: int, n: int, model: models.Model) -> Iterator[Case]:
    """Noisy phantoms, segmented by the network."""
    for number in range(n):
        rng = np.random.default_rng(seed + number)
        in_plane = float(rng.choice([0.5, 0.7, 0.8, 1.0, 1.25, 1.5]))
        thickness = float(rng.choice([1.0, 2.0, 3.0, 5.0]))
        zooms = (in_plane, in_plane, thickness)
        phantom = make_phantom(
            int(rng.integers(2**31)),
            shape=(round(56 / in_plane), round(72 / in_plane), round(60 / thickness)),
            zooms=zooms,
            contrast=CONTRASTS[number % len(CONTRASTS)],
            oversample=(2, 2, max(1, round(thickness))),
            noise=rng.uniform(0.01, 0.08),
            anatomy=AnatomyOptions(area_mm2=(40.0, 110.0), pathology=False, ends=False),
        )
        image = nib.Nifti1Image(phantom.image, phantom.affine)
        soft = np.asarray(softcord.segment(image, model=model, threads=1).soft.dataobj)
        if not soft.any():
            continue
        heights = (np.arange(soft.shape[2]) - (soft.shape[2] - 1) / 2) * thickness
        slopes = [
            np.interp(heights, phantom.anatomy.table_z, np.gradient(table, phantom.anatomy.table_z))
            for table in (phantom.anatomy.centre_x, phantom.anatomy.centre_y)
        ]
        true = phantom.areas_mm2 / np.sqrt(1 + slopes[0] ** 2 + slopes[1] ** 2)
        away = np.abs(heights) < 30 - END_MM
        canonical = to_canonical(soft, phantom.affine)
        yield measured(canonical.data, canonical.zooms, np.where(away, true, np.nan))


def measured(soft: np.ndarray, zooms: tuple[float, float, float], true: np.ndarray) -> Case:
    """Areas of the slices that have cord and a known area, and what makes them uncertain."""
    measures = measure_slices(soft, zooms)
    slices = measures.slices
    known = measures.is_held & np.isfinite(true[slices])
    kept, _ = choose_pieces(soft, zooms)
    line = fit_centerline(kept, zooms)
    part = kept[:, :, slices]
    rim = (4 * part * (1 - part)).sum(axis=(0, 1), dtype=float) * zooms[0] * zooms[1]
    axes = measures.values["diameter_rl_mm"], measures.values["diameter_ap_ellipse_mm"]
    a, b = (np.nan_to_num(axis, nan=5.0) / 2 for axis in axes)
    sources = error_sources(
        area=measures.values["area_mm2"],
        rim=rim,
        perimeter=np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b))),
        cosine=line.cosine,
        zooms=zooms,
        residual_mm=line.residual_mm,
    )
    return measures.values["area_mm2"][known], sources[:, known], true[slices][known]


def fit(
    cases: list[Case], known: dict[int, float] | None = None
) -> tuple[tuple[float, ...], tuple[float, float]]:
    """Weights of the squared sources of error, and the quantiles of what remains.

    The weights are the likeliest ones if errors follow Laplace's law, which outliers move less than Gauss's;
    those that are known, by the number of their source, are kept.
    """
    areas, sources, true = (np.concatenate([case[i] for case in cases], axis=-1) for i in range(3))
    error, squares = np.abs(true - areas), sources**2

    def surprise(logarithms: np.ndarray) -> float:
        deviation = np.sqrt(np.exp(logarithms) @ squares + 1e-12)
        return float(np.mean(np.log(deviation) + error / deviation))

    starts = [np.full(len(sources), start) for start in (-4.0, -8.0, -12.0)]
    bounds = [(-25.0, 4.0)] * len(sources)
    for number, weight in (known or {}).items():
        bounds[number] = (math.log(max(weight, 1e-10)),) * 2
    found = [minimize(surprise, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    weights = np.exp(min(found, key=lambda result: float(result.fun)).x)
    rest = (true - areas) / np.sqrt(weights @ squares + 1e-12)
    low, high = np.quantile(rest, [0.025, 0.975])
    return tuple(float(f"{weight:.3g}") for weight in weights), (float(f"{low:.3g}"), float(f"{high:.3g}"))


def coverage(cases: list[Case], source: str) -> dict[str, float]:
    """Shares of slices whose true area lies in the interval."""
    rng = np.random.default_rng(0)
    single, every, widths, errors = [], [], [], []
    for areas, sources, true in cases:
        if not areas.size:
            continue
        low, high = interval.area_interval(areas, sources, source=source)
        inside = (low <= true) & (true <= high)
        single.append(inside[rng.integers(inside.size)])
        every.append(inside)
        widths.append((high - low) / areas)
        errors.append((areas - true) / true)
    errors = np.concatenate(errors)
    return {
        "cases": len(single),
        "one slice per case": 100 * float(np.mean(single)),
        "slices": int(sum(map(len, every))),
        "all slices": 100 * float(np.mean(np.concatenate(every))),
        "width": 100 * float(np.median(np.concatenate(widths))),
        "bias": 100 * float(np.mean(errors)),
        "deviation": 100 * float(np.std(errors)),
    }


def main() -> None:
    """Fit if asked, check, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--exact", type=int, default=2000, help="exact cases to check")
    parser.add_argument("--network", type=int, default=200, help="network cases to check")
    parser.add_argument("--fit-exact", type=int, default=400, help="exact cases to fit")
    parser.add_argument("--fit-network", type=int, default=200, help="network cases to fit")
    parser.add_argument("--model", default="softcord")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    model = models.load(args.model, threads=1) if args.network else None
    if args.fit:
        sets = {"mask": list(exact_cases(FIT_SEED, args.fit_exact)) if args.exact else []}
        sets["network"] = list(network_cases(FIT_SEED, args.fit_network, model)) if model else []
        for source, cases in sets.items():
            if cases:
                # rounding and the angle are as uncertain whoever has drawn the cord
                known = dict(zip(GEOMETRY, interval.WEIGHTS["mask"][1:4], strict=True))
                interval.WEIGHTS[source], interval.QUANTILES[source] = fit(
                    cases, known if source == "network" else None
                )
                print(
                    f'"{source}": weights {interval.WEIGHTS[source]}, quantiles {interval.QUANTILES[source]}'
                )
        print("Put these into src/softcord/morphometrics/interval.py (WEIGHTS, QUANTILES).", flush=True)
    head = "cases | number | inside, one slice per case (%) | slices | inside, all (%) | median width (%)"
    lines = [f"| {head} | bias, deviation of areas (%) |", "|---|---|---|---|---|---|---|"]
    checks = [("exact shares and masks", "mask", exact_cases(CHECK_SEED, args.exact))]
    if model:
        checks.append(("predicted by the network", "network", network_cases(CHECK_SEED, args.network, model)))
    for name, source, cases in checks:
        cases = list(cases)
        if not cases:
            continue
        kinds = [(name, cases)]
        if source == "mask":
            kinds += [("… of these, soft", cases[::2]), ("… of these, cut at 0.5", cases[1::2])]
        for label, chosen in kinds:
            c = coverage(chosen, source)
            lines.append(
                f"| {label} | {c['cases']} | {c['one slice per case']:.1f} | {c['slices']} "
                f"| {c['all slices']:.1f} | {c['width']:.1f} | {c['bias']:+.1f}, {c['deviation']:.1f} |"
            )
    print("\n".join(lines))
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
