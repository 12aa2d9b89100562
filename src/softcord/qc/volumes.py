"""Small copies of image and segmentation for the viewer: cropped around the cord, 8 bits, compressed."""

import base64
import gzip
import json

import nibabel as nib
import numpy as np

from softcord._typing import FloatArray, Zooms
from softcord.softseg import bounding_box

MARGIN_MM = 12.0
MOST_VOXELS = 400_000
_GREYS = 63  # levels of grey: noise beyond them only costs space


def volume_script(
    key: str, data: FloatArray, soft: FloatArray, parts: np.ndarray | None, zooms: Zooms
) -> str:
    """The script that hands image and segmentation to the viewer.

    Parameters
    ----------
    key : str
        Name of the entry.
    data, soft : (I, J, K) array of float
        Intensities, and shares of cord in [0, 1], RAS+.
    parts : (I, J, K) array of uint8 or None
        Index of the label, of a label map.
    zooms : (3,) tuple of float, mm
        Voxel size.

    Returns
    -------
    str
        A call of the page with two NIfTI files (8 bits, gzip, base64). More than 400 000 voxels are
        thinned by taking every second one along the axis of smallest voxels, until they are fewer.
    """
    box = _box(soft, zooms)
    steps = _steps(tuple(part.stop - part.start for part in box), zooms)
    cut = tuple(slice(part.start, part.stop, step) for part, step in zip(box, steps, strict=True))
    grey = data[cut]
    low, high = np.percentile(grey, [0.5, 99.5])
    grey = np.round((grey - low) / max(float(high - low), 1e-12) * _GREYS).clip(0, _GREYS).astype(np.uint8)
    over = np.round(soft[cut] * 255).astype(np.uint8) if parts is None else parts[cut].astype(np.uint8)
    spacing = [zoom * step for zoom, step in zip(zooms, steps, strict=True)]
    start = [part.start for part in box]
    content = {"image": _nifti(grey, spacing), "mask": _nifti(over, spacing), "start": start, "steps": steps}
    return f"softcord.volume({json.dumps(key)}, {json.dumps(content)});\n"


def _box(soft: FloatArray, zooms: Zooms) -> tuple[slice, ...]:
    """Block around the cord; all of the volume without one."""
    box = bounding_box(soft)
    if box is None:
        return tuple(slice(0, n) for n in soft.shape)
    margins = [int(np.ceil(MARGIN_MM / zoom)) for zoom in zooms]
    return tuple(
        slice(max(0, part.start - margin), min(n, part.stop + margin))
        for part, margin, n in zip(box, margins, soft.shape, strict=True)
    )


def _steps(shape: tuple[int, ...], zooms: Zooms) -> list[int]:
    steps = [1, 1, 1]
    while np.prod(sizes := [-(-n // step) for n, step in zip(shape, steps, strict=True)]) > MOST_VOXELS:
        spacing = [zoom * step for zoom, step in zip(zooms, steps, strict=True)]
        steps[min((axis for axis in range(3) if sizes[axis] > 1), key=spacing.__getitem__)] *= 2
    return steps


def _nifti(values: np.ndarray, spacing: list[float]) -> str:
    """Base64 of a compressed NIfTI file on axes that run to the right, the front and the head."""
    image = nib.Nifti1Image(values, np.diag([*spacing, 1.0]))  # type: ignore[no-untyped-call]
    return base64.b64encode(gzip.compress(image.to_bytes(), 6, mtime=0)).decode("ascii")
