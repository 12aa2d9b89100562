"""Add one result to a review folder."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np

from softcord._typing import FloatArray, Zooms
from softcord.bids import image_stem
from softcord.errors import GeometryError, OutputError
from softcord.flags import Flag
from softcord.nifti import Image, read_volume, write_text
from softcord.orientation import to_canonical
from softcord.provenance import absolute_path
from softcord.qc.drawing import draw
from softcord.qc.index import write_index
from softcord.qc.pages import Origin, Record, entry_page, read_record
from softcord.qc.views import axial_mosaic, sagittal_view
from softcord.softseg import mean_area, slice_areas


def entry_path(folder: str | Path, source: str | Path, volumes: int | str = "mean") -> Path:
    """Where the entry of a result lies: one per image, or volume of it, so that a new run replaces it."""
    source = Path(source)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", image_stem(source))[:80]
    named = str(absolute_path(source)).encode("utf-8", errors="surrogateescape")
    if isinstance(volumes, int):
        stem, named = f"{stem}_vol-{volumes}", named + b"\0%d" % volumes
    digest = hashlib.sha256(named).hexdigest()[:10]
    return Path(folder) / "entries" / f"{stem}_{digest}.html"


def is_drawn(folder: str | Path, source: str | Path, origin: Origin) -> bool:
    """Whether the page has the entry of this very result, as it would be drawn now."""
    try:
        record = read_record(entry_path(folder, source, origin.volumes).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return record is not None and record.origin == origin


def add_entry(
    image: Image,
    soft: Image,
    folder: str | Path,
    *,
    subject: str = "",
    source: str | Path,
    flags: Sequence[Flag] = (),
    origin: Origin | None = None,
) -> Path:
    """Write the entry of one result, and the index of its folder anew.

    The entry is one HTML file that needs no other: an axial mosaic centred on the cord, a sagittal view
    that follows it, both with the outline and the soft values in colour, and every flag with its reason.

    Parameters
    ----------
    image : nibabel image, (I, J, K) or (I, J, K, T)
        What was segmented; the volume that `origin` names is shown, or the mean over volumes.
    soft : nibabel image, (I, J, K) or (I, J, K, T)
        Soft segmentation on the same grid.
    folder : path
        The review folder; made when missing.
    subject : str, optional
        Shown in the index.
    source : path
        Where the image came from. An entry with the same source, and volume of it, is replaced.
    flags : sequence of Flag, optional
        Why the result may be wrong.
    origin : Origin, optional
        How the result was made, and at which threshold the line is drawn.

    Returns
    -------
    Path
        The entry; the index is ``index.html`` in `folder`.

    Raises
    ------
    GeometryError
        If `image` and `soft` are not on one grid.
    OutputError
        If the folder cannot be written.
    """
    if image.shape[:3] != soft.shape[:3]:
        raise GeometryError(
            f"{source}: image and segmentation must be on one grid, "
            f"got {image.shape[:3]} and {soft.shape[:3]}."
        )
    origin = origin or Origin()
    path = entry_path(folder, source, origin.volumes)
    volume: int | Literal["mean"] = origin.volumes if isinstance(origin.volumes, int) else "mean"
    data, zooms = _canonical(read_volume(image, volume=volume)[0], image)
    shares, _ = _canonical(_mean_volume(soft), soft)
    areas = _slice_areas(soft)
    record = _record(
        shares, zooms, areas, subject=subject, source=Path(source), flags=tuple(flags), origin=origin
    )
    views = {
        "Axial, centred on the cord": draw(axial_mosaic(data, shares, zooms), threshold=origin.threshold),
        "Sagittal, following the cord": draw(sagittal_view(data, shares, zooms), threshold=origin.threshold),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make the review folder ({error.strerror}).") from error
    write_text(entry_page(record, views), path, overwrite=True)
    write_index(Path(folder))
    return path


def _canonical(data: FloatArray, image: Image) -> tuple[FloatArray, Zooms]:
    canonical = to_canonical(data, image.affine)
    return cast("FloatArray", canonical.data), canonical.zooms


def _mean_volume(soft: Image) -> FloatArray:
    """Soft map as (I, J, K), averaged over volumes; an empty map is fine here."""
    data = np.asarray(soft.dataobj, dtype=np.float32)
    return data if data.ndim == 3 else data.mean(axis=3, dtype=np.float32)


def _slice_areas(soft: Image) -> FloatArray:
    """(K, T) areas of the slices of every volume, mm²."""
    data = np.asarray(soft.dataobj, dtype=np.float32)
    volumes = np.moveaxis(data, 3, 0) if data.ndim == 4 else data[None]
    return np.stack([slice_areas(*_canonical(volume, soft)) for volume in volumes], axis=1)


def _record(
    shares: FloatArray,
    zooms: Zooms,
    areas: FloatArray,
    *,
    subject: str,
    source: Path,
    flags: tuple[Flag, ...],
    origin: Origin,
) -> Record:
    shape = " x ".join(str(n) for n in shares.shape)
    sizes = " x ".join(f"{zoom:.3g}" for zoom in zooms)
    return Record(
        subject=subject,
        source=str(source),
        name=source.name,
        flags=flags,
        volume_mm3=float(areas.sum() * zooms[2] / areas.shape[1]),
        mean_area_mm2=mean_area(areas),
        grid=f"{shape} voxels of {sizes} mm (towards right, anterior, superior)",
        origin=origin,
    )
