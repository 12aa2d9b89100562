"""Two masks of one person: aligned, paired, and how they differ."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from softcord.errors import InputError, OutputError
from softcord.measure import CsaOptions, compare_csa, csa, write_comparison
from softcord.phantoms.cords import CordOptions, make_cord


def image_of(options, *, zooms=(1.0, 1.0, 2.0), origin=(0.0, 0.0, 0.0), crop=slice(None)):
    share = make_cord(zooms, options).share[:, :, crop]
    affine = np.diag([*zooms, 1.0])
    n = np.array(share.shape)
    affine[:3, 3] = np.array(origin) - (n[:3] - 1) / 2 * zooms * np.array([1, 1, 0])
    return nib.Nifti1Image(share, affine)


BEFORE = CordOptions(tilt_deg=10.0, taper=0.1, length_mm=80.0)
AFTER = CordOptions(half_rl=5.7, half_ap=3.99, tilt_deg=10.0, taper=0.1, length_mm=80.0)


def test_on_one_grid_slices_are_paired():
    share = make_cord((1.0, 1.0, 2.0), BEFORE).share
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    one, other = (csa(nib.Nifti1Image(share * np.float32(f), affine)) for f in (1.0, 0.95))
    found = compare_csa(one, other)
    assert found.aligned_by == "slices"
    assert len(found.points) == 40
    assert found.change_percent == pytest.approx(-5.0, abs=0.05)
    assert [p.change_percent for p in found.points] == pytest.approx([-5.0] * 40, abs=0.1)
    assert found.low_mm2 < found.bias_mm2 < found.high_mm2


def test_another_grid_is_aligned_by_space():
    one = csa(image_of(BEFORE))
    other = csa(image_of(AFTER, zooms=(0.8, 0.8, 3.0), origin=(0.0, 0.0, 0.5)))
    found = compare_csa(one, other)
    assert found.aligned_by == "space"
    assert found.change_percent == pytest.approx(100 * (0.95**2 - 1), abs=0.7)


def test_a_cord_that_moved_is_aligned_by_the_junction():
    one = csa(image_of(BEFORE), CsaOptions(pmj_distance_mm=35.0, pmj_extent_mm=50.0), pmj=(10, 18, 39))
    moved = image_of(AFTER, origin=(0.0, 0.0, 40.0), crop=slice(5, None))
    other = csa(moved, CsaOptions(pmj_distance_mm=35.0, pmj_extent_mm=50.0), pmj=(10, 18, 34))
    found = compare_csa(one, other)
    assert found.aligned_by == "pmj"
    # a taper: only if the right slices are paired, the change is the same everywhere
    changes = [p.change_percent for p in found.points]
    assert changes == pytest.approx([100 * (0.95**2 - 1)] * len(changes), abs=1.2)


def test_levels_align_what_has_them():
    hand = {3: (10, 20, 26), 4: (10, 20, 18)}
    one = csa(image_of(BEFORE), discs=hand)
    moved = image_of(AFTER, origin=(3.0, 0.0, 90.0), crop=slice(4, None))
    other = csa(moved, discs={d: (i, j, k - 4) for d, (i, j, k) in hand.items()})
    found = compare_csa(one, other)
    assert found.aligned_by == "levels"
    assert found.change_percent == pytest.approx(100 * (0.95**2 - 1), abs=0.7)
    assert {p.level for p in found.points} >= {2, 3, 4}


def test_what_does_not_overlap_is_refused():
    one, other = (
        csa(image_of(BEFORE), CsaOptions(slices=((0, 3),))),
        csa(image_of(BEFORE), CsaOptions(slices=((30, 35),))),
    )
    with pytest.raises(InputError, match="must share two points"):
        compare_csa(one, other)


def test_a_table_and_a_summary_are_written(tmp_path):
    found = compare_csa(csa(image_of(BEFORE)), csa(image_of(BEFORE)))
    write_comparison(found, tmp_path / "change.csv")
    rows = list(csv.DictReader((tmp_path / "change.csv").read_text().splitlines()))
    assert len(rows) == 40
    assert (rows[0]["levels"], float(rows[0]["change_percent"])) == ("", 0.0)
    summary = json.loads((tmp_path / "change.json").read_text())["Summary"]
    assert summary["change_percent"] == 0
    with pytest.raises(OutputError, match="exists already"):
        write_comparison(found, tmp_path / "change.csv")
