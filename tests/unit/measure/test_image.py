"""Measures of one mask: which slices, levels, distances and norms; by geometry and against SCT's tables."""

import csv
import itertools

import nibabel as nib
import numpy as np
import pytest

from softcord.errors import InputError, UsageError
from softcord.measure import CsaOptions, csa
from softcord.morphometrics import METRICS
from softcord.phantoms.cords import CordOptions, make_cord

TRUE = np.pi * 6.0 * 4.2


def data_of(image):
    return np.asarray(image.dataobj)


def codes(result):
    return {flag.code for flag in result.flags}


# ---- rows


def test_the_mean_is_that_of_all_slices(cord):
    row = csa(cord).rows[0]
    assert row.slices == tuple(range(40))
    assert row.values["area_mm2"] == pytest.approx(TRUE, rel=0.005)
    assert row.values["length_mm"] == pytest.approx(80 / np.cos(np.radians(10)), rel=0.002)
    assert row.levels == ()


def test_slices_are_counted_from_the_lowest_and_can_be_chosen(cord):
    result = csa(cord, CsaOptions(rows="slice", slices=((3, 5), (9, 9))))
    assert [row.slices for row in result.rows] == [(3,), (4,), (5,), (9,)]
    upside_down = nib.Nifti1Image(
        data_of(cord)[:, :, ::-1],
        cord.affine @ nib.orientations.inv_ornt_aff(np.array([[0, 1], [1, 1], [2, -1]]), cord.shape),
    )
    other = csa(upside_down, CsaOptions(rows="slice", slices=((3, 5), (9, 9))))
    assert [r.values["area_mm2"] for r in other.rows] == pytest.approx(
        [r.values["area_mm2"] for r in result.rows]
    )


def test_partly_filled_ends_are_shown_in_their_row_and_left_out_of_the_mean():
    made = make_cord((1.0, 1.0, 5.0), CordOptions(fill=(0.25, 0.5)))
    image = nib.Nifti1Image(made.share, np.diag([1.0, 1.0, 5.0, 1.0]))
    mean, slices = csa(image), csa(image, CsaOptions(rows="slice"))
    assert mean.rows[0].values["area_mm2"] == pytest.approx(TRUE, rel=0.005)
    assert mean.rows[0].n_used == made.share.shape[2] - 2
    assert slices.rows[0].values["area_mm2"] == pytest.approx(TRUE * 0.25, rel=0.06)
    assert "partial_ends" in codes(mean)


# ---- levels


def test_levels_come_from_discs(cord, discs):
    result = csa(cord, CsaOptions(rows="level"), discs=discs)
    assert [row.levels for row in result.rows] == [(5,), (4,), (3,), (2,), (1,)]
    by_level = {row.levels[0]: row.slices for row in result.rows}
    # 12 mm in front of a cord that leans forward by 10°, a disc is across from the next slice
    assert (by_level[3][0], by_level[3][-1]) == (20, 27)
    assert result.rows[2].values["area_mm2"] == pytest.approx(TRUE, rel=0.005)


def test_discs_by_hand_on_another_grid_and_in_another_orientation_are_the_same(cord, discs):
    expected = csa(cord, CsaOptions(rows="level"), discs=discs)
    by_hand = {int(discs.dataobj[tuple(v)]): tuple(v) for v in np.argwhere(data_of(discs) > 0)}
    flipped = discs.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    shifted = nib.Nifti1Image(
        np.pad(data_of(discs), 3),
        discs.affine @ np.array([[1, 0, 0, -3], [0, 1, 0, -3], [0, 0, 1, -3], [0, 0, 0, 1.0]]),
    )
    for source in (by_hand, flipped, shifted):
        found = csa(cord, CsaOptions(rows="level"), discs=source)
        assert [row.slices for row in found.rows] == [row.slices for row in expected.rows]
    assert "labels_on_another_grid" in codes(found)


def test_levels_come_from_a_map_on_the_cord(cord):
    labels = np.zeros(cord.shape, dtype=np.uint8)
    labels[:, :, 20:], labels[:, :, 10:20] = 2, 3
    labels[data_of(cord) < 0.3] = 0
    result = csa(cord, CsaOptions(rows="level", vert=(2, 3)), levels=nib.Nifti1Image(labels, cord.affine))
    assert [(row.levels, row.slices[0], row.slices[-1]) for row in result.rows] == [
        ((3,), 10, 19),
        ((2,), 20, 39),
    ]


def test_levels_come_from_totalspineseg(cord, discs):
    labels = np.zeros(cord.shape, dtype=np.uint8)
    labels[data_of(cord) > 0.5] = 1
    for disc, label in {3: 63, 4: 64, 5: 65}.items():
        i, j, k = np.argwhere(data_of(discs) == disc)[0]
        labels[i - 3 : i + 4, j : j + 8, k] = label
        labels[i - 3 : i + 4, j : j + 8, k - 6 : k - 1] = 10 + disc
    found = csa(cord, CsaOptions(rows="slice"), levels=nib.Nifti1Image(labels, cord.affine))
    expected = csa(cord, CsaOptions(rows="slice"), discs=discs)
    assert [r.levels for r in found.rows[2:30]] == [r.levels for r in expected.rows[2:30]]


def test_without_labels_levels_are_unknown_and_not_guessed(cord):
    assert csa(cord).levels is None
    for options in (
        CsaOptions(rows="level"),
        CsaOptions(vert=(2, 3)),
        CsaOptions(pam50=True),
        CsaOptions(sex="F"),
    ):
        with pytest.raises(UsageError, match="levels are unknown"):
            csa(cord, options)


def test_levels_that_are_not_there_are_said(cord, discs):
    with pytest.raises(InputError, match=r"level 9.*levels that are there: 1 \(C1\), 2"):
        csa(cord, CsaOptions(vert=(9,)), discs=discs)
    assert "levels_absent" in codes(csa(cord, CsaOptions(vert=(5, 6)), discs=discs))


def test_discs_that_cannot_be_of_this_cord_are_refused(cord):
    far = nib.Nifti1Image(
        np.pad(np.ones((1, 1, 1), dtype=np.uint8) * 3, ((90, 0), (0, 1), (9, 1))), cord.affine
    )
    with pytest.raises(InputError, match=r"disc 3 lies .* mm beside the cord"):
        csa(cord, CsaOptions(rows="level"), discs=far)
    with pytest.raises(InputError, match="has no voxel 99,0,0"):
        csa(cord, CsaOptions(rows="level"), discs={3: (99, 0, 0)})
    above = nib.Nifti1Image(np.zeros((20, 20, 200), dtype=np.uint8), cord.affine)
    above.dataobj[10, 10, 190] = 8
    with pytest.raises(InputError, match="beyond the cord"):
        csa(cord, CsaOptions(rows="level"), discs=above)


# ---- the pontomedullary junction


def test_the_distance_from_the_junction_follows_the_cord(cord):
    line = csa(cord).measures.centerline
    j = line.y_mm[-1] + 10 * np.tan(np.radians(10))
    point = (line.x_mm[-1], float(j), 39.0)
    result = csa(cord, CsaOptions(pmj_distance_mm=30.0, pmj_extent_mm=10.0), pmj=point)
    assert len(result.rows[0].slices) == 5
    assert result.distance_pmj_mm[9] == pytest.approx(60 / np.cos(np.radians(10)), abs=0.8)
    assert result.rows[0].distance_pmj_mm == 30.0


def test_the_cube_of_sct_has_its_slices_and_distance():
    data = np.zeros((32, 32, 32), dtype=np.uint8)
    data[9:24, 9:24, 9:24] = 1
    pmj = np.zeros_like(data)
    pmj[15, 15, 28] = 1
    for definition in ("sct", "softcord"):
        image, label = (nib.Nifti1Image(array, np.eye(4)) for array in (data, pmj))
        options = CsaOptions(pmj_distance_mm=8.0, pmj_extent_mm=4.0, definition=definition)
        result = csa(image, options, pmj=label)
        row = result.rows[0]
        assert row.values["length_mm"] == pytest.approx(4.0)
        assert row.values["area_mm2"] == pytest.approx(225.0, abs=0.1)
        assert np.abs(np.array(row.slices) - [18, 19, 20, 21]).max() <= 1
        assert result.distance_pmj_mm[1] == pytest.approx(18.11, abs=0.3)


def test_a_junction_that_cannot_be_is_refused(cord):
    options = CsaOptions(pmj_distance_mm=30.0)
    label = nib.Nifti1Image(np.zeros((30, 60, 140), dtype=np.uint8), cord.affine)
    label.dataobj[14, 14, 130] = 50
    with pytest.raises(InputError, match="within 100 mm"):
        csa(cord, options, pmj=label)
    with pytest.raises(InputError, match="head's end of the cord"):
        csa(cord, options, pmj=(14, 14, 2))
    with pytest.raises(InputError, match="Change --pmj-distance"):
        csa(cord, CsaOptions(pmj_distance_mm=300.0), pmj=(14, 14, 39))
    with pytest.raises(UsageError, match="needs --pmj and --pmj-distance"):
        csa(cord, options)


# ---- norms


def test_healthy_people_of_the_same_level_are_compared_with(cord, discs):
    row = csa(cord, CsaOptions(rows="level", vert=(3,), norms="spine-generic", sex="F"), discs=discs).rows[0]
    norm = row.norms["area_mm2"]
    assert (norm.dataset, norm.sex) == ("spine-generic", "F")
    assert norm.z(row.values["area_mm2"]) == pytest.approx((TRUE - norm.mean) / norm.sd, abs=0.1)


def test_a_thin_cord_is_outside_of_norms(discs):
    thin = make_cord(
        (1.0, 1.0, 2.0), CordOptions(half_rl=4.0, half_ap=2.5, tilt_deg=10.0, length_mm=80.0)
    ).share
    image = nib.Nifti1Image(np.pad(thin, ((6, 6), (6, 26), (0, 0))), np.diag([1.0, 1.0, 2.0, 1.0]))
    hand = {d: (image.shape[0] // 2, 30, k) for d, k in {3: 26, 4: 18, 5: 10}.items()}
    result = csa(image, CsaOptions(rows="level", sex="M"), discs=hand)
    reasons = [flag.reason for flag in result.flags if flag.code == "outside_norms"]
    assert any("area_mm2 is outside" in reason and "C3" in reason for reason in reasons)


# ---- odd masks


def image_of(data, zooms=(1.0, 1.0, 2.0)):
    return nib.Nifti1Image(data, np.diag([*zooms, 1.0]))


@pytest.mark.parametrize(("factor", "dtype"), [(255, np.uint8), (3, np.uint8), (100, np.float32)])
def test_a_mask_in_another_unit_is_rescaled_and_flagged(cord, factor, dtype):
    mask = (data_of(cord) > 0.5).astype(dtype)
    expected = csa(image_of(mask)).rows[0].values["area_mm2"]
    result = csa(image_of(mask * dtype(factor)))
    assert result.rows[0].values["area_mm2"] == pytest.approx(expected, rel=1e-5)
    assert "values_rescaled" in codes(result)


def test_a_soft_map_from_0_to_255_is_rescaled(cord):
    result = csa(image_of(np.round(data_of(cord) * 255).astype(np.uint8)))
    assert result.rows[0].values["area_mm2"] == pytest.approx(TRUE, rel=0.005)


def test_soft_values_are_not_stretched_to_1(cord):
    half = csa(image_of(data_of(cord) * np.float32(0.6)))
    assert half.rows[0].values["area_mm2"] == pytest.approx(0.6 * TRUE, rel=0.006)


def test_negative_and_missing_values_count_as_0_and_are_flagged(cord):
    data = data_of(cord).copy()
    data[0, 0, 0], data[1, 1, 1] = -0.5, np.nan
    result = csa(image_of(data))
    assert {"negative_values", "non_finite"} <= codes(result)
    assert result.rows[0].values["area_mm2"] == pytest.approx(TRUE, rel=0.005)


def test_a_blob_beside_the_cord_is_left_out_and_flagged(cord):
    data = data_of(cord).copy()
    data[1:5, -6:-2, 20:24] = 1
    result = csa(image_of(data))
    assert result.rows[0].values == csa(cord).rows[0].values
    assert {"stray_pieces", "several_pieces"} <= codes(result)


def test_a_gap_and_an_edge_are_flagged(cord):
    data = data_of(cord).copy()
    data[:, :, 15:20] = 0
    result = csa(image_of(data))
    assert "gaps" in codes(result)
    assert result.rows[0].n_used == 35
    assert "touches_edge" in codes(csa(image_of(data_of(cord)[11:])))


def test_a_single_slice_is_flagged():
    data = np.zeros((20, 20, 1), dtype=np.float32)
    data[5:15, 6:14] = 1
    result = csa(image_of(data))
    assert result.rows[0].values["area_mm2"] == pytest.approx(80.0)
    assert "single_slice" in codes(result)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: np.stack([d, d], axis=-1), "expected one volume, got 2"),
        (lambda d: d * 0, "every voxel is 0"),
        (lambda d: -d, "no value above 0"),
        (lambda d: np.round(d) * np.where(np.arange(40) > 20, 3, 2).astype(np.float32), "labels 2, 3"),
        (lambda d: d * np.float32(900), "values up to 900"),
        (lambda d: d[:, :, 3], "3-D or 4-D"),
    ],
)
def test_what_is_no_mask_is_one_clear_error(cord, make, message):
    with pytest.raises(InputError, match=message):
        csa(image_of(make(data_of(cord))))


def test_one_volume_of_several_is_chosen(cord):
    data = np.stack([data_of(cord) * 0 + 0.0, data_of(cord)], axis=-1).astype(np.float32)
    assert csa(image_of(data), CsaOptions(volume=1)).rows[0].values["area_mm2"] == pytest.approx(
        TRUE, rel=0.005
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (CsaOptions(rows="voxel"), "rows must be one of"),
        (CsaOptions(definition="mine"), "definition must be one of"),
        (CsaOptions(interval="99"), "interval must be one of"),
        (CsaOptions(slices=((5, 3),)), "Ranges of slices"),
        (CsaOptions(pmj_extent_mm=0.0), "--pmj-extent above 0"),
    ],
)
def test_options_that_cannot_be_are_refused(cord, options, message):
    with pytest.raises(UsageError, match=message):
        csa(cord, options)


def test_slices_without_cord_are_an_error_that_says_where_it_is(cord):
    with pytest.raises(InputError, match="no cord in slices 50:60; it is in 0:39"):
        csa(cord, CsaOptions(slices=((50, 60),)))


def test_levels_from_two_sources_are_refused(cord, discs):
    with pytest.raises(UsageError, match="one source"):
        csa(cord, levels=discs, discs=discs)


# ---- whose intervals


def test_the_sidecar_says_whether_a_network_made_the_map(cord, tmp_path):
    path = tmp_path / "t2_softseg.nii.gz"
    nib.save(cord, path)
    assert csa(path).interval == "mask"
    path.with_name("t2_softseg.json").write_text(
        '{"GeneratedBy": [{"Name": "softcord"}], "ModelName": "softcord"}'
    )
    assert csa(path).interval == "network"
    assert csa(path, CsaOptions(interval="mask")).interval == "mask"
    path.with_name("t2_softseg.json").write_text("[1, 2")
    assert csa(path).interval == "mask"


# ---- orientation


def test_all_48_orientations_of_mask_and_labels_give_the_same_rows(cord, discs):
    small = cord.slicer[:, :, 8:30], discs.slicer[:, :, 8:30]
    expected = csa(small[0], CsaOptions(rows="slice"), discs=small[1])
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            ornt = np.array(list(zip(order, signs, strict=True)))
            mask, labels = (image.as_reoriented(ornt) for image in small)
            found = csa(mask, CsaOptions(rows="slice"), discs=labels)
            assert [r.levels for r in found.rows] == [r.levels for r in expected.rows]
            for name in METRICS:
                assert [r.values[name] for r in found.rows] == pytest.approx(
                    [r.values[name] for r in expected.rows], rel=1e-6, abs=1e-6
                )


# ---- SCT's tables


def read(shared, name):
    return list(csv.DictReader((shared / "reference" / "sct" / name).read_text().splitlines()))


def test_levels_have_the_numbers_of_sct(shared):
    masks = shared / "reference" / "sct" / "masks"
    options = CsaOptions(rows="level", vert=(2, 3, 4, 5, 6), definition="sct")
    result = csa(masks / "t2_seg-manual.nii.gz", options, discs=masks / "t2_discs.nii.gz")
    expected = read(shared, "t2_perlevel.csv")
    assert [str(row.levels[0]) for row in result.rows] == [row["VertLevel"] for row in expected]
    for row, theirs in zip(result.rows, expected, strict=True):
        assert f"{row.slices[0]}:{row.slices[-1]}" == theirs["Slice (I->S)"]
        assert row.values["area_mm2"] == pytest.approx(float(theirs["MEAN(area)"]), abs=0.1)
        assert row.deviations["area_mm2"] == pytest.approx(float(theirs["STD(area)"]), abs=0.1)
        assert row.values["length_mm"] == pytest.approx(float(theirs["SUM(length)"]), abs=0.02)


def test_pam50_has_the_numbers_of_sct(shared):
    masks = shared / "reference" / "sct" / "masks"
    options = CsaOptions(rows="slice", pam50=True, definition="sct")
    result = csa(masks / "t2_seg-manual.nii.gz", options, discs=masks / "t2_discs.nii.gz")
    expected = read(shared, "t2_PAM50.csv")
    assert sorted(row.slices[0] for row in result.rows) == [int(row["Slice (I->S)"]) for row in expected]
    for row, theirs in zip(result.rows, expected, strict=True):
        area = float(theirs["MEAN(area)"] or "nan")
        assert row.values["area_mm2"] == pytest.approx(area, abs=0.01, nan_ok=True)
    row = next(row for row in result.rows if row.slices == (827,))
    assert row.values["area_mm2"] == pytest.approx(71.16703270056989, abs=1e-6)
