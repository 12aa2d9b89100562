"""Which pieces of a segmentation are cord: a blob beside it must not add to its area."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.softseg import bounding_box

CONNECTED = (
    0.1  # voxels with more than that make a piece; fainter ones, the rim, go with the piece they touch
)
SPECK_MM3 = 1.0  # stray cord below that is no reason to look
ASIDE_MM = (
    15.0  # a piece above or below the cord is stray if it lies further aside than this and the distance
)

_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a segmentation consists of.

    Attributes
    ----------
    n_pieces : int
        Pieces of cord that were kept; two or more have a gap in between.
    n_stray : int
        Pieces that were left out.
    stray_mm3 : float, mm³
        Cord in them.
    """

    n_pieces: int
    n_stray: int
    stray_mm3: float


@dataclass(frozen=True, slots=True)
class _Piece:
    label: int
    size: float
    low: int
    high: int
    centre: tuple[float, float]


def choose_pieces(soft: FloatArray, zooms: Zooms) -> tuple[FloatArray, Pieces]:
    """Keep the largest piece and those that go on above or below it.

    Pieces are connected by faces, edges or corners. From the largest to the smallest, one is kept if it
    shares no slice with those kept before, as parts of a cord with a gap do, and if it does not lie too far
    aside. The others are stray.

    Parameters
    ----------
    soft : (I, J, K) array of float in [0, 1]
        Segmentation in RAS+ order.
    zooms : (3,) tuple of float, mm
        Voxel size.

    Returns
    -------
    soft : (I, J, K) array of float
        The segmentation with 0 in stray pieces; the same array if there are none.
    pieces : Pieces

    Examples
    --------
    >>> soft = np.zeros((9, 5, 3), dtype=np.float32)
    >>> soft[1:4, 1:4] = 1
    >>> soft[6:8, 1:3, 1] = 1
    >>> cord, pieces = choose_pieces(soft, (1.0, 1.0, 1.0))
    >>> cord.sum(axis=(0, 1)).tolist(), pieces.n_stray, pieces.stray_mm3
    ([9.0, 9.0, 9.0], 1, 4.0)
    """
    box = bounding_box(soft)
    if box is None:
        return soft, Pieces(0, 0, 0.0)
    part = soft[box]
    labels, n_labels = ndimage.label(part > CONNECTED, _NEIGHBOURS)
    if n_labels < 2:
        return soft, Pieces(1, 0, 0.0)
    pieces = _describe(part, labels, n_labels, zooms)
    kept: list[_Piece] = []
    for piece in pieces:
        if not kept or _goes_on(piece, kept, zooms[2]):
            kept.append(piece)
    stray = [piece for piece in pieces if piece not in kept]
    if not stray:
        return soft, Pieces(len(kept), 0, 0.0)
    is_stray = np.isin(labels, [piece.label for piece in stray])
    is_kept = np.isin(labels, [piece.label for piece in kept])
    outside: BoolArray = ndimage.binary_dilation(is_stray, _NEIGHBOURS) & ~ndimage.binary_dilation(
        is_kept, _NEIGHBOURS
    )
    outside |= is_stray
    cleaned = soft.copy()
    cleaned[box][outside] = 0
    volume = float(part[outside].sum(dtype=np.float64)) * math.prod(zooms)
    return cleaned, Pieces(len(kept), len(stray), volume)


def count_in_slices(soft: FloatArray) -> np.ndarray:
    """Number of separate parts in each slice, of the voxels above half of the slice's highest value.

    Parameters
    ----------
    soft : (I, J, K) array of float in [0, 1]

    Returns
    -------
    counts : (K,) array of int
    """
    peaks = soft.max(axis=(0, 1))
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[:, :, 1] = True
    labels, _ = ndimage.label(soft > np.maximum(peaks / 2, 1e-6), in_plane)
    heights = [span[2].start for span in ndimage.find_objects(labels) if span is not None]
    return np.bincount(heights, minlength=soft.shape[2])


def _describe(part: FloatArray, labels: np.ndarray, n_labels: int, zooms: Zooms) -> list[_Piece]:
    """Pieces from the largest to the smallest."""
    index = np.arange(1, n_labels + 1)
    sizes = ndimage.sum_labels(part, labels, index)
    spans = ndimage.find_objects(labels)
    centres = ndimage.center_of_mass(part, labels, index)
    pieces = [
        _Piece(
            int(label),
            float(size),
            int(span[2].start),
            int(span[2].stop) - 1,
            (centre[0] * zooms[0], centre[1] * zooms[1]),
        )
        for label, size, span, centre in zip(index, sizes, spans, centres, strict=True)
    ]
    return sorted(pieces, key=lambda piece: (-piece.size, piece.low))


def _goes_on(piece: _Piece, kept: list[_Piece], spacing: float) -> bool:
    """Whether a piece lies above or below those kept, and not too far aside."""
    for other in kept:
        distance = max(piece.low - other.high, other.low - piece.high)
        if distance <= 0:
            return False
    nearest = min(kept, key=lambda other: max(piece.low - other.high, other.low - piece.high))
    along = abs((piece.low + piece.high) - (nearest.low + nearest.high)) / 2 * spacing
    return math.dist(piece.centre, nearest.centre) <= ASIDE_MM + along
