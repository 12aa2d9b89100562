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
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from softcord.errors import OutputError, UsageError
from softcord.nifti.header import Header, Image
from softcord.nifti.stream import SUFFIXES, is_gzip_name
from softcord.nifti.voxels import slabs


class FileSet:
    """Files that belong together: all are written under other names, then they take their own, in order.

    Until `commit`, nothing that exists is touched; a block that is left without it leaves nothing behind.

    Parameters
    ----------
    overwrite : bool
        Replace files of these names (default: refuse).
    inputs : iterable of str or path
        Files that are never replaced or removed, whatever `overwrite` says.
    """

    def __init__(self, *, overwrite: bool = False, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._overwrite = overwrite
        self._inputs = [Path(name) for name in inputs]
        self._steps: list[tuple[Path | None, Path]] = []  # (written file, or None to remove; its own name)

    def __enter__(self) -> "FileSet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for unfinished, _ in self._steps:
            if unfinished is not None:
                with contextlib.suppress(OSError):
                    unfinished.unlink()

    def add_image(self, image: Image, path: str | os.PathLike[str]) -> None:
        """Write an image; see `save_image`."""
        path = Path(path)
        if not path.name.lower().endswith(SUFFIXES):
            raise UsageError(f"{path}: the name of an image must end in .nii or .nii.gz.")
        filename = image.get_filename()
        data = np.asanyarray(image.dataobj)
        own_header: Header = image.header
        header = own_header.as_byteswapped("<")
        dtype = header.get_data_dtype().newbyteorder("<")
        if not np.can_cast(data.dtype, dtype, "same_kind"):
            found = f"the voxels are {data.dtype}, the header says {dtype}"
            raise UsageError(f"{path}: {found}. Give them one type.")
        header.set_data_shape(data.shape)
        header["pixdim"] = own_header["pixdim"]
        header.set_slope_inter(1, 0)
        with self._writing(path, [Path(filename)] if filename else []) as file:
            deflate = zlib.compressobj(1, zlib.DEFLATED, 31) if is_gzip_name(path) else None
            start = io.BytesIO()
            header.write_to(start)
            for part in itertools.chain([start.getbuffer()], (_bytes(slab, dtype) for slab in slabs(data))):
                file.write(deflate.compress(part) if deflate else part)
            if deflate:
                file.write(deflate.flush())

    def add_text(self, text: str, path: str | os.PathLike[str]) -> None:
        """Write a text file; see `write_text`."""
        with self._writing(Path(path)) as file:
            file.write(text.encode(errors="backslashreplace"))

    def remove(self, path: str | os.PathLike[str]) -> None:
        """Remove a file when its turn comes, if it is there and no input."""
        self._steps.append((None, Path(path)))

    def commit(self) -> None:
        """Let every file take its name, in the order in which they were added.

        If one cannot, those that are new go again; those that were replaced stay so.
        """
        done: set[Path] = set()
        new: list[Path] = []
        try:
            for unfinished, path in self._steps:
                with _output_errors(path):
                    if unfinished is None:
                        if not any(_is_same(path, name) for name in self._inputs):
                            path.unlink(missing_ok=True)
                        continue
                    is_taken = _is_taken(path)
                    if not self._overwrite and is_taken and path not in done:  # by another process, meanwhile
                        raise _exists(path)
                    if not is_taken:
                        new.append(path)
                    unfinished.replace(path)
                    done.add(path)
        except BaseException:  # KeyboardInterrupt too
            for path in new:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise

    @contextlib.contextmanager
    def _writing(self, path: Path, inputs: Iterable[Path] = ()) -> Iterator[BinaryIO]:
        """File in the folder of `path` that can take its name."""
        unfinished = path.with_name(f".softcord-{secrets.token_hex(6)}.tmp")
        with _output_errors(path):
            _check_target(path, overwrite=self._overwrite, inputs=[*self._inputs, *inputs])
            self._steps.append((unfinished, path))
            with unfinished.open("xb") as file:
                yield file


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
    with FileSet(overwrite=overwrite, inputs=inputs) as files:
        files.add_image(image, path)
        files.commit()


def write_text(
    text: str,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> None:
    r"""Write a text file (UTF-8) whole or not at all.

    Parameters
    ----------
    text : str
        What the file is to hold. What UTF-8 cannot say, as in names of files, is written as ``\udc80``.
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
    with FileSet(overwrite=overwrite, inputs=inputs) as files:
        files.add_text(text, path)
        files.commit()


def _bytes(slab: npt.NDArray[Any], dtype: np.dtype[Any]) -> memoryview:
    """The voxels of a slab in the order of a file; a copy only if they lie otherwise."""
    return np.ascontiguousarray(slab.T, dtype=dtype).view(np.uint8).data


@contextlib.contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Say which file could not be written, and what to do."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        way_out = "Free some space" if is_full else "Choose another folder or name"
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}). {way_out}.") from error


def _check_target(path: Path, *, overwrite: bool, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse a place where nothing may be written."""
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Make it or choose another.")
    if path.is_dir():
        raise OutputError(f"{path}: this is a folder. Give the name of a file.")
    for name in map(Path, inputs):
        if _is_same(path, name):
            raise OutputError(f"{path}: this is an input, which is never replaced. Choose another name.")
    if not overwrite and _is_taken(path):
        raise _exists(path)


def _is_same(path: Path, name: Path) -> bool:
    """True if both lead to one file that exists."""
    return path.exists() and name.exists() and path.samefile(name)


def _is_taken(path: Path) -> bool:
    """True if there is something of that name, be it a link to nothing."""
    return path.exists() or path.is_symlink()


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path}: exists already. Choose another name, or allow replacing it (--overwrite).")
