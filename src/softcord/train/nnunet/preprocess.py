"""Arrays for the training: nnU-Net's own, and beside each its soft label, resampled alike."""

import logging
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from softcord.errors import InputError
from softcord.nifti import load_image
from softcord.progress import track
from softcord.train.nnunet.dataset import Case, RawDataset
from softcord.train.nnunet.fingerprint import pool
from softcord.train.nnunet.layout import Run

log = logging.getLogger(__name__)

UNFINISHED = "unfinished"
_TOLERANCE = 1e-3


def preprocess(
    run: Run, dataset: RawDataset, plans: dict[str, Any], *, workers: int = 1, progress: bool = False
) -> None:
    """Make the arrays of all cases that have none yet.

    Parameters
    ----------
    run : Run
    dataset : RawDataset
    plans : dict
    workers : int
        Processes.
    progress : bool
        Show a bar on a terminal.

    Raises
    ------
    InputError
        A soft label is on another grid than its image, or holds values outside of 0 to 1.
    """
    arrays = run.preprocessed / plans["configurations"][run.configuration]["data_identifier"]
    arrays.mkdir(parents=True, exist_ok=True)
    run.soft.mkdir(parents=True, exist_ok=True)
    wanted = {name: case for name, case in dataset.cases.items() if not is_done(arrays, run.soft, name, case)}
    if not wanted:
        return
    log.info("Preprocessing %d of %d cases", len(wanted), len(dataset.cases))
    items = [
        (name, case, plans, run.configuration, dataset.content, arrays, run.soft)
        for name, case in wanted.items()
    ]
    shutil.rmtree(arrays / UNFINISHED, ignore_errors=True)
    (arrays / UNFINISHED).mkdir()
    with pool(workers) as run_each:
        for _ in track(run_each(_preprocess_case, items), "preprocess", enabled=progress):
            pass
    shutil.rmtree(arrays / UNFINISHED, ignore_errors=True)


def is_done(arrays: Path, soft: Path, name: str, case: Case) -> bool:
    """Whether a case is preprocessed; its .pkl takes its name last."""
    return (arrays / f"{name}.pkl").is_file() and (case.soft is None or (soft / f"{name}.b2nd").is_file())


def _preprocess_case(item: tuple[str, Case, dict[str, Any], str, dict[str, Any], Path, Path]) -> None:
    name, case, plans, configuration_name, content, arrays, soft_folder = item
    manager = PlansManager(plans)
    configuration = manager.get_configuration(configuration_name)
    preprocessor = DefaultPreprocessor(verbose=False)
    unfinished = arrays / UNFINISHED / name
    images = [str(path) for path in case.images]
    try:
        preprocessor.run_case_save(str(unfinished), images, str(case.label), manager, configuration, content)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"{case.images[0]}: case {name} cannot be preprocessed ({error}).") from error
    stored = blosc2.open(f"{unfinished}.b2nd", mode="r")
    if case.soft is not None:
        properties = _properties(unfinished.with_name(f"{name}.pkl"))
        soft = soft_array(case, manager, configuration, properties, stored.shape[1:])
        path = unfinished.parent / f"{name}_soft.b2nd"
        blosc2.asarray(
            soft, urlpath=str(path), chunks=(1, *stored.chunks[1:]), blocks=(1, *stored.blocks[1:])
        )
        path.replace(soft_folder / f"{name}.b2nd")
    for ending in (".b2nd", "_seg.b2nd", ".pkl"):
        unfinished.with_name(name + ending).replace(arrays / f"{name}{ending}")


def _properties(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        properties: dict[str, Any] = pickle.load(file)  # noqa: S301  written a moment ago by this process
    return properties


def soft_array(
    case: Case, manager: Any, configuration: Any, properties: dict[str, Any], shape: tuple[int, ...]
) -> np.ndarray:
    """The soft label on the grid of the preprocessed image.

    It is interpolated linearly, with the rule for thick slices that the image follows: no value is rounded,
    and none leaves the range from 0 to 1, as it would with splines.

    Parameters
    ----------
    case : Case
        With a soft label.
    manager, configuration
        nnU-Net's plans and the configuration that is preprocessed for.
    properties : dict
        Of the preprocessed case.
    shape : (3,) tuple of int
        Of the preprocessed image.

    Returns
    -------
    soft : (1, I, J, K) array of float32 in [0, 1]
    """
    if case.soft is None:
        raise ValueError("the case has no soft label")
    soft = _read_soft(case.soft, case.images[0]).transpose(2, 1, 0)  # nnU-Net's readers give k, j, i
    order = manager.transpose_forward
    soft = soft.transpose(order)
    soft = soft[tuple(slice(low, high) for low, high in properties["bbox_used_for_cropping"])]
    spacing = [properties["spacing"][axis] for axis in order]
    resampled = resample_data_or_seg_to_shape(
        np.ascontiguousarray(soft)[None],
        list(shape),
        spacing,
        configuration.spacing,
        is_seg=False,
        order=1,
        order_z=0,
        force_separate_z=configuration.configuration["resampling_fn_data_kwargs"].get("force_separate_z"),
    )
    clipped: np.ndarray = np.clip(resampled, 0, 1).astype(np.float32)
    return clipped


def _read_soft(path: Path, image_path: Path) -> np.ndarray:
    image, reference = load_image(path), load_image(image_path)
    if image.shape != reference.shape or not np.allclose(image.affine, reference.affine, atol=_TOLERANCE):
        raise InputError(f"{path}: must be on the grid of {image_path}. Convert the dataset again.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values: np.ndarray = np.asarray(image.dataobj, dtype=np.float32)
    if not np.isfinite(values).all() or values.min() < -_TOLERANCE or values.max() > 1 + _TOLERANCE:
        raise InputError(
            f"{path}: soft labels must be from 0 to 1, found {values.min():.3g} to {values.max():.3g}."
        )
    return values
