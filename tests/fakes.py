"""A model without weights, whose network takes bright voxels for cord, and images that suit it.

An image of a cord holds 1000 times the share of cord in each voxel, so the fake network is exact.
"""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from softcord.engines import Prediction
from softcord.models import Model, ModelInfo
from softcord.models import describe as describe_real

BRIGHT = 1000
AXES = np.diag([1.0, 1.0, 2.0, 1.0])


@dataclass
class FakeNetwork:
    """Stands for models and engines, and counts what is asked of it."""

    sha256: str = "f" * 64
    loads: list[dict[str, object]] = field(default_factory=list)
    predictions: list[tuple[int, ...]] = field(default_factory=list)

    def describe(self, name="softcord"):
        if str(name) != "softcord":
            return describe_real(name)
        return ModelInfo(
            name="softcord",
            version="fake",
            description="Takes bright voxels for cord",
            sha256=self.sha256,
            folder=Path("nowhere"),
            size_bytes=0,
            config={"steps": 3},
        )

    def available(self):
        return [self.describe()]

    def load(self, name="softcord", *, device="auto", threads=None):
        info = self.describe(name)
        self.loads.append({"name": name, "device": device, "threads": threads})
        return Model(info, self, "cpu")

    def predict(self, data, zooms, network, options):
        assert network is self
        assert data.dtype == np.float32
        assert len(zooms) == data.ndim == 3
        self.predictions.append(data.shape)
        soft = (data / BRIGHT).clip(0, 1).astype(np.float32)
        uncertainty = soft * (1 - soft) if options.uncertainty else None
        return Prediction(soft, uncertainty, {"find": 0.25, "segment": 0.5})


def install_fake_network(monkeypatch) -> FakeNetwork:
    """Put a fake in the place of softcord.models' and softcord.engines' functions."""
    fake = FakeNetwork()
    models, engines = sys.modules["softcord.models"], sys.modules["softcord.engines"]
    for name in ("describe", "available", "load"):
        monkeypatch.setattr(models, name, getattr(fake, name))
    monkeypatch.setattr(engines, "predict", fake.predict)
    return fake


def cord_share(shape=(24, 24, 30), zooms=(1.0, 1.0, 2.0), radius_mm=5.0) -> np.ndarray:
    """Share of each voxel inside an upright cylinder in the middle, by 8 × 8 sub-voxels."""
    parts = 8
    i, j = (
        ((np.arange(n * parts) + 0.5) / parts - n / 2) * zoom
        for n, zoom in zip(shape[:2], zooms[:2], strict=True)
    )
    inside = i[:, None] ** 2 + j[None, :] ** 2 <= radius_mm**2
    share = inside.reshape(shape[0], parts, shape[1], parts).mean(axis=(1, 3))
    return np.repeat(share[:, :, None], shape[2], axis=2).astype(np.float32)


def cord_data(share=None) -> np.ndarray:
    """Intensities of an image of the cord: 1000 times its share, with a little texture in the cord."""
    share = cord_share() if share is None else share
    return (share * BRIGHT).astype(np.int16)


def save_nifti(data, path, *, affine=AXES) -> Path:
    """Write an array as NIfTI, with qform, sform and units as scanners give them."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def save_cord(path, **options) -> Path:
    """Write an image of the cord."""
    return save_nifti(cord_data(cord_share(**options)), path)


def save_cordless(path) -> Path:
    """Write an image that shows something, but no cord: negative noise."""
    noise = -np.random.default_rng(0).integers(1, 50, (24, 24, 30)).astype(np.int16)
    return save_nifti(noise, path)


def add_cord_entry(folder, name, **options) -> Path:
    """Add an entry of a small image of a cord to a review page."""
    from softcord.qc import add_entry

    image, soft = nib.Nifti1Image(cord_data(), AXES), nib.Nifti1Image(cord_share(), AXES)
    return add_entry(image, soft, folder, source=f"/data/{name}", **options)


def wait_until(page, condition, seconds=60) -> None:
    """Wait for a condition in a page whose own policy forbids the evaluation that playwright's wait needs."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)
