"""What a reviewer looks at, as plain arrays: an axial mosaic and a sagittal view that follows the cord.

Arrays in RAS+ order in, arrays ready to draw out (row 0 on top). Axial tiles are shown in the
radiological way: the patient's right is on the left, anterior on top. In the sagittal view anterior is on
the left, superior on top.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from softcord._typing import FloatArray, Zooms

TILE_MM = 40.0
TILE_PIXELS = 160
TILES_PER_ROW = 6
MOST_TILES = 24
SAGITTAL_PIXELS = 720
SMALLEST_PIXEL_MM = 0.25
_SHARE_OF_CORD = 0.05  # a slice is shown as one with cord from this peak value on


@dataclass(frozen=True, slots=True)
class Label:
    """A word on a view: its text and where it stands (row, column), in pixels."""

    text: str
    row: float
    column: float


@dataclass(frozen=True, slots=True)
class View:
    """One picture to draw.

    Attributes
    ----------
    grey : (H, W) array of float in [0, 1]
        The image, windowed around the cord.
    soft : (H, W) array of float in [0, 1]
        The segmentation on the same pixels.
    labels : tuple of Label
        Slice numbers and sides.
    parts : (H, W) array of uint8, optional
        Index of the label of each pixel, of a label map.
    """

    grey: FloatArray
    soft: FloatArray
    labels: tuple[Label, ...]
    parts: npt.NDArray[np.uint8] | None = None


def cord_centres(soft: FloatArray) -> FloatArray:
    """Centre of the cord in every axial slice, held constant beyond its ends.

    Parameters
    ----------
    soft : (I, J, K) array of float in [0, 1]
        Soft segmentation, RAS+.

    Returns
    -------
    centres : (K, 2) array of float, voxels
        Position along i and j; the middle of the slice where there is no cord at all.
    """
    n_i, n_j, n_k = soft.shape
    weight = soft.sum(axis=(0, 1), dtype=np.float64)
    filled = np.flatnonzero(weight > 0)
    if filled.size == 0:
        return np.tile([(n_i - 1) / 2, (n_j - 1) / 2], (n_k, 1))
    along_i = soft.sum(axis=1, dtype=np.float64)[:, filled]
    along_j = soft.sum(axis=0, dtype=np.float64)[:, filled]
    i = (np.arange(n_i)[:, None] * along_i).sum(axis=0) / weight[filled]
    j = (np.arange(n_j)[:, None] * along_j).sum(axis=0) / weight[filled]
    every = np.arange(n_k)
    return np.stack([np.interp(every, filled, i), np.interp(every, filled, j)], axis=1)


def shown_slices(soft: FloatArray, most: int = MOST_TILES) -> list[int]:
    """Slices k of the mosaic, superior first: spread over the cord, or over all without one."""
    candidates = np.flatnonzero(soft.max(axis=(0, 1)) >= _SHARE_OF_CORD)
    if candidates.size == 0:
        candidates = np.arange(soft.shape[2])
    chosen = np.linspace(0, candidates.size - 1, min(most, candidates.size)).round().astype(int)
    return [int(k) for k in candidates[chosen][::-1]]


def axial_mosaic(
    data: FloatArray, soft: FloatArray, zooms: Zooms, parts: npt.NDArray[np.uint8] | None = None
) -> View:
    """Axial tiles of 40 mm, each centred on the cord, from superior to inferior.

    Parameters
    ----------
    data : (I, J, K) array of float
        Image intensities, RAS+.
    soft : (I, J, K) array of float in [0, 1]
        Soft segmentation on the same grid.
    zooms : (3,) tuple of float, mm
        Voxel size along each axis.
    parts : (I, J, K) array of uint8, optional
        Index of the label of each voxel, of a label map; the nearest voxel's is drawn.

    Returns
    -------
    View
        Tiles in rows of six, each with its own window, as coils fade towards the ends; each bears the
        index k of its slice (0 is the most inferior).
    """
    slices = shown_slices(soft)
    centres = cord_centres(soft)
    columns = min(TILES_PER_ROW, len(slices))
    rows = -(-len(slices) // columns)
    grey = np.zeros((rows * TILE_PIXELS, columns * TILE_PIXELS), dtype=np.float32)
    shares = np.zeros_like(grey)
    marked = None if parts is None else np.zeros(grey.shape, dtype=np.uint8)
    labels: list[Label] = []
    for n, k in enumerate(slices):
        top, left = (n // columns) * TILE_PIXELS, (n % columns) * TILE_PIXELS
        here = (slice(top, top + TILE_PIXELS), slice(left, left + TILE_PIXELS))
        shares[here] = _tile(soft[:, :, k], centres[k], zooms)
        grey[here] = _window(_tile(data[:, :, k], centres[k], zooms), shares[here])
        if parts is not None and marked is not None:
            marked[here] = _tile(parts[:, :, k], centres[k], zooms, order=0)
        labels.append(Label(str(k), top + 4, left + 4))
    middle, end = TILE_PIXELS / 2, TILE_PIXELS - 12
    sides = (Label("R", middle, 3), Label("L", middle, end), Label("A", 4, middle), Label("P", end, middle))
    return View(grey, shares, (*labels, *sides), marked)


def sagittal_view(
    data: FloatArray, soft: FloatArray, zooms: Zooms, parts: npt.NDArray[np.uint8] | None = None
) -> View:
    """Sagittal view that follows the cord: in each axial slice, the column through the cord's centre.

    Parameters
    ----------
    data, soft, zooms, parts
        As for :func:`axial_mosaic`.

    Returns
    -------
    View
        Square pixels; the larger side has at most 720 of them.
    """
    left_right = cord_centres(soft)[:, 0]
    larger_side_mm = max(data.shape[1] * zooms[1], data.shape[2] * zooms[2])
    pixel_mm = max(larger_side_mm / SAGITTAL_PIXELS, SMALLEST_PIXEL_MM)
    grey, shares = (_flatten(_follow(volume, left_right), zooms, pixel_mm) for volume in (data, soft))
    marked = None
    if parts is not None:
        nearest = np.clip(np.round(left_right).astype(int), 0, parts.shape[0] - 1)
        sheet = parts[nearest, :, np.arange(parts.shape[2])]
        marked = _flatten(sheet, zooms, pixel_mm, order=0).astype(np.uint8)
    height, width = grey.shape
    sides = (
        Label("A", height / 2, 3),
        Label("P", height / 2, width - 12),
        Label("S", 4, width / 2),
        Label("I", height - 16, width / 2),
    )
    return View(_window(grey, shares), shares, sides, marked)


def _tile(plane: np.ndarray, centre: FloatArray, zooms: Zooms, order: int = 1) -> FloatArray:
    """Square of the plane around `centre`, right on the left, anterior on top, 0 outside the plane."""
    offset_mm = (np.arange(TILE_PIXELS) + 0.5) / TILE_PIXELS * TILE_MM - TILE_MM / 2
    i = centre[0] - offset_mm / zooms[0]
    j = centre[1] - offset_mm / zooms[1]
    rows, columns = np.meshgrid(j, i, indexing="ij")
    places = [columns, rows]
    tile: FloatArray = ndimage.map_coordinates(plane, places, order=order, output=np.float32, cval=0.0)
    return tile


def _follow(volume: FloatArray, left_right: FloatArray) -> FloatArray:
    """(K, J) sheet through the volume at `left_right[k]`, interpolated between two columns."""
    k = np.arange(volume.shape[2])
    low = np.clip(np.floor(left_right).astype(int), 0, volume.shape[0] - 1)
    high = np.minimum(low + 1, volume.shape[0] - 1)
    share = (left_right - low).clip(0, 1)[:, None]
    sheet: FloatArray = ((1 - share) * volume[low, :, k] + share * volume[high, :, k]).astype(np.float32)
    return sheet


def _flatten(sheet: np.ndarray, zooms: Zooms, pixel_mm: float, order: int = 1) -> FloatArray:
    """Resample a (K, J) sheet to square pixels, superior on top and anterior on the left."""
    height = max(2, round(sheet.shape[0] * zooms[2] / pixel_mm))
    width = max(2, round(sheet.shape[1] * zooms[1] / pixel_mm))
    k = sheet.shape[0] - 0.5 - (np.arange(height) + 0.5) / height * sheet.shape[0]
    j = sheet.shape[1] - 0.5 - (np.arange(width) + 0.5) / width * sheet.shape[1]
    rows, columns = np.meshgrid(k, j, indexing="ij")
    flat: FloatArray = ndimage.map_coordinates(
        sheet, [rows, columns], order=order, output=np.float32, mode="nearest"
    )
    return flat


def _window(grey: FloatArray, shares: FloatArray) -> FloatArray:
    """Scale to [0, 1] between the 1st and 99th percentile around the cord (of all without one)."""
    near = ndimage.maximum_filter(shares, size=TILE_PIXELS // 2) >= _SHARE_OF_CORD
    values = grey[near] if near.any() else grey
    low, high = np.percentile(values, [1.0, 99.0])
    scaled: FloatArray = ((grey - low) / max(float(high - low), 1e-12)).clip(0, 1).astype(np.float32)
    return scaled
