"""The fingerprint of a dataset: shapes, voxel sizes and grey levels, as nnU-Net's planner wants them."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from softcord.errors import InputError
from softcord.progress import track
from softcord.train.nnunet.dataset import Case, RawDataset

_SAMPLES = 100_000  # grey levels of the foreground per case; nnU-Net draws 10^8 of all, with replacement


@contextmanager
def pool(workers: int) -> Iterator[Any]:
    """What maps a function over items: in this process for one worker, else in processes of their own."""
    if workers <= 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        yield executor.map


def extract_fingerprint(dataset: RawDataset, *, workers: int = 1, progress: bool = False) -> dict[str, Any]:
    """Look at every training case.

    Parameters
    ----------
    dataset : RawDataset
    workers : int
        Processes.
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    fingerprint : dict
        What nnU-Net writes to dataset_fingerprint.json.

    Raises
    ------
    InputError
        A case cannot be read, or its label is on another grid.
    """
    items = list(dataset.cases.items())
    with pool(workers) as run:
        bar = track(run(_look_at, items), "fingerprint", enabled=progress)
        looks = list(bar)
    intensities = {}
    for channel in range(len(dataset.channels)):
        values = np.concatenate([look["intensities"][channel] for look in looks])
        if values.size == 0:
            raise InputError(f"{dataset.folder}: no label holds anything. Check the labels.")
        low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
        intensities[str(channel)] = {
            "mean": float(values.mean()),
            "median": float(median),
            "std": float(values.std()),
            "min": float(values.min()),
            "max": float(values.max()),
            "percentile_99_5": float(high),
            "percentile_00_5": float(low),
        }
    return {
        "spacings": [look["spacing"] for look in looks],
        "shapes_after_crop": [look["shape"] for look in looks],
        "foreground_intensity_properties_per_channel": intensities,
        "median_relative_size_after_cropping": float(np.median([look["relative_size"] for look in looks])),
    }


def _look_at(item: tuple[str, Case]) -> dict[str, Any]:
    name, case = item
    try:
        shape, spacing, intensities, _, relative_size = DatasetFingerprintExtractor.analyze_case(
            [str(path) for path in case.images], str(case.label), SimpleITKIO, _SAMPLES
        )
    except Exception as error:
        raise InputError(f"{case.images[0]}: case {name} cannot be read by nnU-Net ({error}).") from error
    return {
        "shape": [int(n) for n in shape],
        "spacing": [float(mm) for mm in spacing],
        "intensities": [np.asarray(values) for values in intensities],
        "relative_size": float(relative_size),
    }
