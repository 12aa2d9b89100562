"""A mask from a file or an image: on canonical axes, with values from 0 to 1."""

import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softcord._typing import Affine, FloatArray, Zooms
from softcord.errors import GeometryError, InputError
from softcord.flags import Flag
from softcord.nifti import Image, check_image, header_flags, load_image, read_volume, read_volumes
from softcord.orientation import to_canonical

_MOST_LABELS = 10  # more whole numbers than that are grey levels, such as 0 to 255


@dataclass(frozen=True)
class Mask:
    """A segmentation that can be measured.

    Attributes
    ----------
    soft : (I, J, K) array of float32 in [0, 1]
        In RAS+ order.
    zooms : (3,) tuple of float, mm
    affine : (4, 4) array of float
        Index into `soft` to RAS+ mm.
    file_affine : (4, 4) array of float
        Index into the file's own voxels to RAS+ mm.
    shape : tuple of int
        Of the file.
    flags : tuple of Flag
        What was odd about header and values.
    path : Path or None
    is_network : bool
        Whether its sidecar says that softcord's network made it.
    """

    soft: FloatArray
    zooms: Zooms
    affine: Affine
    file_affine: Affine
    shape: tuple[int, ...]
    flags: tuple[Flag, ...]
    path: Path | None
    is_network: bool

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path) if self.path else "the mask"


def read_mask(mask: Image | str | Path, *, volume: int | None = None, allow_empty: bool = False) -> Mask:
    """Read a soft segmentation or a mask.

    Parameters
    ----------
    mask : path or nibabel image, (I, J, K) or (I, J, K, N)
        Values 0 to 1; a mask may also use another number for cord, such as 255.
    volume : int, optional
        Which of the N volumes.
    allow_empty : bool
        Read a mask without cord, too (default: refuse it).

    Returns
    -------
    mask : Mask

    Raises
    ------
    InputError
        If it cannot be read, holds no cord, several labels, or several volumes without one being chosen.
    """
    image = load_image(mask) if isinstance(mask, str | Path) else mask
    if not isinstance(mask, str | Path):
        check_image(image)
    filename = image.get_filename()
    path = Path(mask) if isinstance(mask, str | Path) else (Path(filename) if filename else None)
    name = str(path) if path else "the mask"
    if len(image.shape) == 4 and image.shape[3] > 1 and volume is None:
        raise InputError(
            f"{name}: expected one volume, got {image.shape[3]}. Say which one (--volume N, counted from 0)."
        )
    if allow_empty:
        data, flags = next(itertools.islice(read_volumes(image), volume or 0, None))
        flags = tuple(flag for flag in flags if flag.code != "constant_volume")
    else:
        data, flags = read_volume(image, volume=volume or 0)
    is_empty = allow_empty and not data.any()
    soft, value_flags = (data, ()) if is_empty else _to_shares(data, name)
    canonical = to_canonical(soft, image.affine)
    return Mask(
        soft=canonical.data.astype(np.float32, copy=False),
        zooms=canonical.zooms,
        affine=canonical.affine,
        file_affine=np.asarray(image.affine, dtype=np.float64),
        shape=tuple(image.shape[:3]),
        flags=(*header_flags(image), *flags, *value_flags),
        path=path,
        is_network=path is not None and _is_network(path),
    )


def check_same_grid(one: Mask, other: Mask) -> None:
    """Raise GeometryError unless two masks have the same voxels, whatever the order of their axes.

    Parameters
    ----------
    one, other : Mask

    Raises
    ------
    GeometryError
        If shapes or places differ, by more than a hundredth of a voxel at a corner.
    """
    if one.soft.shape != other.soft.shape:
        raise GeometryError(
            f"{one.name} and {other.name} must be on one grid, got {one.soft.shape} and {other.soft.shape} "
            "voxels. Resample one of them."
        )
    corners = np.array(list(itertools.product(*[(0, n - 1) for n in one.soft.shape], [1])), dtype=float)
    apart = np.abs((corners @ (one.affine - other.affine).T)[:, :3]).max()
    if apart > 0.01 * min(one.zooms) + 1e-3:
        raise GeometryError(
            f"{one.name} and {other.name} must be on one grid, but voxels lie up to {apart:.2f} mm apart. "
            "Resample one of them."
        )


def _to_shares(data: FloatArray, name: str) -> tuple[FloatArray, tuple[Flag, ...]]:
    """Values from 0 to 1, and what had to be done for it."""
    flags = []
    low, high = float(data.min()), float(data.max())
    if high <= 0:
        raise InputError(
            f"{name}: expected shares of cord from 0 to 1, got no value above 0 (lowest {low:g})."
        )
    if low < 0:
        n_negative = int(np.count_nonzero(data < 0))
        flags.append(
            Flag("negative_values", f"{n_negative} voxels are below 0 (lowest {low:g}); they count as 0.")
        )
        data = np.maximum(data, 0)
    if high > 1:
        values = np.unique(data[data > 0])
        if values.size > 1 and values.size <= _MOST_LABELS and bool(np.all(values == np.round(values))):
            labels = ", ".join(f"{value:g}" for value in values)
            raise InputError(
                f"{name}: expected one structure, got labels {labels}. Extract that of the cord first."
            )
        if values.size > 1 and high > 255:
            raise InputError(
                f"{name}: expected shares of cord, 0 to 1, got values up to {high:g}. Give a segmentation."
            )
        if values.size > 1 and high <= 1.1:
            flags.append(
                Flag("values_above_1", f"Values up to {high:.3g} count as 1, as interpolation makes them.")
            )
            return np.minimum(data, 1), tuple(flags)
        full = high if values.size == 1 else (100.0 if high <= 100 else 255.0)
        flags.append(Flag("values_rescaled", f"Values go up to {high:g}; they were divided by {full:g}."))
        data = data / np.float32(full)
    return data, tuple(flags)


def _is_network(path: Path) -> bool:
    """Whether the sidecar beside a file says that a model of softcord made it."""
    sidecar = path.with_name(re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE) + ".json")
    try:
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(facts, dict) or "ModelName" not in facts:
        return False
    makers = facts.get("GeneratedBy")
    makers = makers if isinstance(makers, list) else []
    return any(isinstance(maker, dict) and maker.get("Name") == "softcord" for maker in makers)
