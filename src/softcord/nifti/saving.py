"""Results on disk: whole or not at all."""

import contextlib
import errno
import io
import itertools
import os
import secrets
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from softcord.errors import OutputError, UsageError
from softcord.nifti.header import Header, Image
from softcord.nifti.stream import SUFFIXES, is_gzip_name
from softcord.nifti.voxels import slabs


def save_image(
    image: Image,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Write an image whole or not at all.

    The same image gives the same bytes: little-endian, and without time or name in the gzip header.

    Parameters
    ----------
    image : Nifti1Image or Nifti2Image
        Whose voxels have the type that its header says, as those of `image_like` have.
    path : str or path
        Name that ends in .nii or .nii.gz, in a folder that exists.
    overwrite : bool
        Replace a file of that name (default: refuse).
    inputs : iterable of str or path
        Files that are never replaced, whatever `overwrite` says; also the one that `image` came from.

    Raises
    ------
    OutputError
        If `path` exists, is an input, or cannot be written.
    UsageError
        If the name does not end in .nii or .nii.gz, or if the voxels need another type.
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise UsageError(f"{path}: the name of an image must end in .nii or .nii.gz.")
    filename = image.get_filename()
    data = np.asanyarray(image.dataobj)
    own_header: Header = image.header
    header = own_header.as_byteswapped("<")
    dtype = header.get_data_dtype().newbyteorder("<")
    if not np.can_cast(data.dtype, dtype, "same_kind"):
        raise UsageError(f"{path}: the voxels are {data.dtype}, the header says {dtype}. Give them one type.")
    header.set_data_shape(data.shape)
    header["pixdim"] = own_header["pixdim"]
    header.set_slope_inter(1, 0)
    with _replacing(path, overwrite=overwrite, inputs=[*inputs, *([filename] if filename else [])]) as file:
        deflate = zlib.compressobj(1, zlib.DEFLATED, 31) if is_gzip_name(path) else None
        start = io.BytesIO()
        header.write_to(start)
        for part in itertools.chain([start.getbuffer()], (_bytes(slab, dtype) for slab in slabs(data))):
            file.write(deflate.compress(part) if deflate else part)
        if deflate:
            file.write(deflate.flush())


def write_text(
    text: str,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Write a text file (UTF-8) whole or not at all.

    Parameters
    ----------
    text : str
        What the file is to hold.
    path : str or path
        In a folder that exists.
    overwrite : bool
        Replace a file of that name (default: refuse).
    inputs : iterable of str or path
        Files that are never replaced, whatever `overwrite` says.

    Raises
    ------
    OutputError
        If `path` exists, is an input, or cannot be written.
    """
    with _replacing(Path(path), overwrite=overwrite, inputs=inputs) as file:
        file.write(text.encode())


def _bytes(slab: npt.NDArray[Any], dtype: np.dtype[Any]) -> memoryview:
    """The voxels of a slab in the order of a file; a copy only if they lie otherwise."""
    return np.ascontiguousarray(slab.T, dtype=dtype).view(np.uint8).data


@contextlib.contextmanager
def _replacing(
    path: Path, *, overwrite: bool, inputs: Iterable[str | os.PathLike[str]]
) -> Iterator[BinaryIO]:
    """File in the folder of `path` that takes its name at the end, or disappears if anything goes wrong."""
    unfinished = path.with_name(f".softcord-{secrets.token_hex(6)}.tmp")
    try:
        _check_target(path, overwrite=overwrite, inputs=inputs)
        with unfinished.open("xb") as file:
            yield file
        if not overwrite and _is_taken(path):  # by another process, meanwhile
            raise _exists(path)
        unfinished.replace(path)
    except OutputError:
        raise
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        way_out = "Free some space" if is_full else "Choose another folder or name"
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}). {way_out}.") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _check_target(path: Path, *, overwrite: bool, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse a place where nothing may be written."""
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Make it or choose another.")
    if path.is_dir():
        raise OutputError(f"{path}: this is a folder. Give the name of a file.")
    for name in map(Path, inputs):
        if path.exists() and name.exists() and path.samefile(name):
            raise OutputError(f"{path}: this is an input, which is never replaced. Choose another name.")
    if not overwrite and _is_taken(path):
        raise _exists(path)


def _is_taken(path: Path) -> bool:
    """True if there is something of that name, be it a link to nothing."""
    return path.exists() or path.is_symlink()


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path}: exists already. Choose another name, or allow replacing it (--overwrite).")
