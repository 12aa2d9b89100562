"""A cord with levels."""

import nibabel as nib
import numpy as np
import pytest

from softcord.phantoms.cords import CordOptions, make_cord

ZOOMS = (1.0, 1.0, 2.0)


def affine(zooms=ZOOMS):
    return np.diag([*zooms, 1.0])


@pytest.fixture
def cord():
    """Tilted cord of 40 slices, and room around it."""
    share = make_cord(ZOOMS, CordOptions(tilt_deg=10.0, length_mm=80.0)).share
    return nib.Nifti1Image(np.pad(share, ((4, 4), (4, 24), (0, 0))), affine())


@pytest.fixture
def discs(cord):
    """Discs C1-C2 to C4-C5 in front of the cord, 8 slices apart."""
    labels = np.zeros(cord.shape, dtype=np.uint8)
    for disc, k in {2: 34, 3: 26, 4: 18, 5: 10}.items():
        j = int(np.argmax(np.asarray(cord.dataobj)[cord.shape[0] // 2, :, k])) + 12
        labels[cord.shape[0] // 2, j, k] = disc
    return nib.Nifti1Image(labels, affine())
