"""Random scans of label maps: real anatomy, random contrast."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter, map_coordinates

from softcord._typing import FloatArray, Zooms
from softcord.phantoms.acquisition import bend_grey_scale, degrade, thin_out
from softcord.phantoms.noise import NoiseField
from softcord.phantoms.patches import Scan, ScanGeometry, rotation
from softcord.phantoms.phantom import sub_positions
from softcord.phantoms.tissues import Tissue, draw_palette


@dataclass(frozen=True)
class LabelMap:
    """A label image and the cord in it.

    Attributes
    ----------
    labels : (I, J, K) array of int
        RAS+ axes; what surrounds the cord goes on in its place, see `without_cord`.
    share : (I, J, K) array of float32 in [0, 1]
        The cord, smooth at its edge.
    zooms : (3,) tuple of float, mm
    tissues : mapping of int to Tissue
        What is known of the labels; any other label gets any grey level.
    fill_zero : bool
        Label 0 stands for unlabelled tissue (random regions are put there), not for air.
    """

    labels: np.ndarray
    share: FloatArray
    zooms: Zooms
    tissues: Mapping[int, Tissue] = field(default_factory=lambda: MappingProxyType({}))
    fill_zero: bool = False


def without_cord(labels: np.ndarray, cord: int) -> np.ndarray:
    """The labels with the cord's replaced by that of the nearest voxel around it.

    The cord is then painted over it by its share, so that the grey levels at its edge mix as the share says.

    Parameters
    ----------
    labels : (I, J, K) array of int
    cord : int

    Returns
    -------
    filled : (I, J, K) array of int
    """
    inside = labels == cord
    if not inside.any() or inside.all():
        return labels
    found = find_objects(inside.astype(np.int8))[0]
    box = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in found)
    nearest = distance_transform_edt(inside[box], return_distances=False, return_indices=True)
    filled: np.ndarray = labels.copy()
    filled[box] = labels[box][tuple(nearest)]
    return filled


def draw_centre(
    rng: np.random.Generator, label_map: LabelMap, near_cord: float, spread_mm: float
) -> FloatArray:
    """A place to look at: near the cord with probability `near_cord`, else anywhere in the body.

    Returns
    -------
    centre : (3,) array of float
        In voxels of the map.
    """
    inside = label_map.share > 0.5 if rng.random() < near_cord else label_map.labels > 0
    found = np.flatnonzero(inside)
    if found.size == 0:
        found = np.arange(inside.size)
    place = np.array(np.unravel_index(int(rng.choice(found)), inside.shape), dtype=float)
    moved: FloatArray = place + rng.normal(0, spread_mm, 3) / label_map.zooms
    return moved


def scan_label_map(
    rng: np.random.Generator, label_map: LabelMap, geometry: ScanGeometry, centre: FloatArray
) -> Scan:
    """Warp a label map at random, paint it in a random contrast, and scan it.

    Parameters
    ----------
    rng : numpy.random.Generator
    label_map : LabelMap
    geometry : ScanGeometry
        Voxels of the scan.
    centre : (3,) array of float
        Middle of the field of view, in voxels of the map.

    Returns
    -------
    scan : Scan
    """
    where = _warped_positions(rng, label_map, geometry, centre)
    labels = map_coordinates(label_map.labels, where, output=np.int32, order=0, mode="constant", cval=0)
    share: FloatArray = map_coordinates(label_map.share, where, order=1, mode="nearest", prefilter=False)
    voxel = np.asarray(geometry.zooms) / geometry.parts
    fine = _paint(rng, labels, share, label_map, voxel)
    image = thin_out(fine, geometry.parts)
    image = bend_grey_scale(rng, degrade(rng, image, geometry.zooms))
    return Scan(image, thin_out(share, geometry.parts), geometry.zooms)


def _warped_positions(
    rng: np.random.Generator, label_map: LabelMap, geometry: ScanGeometry, centre: FloatArray
) -> FloatArray:
    """Voxels of the map (3, I, J, K) at which each sub-voxel of the scan looks."""
    largest = 30.0 if rng.random() < 0.3 else 10.0
    matrix = rotation(*np.deg2rad(rng.normal(0, largest / 2, 3))) * rng.uniform(0.8, 1.25, 3)
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    axes = [
        ((sub_positions(n, f) - (n - 1) / 2) * size).astype(np.float32)
        for n, f, size in zip(geometry.shape, geometry.parts, geometry.zooms, strict=True)
    ]
    i, j, k = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    wave = NoiseField(rng, float(rng.uniform(25, 60)))
    strength = float(rng.uniform(0, 2.5))
    positions = []
    for row in range(3):
        moved = matrix[row, 0] * i + matrix[row, 1] * j + matrix[row, 2] * k
        moved = moved + strength * wave(i + 500.0 * row, j, k)
        positions.append((moved / label_map.zooms[row] + centre[row]).astype(np.float32))
    return np.stack(positions)


def _paint(
    rng: np.random.Generator, labels: np.ndarray, share: FloatArray, label_map: LabelMap, voxel: FloatArray
) -> FloatArray:
    palette = draw_palette(rng)
    highest = int(label_map.labels.max())
    level = rng.uniform(0.03, 1, highest + 1).astype(np.float32)
    texture = (rng.uniform(0, 0.12, highest + 1) * (rng.random(highest + 1) < 0.8)).astype(np.float32)
    level[0], texture[0] = palette.level[Tissue.AIR], 0.0
    for label, tissue in label_map.tissues.items():
        if label <= highest:
            level[label], texture[label] = palette.level[tissue], palette.texture[tissue]
    image, strength = level[labels], texture[labels]
    axes = [np.arange(n, dtype=np.float32) * size for n, size in zip(labels.shape, voxel, strict=True)]
    points = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    soft = [label for label, tissue in label_map.tissues.items() if tissue is Tissue.MUSCLE]
    loose = np.isin(labels, [*soft, 0] if label_map.fill_zero else soft)
    if loose.any():
        region = NoiseField(rng, float(rng.uniform(5, 20)))(*points)
        for tissue, inside in (
            (Tissue.SOFT_A, region > 0.5),
            (Tissue.SOFT_B, region < -0.5),
            (Tissue.MUSCLE, np.abs(region) <= 0.5),
        ):
            part = loose & inside
            image[part], strength[part] = palette.level[tissue], palette.texture[tissue]
    grain = sum(NoiseField(rng, wavelength)(*points) for wavelength in palette.wavelength)
    image = gaussian_filter(image + strength * grain, 0.5 / voxel)
    cord = palette.level[Tissue.WHITE] + palette.texture[Tissue.WHITE] * grain
    painted: FloatArray = image + share * (cord - image)
    return painted.astype(np.float32)
