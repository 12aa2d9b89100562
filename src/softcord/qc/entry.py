"""Add one result to a review folder."""

import contextlib
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from softcord._typing import FloatArray, Zooms
from softcord.bids import image_stem, parse_name
from softcord.errors import GeometryError
from softcord.flags import Flag
from softcord.nifti import Image, read_volume, write_text
from softcord.orientation import to_canonical
from softcord.provenance import absolute_path
from softcord.qc.curve import Curve, area_curve
from softcord.qc.folder import prepare, read_entry, write_row
from softcord.qc.pictures import encode
from softcord.qc.record import Kind, Origin, Record, entry_script
from softcord.qc.views import axial_mosaic, sagittal_view
from softcord.qc.volumes import volume_script
from softcord.softseg import mean_area, slice_areas

_MOST_LABELS = 250


def entry_key(source: str | Path, origin: Origin | None = None) -> str:
    """Name of an entry: one per image, segmentation and volume, so that a new run replaces it.

    Only letters, digits, ``-`` and ``_``, whatever the names of the files hold.
    """
    origin = origin or Origin()
    source = Path(source)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", image_stem(source))[:80]
    named = f"{absolute_path(source)}\0{origin.result}"
    if isinstance(origin.volumes, int):
        stem, named = f"{stem}_vol-{origin.volumes}", f"{named}\0{origin.volumes}"
    digest = hashlib.sha256(named.encode("utf-8", errors="surrogateescape")).hexdigest()[:12]
    return f"{stem}_{digest}"


def entry_path(folder: str | Path, source: str | Path, origin: Origin | None = None) -> Path:
    """Where the entry of a result lies."""
    return Path(folder) / "entries" / f"{entry_key(source, origin)}.js"


def is_drawn(folder: str | Path, source: str | Path, origin: Origin) -> bool:
    """Whether the page has the entry of this very result, as it would be drawn now."""
    record = read_entry(entry_path(folder, source, origin))
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
    levels: np.ndarray | None = None,
) -> Path:
    """Write the entry of one result, and its row in the table.

    The entry is one file: an axial mosaic centred on the cord, a sagittal view that follows it, the shares
    of cord that lie over both, the areas along the cord, and every flag with its reason. The viewer has a
    file of its own, which is only loaded when it is asked for.

    Parameters
    ----------
    image : nibabel image, (I, J, K) or (I, J, K, T)
        What was segmented; the volume that `origin` names is shown, or the mean over volumes.
    soft : nibabel image, (I, J, K) or (I, J, K, T)
        Soft segmentation, mask, or whole numbers that are labels, on the same grid.
    folder : path
        The review folder; made when missing. Many processes may add entries at once.
    subject : str, optional
        Shown in the table.
    source : path
        Where the image came from. An entry with the same source, result and volume is replaced.
    flags : sequence of Flag, optional
        Why the result may be wrong.
    origin : Origin, optional
        How the result was made, and at which threshold the line is drawn.
    levels : (K,) array of int, optional
        Vertebral level of every axial slice in RAS+ order, 0 where it is not known.

    Returns
    -------
    Path
        The entry; the page is ``index.html`` in `folder`.

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
    origin, folder = origin or Origin(), Path(folder)
    volume: int | Literal["mean"] = origin.volumes if isinstance(origin.volumes, int) else "mean"
    data, zooms = _canonical(read_volume(image, volume=volume)[0], image)
    values = np.nan_to_num(np.asarray(soft.dataobj, dtype=np.float32))
    kind, labels = _kind_of(values)
    parts = None
    if kind == "labels":
        mean = values if values.ndim == 3 else values[..., 0]
        parts = _canonical(np.searchsorted(labels, mean).astype(np.float32), soft)[0].astype(np.uint8)
        values = (values > 0).astype(np.float32)
    shares = _canonical(values if values.ndim == 3 else values.mean(axis=3, dtype=np.float32), soft)[0]
    curve = area_curve(shares, zooms, levels)
    areas = _areas(values, soft, curve)
    record = Record(
        key=entry_key(source, origin),
        subject=subject,
        source=str(source),
        name=Path(source).name,
        kind=kind,
        flags=tuple(flags),
        volume_mm3=float(values.sum(dtype=np.float64) * np.prod(zooms) / (values.size / shares.size)),
        mean_area_mm2=mean_area(areas),
        grid=_grid(shares, zooms),
        confidence=_confidence(shares) if kind == "soft" else None,
        origin=origin,
        drawn=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        **_bids(Path(source)),
    )
    pictures: dict[str, Any] = {
        "axial": encode(axial_mosaic(data, shares, zooms, parts)),
        "sagittal": encode(sagittal_view(data, shares, zooms, parts)),
        "curve": curve.as_json() if curve else None,
        "labels": [f"{value:g}" for value in labels[1:]] if kind == "labels" else [],
    }
    return _write(folder, record, pictures, volume_script(record.key, data, shares, parts, zooms))


def _write(folder: Path, record: Record, pictures: dict[str, Any], volumes: str) -> Path:
    """Entry first, row last: what is in the table can be looked at."""
    prepare(folder)
    path = folder / "entries" / f"{record.key}.js"
    (folder / "volumes").mkdir(exist_ok=True)
    write_text(volumes, folder / "volumes" / f"{record.key}.js", overwrite=True)
    try:
        write_text(entry_script(record, pictures), path, overwrite=True)
    except BaseException:
        if not path.is_file():
            with contextlib.suppress(OSError):
                (folder / "volumes" / f"{record.key}.js").unlink()
        raise
    write_row(folder, record)
    return path


def _kind_of(values: FloatArray) -> tuple[Kind, FloatArray]:
    """What the values are, and the labels among them with 0 first."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low >= 0 and high > 1 and np.array_equal(values, np.round(values)):
        labels = np.union1d([0.0], np.unique(values)).astype(np.float32)
        if 2 < labels.size <= _MOST_LABELS:
            return "labels", labels
    is_mask = not np.any((values > 0) & (values < 1))
    return ("mask" if is_mask else "soft"), np.zeros(1, dtype=np.float32)


def _canonical(data: FloatArray, image: Image) -> tuple[FloatArray, Zooms]:
    canonical = to_canonical(data, image.affine)
    return cast("FloatArray", canonical.data), canonical.zooms


def _areas(values: FloatArray, soft: Image, curve: Curve | None) -> FloatArray:
    """Areas across the cord of the slices of every volume, mm²."""
    volumes = np.moveaxis(values, 3, 0) if values.ndim == 4 else values[None]
    areas = np.stack([slice_areas(*_canonical(volume, soft)) for volume in volumes], axis=1)
    if curve is not None:
        here = slice(curve.first, curve.first + curve.cosines.size)
        areas[here] *= curve.cosines[:, None]
    return areas


def _confidence(shares: FloatArray) -> float | None:
    total = float(shares.sum(dtype=np.float64))
    return float(shares[shares > 0.5].sum(dtype=np.float64)) / total if total else None


def _grid(shares: FloatArray, zooms: Zooms) -> str:
    shape = " x ".join(str(n) for n in shares.shape)
    sizes = " x ".join(f"{zoom:.3g}" for zoom in zooms)
    return f"{shape} voxels of {sizes} mm (towards right, anterior, superior)"


def _bids(source: Path) -> dict[str, Any]:
    entities, suffix = parse_name(image_stem(source)) or ({}, "")
    return {"entities": entities, "contrast": suffix}
