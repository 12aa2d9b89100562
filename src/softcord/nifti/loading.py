"""Opening a file: what is no image, and what is an image that cannot be used."""

import math
import os
import stat
import zlib
from pathlib import Path

import nibabel as nib
from nibabel.arrayproxy import ArrayProxy

from softcord._typing import Affine
from softcord.errors import InputError
from softcord.nifti.header import Header, Image, name_of, spans_space, zooms_of
from softcord.nifti.stream import GZIP_MAGIC, SUFFIXES, damaged, is_gzip_name, open_bytes

# a voxel outside this range means another unit than the millimetre, or a damaged header
_SMALLEST_MM, _LARGEST_MM = 0.01, 100.0

_DEFLATE_LIMIT = 1032  # deflate cannot make data smaller by more than this factor

_COLOURS = (128, 2304)  # RGB, RGBA

_FOREIGN = {
    ".dcm": "a DICOM file. Convert the series with dcm2niix",
    ".ima": "a DICOM file. Convert the series with dcm2niix",
    ".mgh": "a FreeSurfer volume. Convert it with mri_convert",
    ".mgz": "a FreeSurfer volume. Convert it with mri_convert",
    ".nrrd": "an NRRD file. Convert it to NIfTI with mri_convert or 3D Slicer",
    ".nhdr": "an NRRD file. Convert it to NIfTI with mri_convert or 3D Slicer",
    ".mnc": "a MINC file. Convert it to NIfTI with mri_convert",
    ".hdr": "half of a .hdr/.img pair. Convert the pair to .nii.gz with mri_convert",
    ".img": "half of a .hdr/.img pair. Convert the pair to .nii.gz with mri_convert",
}


def load_image(path: str | os.PathLike[str]) -> Image:
    """Image whose header has been checked and whose voxels are still on disk.

    Parameters
    ----------
    path : str or path
        A .nii or .nii.gz file, NIfTI-1 or NIfTI-2.

    Returns
    -------
    image : Nifti1Image or Nifti2Image
        (I, J, K) or (I, J, K, N); `read_volume` gets the voxels.

    Raises
    ------
    InputError
        If there is no such file, if it is another format or damaged, or if `check_image` refuses it.

    Notes
    -----
    As in nibabel, a form code that NIfTI does not define counts as 0, and a qfac other than -1 as 1.
    """
    path = Path(path)
    start = _read_start(path)
    header = _parse_header(path, start)
    _check_header(header, str(path))
    _check_size(path, header)
    proxy = ArrayProxy(str(path), header)  # type: ignore[no-untyped-call]
    header.set_data_offset(0)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    file_map = kind.make_file_map({"image": str(path)})
    return kind(proxy, header.get_best_affine(), header, file_map=file_map)  # type: ignore[no-untyped-call]


def check_image(image: Image) -> None:
    """Refuse an image that cannot be segmented, by its header alone.

    Parameters
    ----------
    image : Nifti1Image or Nifti2Image
        Anything that nibabel made; images of `load_image` have passed.

    Raises
    ------
    InputError
        If the image is not 3-D or 4-D with real numbers, if two of its axes have a single voxel, or if its
        voxel sizes or its affine cannot be used.
    """
    if not isinstance(image, nib.Nifti1Image):
        raise InputError(
            f"{name_of(image)}: expected a NIfTI image, got {type(image).__name__}. Load a .nii file."
        )
    if image.affine is None:
        raise InputError(f"{name_of(image)}: the affine is missing. Make the image with one.")
    _check_header(image.header, name_of(image))
    _check_affine(image.affine, name_of(image))


def _read_start(path: Path) -> bytes:
    """The first bytes of the file, uncompressed: enough for any header."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(
                f"{path}: expected a file, got a folder. Name the NIfTI in it; dcm2niix makes one from DICOM."
            )
        if not stat.S_ISREG(mode):
            raise InputError(f"{path}: expected a file, got a device or a pipe. Name a .nii or .nii.gz file.")
        with path.open("rb") as file:
            raw = file.read(1024)
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise InputError(
                f"{path}: a link to a file that is not here. In a DataLad dataset, run: datalad get {path}"
            ) from error
        raise InputError(f"{path}: no such file. Check the name.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from error
    if not raw:
        raise InputError(f"{path}: the file is empty. Copy or convert it again.")
    _check_format(path, raw)
    if not is_gzip_name(path):
        return raw
    try:
        with open_bytes(path) as stream:
            start = stream.read(nib.Nifti2Header.template_dtype.itemsize)
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(path, error) from error
    if start[:4] == b"\x00\x00\x00\x01":
        raise InputError(f"{path}: expected a NIfTI file, got {_FOREIGN['.mgz']}.")
    return start


def _check_format(path: Path, raw: bytes) -> None:
    """Refuse files of other formats, by content and then by name."""
    foreign = _FOREIGN.get(path.suffix.lower())
    if raw[128:132] == b"DICM":
        foreign = _FOREIGN[".dcm"]
    elif raw.startswith(b"NRRD"):
        foreign = _FOREIGN[".nrrd"]
    if foreign:
        raise InputError(f"{path}: expected a NIfTI file, got {foreign}.")
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"{path}: the name of an image must end in .nii or .nii.gz. Rename or convert it.")
    is_gzip = raw.startswith(GZIP_MAGIC)
    if is_gzip and not is_gzip_name(path):
        raise InputError(f"{path}: the file is compressed but not named so. Rename it to end in .nii.gz.")
    if is_gzip_name(path) and not is_gzip:
        way_out = (
            "Rename it to end in .nii" if _header_class(raw) else "It is no NIfTI file; convert it again"
        )
        raise InputError(f"{path}: the name ends in .gz but the file is not compressed. {way_out}.")


def _header_class(start: bytes) -> type[Header] | None:
    """Class of the header that `start` opens with, or None if that is no single-file NIfTI."""
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
    if 348 in sizes and start[344:348] == b"n+1\x00":
        return nib.Nifti1Header
    if 540 in sizes and start[4:8] == b"n+2\x00":
        return nib.Nifti2Header
    return None


def _parse_header(path: Path, start: bytes) -> Header:
    """Header as it is on disk, but for what nibabel could not use: undefined form codes and qfac."""
    kind = _header_class(start)
    if kind is None:
        is_pair = start[344:347] == b"ni1" or start[4:7] == b"ni2"
        found = _FOREIGN[".hdr"] if is_pair else "something else. Copy or convert it again"
        raise InputError(f"{path}: expected a NIfTI file, got {found}.")
    size = kind.template_dtype.itemsize
    if len(start) < size:
        raise InputError(f"{path}: the file ends within its header. Copy or download it again.")
    header = kind(start[:size], check=False)
    for code in ("qform_code", "sform_code"):
        if int(header[code]) not in range(6):
            header[code] = 0
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1
    if header["vox_offset"] == 0:
        header["vox_offset"] = kind.single_vox_offset
    return header


def _check_header(header: Header, name: str) -> None:
    """Refuse shapes, types, voxel sizes and forms that cannot be used."""
    _check_shape(header, name)
    _check_type(header, name)
    zooms = [float(zoom) for zoom in header["pixdim"][1:4]]
    if not all(math.isfinite(zoom) and zoom > 0 for zoom in zooms):
        sizes = " × ".join(f"{zoom:g}" for zoom in zooms)
        raise InputError(f"{name}: voxel sizes must be above 0 mm, got {sizes}. Repair the header (pixdim).")
    try:
        affine = header.get_best_affine()
    except ValueError as error:
        raise InputError(f"{name}: the qform is not a rotation ({error}). Repair the header.") from error
    _check_affine(affine, name)


def _check_shape(header: Header, name: str) -> None:
    """Refuse what is neither a volume nor a series of volumes."""
    n_axes = int(header["dim"][0])
    sizes = tuple(int(size) for size in header["dim"][1 : 1 + n_axes])
    if not 1 <= n_axes <= 7 or min(sizes) < 1:
        raise InputError(f"{name}: the header is damaged (shape {sizes}). Copy or convert the file again.")
    if n_axes not in (3, 4):
        way_out = "Join the slices to a volume" if n_axes < 3 else "Extract a 3-D or 4-D image"
        raise InputError(f"{name}: expected a 3-D or 4-D image, got {n_axes}-D {sizes}. {way_out} first.")
    if sum(size == 1 for size in sizes[:3]) > 1:
        raise InputError(
            f"{name}: too small: a volume has two voxels or more along at least two axes, got {sizes}. "
            "Give the whole image."
        )


def _check_type(header: Header, name: str) -> None:
    """Refuse voxels that are not real numbers, and scaling that makes them none."""
    try:
        dtype = header.get_data_dtype()
        header.get_slope_inter()
    except (KeyError, ValueError, nib.spatialimages.HeaderDataError) as error:
        raise InputError(
            f"{name}: the voxels cannot be decoded ({error}). Convert the file again."
        ) from error
    if dtype.kind == "c":
        raise InputError(f"{name}: expected real voxels, got complex ones. Give the magnitude image.")
    if int(header["datatype"]) in _COLOURS:
        raise InputError(f"{name}: expected one number per voxel, got colours. Give a grey-scale image.")
    if dtype.kind not in "iuf":
        raise InputError(f"{name}: the voxels cannot be decoded (type {dtype.name}). Convert the file again.")


def _check_affine(affine: Affine, name: str) -> None:
    """Refuse affines that do not place three axes in space, or not at a plausible size."""
    if not spans_space(affine):
        raise InputError(
            f"{name}: the affine is singular: it must give every voxel a place of its own. "
            "Repair the header (sform, qform)."
        )
    zooms = zooms_of(affine)
    if min(zooms) < _SMALLEST_MM or max(zooms) > _LARGEST_MM:
        sizes = " × ".join(f"{zoom:g}" for zoom in zooms)
        raise InputError(
            f"{name}: voxel sizes must lie between {_SMALLEST_MM:g} and {_LARGEST_MM:g} mm, got {sizes}. "
            "Repair the header; its unit must be the millimetre."
        )


def _check_size(path: Path, header: Header) -> None:
    """Refuse a file that cannot hold the voxels that its header announces."""
    offset = float(header["vox_offset"])
    if not header.single_vox_offset <= offset < math.inf:
        raise InputError(f"{path}: the header is damaged (vox_offset {offset:g}). Copy or convert it again.")
    n_bytes = header.get_data_dtype().itemsize * math.prod(header.get_data_shape())
    expected, size = int(offset) + n_bytes, path.stat().st_size
    if expected > size * (_DEFLATE_LIMIT if is_gzip_name(path) else 1):
        raise InputError(
            f"{path}: the file is shorter than its header says ({size} bytes for {expected}). Copy it again."
        )
