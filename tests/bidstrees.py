"""Small datasets for tests: BIDS trees of phantom cords, and recipes for them."""

import json
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

AXES = np.diag([1.0, 1.0, 2.0, 1.0])


def cylinder(shape=(16, 16, 8), radius=4.0, shift=(0.0, 0.0)) -> np.ndarray:
    """A cord that runs along the third axis: 1 inside, 0 outside."""
    i, j = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    distance = np.hypot(i - (shape[0] - 1) / 2 - shift[0], j - (shape[1] - 1) / 2 - shift[1])
    return np.repeat((distance <= radius)[..., None], shape[2], axis=2).astype(np.uint8)


def write_image(path: Path, data: np.ndarray, affine: np.ndarray = AXES) -> Path:
    """A NIfTI file, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = path.name[:79]  # no two files are the same
    nib.save(image, path)
    return path


def add_case(
    root: Path, name: str, *, label="label-SC_seg", seed=None, affine=AXES, shape=(16, 16, 8)
) -> Path:
    """An image of noise around a cord with its label, as ``sub-01_ses-1_T2w``."""
    parts = dict(part.split("-", 1) for part in name.split("_")[:-1])
    folder = Path(f"sub-{parts['sub']}", *([f"ses-{parts['ses']}"] if "ses" in parts else []), "anat")
    seed = zlib.crc32(f"{root.name}{name}".encode()) if seed is None else seed
    noise = np.random.default_rng(seed).normal(100, 10, shape)
    cord = cylinder(shape)
    image = write_image(root / folder / f"{name}.nii.gz", (noise + 300.0 * cord).astype(np.int16), affine)
    if label:
        write_image(root / "derivatives" / "labels" / folder / f"{name}_{label}.nii.gz", cord, affine)
    return image


def write_participants(root: Path, rows: dict[str, dict[str, str]]) -> None:
    """participants.tsv from columns by subject."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = ["\t".join(["participant_id", *columns])]
    lines += [
        "\t".join([name, *(row.get(column, "n/a") for column in columns)]) for name, row in rows.items()
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "participants.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_recipe(folder: Path, *datasets: dict, **keys) -> Path:
    """A recipe; JSON is YAML, too."""
    sources = [{"labels": {"suffix": "label-SC_seg"}, **dataset} for dataset in datasets]
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"name": "Cord", "datasets": sources, **keys}), encoding="utf-8")
    return path


def write_data(folder: Path, *roots: Path) -> Path:
    """Folder of data as softcord dataset get leaves it, of datasets that are folders."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"name": root.name, "folder": str(root)} for root in roots]
    (folder / "datasets.json").write_text(json.dumps({"datasets": rows}), encoding="utf-8")
    return folder
