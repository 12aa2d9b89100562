"""Voxels: from any NIfTI type to float32, in one pass and in pieces."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy

from softcord._typing import FloatArray
from softcord.errors import InputError, UsageError
from softcord.flags import Flag
from softcord.nifti.header import Image, name_of
from softcord.nifti.stream import SUFFIXES, Gunzip, damaged, open_bytes

_PIECE = 1 << 18  # voxels handled at a time: 1 MiB as float32, which stays in the cache of a processor


def read_volume(
    image: Image, *, volume: int | Literal["mean"] = "mean"
) -> tuple[FloatArray, tuple[Flag, ...]]:
    """Voxels of an image as float32, and what is wrong with them.

    Parameters
    ----------
    image : (I, J, K) or (I, J, K, N) image
        From `load_image`, or another one that `check_image` accepts.
    volume : int or "mean"
        Which of the N volumes of a 4-D image, counted from 0; or their mean (default).

    Returns
    -------
    data : (I, J, K) array of float32
        Scaled intensities, in Fortran order; NaN and infinite voxels are 0.
    flags : tuple of Flag
        `non_finite`, if there are such voxels.

    Raises
    ------
    InputError
        If the file is damaged or cut short, or if all voxels are equal.
    UsageError
        If the image has no such volume.

    Notes
    -----
    Voxels go from the file to their place piece by piece: beyond the result, only some MiB are held in
    memory, also for the mean and whatever the type on disk. Types of at most 16 bits and float32 are scaled
    as float32, wider ones as float64 and then rounded.
    """
    n_volumes = _n_volumes(image)
    if volume == "mean":
        volumes = range(n_volumes)
    elif volume in range(n_volumes):
        volumes = range(volume, volume + 1)
    else:
        wanted = f"'mean' or the number of a volume, 0 to {n_volumes - 1}"
        raise UsageError(f"{name_of(image)}: volume must be {wanted}; got {volume!r}.")
    shape = image.shape[:3]
    data = np.zeros(math.prod(shape), dtype=np.float32)
    seen, position = _Seen(), 0
    for part in _parts(image, volumes, seen):
        data[position : position + part.size] += part
        position = (position + part.size) % data.size
    if len(volumes) > 1:
        data /= np.float32(len(volumes))
        seen.low, seen.high = data.min(), data.max()
    if seen.low == seen.high:
        what = "no voxel is a finite number" if seen.n_not_finite else f"every voxel is {seen.low:g}"
        raise InputError(
            f"{name_of(image)}: {what}, so there is nothing to see. Check how the image was made."
        )
    return data.reshape(shape, order="F"), seen.flags()


def read_volumes(image: Image) -> Iterator[tuple[FloatArray, tuple[Flag, ...]]]:
    """Every volume of an image in turn, in one pass over the file.

    Parameters
    ----------
    image : (I, J, K) or (I, J, K, N) image
        As for `read_volume`.

    Yields
    ------
    data : (I, J, K) array of float32
        As from `read_volume`.
    flags : tuple of Flag
        `non_finite`; and `constant_volume` if all voxels are equal, which is no error here.

    Raises
    ------
    InputError
        If the file is damaged or cut short.
    """
    shape = image.shape[:3]
    size, seen, position = math.prod(shape), _Seen(), 0
    data = np.empty(size, dtype=np.float32)
    for part in _parts(image, range(_n_volumes(image)), seen):
        data[position : position + part.size] = part
        position += part.size
        if position == size:
            constant = Flag("constant_volume", f"Every voxel is {seen.low:g}.")
            yield (
                data.reshape(shape, order="F"),
                seen.flags() + ((constant,) if seen.low == seen.high else ()),
            )
            data, position = np.empty(size, dtype=np.float32), 0
            seen.reset()


@dataclass(slots=True)
class _Seen:
    """What the voxels read so far are like."""

    low: float = math.inf
    high: float = -math.inf
    n_voxels: int = 0
    n_not_finite: int = 0

    def reset(self) -> None:
        self.low, self.high, self.n_voxels, self.n_not_finite = math.inf, -math.inf, 0, 0

    def clean(self, part: FloatArray) -> None:
        """Look at a part once and, in the rare case, put zeros for what is not finite."""
        with np.errstate(invalid="ignore"):
            low, high = part.min(), part.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            bad = ~np.isfinite(part)
            part[bad] = 0
            self.n_not_finite += int(np.count_nonzero(bad))
            low, high = part.min(), part.max()
        self.n_voxels += part.size
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    def flags(self) -> tuple[Flag, ...]:
        if not self.n_not_finite:
            return ()
        reason = f"{self.n_not_finite} of {self.n_voxels} voxels are NaN or infinite; they count as 0."
        return (Flag("non_finite", reason),)


def _parts(image: Image, volumes: range, seen: _Seen) -> Iterator[FloatArray]:
    """Scaled and finite voxels of some volumes in Fortran order, part by part; no part spans two volumes."""
    dataobj = image.dataobj
    filename = image.get_filename()
    try:
        if isinstance(dataobj, ArrayProxy) and filename and filename.lower().endswith(SUFFIXES):
            for raw in _parts_on_disk(dataobj, Path(filename), volumes):
                part = _scale(raw, float(dataobj.slope), float(dataobj.inter))
                seen.clean(part)
                yield part
        else:
            for index in volumes:
                for slab in slabs(np.asanyarray(dataobj[..., index] if len(image.shape) == 4 else dataobj)):
                    part = _scale(slab.ravel(order="F"), 1.0, 0.0)
                    seen.clean(part)
                    yield part
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise damaged(name_of(image), error) from error


def _parts_on_disk(proxy: ArrayProxy, path: Path, volumes: range) -> Iterator[npt.NDArray[np.generic]]:
    """Unscaled voxels, straight from the file."""
    dtype, size = np.dtype(proxy.dtype), math.prod(proxy.shape[:3])
    n_volumes = math.prod(proxy.shape[3:])
    with open_bytes(path, proxy.offset + volumes.start * size * dtype.itemsize) as stream:
        for _ in volumes:
            for start in range(0, size, _PIECE):
                n_bytes = min(_PIECE, size - start) * dtype.itemsize
                raw = stream.read(n_bytes)
                if len(raw) < n_bytes:
                    raise EOFError("the file is shorter than its header says")
                yield np.frombuffer(raw, dtype)
        while volumes.stop == n_volumes and isinstance(stream, Gunzip) and stream.read(_PIECE):
            pass  # up to the checksum at the end of the file


def _scale(raw: npt.NDArray[np.generic], slope: float, inter: float) -> FloatArray:
    """New float32 array: ``slope * raw + inter``, rounded once if float32 cannot hold every raw value."""
    is_wide = raw.dtype.itemsize > 2 and raw.dtype.str[1:] != "f4"
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: FloatArray = raw.astype(np.float64 if is_wide else np.float32)
        if slope != 1:
            scaled *= scaled.dtype.type(slope)
        if inter != 0:
            scaled += scaled.dtype.type(inter)
        return scaled.astype(np.float32, copy=False)


def slabs(data: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Parts of a 3-D or 4-D array along its last axes, of about a piece each, in the order of a file."""
    if data.ndim == 4:
        for index in range(data.shape[3]):
            yield from slabs(data[..., index])
        return
    step = max(1, _PIECE // max(1, data[..., 0].size))
    for start in range(0, data.shape[2], step):
        yield data[..., start : start + step]


def _n_volumes(image: Image) -> int:
    return int(image.shape[3]) if len(image.shape) == 4 else 1
