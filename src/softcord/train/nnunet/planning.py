"""From a dataset to plans and preprocessed arrays; what was made from the same before is kept."""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape

import softcord
from softcord.errors import InputError, UsageError
from softcord.train.nnunet.dataset import RawDataset, check_cord_axes, read_dataset
from softcord.train.nnunet.fingerprint import extract_fingerprint
from softcord.train.nnunet.layout import (
    RECORD,
    Run,
    nnunet_folders,
    read_json,
    what_it_prints_to_the_log,
    write_json,
)
from softcord.train.nnunet.preprocess import preprocess
from softcord.train.nnunet.topology import (
    CONFIGURATION,
    PLANS_NAME,
    TOPOLOGIES,
    TRANSPOSE,
    check_patch,
    make_plans,
)

log = logging.getLogger(__name__)

NNUNET = "nnunet"  # the topology that nnU-Net's own planner finds
_ANISOTROPIC = 3.0


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What is planned.

    Attributes
    ----------
    topology : str
        One of `TOPOLOGIES`, or ``"nnunet"`` for what nnU-Net's own planner finds.
    patch : (3,) tuple of int, optional
        Voxels along R-L, A-P, S-I. Default: those of the topology.
    spacing : (3,) tuple of float, mm, optional
        Voxel size of the arrays along R-L, A-P, S-I. Default: the median of the images.
    batch : int
        Patches per step.
    gpu_memory_gb : float, optional
        What nnU-Net's own planner may use. Default: 8.
    """

    topology: str = "contrast-agnostic"
    patch: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    batch: int = 2
    gpu_memory_gb: float | None = None

    def check(self) -> None:
        """Raise UsageError if options cannot be, or contradict each other."""
        if self.topology not in (*TOPOLOGIES, NNUNET):
            raise UsageError(
                f"topology must be one of {', '.join((*TOPOLOGIES, NNUNET))}; got {self.topology!r}."
            )
        if self.topology == NNUNET and self.patch is not None:
            raise UsageError(
                "nnU-Net's own planner finds the patch: give --patch or --topology nnunet, not both."
            )
        if self.topology != NNUNET and self.patch is not None:
            check_patch(self.patch, TOPOLOGIES[self.topology].multiple)
        if self.batch < 1:
            raise UsageError(f"--batch must be at least 1, got {self.batch}.")
        if self.spacing is not None and min(self.spacing) <= 0:
            raise UsageError(f"--spacing must be above 0 mm along each axis, got {self.spacing}.")


def plan(
    dataset_folder: Path,
    out: Path,
    options: PlanOptions = PlanOptions(),
    *,
    workers: int = 1,
    progress: bool = False,
) -> Run:
    """Plan a training on a dataset and preprocess it.

    Parameters
    ----------
    dataset_folder : Path
        Raw dataset of nnU-Net; with soft labels if it was made by `softcord dataset convert`.
    out : Path
        Folder of the run; what was made there from the same dataset and options is kept.
    options : PlanOptions
    workers : int
        Processes.
    progress : bool
        Show bars on a terminal.

    Returns
    -------
    run : Run

    Raises
    ------
    InputError
        The dataset is incomplete, or its orientation does not fit the topology.
    UsageError
        Options cannot be; `out` holds a run of another dataset.
    """
    options.check()
    dataset = read_dataset(dataset_folder)
    if options.topology != NNUNET:
        check_cord_axes(dataset)
    run = open_folder(out, dataset, PLANS_NAME, CONFIGURATION)
    fingerprint = take_fingerprint(run, dataset, workers=workers, progress=progress)
    if options.topology == NNUNET:
        plans = _plan_as_nnunet(run, options)
    else:
        plans = _plan_topology(dataset, fingerprint, options)
    finish(run, dataset, plans, workers=workers, progress=progress)
    return run


def open_folder(out: Path, dataset: RawDataset, plans_name: str, configuration: str) -> Run:
    """Make the folder of a run, or go on with one of the same dataset."""
    run = Run(out, dataset.name, plans_name, configuration)
    record = read_json(out / RECORD, "Choose another folder.") if (out / RECORD).is_file() else {}
    before = record.get("dataset")
    if before is not None and Path(before) != dataset.folder.resolve():
        raise UsageError(f"{out}: holds a run on {before}. Choose another folder, or remove it.")
    listed = {
        name: {"images": [str(p.resolve()) for p in case.images], "label": str(case.label.resolve())}
        for name, case in dataset.cases.items()
    }
    write_json({**clean(dataset), "dataset": listed}, run.raw / "dataset.json")
    write_json(clean(dataset), run.preprocessed / "dataset.json")
    _copy_splits(dataset, run)
    record |= {
        "dataset": str(dataset.folder.resolve()),
        "dataset_name": run.dataset_name,
        "plans_name": plans_name,
        "configuration": configuration,
        "orientations": dataset.orientations,
        "softcord": softcord.__version__,
    }
    write_json(record, out / RECORD)
    return run


def clean(dataset: RawDataset) -> dict[str, Any]:
    """The dataset's dataset.json without paths, as it goes into models."""
    content = {key: value for key, value in dataset.content.items() if key != "dataset"}
    return {**content, "numTraining": len(dataset.cases)}


def _copy_splits(dataset: RawDataset, run: Run) -> None:
    """The splits of the dataset become those of the run, as far as they name training cases."""
    source = dataset.folder / "splits_final.json"
    if not source.is_file():
        log.warning("%s: no splits_final.json, so nnU-Net splits by image, not by person.", dataset.folder)
        return
    try:
        splits = json.loads(source.read_text(encoding="utf-8"))
        unknown = {name for fold in splits for part in ("train", "val") for name in fold[part]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{source}: not splits as nnU-Net reads them ({error!r}).") from error
    unknown -= set(dataset.cases)
    if unknown:
        raise InputError(f"{source}: names {min(unknown)}, which is no training case.")
    for n, fold in enumerate(splits):
        both = set(fold["train"]) & set(fold["val"])
        if both:
            raise InputError(f"{source}: fold {n} has {min(both)} in both train and val.")
    write_json(splits, run.preprocessed / "splits_final.json")


def take_fingerprint(run: Run, dataset: RawDataset, *, workers: int, progress: bool) -> dict[str, Any]:
    """The fingerprint; taken anew if the dataset has changed."""
    path, stamp = run.preprocessed / "dataset_fingerprint.json", run.preprocessed / "dataset.sha256"
    digest = dataset.fingerprint()
    if path.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
        return read_json(path, "Remove it.")
    log.info("Looking at %d cases", len(dataset.cases))
    fingerprint = extract_fingerprint(dataset, workers=workers, progress=progress)
    write_json(fingerprint, path)
    stamp.write_text(digest, encoding="utf-8")
    return fingerprint


def finish(run: Run, dataset: RawDataset, plans: dict[str, Any], *, workers: int, progress: bool) -> None:
    """Write plans and make the arrays; those of other plans or another dataset are thrown away."""
    digest = hashlib.sha256(json.dumps([plans, dataset.fingerprint()], sort_keys=True).encode()).hexdigest()
    arrays = run.preprocessed / plans["configurations"][run.configuration]["data_identifier"]
    stamp = run.preprocessed / f"{arrays.name}.sha256"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != digest:
        shutil.rmtree(arrays, ignore_errors=True)
        shutil.rmtree(run.soft, ignore_errors=True)
    write_json(plans, run.plans)
    stamp.write_text(digest, encoding="utf-8")
    with nnunet_folders(run):
        preprocess(run, dataset, plans, workers=workers, progress=progress)


def _plan_topology(dataset: RawDataset, fingerprint: dict[str, Any], options: PlanOptions) -> dict[str, Any]:
    topology = TOPOLOGIES[options.topology]
    transpose = list(TRANSPOSE)
    spacings = np.asarray(fingerprint["spacings"], dtype=float)[:, transpose]
    shapes = np.asarray(fingerprint["shapes_after_crop"], dtype=float)[:, transpose]
    spacing = options.spacing or tuple(float(mm) for mm in _target_spacing(spacings, shapes))
    resampled = [compute_new_shape(n, mm, spacing) for n, mm in zip(shapes, spacings, strict=True)]
    schemes = [get_normalization_scheme(name) for name in dataset.channels.values()]
    cropped = fingerprint["median_relative_size_after_cropping"] < 0.75
    return make_plans(
        topology,
        dataset_name=dataset.name,
        patch=check_patch(options.patch or topology.patch, topology.multiple),
        spacing=spacing,
        batch=options.batch,
        median_shape=np.median(resampled, axis=0).tolist(),
        median_spacing=np.median(spacings, axis=0).tolist(),
        normalisation=[scheme.__name__ for scheme in schemes],
        masked=[
            cropped and scheme.leaves_pixels_outside_mask_at_zero_if_use_mask_for_norm_is_true
            for scheme in schemes
        ],
        intensities=fingerprint["foreground_intensity_properties_per_channel"],
    )


def _target_spacing(spacings: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """nnU-Net's rule: the median; of an axis with thick slices, the 10th percentile."""
    target: np.ndarray = np.median(spacings, axis=0)
    size = np.median(shapes, axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    thick = target[worst] > _ANISOTROPIC * target[others].max()
    if thick and size[worst] * _ANISOTROPIC < size[others].min():
        target[worst] = max(float(np.percentile(spacings[:, worst], 10)), float(target[others].max()) + 1e-5)
    return target


def _plan_as_nnunet(run: Run, options: PlanOptions) -> dict[str, Any]:
    memory: Sequence[float] = () if options.gpu_memory_gb is None else (options.gpu_memory_gb,)
    with nnunet_folders(run, workers=1), what_it_prints_to_the_log():
        run.plans.unlink(missing_ok=True)  # or configurations of earlier plans would be kept
        planner = ExperimentPlanner(
            run.dataset_name,
            *memory,
            plans_name=run.plans_name,
            # nnU-Net reads axes in the other order
            overwrite_target_spacing=options.spacing and [float(mm) for mm in options.spacing[::-1]],
        )
        planner.plan_experiment()
    plans = read_json(run.plans, "Plan again.")
    write_json(
        clean(read_dataset(Path(read_json(run.folder / RECORD, "")["dataset"]))),
        run.preprocessed / "dataset.json",
    )
    if run.configuration not in plans["configurations"]:
        raise InputError(
            f"{run.plans}: nnU-Net plans no {run.configuration} for these images, as they are 2-D."
        )
    return plans
