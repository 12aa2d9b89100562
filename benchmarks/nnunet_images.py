"""The images of `benchmarks/nnunet.py`: a head phantom, and all T2w images of the folder of real images.

Of a real head scan the cord fills the lower part only, while that of the phantom runs all through it. So its
tiles are counted twice: with all of its cord, and with the lower 120 mm of it.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from softcord.phantoms import Phantom

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SOFTCORD_TEST_DATA") or ROOT.parent / "shared") / "data"
HEAD = (192, 260, 320)
LOWER_MM = 120.0  # of a head scan that the cord fills


@dataclass(frozen=True)
class Image:
    """An image to segment, and where its cord is."""

    name: str
    path: Path  # data, cord and zooms, on RAS+ axes
    cord: str  # whose it is
    head: bool = False


def make_head(contrast: str, *, tiny: bool) -> "Phantom":
    """A head scan, whose cord runs all through it."""
    from softcord.phantoms import AnatomyOptions, make_phantom

    return make_phantom(
        2,
        shape=(48, 96, 96) if tiny else HEAD,
        zooms=(1.0, 1.0, 1.0),
        contrast=contrast,
        oversample=(1, 1, 1),
        anatomy=AnatomyOptions(ends=False),
    )


def write_images(folder: Path, *, tiny: bool) -> Iterator[Image]:
    """The head phantom, with its cord all through it and in its lower part; then all T2w images."""
    phantom = make_head("T1w", tiny=tiny)
    shape = phantom.image.shape
    cord = phantom.share > 0.5
    lower = cord.copy()
    lower[..., int(shape[2] * LOWER_MM / HEAD[2]) :] = False
    name = f"head phantom {'×'.join(str(n) for n in shape)}"
    for part, words in ((cord, "true, all through it"), (lower, "true, in the lower 120 of 320 mm")):
        path = folder / f"{words}.npz"
        np.savez(path, data=phantom.image, cord=part, zooms=phantom.zooms)
        yield Image(name, path, words, head=True)
    if not (SHARED / "images.tsv").is_file():
        print(f"no real images in {SHARED}", file=sys.stderr)
        return
    rows = [line.split("\t") for line in (SHARED / "images.tsv").read_text(encoding="utf-8").splitlines()]
    for row in rows[1:]:
        if row[4] == "T2w":
            yield write_real(folder, SHARED / "bids" / row[2], SHARED / "bids" / row[3] if row[3] else None)


def write_real(folder: Path, source: Path, mask: Path | None) -> Image:
    """A real image with the mask that was drawn, else with the compact network's."""
    import nibabel as nib

    from softcord import engines, models

    image = nib.as_closest_canonical(nib.load(source))
    data = np.ascontiguousarray(image.get_fdata(dtype=np.float32))
    zooms = tuple(float(z) for z in image.header.get_zooms()[:3])
    if mask is None:
        cord = engines.predict(data, zooms, models.load(device="cpu").compact).soft > 0.5
    else:
        cord = nib.as_closest_canonical(nib.load(mask)).get_fdata() > 0.5
    path = folder / f"{source.name}.npz"
    np.savez(path, data=data, cord=cord, zooms=zooms)
    name = source.name.removesuffix(".nii.gz")
    return Image(name, path, "compact network" if mask is None else "drawn")
