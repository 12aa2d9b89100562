"""nnU-Net's own predictor and softcord on the original topology, side by side in one run.

    python benchmarks/nnunet.py [--threads N] [--rounds N] [--images N] [--ways] [--tiny] [--markdown FILE]

Needs torch and nnunetv2, and OpenVINO for the times that count. Weights are random. It prints

- how fast this machine multiplies and adds at best: see `benchmarks/matmul_peak.py`;
- seconds and peak memory of one tile, of both, each in processes of their own, in turn, and how much of that
  best a tile of softcord reaches;
- for two head phantoms and each T2w image the tiles of the grid and those that `follow` computes; for the
  heads and the first N images also how many times faster they are. The tiles are those that the true cord
  passes through, as random weights find none (without a drawn mask: the compact network's cord); the compact
  network that says where to start is run and its time counted. Of nnU-Net, three tiles are timed and
  multiplied by those of the grid; its preprocessing and export are left out, softcord's are counted;
- with `--ways`, what else would make it faster, and what it would change: see `benchmarks/nnunet_ways.py`.

Nothing else may run on the machine: its load is printed first. `--tiny` takes a network and a head so small
that all of it takes a minute or two: for trying the script itself.
"""

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

import matmul_peak
import nnunet_ways as ways
from nnunet_images import Image, make_head, write_images

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

STRIDES = [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]
FEATURES = [32, 64, 128, 256, 320, 320]
PLANS = {  # patch and spacing along right-left, antero-posterior, cord
    "v2": {"patch": (64, 192, 320), "spacing": (1.0, 1.0, 1.0)},
    "v3": {"patch": (64, 224, 160), "spacing": (0.9, 0.7, 1.0)},
}
TARGET = 0.9 * 2.3  # times faster per tile, less a tenth for what is not tiles
TILE_HEAD = (
    "| plan | engine | nnU-Net, s | softcord, s | faster | MB | MB | memory | GFLOP | of the fastest |",
    "|---" * 10 + "|",
)
IMAGE_HEAD = (
    "| image | cord | plan | tiles | computed | wanted | nnU-Net, s (3 × n) | softcord, s | faster | MB |",
    "|---" * 10 + "|",
)


def make_model(folder: Path, name: str, *, tiny: bool) -> Path:
    """A model of the original topology with random weights."""
    import random_nnunet as make

    options = dict(PLANS[name], transpose=(2, 1, 0))
    features, strides = FEATURES, STRIDES
    if tiny:
        options["patch"] = tuple(n // 4 for n in options["patch"])
        features, strides = [4, 8, 16, 16], STRIDES[:4]
    network = make.architecture(features=features, strides=strides, first_kernel=(3, 3, 3))
    plans = make.make_plans(**options, network=network)
    return make.write_model(folder / name, plans, make.make_dataset())


def gigaflops(model: Path) -> float:
    """Multiplications and additions of one tile, in thousand millions."""
    from softcord.engines.nnunet.plans import read_plans

    plans = read_plans(json.loads((model / "plans.json").read_text(encoding="utf-8")))
    t, shape, total, sizes = plans.topology, np.array(plans.patch), 0.0, []
    channels = len(plans.normalisations)
    for features, kernel, stride, count in zip(t.features, t.kernels, t.strides, t.encoder, strict=True):
        shape = shape // stride
        sizes.append(float(np.prod(shape)))
        for _ in range(count):
            total += 2 * sizes[-1] * np.prod(kernel) * channels * features
            channels = features
    for stage in range(len(t.features) - 2, -1, -1):
        features, kernel = t.features[stage], t.kernels[stage]
        total += 2 * sizes[stage] * channels * features
        inside = 2 * features
        for _ in range(t.decoder[-1 - stage]):
            total += 2 * sizes[stage] * np.prod(kernel) * inside * features
            inside = features
        channels = features
    return float(total + 2 * sizes[0] * channels * 2) / 1e9


def time_nnunet(model: Path, threads: int, tiles: int) -> dict[str, float]:
    """Seconds of each tile in nnU-Net's predictor, and the peak memory of this process."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    torch.set_num_threads(threads)
    predictor = nnUNetPredictor(
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(model), ("all",), "checkpoint_final.pth")
    patch = predictor.configuration_manager.patch_size
    shape = (patch[0] * (tiles + 1) // 2, *patch[1:])  # steps of half a tile
    seconds, compute = [], predictor._internal_maybe_mirror_and_predict  # noqa: SLF001

    def timed(part: torch.Tensor) -> torch.Tensor:
        start = time.perf_counter()
        result = compute(part)
        seconds.append(time.perf_counter() - start)
        return result

    predictor._internal_maybe_mirror_and_predict = timed  # noqa: SLF001
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32))
    predictor.predict_logits_from_preprocessed_data(image)
    return {"seconds": median(seconds), "tiles": len(seconds), "peak_mb": peak_mb()}


def time_softcord(model: Path, threads: int, tiles: int) -> dict[str, float]:
    """The same of softcord."""
    from softcord import models
    from softcord.engines.nnunet.predict import _Tiling
    from softcord.engines.nnunet.preprocess import Prepared

    network = models.load(model, device="cpu", threads=threads).network
    patch = network.plans.patch
    shape = (patch[0] * (tiles + 1) // 2, *patch[1:])
    image = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    everything = tuple(slice(0, n) for n in shape)
    prepared = Prepared(image, everything, shape, network.plans.spacing, everything)
    network.folds.engine(0)
    moments = [time.perf_counter()]
    tiling = _Tiling(prepared, network, mirror=False, on_tile=lambda *_: moments.append(time.perf_counter()))
    tiling.all()
    seconds = np.diff(moments)
    return {
        "seconds": float(np.median(seconds)),
        "tiles": len(seconds),
        "peak_mb": peak_mb(),
        "engine": network.engine_name,
    }


def follow_image(model: Path, threads: int, image: Path) -> dict[str, float]:
    """Seconds of an image in `follow`, with the tiles that its true cord passes through."""
    from softcord import engines, models
    from softcord.engines.nnunet import NnunetOptions, follow, predict, predict_nnunet

    content = np.load(image)
    data, cord, zooms = content["data"], content["cord"], tuple(float(z) for z in content["zooms"])
    loaded = models.load(model, device="cpu", threads=threads)
    loaded.network.folds.engine(0)

    def find_cord() -> np.ndarray:
        engines.predict(data, zooms, loaded.guide)
        return cord

    real = predict.follow_tiles

    def along_the_truth(grid, shape, spacing, labels, seed, compute, combine):  # noqa: ANN001, ANN202
        follow.cord_chain = lambda *_: seed
        return real(grid, shape, spacing, labels, seed, compute, combine)

    predict.follow_tiles = along_the_truth
    start = time.perf_counter()
    made = predict_nnunet(
        [data], zooms, ways.RAS, loaded.network, NnunetOptions("follow"), find_cord=find_cord
    )
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "tiles": made.tiles, "computed": made.computed, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Peak memory of this process."""
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)
    )


def in_process(action: str, model: Path, threads: int, extra: str) -> dict[str, float]:
    """One of the measurements above, in a process of its own."""
    command = [sys.executable, __file__, action, str(model), "--threads", str(threads), "--extra", extra]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)}\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def compare_tiles(model: Path, args: argparse.Namespace, peak: float) -> tuple[float, str]:
    """Seconds of a tile of nnU-Net, and the row of one plan."""
    ours, theirs = [], []
    for _ in range(args.rounds):
        theirs.append(in_process("nnunet", model, args.threads, "3"))
        ours.append(in_process("softcord", model, args.threads, "3"))
    a, b = (median(r["seconds"] for r in rows) for rows in (theirs, ours))
    p, q = (median(r["peak_mb"] for r in rows) for rows in (theirs, ours))
    speed = gigaflops(model) / b
    return a, (
        f"| {model.name} | {ours[0]['engine']} | {a:.2f} | {b:.2f} | {a / b:.2f} | {p:.0f} | {q:.0f} | "
        f"{100 * q / p:.0f} % | {gigaflops(model):.0f} | {100 * speed / peak:.0f} % |"
    )


def compare_image(model: Path, image: Image, args: argparse.Namespace, tile: float, *, timed: bool) -> str:
    """The row of one image."""
    content = np.load(image.path)
    placed = ways.place(model, content["data"], content["cord"], content["zooms"])
    tiles, computed = len(placed.grid), len(placed.followed())
    wanted = f"{TARGET * tiles / computed:.1f}"
    row = f"| {image.name} | {image.cord} | {model.name} | {tiles} | {computed} | {wanted} |"
    if not timed:
        return f"{row} {tile * tiles:.0f} | | | |"
    made = in_process("follow", model, args.threads, str(image.path))
    assert (made["tiles"], made["computed"]) == (tiles, computed)
    seconds = made["seconds"]
    return (
        f"{row} {tile * tiles:.0f} | {seconds:.1f} | {tile * tiles / seconds:.1f} | {made['peak_mb']:.0f} |"
    )


def try_ways(
    models: dict[str, Path],
    heads: Sequence[Image],
    tile: float,
    args: argparse.Namespace,
    say: Callable[..., None],
) -> None:
    """The tables of the two experiments; `tile` are nnU-Net's seconds for one of v3."""
    small = Path(tempfile.mkdtemp(dir=models["v3"].parent)) / "small"
    shutil.copytree(ROOT / "tests/data/small-nnunet", small)
    say("", "| bfloat16 | float32, s | bfloat16, s | faster | largest change of probability | mean |")
    say("|---|---|---|---|---|---|")
    one = in_process("bf16", models["v3"], args.threads, "3")
    say(
        f"| a tile, v3, random weights | {one['f32']:.2f} | {one['bf16']:.2f} | "
        f"{one['f32'] / one['bf16']:.2f} | {one['largest']:.3f} | {one['mean']:.5f} |"
    )
    made = in_process("bf16-small", small, args.threads, "")
    say(
        "",
        f"The small trained model on three phantoms, within 10 mm of the cord: the largest change is "
        f"{made['largest']:.4f}, that of the soft volume {100 * made['volume']:+.2f} %, and the worst Dice "
        f"{made['dice_f32']:.4f} in float32 and {made['dice_bf16']:.4f} in bfloat16.",
        "",
    )
    limits = " | ".join(f"{limit:g}" for limit in ways.SHARES)
    say(f"| tiles, with the least share of the weights | grid | `follow` | {limits} |")
    say("|---" * (3 + len(ways.SHARES)) + "|")
    for image in heads:
        content = np.load(image.path)
        for plan, model in models.items():
            placed = ways.place(model, content["data"], content["cord"], content["zooms"])
            kept, grid = ways.count_kept(placed), len(placed.grid)
            say(f"| {image.name}, cord {image.cord}, {plan} | {grid} | {' | '.join(map(str, kept))} |")
            for kind in ("f32", "bf16") if plan == "v3" else ():
                times = " | ".join(f"{tile * grid / (one[kind] * n):.1f}" for n in kept)
                say(f"| … times faster than nnU-Net, {kind}, tiles alone | | {times} |")
    made = in_process("weights-head", small_on_grid(small, args), args.threads, str(write_t2w(small, args)))
    counts, changes = " | ".join(map(str, made["tiles"])), " | ".join(f"{x:.2g}" for x in made["change"])
    say(f"| T2w head phantom, the small trained model on the tiles of v3 | | | {counts} |")
    say(f"| … largest change of probability (Dice {made['dice']:.3f}) | | | {changes} |")


def small_on_grid(small: Path, args: argparse.Namespace) -> Path:
    """The small trained model with the patch and the spacing of v3."""
    folder = shutil.copytree(small, small.with_name("small-v3"))
    plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
    patch = [n // (4 if args.tiny else 1) for n in PLANS["v3"]["patch"]]
    plans["configurations"]["3d_fullres"] |= {"patch_size": patch, "spacing": PLANS["v3"]["spacing"]}
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    return folder


def write_t2w(small: Path, args: argparse.Namespace) -> Path:
    """The head phantom in the contrast of the small trained model."""
    phantom, path = make_head("T2w", tiny=args.tiny), small.with_name("head-t2w.npz")
    np.savez(path, data=phantom.image, cord=phantom.share > 0.5, zooms=phantom.zooms)
    return path


def measure(args: argparse.Namespace) -> None:
    """Print the tables, and write them as Markdown if asked."""
    lines: list[str] = []

    def say(*more: str) -> None:
        lines.extend(more)
        print("\n".join(more), flush=True)

    say(f"Load of the machine before the start: {os.getloadavg()[0]:.1f}", "")
    peak, table = matmul_peak.describe(matmul_peak.measure_peak(args.threads))
    say(*table, "", f"The fastest of all on {args.threads} threads: {peak:.0f} GFLOP/s", "")
    with tempfile.TemporaryDirectory() as place:
        folder, tile, heads, real = Path(place), {}, [], 0
        models = {name: make_model(folder, name, tiny=args.tiny) for name in PLANS}
        say(*TILE_HEAD)
        for name, model in models.items():
            tile[name], row = compare_tiles(model, args, peak)
            say(row)
        say("", *IMAGE_HEAD)
        for image in write_images(folder, tiny=args.tiny):
            if image.head:
                heads.append(image)
                for name, model in models.items():
                    say(compare_image(model, image, args, tile[name], timed=name == "v3" or len(heads) == 1))
                continue
            real += 1
            say(compare_image(models["v3"], image, args, tile["v3"], timed=real <= args.images))
            image.path.unlink()
        if args.ways:
            try_ways(models, heads, tile["v3"], args, say)
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


ACTIONS: dict[str, Callable[[Path, int, str], object]] = {
    "nnunet": lambda model, threads, extra: time_nnunet(model, threads, int(extra)),
    "softcord": lambda model, threads, extra: time_softcord(model, threads, int(extra)),
    "follow": lambda model, threads, extra: follow_image(model, threads, Path(extra)),
    "bf16": lambda model, threads, extra: ways.bf16_on_large(model, threads, int(extra)),
    "bf16-small": lambda model, threads, _: ways.bf16_on_small(model, threads),
    "weights-head": lambda model, threads, extra: ways.change_on_head(model, threads, Path(extra)),
}


def main() -> None:
    """Measure everything, or one thing in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", nargs="?", choices=["all", *ACTIONS], default="all", help=argparse.SUPPRESS)
    parser.add_argument("model", nargs="?", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="of three tiles, for each plan (default: 2)")
    parser.add_argument("--images", type=int, default=3, help="real images whose time is taken (default: 3)")
    parser.add_argument("--ways", action="store_true", help="also what else would make it faster")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--extra", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ways and importlib.util.find_spec("openvino") is None:
        parser.error("--ways needs OpenVINO. Run: pip install 'softcord[openvino]'")
    if args.action == "all":
        measure(args)
    else:
        print(json.dumps(ACTIONS[args.action](args.model, args.threads, args.extra)))


if __name__ == "__main__":
    main()
