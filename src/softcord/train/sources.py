"""What the network is trained on besides phantoms: label maps and real images, read once into memory."""

import csv
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from softcord._typing import FloatArray, Zooms
from softcord.errors import InputError
from softcord.nifti import load_image, read_volume
from softcord.orientation import to_canonical
from softcord.phantoms.labelmaps import LabelMap
from softcord.phantoms.tissues import Tissue
from softcord.train.config import ImageSource, MapSource, SynthConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RealImage:
    """A real image and the cord drawn on it.

    Attributes
    ----------
    name : str
    image, share : (I, J, K) array of float32
        RAS+ axes; the share is the drawn mask.
    drawn : (K,) array of bool
        Slices that the mask covers; the others are unknown, not empty, if they lie beyond its ends.
    zooms : (3,) tuple of float, mm
    """

    name: str
    image: FloatArray
    share: FloatArray
    drawn: np.ndarray
    zooms: Zooms


@dataclass(frozen=True)
class Sources:
    """All that samples are drawn from."""

    maps: tuple[LabelMap, ...]
    images: tuple[RealImage, ...]


def load_sources(config: SynthConfig, data: Path | None) -> Sources:
    """Read the label maps and images that a configuration names, below the folder `data`.

    Raises
    ------
    InputError
        The configuration names maps or images and `data` is not given, or a pattern or table matches nothing.
    """
    if data is None and (config.maps or config.images):
        raise InputError(
            "The configuration names label maps or images: say with --data in which folder they are."
        )
    folder = data or Path()
    maps = [m for source in config.maps for m in _load_maps(source, folder)]
    images = [i for source in config.images for i in _load_images(source, folder)]
    log.info("%d label maps, %d images", len(maps), len(images))
    return Sources(tuple(maps), tuple(images))


def _canonical(path: Path) -> tuple[np.ndarray, Zooms]:
    image = load_image(path)
    canonical = to_canonical(np.asanyarray(image.dataobj), image.affine)
    return np.ascontiguousarray(canonical.data), canonical.zooms


def _load_maps(source: MapSource, folder: Path) -> list[LabelMap]:
    paths = sorted(folder.glob(source.files))
    if not paths:
        raise InputError(f"{folder / source.files}: no such label maps. Check the pattern and --data.")
    return [_load_map(source, path) for path in paths]


def _load_map(source: MapSource, path: Path) -> LabelMap:
    data, zooms = _canonical(path)
    labels = np.rint(data).astype(np.int16)
    if source.cord_suffix is not None:  # the cord lies in a file of its own
        old, new = source.cord_suffix
        cord, _ = _canonical(path.with_name(path.name.replace(old, new)))
        labels[np.asarray(cord) > 0] = source.cord
    share = (labels == source.cord).astype(np.float32)
    share = gaussian_filter(share, [0.7 * min(zooms) / z for z in zooms])
    tissues = {label: Tissue[name] for name, values in source.tissues.items() for label in values}
    return LabelMap(labels, share, zooms, tissues, source.fill_zero)


def _load_images(source: ImageSource, folder: Path) -> list[RealImage]:
    table = folder / source.table
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    except OSError as error:
        raise InputError(
            f"{table}: cannot be read ({error.strerror}). Check the table's name and --data."
        ) from error
    chosen = [
        row
        for row in rows
        if row["split"] == source.split and row["cord_mask"] and row["participant"] not in source.exclude
    ]
    if not chosen:
        raise InputError(f"{table}: no row has split {source.split} and a mask. Check split and exclude.")
    root = table.parent / "bids"
    return [_load_image(root / row["image"], root / row["cord_mask"]) for row in chosen]


def _load_image(path: Path, mask_path: Path) -> RealImage:
    image = load_image(path)
    data, _ = read_volume(image)
    mask_image = load_image(mask_path)
    mask, _ = read_volume(mask_image)
    if mask.shape != data.shape:
        raise InputError(
            f"{mask_path}: the mask must be on the grid of its image {path}: {mask.shape}, {data.shape}."
        )
    canonical = to_canonical(data, image.affine)
    share = np.ascontiguousarray(to_canonical(mask, mask_image.affine).data)
    share = np.clip(share, 0, 1).astype(np.float32)
    return RealImage(
        path.name, np.ascontiguousarray(canonical.data), share, np.any(share, axis=(0, 1)), canonical.zooms
    )
