"""Experiments: what else would make nnU-Net models faster, and what it would change. No options of softcord.

`python benchmarks/nnunet.py --ways` runs them and prints their tables:

- bfloat16 in OpenVINO, on processors that have it: seconds of a tile, and how far probabilities move;
- leaving out the tiles that hardly count: those whose Gaussian weight is below a share of the sum of all
  weights, at every voxel within 10 mm of the cord.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

RAS = np.array([[0.0, 1], [1, 1], [2, 1]])
SHARES = (0.0, 1e-4, 1e-3, 1e-2)
SMALL_SHAPE, SMALL_PHANTOMS = (120, 120, 72), {3: {"curved": False}, 4: {}, 5: {}}  # by seed


@dataclass(frozen=True)
class Placed:
    """An image's cord among the tiles of a model."""

    grid: list
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    patch: tuple[int, ...]
    cord: np.ndarray

    def followed(self) -> set[int]:
        """Tiles that `follow` computes if it finds this cord."""
        from softcord.engines.nnunet.follow import REACH_MM, tiles_near

        reach = [int(np.ceil(REACH_MM / s)) + 2 for s in self.spacing]
        return tiles_near(self.grid, self.cord, reach)


def place(model: Path, data: np.ndarray, cord: np.ndarray, zooms: Sequence[float]) -> Placed:
    """Where the tiles lie on an image with RAS+ axes, and where its cord on their grid."""
    from softcord.engines.nnunet.plans import read_plans
    from softcord.engines.nnunet.predict import _on_grid, to_reader
    from softcord.engines.nnunet.preprocess import preprocess
    from softcord.engines.nnunet.tiles import tile_grid

    plans = read_plans(json.loads((model / "plans.json").read_text(encoding="utf-8")))
    quick = replace(plans, data=replace(plans.data, order=0))  # of the image, only the shape is asked for
    prepared = preprocess(to_reader(data, RAS)[None], tuple(zooms)[::-1], quick)
    seed = _on_grid(to_reader(cord, RAS), prepared, plans.transpose_forward)
    shape = prepared.data.shape[1:]
    return Placed(tile_grid(shape, plans.patch), shape, plans.spacing, plans.patch, seed)


def largest_shares(placed: Placed) -> dict[int, float]:
    """For each tile that comes within 10 mm of the cord, the largest share that it has in any voxel there."""
    from softcord.engines.nnunet.tiles import tile_weights

    weights = tile_weights(placed.patch).astype(np.float32)
    total = np.zeros(placed.shape, dtype=np.float32)
    for tile in placed.grid:
        total[tile] += weights
    near, shares = within_10_mm(placed.cord, placed.spacing), {}
    for number, tile in enumerate(placed.grid):
        if near[tile].any():
            shares[number] = float((weights[near[tile]] / total[tile][near[tile]]).max())
    return shares


def within_10_mm(cord: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Voxels within 10 mm of the cord, and the two samples more that interpolation takes."""
    from scipy.ndimage import distance_transform_edt, maximum_filter

    from softcord.engines.nnunet.follow import REACH_MM

    near = np.zeros(cord.shape, dtype=bool)
    around = []
    for axis, step in enumerate(spacing):
        places = np.flatnonzero(cord.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(np.ceil(REACH_MM / step)) + 3
        around.append(slice(max(0, places[0] - margin), places[-1] + margin + 1))
    box = tuple(around)
    reached = distance_transform_edt(~cord[box], sampling=spacing) <= REACH_MM
    near[box] = maximum_filter(reached, size=5)
    return near


def count_kept(placed: Placed) -> list[int]:
    """Tiles that `follow` computes, and those that are left with each of `SHARES`."""
    shares = largest_shares(placed)
    return [len(placed.followed()), *(sum(s >= limit for s in shares.values()) for limit in SHARES)]


def change_on_head(model: Path, threads: int, image: Path) -> dict[str, object]:
    """What leaving out tiles changes within 10 mm of the true cord, with a trained model.

    ``tiles`` and ``change`` hold, for each of `SHARES`, the tiles left and the largest change of probability;
    ``dice`` says how well the model does there at all.
    """
    from softcord import models
    from softcord.engines.nnunet.predict import _on_grid, to_reader
    from softcord.engines.nnunet.preprocess import preprocess

    network, content = models.load(model, device="cpu", threads=threads).network, np.load(image)
    data, cord = (to_reader(content[name], network.ornt) for name in ("data", "cord"))
    prepared = preprocess(data[None], tuple(content["zooms"])[::-1], network.plans)
    cord, tiling = _on_grid(cord, prepared, network.plans.transpose_forward), _tiling(prepared, network)
    placed = Placed(tiling.grid, cord.shape, network.plans.spacing, network.plans.patch, cord)
    shares, near = largest_shares(placed), within_10_mm(cord, placed.spacing)
    tiling.keep(sorted(shares))
    kept = tiling._kept[0]  # noqa: SLF001
    whole = network.labels.probabilities(tiling.kept())[0]
    tiles, change = [], []
    for limit in SHARES:
        left = {number: kept[number] for number, share in shares.items() if share >= limit}
        tiling._kept[0] = left  # noqa: SLF001
        part = network.labels.probabilities(tiling.kept())[0]
        tiles.append(len(left))
        change.append(float(np.abs(part - whole)[near].max()))
    return {"tiles": tiles, "change": change, "dice": dice(whole > 0.5, cord, near)}


def dice(found: np.ndarray, true: np.ndarray, near: np.ndarray) -> float:
    """Of two masks, within a third one."""
    found, true = found & near, true & near
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def small_images(network: object):  # noqa: ANN201
    """Phantoms as the small model of the tests takes them, and their true cords on the same axes."""
    from softcord.engines.nnunet.predict import _on_grid, to_reader
    from softcord.engines.nnunet.preprocess import preprocess
    from softcord.phantoms import AnatomyOptions, make_phantom

    for seed, options in SMALL_PHANTOMS.items():
        anatomy = AnatomyOptions(pathology=False, ends=False, area_mm2=(50.0, 110.0), **options)
        made = make_phantom(seed, shape=SMALL_SHAPE, contrast="T2w", anatomy=anatomy)
        image, share = (to_reader(part, network.ornt) for part in (made.image, made.share))
        prepared = preprocess(image[None], made.zooms[::-1], network.plans)
        yield prepared, _on_grid(share > 0.5, prepared, network.plans.transpose_forward)


def bf16_on_large(model: Path, threads: int, tiles: int) -> dict[str, float]:
    """Seconds of a tile in float32 and bfloat16, in turn, and the change of probability (random weights)."""
    from softcord import models

    network = models.load(model, device="cpu", threads=threads).network
    rng = np.random.default_rng(0)
    image = rng.standard_normal((len(network.plans.normalisations), *network.plans.patch)).astype(np.float32)
    single, half = network.folds.engine(0).run_channels, _bf16(network, threads)
    seconds, found = {"f32": [], "bf16": []}, {}
    for number in range(tiles + 1):  # the first of each warms up
        for name, run in (("f32", single), ("bf16", half)):
            start = time.perf_counter()
            found[name] = network.labels.probabilities(run(image))
            if number:
                seconds[name].append(time.perf_counter() - start)
    change = np.abs(found["bf16"] - found["f32"])
    return {name: median(each) for name, each in seconds.items()} | {
        "largest": float(change.max()),
        "mean": float(change.mean()),
    }


def bf16_on_small(model: Path, threads: int) -> dict[str, float]:
    """What bfloat16 changes in the small trained model, on three phantoms, within 10 mm of the cord."""
    from softcord import models

    network = models.load(model, device="cpu", threads=threads).network
    single, half = network.folds.engine(0), _bf16(network, threads)
    change, scores, areas = 0.0, {"f32": [], "bf16": []}, []
    for prepared, cord in small_images(network):
        found, near = {}, within_10_mm(cord, network.plans.spacing)
        for name, run in (("f32", single.run_channels), ("bf16", half)):
            network.folds._loaded = 0, _Engine(run)  # noqa: SLF001
            found[name] = network.labels.probabilities(_tiling(prepared, network).all())[0]
            scores[name].append(dice(found[name] > 0.5, cord, near))
        change = max(change, float(np.abs(found["bf16"] - found["f32"])[near].max()))
        areas.append(found["bf16"][near].sum() / found["f32"][near].sum() - 1)
    return {
        "largest": change,
        "dice_f32": min(scores["f32"]),
        "dice_bf16": min(scores["bf16"]),
        "volume": float(max(areas, key=abs)),
    }


@dataclass(frozen=True)
class _Engine:
    """What the network asks of an engine."""

    run_channels: Callable[[np.ndarray], np.ndarray]


def _bf16(network: object, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """The network's first graph in OpenVINO, with bfloat16 wherever the library has it."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    graph = network.folds._graphs[0]  # noqa: SLF001
    compiled = openvino.Core().compile_model(str(graph), "CPU", settings)
    return lambda image: np.array(compiled(np.ascontiguousarray(image[None]))[0][0], dtype=np.float32)


def _tiling(prepared: object, network: object):  # noqa: ANN202
    from softcord.engines.nnunet.predict import _Tiling

    return _Tiling(prepared, network, mirror=False, on_tile=None)
