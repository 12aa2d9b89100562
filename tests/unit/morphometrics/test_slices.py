"""Measures of slices: truth by geometry, by properties, and by SCT's own numbers."""

import csv
import itertools
import math

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcord.errors import InputError
from softcord.morphometrics import METRICS, measure_slices
from softcord.orientation import to_canonical
from softcord.phantoms.cords import CordOptions, make_cord

SHAPES = {
    "straight": CordOptions(shift=(0.2, 0.35)),
    "tilted 35 to the front": CordOptions(tilt_deg=35.0, shift=(0.2, 0.35)),
    "tilted 35 aside": CordOptions(tilt_deg=35.0, lean_deg=0.0, turn_deg=10.0),
    "tilted 35 between": CordOptions(tilt_deg=35.0, lean_deg=45.0, turn_deg=-8.0),
    "curved": CordOptions(bend_mm=20.0, shift=(0.2, 0.35)),
    "tapered": CordOptions(taper=0.2),
    "curved, tilted and tapered": CordOptions(bend_mm=15.0, tilt_deg=15.0, lean_deg=0.0, taper=0.15),
}


# ---- truth by geometry


@pytest.mark.parametrize("zooms", [(0.5, 0.5, 0.5), (0.8, 0.8, 3.0), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)])
@pytest.mark.parametrize("name", SHAPES)
def test_the_soft_area_is_true_to_half_a_percent(name, zooms):
    cord = make_cord(zooms, SHAPES[name])
    areas = measure_slices(cord.share, zooms).values["area_mm2"]
    assert areas.mean() == pytest.approx(cord.areas_mm2.mean(), rel=0.005)
    assert areas[2:-2] == pytest.approx(cord.areas_mm2[2:-2], rel=0.03)


@pytest.mark.parametrize("zooms", [(0.5, 0.5, 3.0), (1.0, 1.0, 5.0)])
def test_an_end_slice_counts_by_the_share_that_is_filled_and_sct_counts_it_as_full(zooms):
    cord = make_cord(zooms, CordOptions(fill=(0.25, 0.5)))
    ours = measure_slices(cord.share, zooms)
    theirs = measure_slices(cord.share, zooms, definition="sct").values["area_mm2"]
    assert ours.values["area_mm2"] == pytest.approx(cord.areas_mm2, rel=0.01)
    assert theirs[0] > 1.9 * cord.areas_mm2[0]
    assert np.flatnonzero(ours.is_partial).tolist() == [0, cord.share.shape[2] - 1]


def test_diameters_and_shape_of_an_ellipse():
    zooms = (0.5, 0.5, 4.0)
    cord = make_cord(zooms, CordOptions(half_rl=6.5, half_ap=4.0, turn_deg=12.0, tilt_deg=25.0))
    values = measure_slices(cord.share, zooms).values
    inner = slice(2, -2)
    assert values["diameter_rl_mm"][inner] == pytest.approx(13.0, abs=0.15)
    assert values["diameter_ap_ellipse_mm"][inner] == pytest.approx(8.0, abs=0.15)
    band = 2 / 3 * 4.0 * (1.5 * math.sqrt(1 - (1.5 / 6.5) ** 2) + 6.5 * math.asin(1.5 / 6.5))
    assert values["diameter_ap_mm"][inner] == pytest.approx(band, abs=0.15)
    assert values["eccentricity"][inner] == pytest.approx(math.sqrt(1 - (8 / 13) ** 2), abs=0.01)
    assert values["orientation_deg"][inner] == pytest.approx(-12.0, abs=1.0)  # as seen from below
    assert values["solidity"][inner].min() > 0.97
    assert values["length_mm"][inner] == pytest.approx(4 / math.cos(math.radians(25)), rel=0.005)
    halves = values["length_anterior_mm"] + values["length_posterior_mm"]
    assert halves == pytest.approx(values["diameter_ap_mm"])


def test_front_and_back_are_told_apart():
    soft = np.zeros((20, 20, 4), dtype=np.float32)
    for j in range(4, 16):  # a triangle with its broad side at the back
        soft[10 - (16 - j) // 2 : 10 + (16 - j) // 2, j] = 1
    values = measure_slices(soft, (1.0, 1.0, 1.0)).values
    assert (values["length_anterior_mm"] > values["length_posterior_mm"] + 1).all()


def test_without_angle_correction_the_section_in_the_slice_is_measured():
    cord = make_cord((1.0, 1.0, 2.0), CordOptions(tilt_deg=30.0))
    values = measure_slices(cord.share, cord.zooms, angle_correction=False).values
    assert values["area_mm2"] == pytest.approx(cord.share.sum(axis=(0, 1), dtype=float))
    assert not values["angle_rl_deg"].any()
    assert (values["length_mm"] == 2.0).all()


def test_a_blob_beside_the_cord_changes_nothing():
    cord = make_cord((1.0, 1.0, 1.0))
    share = np.pad(cord.share, ((12, 12), (0, 0), (0, 0)))
    stained = share.copy()
    stained[2:6, 4:8, 20:24] = 1
    for definition in ("softcord", "sct"):
        clean, dirty = (measure_slices(soft, cord.zooms, definition=definition) for soft in (share, stained))
        for name in METRICS:
            assert np.array_equal(clean.values[name], dirty.values[name])
    assert dirty.pieces.n_stray == 1


def test_a_gap_is_no_number_and_the_rest_is_measured():
    cord = make_cord((1.0, 1.0, 2.0))
    share = cord.share.copy()
    share[:, :, 10:13] = 0
    measures = measure_slices(share, cord.zooms)
    assert np.flatnonzero(~measures.is_held).tolist() == [10, 11, 12]
    assert np.isnan([measures.values[name][11] for name in METRICS]).all()
    assert measures.values["area_mm2"][measures.is_held] == pytest.approx(math.pi * 6 * 4.2, rel=0.006)


def test_parts_in_a_slice_are_counted():
    soft = np.zeros((20, 20, 5), dtype=np.float32)
    soft[5:15, 5:15] = 1
    soft[9:11, 5:15, 3:] = 0  # split in two above
    assert measure_slices(soft, (1.0, 1.0, 1.0)).n_parts.tolist() == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("definition", ["softcord", "sct"])
def test_a_single_slice_and_a_single_voxel_are_measured(definition):
    soft = np.zeros((12, 12, 3), dtype=np.float32)
    soft[3:9, 4:8, 1] = 1
    measures = measure_slices(soft, (1.0, 1.0, 3.0), definition=definition)
    assert measures.slices.tolist() == [1]
    assert measures.values["area_mm2"].tolist() == [24.0]
    soft[:] = 0
    soft[5, 5, 1] = 0.4
    assert np.isfinite(measure_slices(soft, (1.0, 1.0, 3.0), definition=definition).values["area_mm2"]).all()


def test_no_cord_is_an_error():
    with pytest.raises(InputError, match="got none"):
        measure_slices(np.zeros((4, 4, 4), dtype=np.float32), (1.0, 1.0, 1.0))


def test_intervals_are_around_the_area_and_wider_for_a_network():
    cord = make_cord((1.0, 1.0, 2.0), CordOptions(tilt_deg=20.0))
    values, network = (
        measure_slices(cord.share, cord.zooms, source=source).values for source in ("mask", "network")
    )
    assert (values["area_low_mm2"] <= values["area_mm2"]).all()
    assert (values["area_mm2"] <= values["area_high_mm2"]).all()
    widths = [v["area_high_mm2"] - v["area_low_mm2"] for v in (values, network)]
    assert (widths[0] < widths[1]).all()


# ---- properties

ORIENTATIONS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


@pytest.mark.parametrize("definition", ["softcord", "sct"])
@pytest.mark.parametrize("is_binary", [False, True])
def test_all_48_orientations_give_the_same_numbers(definition, is_binary):
    cord = make_cord((0.8, 1.0, 2.0), CordOptions(tilt_deg=20.0, lean_deg=30.0, turn_deg=9.0))
    share = (cord.share > 0.5).astype(np.float32) if is_binary else cord.share
    expected = measure_slices(share, cord.zooms, definition=definition)
    affine = np.diag([*cord.zooms, 1.0])
    assert len(ORIENTATIONS) == 48
    for order, signs in ORIENTATIONS:
        ornt = np.array(list(zip(order, signs, strict=True)), dtype=float)
        turned = nib.orientations.apply_orientation(share, ornt)
        placed = affine @ nib.orientations.inv_ornt_aff(ornt, share.shape)
        canonical = to_canonical(turned, placed)
        found = measure_slices(canonical.data, canonical.zooms, definition=definition)
        for name in METRICS:
            assert found.values[name] == pytest.approx(expected.values[name], rel=1e-9), (name, order, signs)


@given(
    before=st.tuples(*[st.integers(0, 9)] * 3),
    after=st.tuples(*[st.integers(0, 9)] * 3),
    is_binary=st.booleans(),
    lean=st.sampled_from([0.0, 50.0, 90.0]),
)
@settings(max_examples=25, deadline=None)
def test_any_cropping_gives_the_same_numbers(before, after, is_binary, lean):
    cord = make_cord((1.0, 0.7, 3.0), CordOptions(tilt_deg=15.0, lean_deg=lean, turn_deg=5.0), fine_mm=0.3)
    share = (cord.share > 0.5).astype(np.float32) if is_binary else cord.share
    padded = np.pad(share, list(zip(before, after, strict=True)))
    expected, found = (measure_slices(soft, cord.zooms) for soft in (share, padded))
    assert found.slices[0] == expected.slices[0] + before[2]
    for name in METRICS:
        assert found.values[name] == pytest.approx(expected.values[name], rel=1e-7, abs=1e-9), name


@pytest.mark.parametrize("mirrored", [0, 1])
def test_a_mirrored_cord_has_the_same_size_and_the_opposite_lean(mirrored):
    cord = make_cord((0.8, 1.0, 2.0), CordOptions(tilt_deg=20.0, lean_deg=30.0, turn_deg=9.0))
    values = measure_slices(cord.share, cord.zooms).values
    flipped = measure_slices(np.flip(cord.share, mirrored), cord.zooms).values
    for name in ("area_mm2", "diameter_rl_mm", "diameter_ap_mm", "eccentricity", "solidity", "length_mm"):
        assert flipped[name] == pytest.approx(values[name], rel=1e-9), name
    assert flipped["orientation_deg"] == pytest.approx(-values["orientation_deg"], abs=1e-6)
    name = ("angle_ap_deg", "angle_rl_deg")[mirrored]
    assert flipped[name] == pytest.approx(-values[name], abs=1e-9)


# ---- SCT's numbers

COLUMNS = {
    "MEAN(area)": ("area_mm2", 0.05),
    "MEAN(angle_AP)": ("angle_ap_deg", 0.3),
    "MEAN(angle_RL)": ("angle_rl_deg", 0.3),
    "MEAN(diameter_AP)": ("diameter_ap_mm", 0.1),
    "MEAN(diameter_AP_ellipse)": ("diameter_ap_ellipse_mm", 0.1),
    "MEAN(diameter_RL)": ("diameter_rl_mm", 0.1),
    "MEAN(eccentricity)": ("eccentricity", 0.01),
    "MEAN(orientation)": ("orientation_deg", 1.0),
    "MEAN(solidity)": ("solidity", 0.01),
    "SUM(length)": ("length_mm", 0.02),
}
TABLES = {
    "t2_perslice": "t2_seg-manual",
    "t2_perslice_nocorr": "t2_seg-manual",
    "t1w_perslice": "t1w_seg-manual",
    "t2s_perslice": "t2s_seg-deepseg",
}


def measure_file(path, **options):
    image = nib.load(path)
    canonical = to_canonical(np.asarray(image.dataobj, dtype=np.float32), image.affine)
    return measure_slices(canonical.data, canonical.zooms, definition="sct", **options)


@pytest.mark.parametrize("table", TABLES)
def test_sct_definitions_give_the_numbers_of_sct(shared, table):
    folder = shared / "reference" / "sct"
    rows = list(csv.DictReader((folder / f"{table}.csv").read_text().splitlines()))
    measures = measure_file(
        folder / "masks" / f"{TABLES[table]}.nii.gz", angle_correction=not table.endswith("nocorr")
    )
    assert [int(row["Slice (I->S)"]) for row in rows] == measures.slices.tolist()
    for column, (name, limit) in COLUMNS.items():
        expected = np.array([float(row[column]) for row in rows])
        assert np.abs(measures.values[name] - expected).max() <= limit, column


@pytest.mark.parametrize("number", range(11))
def test_phantoms_have_the_numbers_of_sct(shared, number):
    folder = shared / "reference" / "sct"
    rows = csv.DictReader((folder / "phantoms.csv").read_text().splitlines())
    row = next(row for row in rows if int(row["id"]) == number)
    measures = measure_file(
        folder / "phantoms" / f"phantom{number:02d}.nii.gz", angle_correction=row["angle_corr"] == "True"
    )
    for column, name, limit in (
        ("area", "area_mm2", 0.05),
        ("dAP", "diameter_ap_mm", 0.1),
        ("dRL", "diameter_rl_mm", 0.1),
        ("angAP", "angle_ap_deg", 0.3),
        ("angRL", "angle_rl_deg", 0.3),
        ("ecc", "eccentricity", 0.01),
    ):
        assert np.nanmean(measures.values[name]) == pytest.approx(float(row[column]), abs=limit), column
    assert np.nansum(measures.values["length_mm"]) == pytest.approx(float(row["len"]), abs=0.02)


def test_the_default_differs_from_sct_by_little_on_a_binary_mask(shared):
    folder = shared / "reference" / "sct"
    image = nib.load(folder / "masks" / "t2_seg-manual.nii.gz")
    canonical = to_canonical(np.asarray(image.dataobj, dtype=np.float32), image.affine)
    ours, theirs = (
        measure_slices(canonical.data, canonical.zooms, definition=definition).values["area_mm2"]
        for definition in ("softcord", "sct")
    )
    assert np.abs(ours - theirs).max() < 0.05
