"""Phantoms as a raw dataset of nnU-Net, as `softcord dataset convert` writes it; small enough to train on."""

import json
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from softcord.phantoms import AnatomyOptions, make_phantom

ANATOMY = AnatomyOptions(half_rl=6.0, half_ap=4.5, pathology=False, ends=False)
SHAPE, ZOOMS = (24, 36, 30), (1.5, 1.2, 2.0)  # R-L, A-P, S-I: all different, so that mixed-up axes show


def write_dataset(
    folder: Path,
    n: int = 3,
    *,
    axcodes: str | Sequence[str] = "LAS",
    channels: int = 1,
    soft: bool = True,
    labels: dict[str, int] | None = None,
    shape: tuple[int, int, int] = SHAPE,
    zooms: tuple[float, float, float] = ZOOMS,
) -> Path:
    """Write `n` cases, whose axes run to `axcodes`; the last one is for validation."""
    labels = labels or {"background": 0, "sc": 1}
    for name in ("imagesTr", "labelsTr", *(["softTr"] if soft else [])):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = [f"cord_{k:03d}" for k in range(n)]
    for k, name in enumerate(names):
        phantom = make_phantom(k + 1, shape=shape, zooms=zooms, anatomy=ANATOMY)
        codes = axcodes if isinstance(axcodes, str) else axcodes[k]

        def save(values: np.ndarray, path: Path, codes=codes, affine=phantom.affine) -> None:
            image = nib.Nifti1Image(values, affine)
            to = nib.orientations.ornt_transform(
                nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes))
            )
            nib.save(image.as_reoriented(to), path)

        for channel in range(channels):
            save(phantom.image.astype(np.float32), folder / "imagesTr" / f"{name}_{channel:04d}.nii.gz")
        mask = (phantom.share > 0.5).astype(np.uint8)
        for value in range(2, len(labels)):  # further labels: the upper slices of the cord
            mask[..., value * 8 :] *= 2
        save(mask, folder / "labelsTr" / f"{name}.nii.gz")
        if soft:
            save(phantom.share.astype(np.float32), folder / "softTr" / f"{name}.nii.gz")
    content = {
        "channel_names": {str(channel): "acq" for channel in range(channels)},
        "labels": labels,
        "numTraining": n,
        "file_ending": ".nii.gz",
        "softcord": {
            "orientation": axcodes if isinstance(axcodes, str) else axcodes[0],
            "soft_labels": "softTr",
        },
    }
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    splits = [{"train": names[:-1], "val": names[-1:]}]
    (folder / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    return folder
