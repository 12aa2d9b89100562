"""Headers: the place of voxels, what is doubtful about it, and the header of a result."""

import math
from typing import Any, TypeAlias

import nibabel as nib
import numpy as np
import numpy.typing as npt

from softcord._typing import Affine, Zooms
from softcord.errors import GeometryError
from softcord.flags import Flag

Image: TypeAlias = nib.Nifti1Image | nib.Nifti2Image
"""A single-file NIfTI image of nibabel."""

Header: TypeAlias = Any
"""A Nifti1Header or Nifti2Header, whose methods have no types."""

# volume of the box that unit vectors along the axes span, 1 if they are perpendicular; below this, the
# axes lie in one plane
_FLAT = 1e-4

# rounding of a float32 quaternion moves the far corner of a large image by some hundredths of a millimetre
_FORMS_AGREE_MM = 0.1
_ZOOMS_AGREE = 0.01  # relative
_PERPENDICULAR_DEG = 1.0


def spans_space(affine: Affine) -> bool:
    """True if `affine` is finite and its three axes span space (none is 0, no two are parallel)."""
    if not np.isfinite(affine).all():
        return False
    lengths = np.sqrt(np.sum(affine[:3, :3] ** 2, axis=0))
    if not lengths.all():
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) > _FLAT)


def zooms_of(affine: Affine) -> Zooms:
    """Voxel size along each axis in mm: the lengths of the columns of `affine`."""
    i, j, k = (float(length) for length in np.sqrt(np.sum(affine[:3, :3] ** 2, axis=0)))
    return i, j, k


def header_flags(image: Image) -> tuple[Flag, ...]:
    """What is doubtful in a header that can be used.

    Parameters
    ----------
    image : Nifti1Image or Nifti2Image
        An image that `check_image` accepts.

    Returns
    -------
    flags : tuple of Flag
        Of these, those that apply: `qform_sform_disagree` (by more than 0.1 mm at a corner of the volume),
        `no_spatial_code` (neither form is valid), `pixdim_disagree` (by more than 1 % from the affine),
        `sheared_axes` (by more than 1 degree), `units_unknown` and `units_not_mm`.
    """
    header: Header = image.header
    flags = [_forms_flag(image), _pixdim_flag(image), _shear_flag(image)]
    unit = int(header["xyzt_units"]) & 7
    if unit in (1, 3):
        name = "metres" if unit == 1 else "micrometres"
        flags.append(
            Flag("units_not_mm", f"The header gives lengths in {name}; they are taken as millimetres.")
        )
    elif unit != 2:
        flags.append(
            Flag("units_unknown", "The header does not say the unit of length; it is taken as millimetres.")
        )
    return tuple(flag for flag in flags if flag)


def _forms_flag(image: Image) -> Flag | None:
    """Flag for the two ways in which a header places its voxels."""
    header: Header = image.header
    has_qform, has_sform = int(header["qform_code"]) > 0, int(header["sform_code"]) > 0
    if not (has_qform or has_sform):
        return Flag(
            "no_spatial_code", "Neither qform nor sform is valid; left, right and the rest are a guess."
        )
    if not (has_qform and has_sform):
        return None
    try:
        qform = header.get_qform()
    except ValueError:
        return Flag("qform_sform_disagree", "The qform is not a rotation; the sform is used, both are kept.")
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
    corners[:, :3] *= np.array(image.shape[:3]) - 1
    apart = (corners @ (header.get_sform() - qform).T)[:, :3]
    largest = float(np.sqrt(np.sum(apart**2, axis=1)).max())
    if largest <= _FORMS_AGREE_MM:
        return None
    reason = f"qform and sform place a voxel up to {largest:.1f} mm apart; the sform is used, both are kept."
    return Flag("qform_sform_disagree", reason)


def _pixdim_flag(image: Image) -> Flag | None:
    """Flag for voxel sizes that are not those of the affine."""
    pixdim = np.array(image.header["pixdim"][1:4], dtype=np.float64)
    zooms = np.array(zooms_of(image.affine))
    if np.all(np.abs(pixdim / zooms - 1) <= _ZOOMS_AGREE):
        return None
    said, used = (" × ".join(f"{size:.3g}" for size in sizes) for sizes in (pixdim, zooms))
    return Flag(
        "pixdim_disagree", f"The header gives voxels of {said} mm, the affine of {used} mm, which is used."
    )


def _shear_flag(image: Image) -> Flag | None:
    """Flag for axes that are not perpendicular."""
    axes = image.affine[:3, :3] / zooms_of(image.affine)
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    off = math.degrees(math.asin(min(1.0, cosine)))
    if off <= _PERPENDICULAR_DEG:
        return None
    return Flag(
        "sheared_axes", f"Two axes of the image are {off:.1f}° off perpendicular; areas take them as square."
    )


def image_like(data: npt.NDArray[Any], like: Image, *, dtype: npt.DTypeLike = np.float32) -> Image:
    """Image of a result on the grid of the image that it was made from.

    Affine, qform, sform and their codes, units, `pixdim`, `descrip` and the rest of the header stay as they
    are, except the type of the voxels, their scaling (none), the range to display (0 to 1) and the intent
    (none). Header extensions are left out: they tell about another image, and may name the person in it.

    Parameters
    ----------
    data : (I, J, K) or (I, J, K, N) array
        Values on the axes of `like`; not copied if they have the right type.
    like : (I, J, K) or (I, J, K, N) image
        The image that was segmented. A 3-D result of a 4-D image is a 3-D image.
    dtype : numpy dtype
        Type of the voxels: float32 for a soft map (default), uint8 for a mask.

    Returns
    -------
    image : Nifti1Image or Nifti2Image
        Of the class of `like`.

    Raises
    ------
    GeometryError
        If `data` is not on the grid of `like`.
    """
    if data.shape not in (like.shape, like.shape[:3]):
        raise GeometryError(
            f"{name_of(like)}: a result must have the image's shape {like.shape}, got {data.shape}."
        )
    source: Header = like.header
    header = source.copy()
    header.extensions.clear()
    pixdim = header["pixdim"].copy()
    header.set_data_shape(data.shape)
    header["pixdim"] = pixdim  # the step of the fourth axis too, which is the repetition time
    header.set_data_dtype(dtype)
    header["cal_min"], header["cal_max"] = 0, 1
    header["intent_code"], header["intent_name"] = 0, b""
    header["intent_p1"] = header["intent_p2"] = header["intent_p3"] = 0
    kind = nib.Nifti2Image if isinstance(like, nib.Nifti2Image) else nib.Nifti1Image
    voxels = data.astype(dtype, copy=False)
    return kind(voxels, like.affine, header)  # type: ignore[no-untyped-call]


def name_of(image: Image) -> str:
    """What messages call an image: its file, if it has one."""
    return image.get_filename() or "the image"
