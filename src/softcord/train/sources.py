"""What the network is trained on besides phantoms: label maps and real images, read once into memory."""

import csv
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.errors import GeometryError, InputError
from softcord.nifti import load_image, read_volume
from softcord.orientation import Canonical, to_canonical
from softcord.phantoms.labelmaps import LabelMap, without_cord
from softcord.phantoms.tissues import Tissue
from softcord.train.config import ImageSource, MapSource, MixConfig, SynthConfig

log = logging.getLogger(__name__)

COLUMNS = ("participant", "split", "image", "cord_mask")
MOST_LABELS = int(np.iinfo(np.int16).max)


@dataclass(frozen=True)
class RealImage:
    """A real image and the cord drawn on it.

    Attributes
    ----------
    name : str
    image, share : (I, J, K) array of float32
        RAS+ axes; the share is the drawn mask, or what a model says where its views agree.
    weight : (I, J, K) array of float32 in [0, 1]
        How much each voxel counts: 0 in slices that nobody drew, which are unknown and not empty.
    zooms : (3,) tuple of float, mm
    pseudo : bool
        The share is what a model says.
    """

    name: str
    image: FloatArray
    share: FloatArray
    weight: FloatArray
    zooms: Zooms
    pseudo: bool = False


@dataclass(frozen=True)
class Sources:
    """All that samples are drawn from."""

    maps: tuple[LabelMap, ...]
    images: tuple[RealImage, ...]


def load_sources(config: SynthConfig, data: Path | None, pseudo: Path | None = None) -> Sources:
    """Read the label maps and images that a configuration names, below the folder `data`.

    Parameters
    ----------
    config : SynthConfig
    data : Path, optional
    pseudo : Path, optional
        Folder of the maps that `softcord.train.pseudo.label_images` has made for images without a mask.

    Raises
    ------
    InputError
        The configuration names maps or images and `data` is not given, or a pattern or table matches nothing;
        or it names images without masks and `pseudo` is not given, or holds no map of them.
    """
    if data is None and (config.maps or config.images):
        raise InputError(
            "The configuration names label maps or images: say with --data in which folder they are."
        )
    folder = data or Path()
    maps = [m for source in config.maps for m in load_maps(source, folder)]
    images = load_images(config, folder, pseudo)
    log.info("%d label maps, %d images", len(maps), len(images))
    return Sources(tuple(maps), tuple(images))


def load_images(config: SynthConfig, folder: Path, pseudo: Path | None = None) -> list[RealImage]:
    """The images alone that a configuration names; arguments and errors as for `load_sources`."""
    return [i for source in config.images for i in _load_images(source, folder, config.mix, pseudo)]


def _canonical(path: Path) -> Canonical:
    image = load_image(path)
    data, _ = read_volume(image)
    return to_canonical(data, image.affine)


def _check_same_grid(drawn: Canonical, path: Path, of: Canonical, of_path: Path) -> None:
    """What is drawn on an image must lie on its grid to half a voxel at every corner."""
    if drawn.data.shape != of.data.shape:
        raise GeometryError(
            f"{path}: must be on the grid of {of_path}, and has {drawn.data.shape} voxels instead of "
            f"{of.data.shape}. Resample it."
        )
    corners = np.array([[*index, 1] for index in np.ndindex(2, 2, 2)]).T * [[n] for n in (*of.data.shape, 1)]
    largest = np.abs((drawn.affine - of.affine) @ corners).max()
    if largest > min(of.zooms) / 2:
        raise GeometryError(
            f"{path}: must be on the grid of {of_path}, and is up to {largest:.1f} mm away. Resample it."
        )


def load_maps(source: MapSource, folder: Path) -> list[LabelMap]:
    """Read the label maps of one kind, below `folder`."""
    try:
        paths = sorted(folder.glob(source.files))
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"Pattern {source.files!r} of label maps cannot be used: {error}.") from error
    if not paths:
        raise InputError(f"{folder / source.files}: no such label maps. Check the pattern and --data.")
    return [_load_map(source, path) for path in paths]


def _load_map(source: MapSource, path: Path) -> LabelMap:
    canonical = _canonical(path)
    values = np.rint(canonical.data)
    if values.min() < 0 or values.max() > MOST_LABELS:
        raise InputError(
            f"{path}: labels must lie from 0 to {MOST_LABELS}, got {values.min():g} to {values.max():g}. "
            "Give label maps, not images."
        )
    labels = np.ascontiguousarray(values.astype(np.int16))
    if source.cord_suffix is not None:
        cord_path = _cord_path(path, *source.cord_suffix)
        cord = _canonical(cord_path)
        _check_same_grid(cord, cord_path, canonical, path)
        labels[np.greater(cord.data, 0)] = source.cord
    share = (labels == source.cord).astype(np.float32)
    if not share.any():
        log.warning("%s: no voxel has the cord's label %d", path, source.cord)
    zooms = canonical.zooms
    share = gaussian_filter(share, [0.7 * min(zooms) / z for z in zooms])
    tissues = {label: Tissue[name] for name, values in source.tissues.items() for label in values}
    return LabelMap(without_cord(labels, source.cord), share, zooms, tissues, source.fill_zero)


def _cord_path(path: Path, old: str, new: str) -> Path:
    """The file of its own in which the cord of a label map lies."""
    if old not in path.name:
        raise InputError(f"{path}: the name must hold {old!r}, the first part of cord_suffix. Check it.")
    return path.with_name(path.name.replace(old, new))


def _load_images(source: ImageSource, folder: Path, mix: MixConfig, pseudo: Path | None) -> list[RealImage]:
    rows = chosen_rows(source, folder)
    root = (folder / source.table).parent / "bids"
    if not source.pseudo:
        return [_load_image(root / row["image"], root / row["cord_mask"], mix.edge_weight) for row in rows]
    if pseudo is None:
        raise InputError(
            "The configuration names images without masks: make their maps with softcord train pseudo, and "
            "say with --pseudo in which folder they are."
        )
    paths = {root / row["image"]: pseudo_path(pseudo, row["image"]) for row in rows}
    found = {image: path for image, path in paths.items() if path.exists()}
    if not found:
        raise InputError(f"{pseudo}: holds no map of an image of {source.table}. Check --pseudo.")
    log.info("maps of %d of %d images without a mask", len(found), len(paths))
    return [_load_pseudo(image, path, mix.pseudo_edge_weight) for image, path in found.items()]


def chosen_rows(source: ImageSource, folder: Path) -> list[dict[str, str]]:
    """Rows of a source's table that it takes: with a mask, or without one if it asks for pseudo-labels."""
    table = folder / source.table
    chosen = [
        row
        for row in _read_table(table)
        if row["split"] == source.split
        and bool(row["cord_mask"]) != source.pseudo
        and not {row["participant"], Path(row["image"]).name} & set(source.exclude)
    ]
    if not chosen:
        which = "no mask" if source.pseudo else "a mask"
        raise InputError(f"{table}: no row has split {source.split} and {which}. Check split and exclude.")
    return chosen


def pseudo_path(folder: Path, image: str) -> Path:
    """Where the map that a model has made for an image without a mask lies."""
    return folder / f"{Path(image).name.removesuffix('.gz').removesuffix('.nii')}_pseudo.nii.gz"


def _read_table(table: Path) -> list[dict[str, str]]:
    try:
        reader = csv.DictReader(table.read_text(encoding="utf-8").splitlines(), delimiter="\t")
    except OSError as error:
        raise InputError(
            f"{table}: cannot be read ({error.strerror}). Check the table's name and --data."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{table}: not text in UTF-8. Give a tab-separated table.") from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{table}: column {missing[0]} is missing. Give a tab-separated table with it.")
    return list(reader)


def _load_image(path: Path, mask_path: Path, edge_weight: float) -> RealImage:
    image, mask = _canonical(path), _canonical(mask_path)
    _check_same_grid(mask, mask_path, image, path)
    share = np.clip(np.ascontiguousarray(mask.data), 0, 1).astype(np.float32)
    if share.max() <= 0.5:
        raise InputError(f"{mask_path}: must hold voxels above 0.5, got {share.max():g} at most.")
    data = np.ascontiguousarray(image.data)
    weight = _counts(share, edge_weight) * np.any(share, axis=(0, 1))
    return RealImage(path.name, data, share, weight, image.zooms)


def _load_pseudo(path: Path, map_path: Path, edge_weight: float) -> RealImage:
    """An image with a map of shares in which what is not known is negative."""
    image, mask = _canonical(path), _canonical(map_path)
    _check_same_grid(mask, map_path, image, path)
    values = np.ascontiguousarray(mask.data, dtype=np.float32)
    share = np.clip(values, 0, 1)
    weight = _counts(share, edge_weight) * (values >= 0)
    return RealImage(path.name, np.ascontiguousarray(image.data), share, weight, image.zooms, pseudo=True)


def _counts(share: FloatArray, edge_weight: float) -> FloatArray:
    """How much each voxel counts: `edge_weight` at the edge of what is drawn, 1 elsewhere."""
    counts: FloatArray = np.where(edge_of(share > 0.5), np.float32(edge_weight), np.float32(1))
    return counts


def edge_of(mask: BoolArray) -> BoolArray:
    """Voxels of a mask (I, J, K) that touch its outside within a slice, and those outside that touch it."""
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)[..., None]
    edge: BoolArray = binary_dilation(mask, cross) & ~binary_erosion(mask, cross, border_value=1)
    return edge
