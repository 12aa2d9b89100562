"""Volumes in the canonical order of axes (RAS+) and back; the names of orientations.

Computing is done on axes that run to the right (i), to the front (j) and to the head (k), the order
that nibabel names RAS+. Going there and back only permutes and flips axes: voxels are neither copied
nor interpolated, so an oblique volume stays oblique and is canonical to within 45 degrees.

nibabel's letters say where an axis runs *to*, those of the Spinal Cord Toolbox (SCT) where it comes
*from*: its LPI is nibabel's RAS, its RPI nibabel's LAS. SCT's names are made here and nowhere else.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from nibabel.orientations import inv_ornt_aff, io_orientation, ornt2axcodes

from softcord._typing import Affine, Zooms
from softcord.errors import GeometryError
from softcord.nifti import spans_space, zooms_of

_Scalar = TypeVar("_Scalar", bound=np.generic)

_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


@dataclass(frozen=True, slots=True)
class Canonical:
    """A volume whose axes run as near as can be to the right, the front and the head.

    Attributes
    ----------
    data : (I, J, K) array
        View of the original voxels; k = 0 is the most inferior slice.
    zooms : (3,) tuple of float, mm
        Voxel size along the axes of `data`.
    affine : (4, 4) array of float
        Index into `data` to RAS+ mm.
    ornt : (3, 2) array of float
        Orientation of the original axes in nibabel's terms; `restore` takes it.
    """

    data: npt.NDArray[np.generic]
    zooms: Zooms
    affine: Affine
    ornt: npt.NDArray[np.float64]


def to_canonical(data: npt.NDArray[np.generic], affine: Affine) -> Canonical:
    """Volume with its axes permuted and flipped to RAS+.

    Parameters
    ----------
    data : (I, J, K) array
        Voxels on the original axes; not copied.
    affine : (4, 4) array of float
        Index into `data` to RAS+ mm; may be oblique, must be invertible.

    Returns
    -------
    canonical : Canonical
        The view, its voxel size and affine, and the way back.

    Raises
    ------
    GeometryError
        If `data` is not 3-D, or the affine does not place all three axes.

    Examples
    --------
    >>> flipped = np.arange(8).reshape(2, 2, 2)
    >>> canonical = to_canonical(flipped, np.diag([-1.0, 1.0, 3.0, 1.0]))
    >>> canonical.zooms
    (1.0, 1.0, 3.0)
    >>> bool(np.all(canonical.data == flipped[::-1]))
    True
    """
    if data.ndim != 3:
        raise GeometryError(f"A volume must be 3-D to be reoriented, got shape {data.shape}.")
    ornt = _orientation(affine)
    order = np.argsort(ornt[:, 0])
    view = data[_flips(ornt)].transpose(order)
    to_original = inv_ornt_aff(ornt, data.shape)  # type: ignore[no-untyped-call]
    canonical_affine = np.asarray(affine, dtype=np.float64) @ to_original
    return Canonical(view, zooms_of(canonical_affine), canonical_affine, ornt)


def restore(data: npt.NDArray[_Scalar], ornt: npt.NDArray[np.float64]) -> npt.NDArray[_Scalar]:
    """Volume on its original axes again; the inverse of `to_canonical`.

    Parameters
    ----------
    data : (I, J, K) or (I, J, K, N) array
        Canonical volume, or N of them; not copied.
    ornt : (3, 2) array of float
        `Canonical.ornt` of the volume that it was made from.

    Returns
    -------
    data : array
        View of `data` on the original axes.

    Raises
    ------
    GeometryError
        If `data` is neither 3-D nor 4-D.
    """
    if data.ndim not in (3, 4):
        raise GeometryError(f"A volume must be 3-D or 4-D to be restored, got shape {data.shape}.")
    axes = [int(axis) for axis in ornt[:, 0]]
    restored: npt.NDArray[_Scalar] = data.transpose(*axes, *range(3, data.ndim))[_flips(ornt)]
    return restored


def sct_orientation(affine: Affine) -> str:
    """Orientation in the letters of SCT: where the axes come from.

    Parameters
    ----------
    affine : (4, 4) array of float
        Voxel index to RAS+ mm.

    Returns
    -------
    name : str
        Three letters, such as "RPI".

    Raises
    ------
    GeometryError
        If the affine does not place all three axes.

    Examples
    --------
    >>> sct_orientation(np.diag([-1.0, 1.0, 1.0, 1.0]))
    'RPI'
    """
    runs_to = ornt2axcodes(_orientation(affine))  # type: ignore[no-untyped-call]
    return "".join(_OPPOSITE[letter] for letter in runs_to)


def _orientation(affine: Affine) -> npt.NDArray[np.float64]:
    """(3, 2) array: for each axis the canonical axis nearest to it, and 1 or -1 for its sense."""
    affine = np.asarray(affine, dtype=np.float64)
    if spans_space(affine):
        ornt: npt.NDArray[np.float64] = io_orientation(affine)  # type: ignore[no-untyped-call]
        return ornt
    raise GeometryError(
        f"The affine must place three different axes, got {affine[:3, :3].tolist()}. "
        "Repair the header of the image."
    )


def _flips(ornt: npt.NDArray[np.float64]) -> tuple[slice, slice, slice]:
    """Index that reverses the axes that run against their canonical axis."""
    first, second, third = (slice(None, None, int(sense)) for sense in ornt[:, 1])
    return first, second, third
