"""A configuration that is trained in seconds, and a folder of data for it."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from softcord.phantoms import AnatomyOptions, make_phantom
from softcord.train.config import (
    GridConfig,
    ImageSource,
    MapSource,
    MixConfig,
    NetworkConfig,
    ScheduleConfig,
    SynthConfig,
)

TABLE = "participant\tsplit\timage\tcord_mask\tcontrast\n"


@pytest.fixture
def tiny() -> SynthConfig:
    """Phantoms alone, in small patches."""
    return SynthConfig(
        name="tiny",
        seed=3,
        network=NetworkConfig(channels=(3, 4), fold=(2, 2, 1)),
        grid=GridConfig(patch=(16, 16, 8)),
        mix=MixConfig(phantoms=1.0, maps=0.0, images=0.0, coarse=0.3),
        schedule=ScheduleConfig(steps=6, batch=2, warm_up=2, pool=5, renew_every=2, ema=0.5, calibration=0),
        workers=0,
        checkpoint_every=4,
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Two images with masks, of which one is for tests, an image without, and two kinds of label maps."""
    folder = tmp_path_factory.mktemp("data")
    options = AnatomyOptions(half_rl=6.0, half_ap=4.5, pathology=False, ends=False)
    phantom = make_phantom(1, shape=(36, 40, 12), zooms=(1.0, 1.0, 3.0), anatomy=options)

    def save(values: np.ndarray, *names: str) -> None:
        path = folder.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(values, phantom.affine), path)

    mask = (phantom.share > 0.5).astype(np.uint8)
    mask[..., :2] = 0  # nobody drew these slices
    rows = []
    for subject, split in (("01", "train"), ("02", "test")):
        image, drawn = f"sub-{subject}/anat/T2w.nii.gz", f"derivatives/sub-{subject}_mask.nii.gz"
        save(phantom.image, "bids", image)
        save(mask, "bids", drawn)
        rows.append(f"{subject}\t{split}\t{image}\t{drawn}\tT2w\n")
    rows.append("03\ttrain\tsub-03/anat/T2w.nii.gz\t\tT2w\n")
    (folder / "images.tsv").write_text(TABLE + "".join(rows), encoding="utf-8")
    save(phantom.labels, "maps", "whole", "a.nii.gz")
    save(phantom.labels[::-1].copy(), "maps", "whole", "b.nii.gz")
    save((phantom.labels == 12).astype(np.uint8), "maps", "apart", "sub-01_csf.nii.gz")
    save(mask, "maps", "apart", "sub-01_cord.nii.gz")
    return folder


WHOLE = MapSource("maps/whole/*.nii.gz", cord=14, tissues={"WHITE": [14, 15], "CSF": [12]})
APART = MapSource("maps/apart/*_csf.nii.gz", cord=2, fill_zero=True, cord_suffix=("_csf", "_cord"))
IMAGES = ImageSource("images.tsv")


@pytest.fixture
def mixed(tiny) -> SynthConfig:
    """Phantoms, label maps and images, all of which `data` holds."""
    mix = replace(tiny.mix, phantoms=0.3, maps=0.4, images=0.3)
    return replace(tiny, mix=mix, maps=[WHOLE, APART], images=[IMAGES])
