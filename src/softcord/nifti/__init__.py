"""NIfTI files in and out: checked when read, on the same grid and never half-written when saved.

Images are nibabel's. Voxels are read as float32, in pieces and in one pass over the file, so that a
volume costs its own size in memory whatever its type on disk. The header of a result is a copy of the
header of the input: affine, qform, sform and their codes, units and voxel sizes stay as they are. Header
extensions are neither read nor written: they describe another image (its history, its DICOM source and
with that possibly the person in it).
"""

from softcord.nifti.header import Image, header_flags, image_like, spans_space, zooms_of
from softcord.nifti.loading import check_image, load_image
from softcord.nifti.saving import FileSet, save_image, write_text
from softcord.nifti.voxels import read_volume, read_volumes

__all__ = [
    "FileSet",
    "Image",
    "check_image",
    "header_flags",
    "image_like",
    "load_image",
    "read_volume",
    "read_volumes",
    "save_image",
    "spans_space",
    "write_text",
    "zooms_of",
]
