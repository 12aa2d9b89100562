"""Images and labels as nnU-Net wants them: one orientation, one grid, axes at right angles."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np

from softcord._typing import Affine, FloatArray
from softcord.dataset.recipe import Orientation
from softcord.dataset.sampling import Shares, box_affine, box_of, sample
from softcord.errors import GeometryError, InputError
from softcord.masks import read_mask
from softcord.nifti import Image, load_image, read_volume, zooms_of
from softcord.orientation import to_canonical

Placed = Literal["same", "voxels", "resampled"]

_SAME = 0.1  # voxels: two affines this near are one, but for rounding
_MOST_LOST = 0.02  # share of a label that may lie outside the image
_TURNED_MM = 0.1  # a header whose axes are made perpendicular may move a corner so far unmentioned


@dataclass(frozen=True)
class Volume:
    """An image on canonical axes, RAS+.

    Attributes
    ----------
    data : (I, J, K) array
        Of the type on disk where that loses nothing, else float32.
    affine : (4, 4) array of float
        Index to RAS+ mm, with axes at right angles.
    source_affine : (4, 4) array of float
        As the header of the file has it.
    notes : tuple of str
        What was done to it.
    """

    data: np.ndarray
    affine: Affine
    source_affine: Affine
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Label:
    """Shares of cord on the grid of an image.

    Attributes
    ----------
    shares : (I, J, K) array of float32 in [0, 1]
    placed : {"same", "voxels", "resampled"}
        Whether label and image were on one grid, the voxels were taken as they are though the affines differ,
        or the label was resampled.
    apart_mm : float, mm
        Largest distance between corners of the two grids.
    notes : tuple of str
        What else was done.
    """

    shares: FloatArray
    placed: Placed
    apart_mm: float
    notes: tuple[str, ...] = ()


def read_image(path: Path) -> Volume:
    """Image for training; a series of volumes becomes its mean."""
    image = load_image(path)
    data, flags = read_volume(image)
    n_volumes = image.shape[3] if len(image.shape) == 4 else 1
    dataobj: Any = image.dataobj
    on_disk = np.dtype(dataobj.dtype)
    is_plain = float(dataobj.slope) == 1 and float(dataobj.inter) == 0
    kept: np.ndarray = data
    if n_volumes == 1 and is_plain and on_disk.kind in "iu" and on_disk.itemsize <= 2:
        kept = data.astype(on_disk.newbyteorder("="))
    canonical = to_canonical(kept, image.affine)
    square = right_angles(canonical.affine)
    turned = _apart(canonical.affine, square, canonical.data.shape)
    notes = [flag.reason for flag in flags]
    if turned > _TURNED_MM:
        notes.append(f"Axes of the image were made perpendicular, which moves a corner by {turned:.2f} mm.")
    if n_volumes > 1:
        notes.append(f"The image is the mean of {n_volumes} volumes.")
    return Volume(canonical.data, square, canonical.affine, tuple(notes))


def read_label(path: Path, image_path: Path, volume: Volume, *, trust: str = "affine") -> Label:
    """Label on the grid of its image.

    Parameters
    ----------
    path, image_path : Path
    volume : Volume
        The image.
    trust : {"affine", "voxels"}
        What holds if both have the same number of voxels in different places.

    Returns
    -------
    label : Label
        With the reason if it had to be moved.

    Raises
    ------
    InputError
        If the label cannot be read, holds no cord or several structures.
    GeometryError
        If part of the label lies outside the image.
    """
    label = load_image(path)
    image = load_image(image_path)
    apart = _apart(label.affine, image.affine, image.shape[:3])
    has_place = int(label.header["sform_code"]) > 0 or int(label.header["qform_code"]) > 0
    notes: list[str] = []
    placed: Placed = "same"
    if label.shape[:3] == image.shape[:3] and apart > _near(image) and (trust == "voxels" or not has_place):
        label = _with_affine(label, image.affine)
        placed = "voxels"
        why = "its header does not say where it is" if not has_place else "as the recipe says"
        notes.append(f"{path.name} and {image_path.name} are {apart:.2f} mm apart; voxels are taken, {why}.")
    mask = read_mask(label)
    notes += [
        flag.reason
        for flag in mask.flags
        if flag.code in ("non_finite", "values_rescaled", "negative_values")
    ]
    same_shape = mask.soft.shape == volume.data.shape
    between = _apart(mask.affine, volume.source_affine, volume.data.shape)
    if same_shape and between <= _near(image):
        return Label(mask.soft, placed, apart if placed == "voxels" else between, tuple(notes))
    shares = _resampled(mask.soft, mask.affine, volume, path, image_path)
    size = "another size" if not same_shape else f"places up to {between:.2f} mm apart"
    notes.append(f"{path.name} and {image_path.name} have voxels of {size}; the label was resampled.")
    return Label(shares, "resampled", between, tuple(notes))


def combine(labels: list[Label]) -> Label:
    """Mean of labels of several raters."""
    if len(labels) == 1:
        return labels[0]
    order: list[Placed] = ["same", "voxels", "resampled"]
    return replace(
        labels[0],
        shares=np.mean([label.shares for label in labels], axis=0, dtype=np.float32),
        placed=max((label.placed for label in labels), key=order.index),
        apart_mm=max(label.apart_mm for label in labels),
        notes=tuple(dict.fromkeys(note for label in labels for note in label.notes)),
    )


def training_image(data: np.ndarray, affine: Affine, orientation: Orientation) -> Image:
    """NIfTI image of a canonical volume in the order of axes that models are trained in."""
    if orientation == "LAS":
        flip = np.diag([-1.0, 1.0, 1.0, 1.0])
        flip[0, 3] = data.shape[0] - 1
        data, affine = data[::-1], affine @ flip
    return _place(nib.Nifti1Image(data, affine), affine)  # type: ignore[no-untyped-call]


def right_angles(affine: Affine) -> Affine:
    """The nearest affine whose axes are perpendicular; sizes of voxels and the first voxel stay.

    Headers hold rounded numbers, and readers of ITK refuse axes that are not perpendicular.
    """
    zooms = np.array(zooms_of(affine))
    left, _, right = np.linalg.svd(affine[:3, :3] / zooms)
    square: Affine = affine.copy()
    square[:3, :3] = (left @ right) * zooms
    return square


def _resampled(soft: FloatArray, affine: Affine, volume: Volume, path: Path, image_path: Path) -> FloatArray:
    shape, to = volume.data.shape, volume.source_affine
    shares = np.zeros(shape, dtype=np.float32)
    box = box_of(soft, affine, shape, to, margin=max(zooms_of(to)))
    size = tuple(part.stop - part.start for part in box)
    if min(size) > 0:
        source = Shares(soft, affine, np.ones(soft.shape[2], dtype=bool))
        found, coverage = sample(source, size, box_affine(to, box))
        shares[box] = found * coverage
    before = float(soft.sum(dtype=np.float64)) * float(np.prod(zooms_of(affine)))
    after = float(shares.sum(dtype=np.float64)) * float(np.prod(zooms_of(to)))
    lost = 1 - after / before
    if lost > _MOST_LOST:
        raise GeometryError(
            f"{path}: {100 * lost:.0f} % of the label lie outside {image_path.name}, so their headers do not "
            "fit. If only the header of the label is wrong, say trust: voxels in the recipe; else exclude it."
        )
    return shares


def _with_affine(image: Image, affine: Affine) -> Image:
    """The same file with another header."""
    moved = type(image)(image.dataobj, affine, image.header)
    moved.set_filename(str(image.get_filename()))
    return _place(moved, affine)


def _place(image: Any, affine: Affine) -> Image:  # noqa: ANN401  methods of nibabel have no types
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    placed: Image = image
    return placed


def _near(image: Image) -> float:
    return _SAME * min(zooms_of(image.affine))


def _apart(one: Affine, other: Affine, shape: tuple[int, ...]) -> float:
    """Largest distance between the corners of two grids of one shape, mm."""
    corners = np.array(list(itertools.product(*[(0, n - 1) for n in shape[:3]], [1])), dtype=float)
    return float(np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max())


def check_not_empty(label: Label, path: Path, threshold: float) -> None:
    """Raise InputError if no voxel reaches the threshold of the hard label."""
    if not np.any(label.shares >= threshold):
        raise InputError(
            f"{path}: no voxel is {threshold:g} cord or more on the grid of the image, so the hard label is "
            "empty. Exclude the image."
        )
