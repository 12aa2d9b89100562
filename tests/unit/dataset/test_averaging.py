"""Soft labels against the truth: the same phantom, scanned on several grids, after moving."""

from dataclasses import replace

import numpy as np
import pytest

from bidstrees import cylinder
from softcord.dataset.averaging import Member, average_contrasts
from softcord.dataset.registration import align_centers
from softcord.dataset.sampling import Shares, sample
from softcord.phantoms import make_phantom

GRIDS = {
    "T2w": ((40, 48, 60), (0.8, 0.8, 0.8)),
    "T1w": ((33, 37, 46), (1.0, 1.0, 1.0)),
    "T2star": ((64, 72, 10), (0.5, 0.5, 5.0)),
    "mt-on_MTS": ((38, 42, 9), (0.9, 0.9, 5.0)),
    "mt-off_MTS": ((39, 43, 9), (0.9, 0.9, 5.0)),
    "dwi": ((37, 41, 8), (0.9, 0.9, 5.0)),
}
MOVED = {"T1w": (1.3, -0.7, 0.0), "T2star": (-2.1, 1.6, 0.0), "dwi": (0.45, 2.2, 0.0)}


@pytest.fixture(scope="module")
def scans():
    """One person on six grids: truth and what a rater would draw."""
    return {
        name: make_phantom(3, shape=shape, zooms=zooms, oversample=(3, 3, 2))
        for name, (shape, zooms) in GRIDS.items()
    }


def members(scans, *, moved=True, images=False):
    made = []
    for name, scan in scans.items():
        affine = scan.affine.copy()
        affine[:3, 3] += MOVED.get(name, (0, 0, 0)) if moved else 0
        mask = (scan.share >= 0.5).astype(np.float32)
        label = Shares(mask, affine, mask.any(axis=(0, 1)))
        made.append(Member(name, name, scan.image if images else None, label))
    return made


def error(found, truth):
    return float(np.sqrt(np.mean((found - truth)[(truth > 0) | (found > 0)] ** 2)))


def area(shares, zooms):
    return float(shares.sum(dtype=np.float64) * zooms[0] * zooms[1] / shares.shape[2])


@pytest.mark.parametrize("moved", [False, True])
def test_the_mean_over_contrasts_is_nearer_to_the_true_shares_than_any_mask(scans, moved):
    made = average_contrasts(members(scans, moved=moved), method="centermass")
    for scan, member, label in zip(scans.values(), members(scans), made, strict=True):
        mask, mean = error(member.label.data, scan.share), error(label.shares, scan.share)
        assert mean < 0.8 * mask, member.name
        assert label.n_contrasts == 6
        assert label.flags == ()
        assert label.shares.min() >= 0
        assert label.shares.max() <= 1


def test_areas_are_kept(scans):
    made = average_contrasts(members(scans), method="centermass")
    for scan, label in zip(scans.values(), made, strict=True):
        assert area(label.shares, scan.zooms) == pytest.approx(scan.areas_mm2.mean(), rel=0.02)


def test_without_alignment_a_person_who_moved_gives_a_blurred_label(scans):
    """So that the alignment in the tests above is seen to do something."""
    aligned = average_contrasts(members(scans), method="centermass")
    left = average_contrasts(members(scans), method="none")
    for scan, one, other in zip(scans.values(), aligned, left, strict=True):
        assert error(one.shares, scan.share) < 0.7 * error(other.shares, scan.share)


def test_rigid_alignment_finds_a_movement_by_the_images(scans):
    pytest.importorskip("SimpleITK", reason="needs SimpleITK, which comes with softcord[dataset]")
    wide = {"shape": (64, 64, 40), "zooms": (1.0, 1.0, 1.0)}
    pair = {name: make_phantom(3, contrast=name, noise=0.01, **wide) for name in ("T2w", "T1w")}
    made = members(pair, images=True)
    label = average_contrasts(made, method="rigid")[0]
    left = average_contrasts(made, method="none")[0]
    assert label.flags == ()
    assert error(label.shares, pair["T2w"].share) < error(left.shares, pair["T2w"].share)
    moved = average_contrasts(made, method="rigid")[1]
    assert moved.shift_mm == pytest.approx(np.hypot(1.3, 0.7), abs=0.3)


def test_alignment_moves_points_there_and_back(scans):
    one, two = members(scans)[0].label, members(scans)[2].label
    alignment = align_centers(two, one)
    points = np.random.default_rng(1).uniform(-30, 30, (50, 3))
    there = alignment.to_reference(points)
    np.testing.assert_allclose(alignment.from_reference(there), points, atol=1e-9)
    np.testing.assert_allclose((there - points)[:, :2].mean(axis=0), (2.1, -1.6), atol=0.15)
    np.testing.assert_allclose(there[:, 2], points[:, 2], atol=1e-9)


# ---- coverage and edges


def tube(n_slices, start=0.0, zoom=1.0, radius=4.0, covered=None, shift=0.0):
    """A straight cord on a grid that begins at some height."""
    data = cylinder((18, 18, n_slices), radius=radius, shift=(shift, 0)).astype(np.float32)
    affine = np.diag([1.0, 1.0, zoom, 1.0])
    affine[2, 3] = start + (zoom - 1) / 2
    covered = np.ones(n_slices, dtype=bool) if covered is None else np.asarray(covered)
    data[:, :, ~covered] = 0
    return Member(f"tube{start}", "T1w", None, Shares(data, affine, covered))


def test_a_contrast_with_a_short_field_of_view_counts_where_it_covers_and_leaves_no_edge():
    """A wide tube over 20 slices, a thin one over slices 5 to 14: the mean there, the wide one elsewhere."""
    wide, thin = tube(20), replace(tube(10, start=5.0, radius=2.5), name="thin")
    first, second = average_contrasts([wide, thin], reference="T2w")
    areas = first.shares.sum(axis=(0, 1))
    big, small = wide.label.data.sum() / 20, thin.label.data.sum() / 10
    np.testing.assert_allclose(areas[:5], big)
    np.testing.assert_allclose(areas[5:15], (big + small) / 2, rtol=1e-5)
    np.testing.assert_allclose(areas[15:], big)
    np.testing.assert_allclose(second.shares.sum(axis=(0, 1)), (big + small) / 2, rtol=1e-5)


def test_thick_slices_that_cover_part_of_a_voxel_count_by_that_part():
    fine, thick = tube(20), replace(tube(2, start=3.0, zoom=5.0, radius=2.5), name="thick")
    first, second = average_contrasts([fine, thick])
    big, small = fine.label.data[..., 0].sum(), thick.label.data[..., 0].sum()
    areas = first.shares.sum(axis=(0, 1))
    np.testing.assert_allclose(areas[3:13], (big + small) / 2, rtol=1e-5)
    np.testing.assert_allclose(np.delete(areas, slice(3, 13)), big)
    np.testing.assert_allclose(second.shares.sum(axis=(0, 1)), (big + small) / 2, rtol=1e-4)


def test_slices_that_nobody_labelled_stay_empty_and_do_not_thin_out_others():
    covered = np.ones(20, dtype=bool)
    covered[[0, 1, 8, 19]] = False
    gaps, full = tube(20, covered=covered), replace(tube(20), name="full")
    first, second = average_contrasts([gaps, full])
    np.testing.assert_array_equal(first.shares.any(axis=(0, 1)), covered)
    np.testing.assert_allclose(second.shares, full.label.data, atol=1e-6)


def test_nan_in_a_slice_that_is_not_covered_does_not_leak():
    covered = np.ones(20, dtype=bool)
    covered[15:] = False
    member = tube(20, covered=covered)
    member.label.data[:, :, 15:] = np.nan
    for label in average_contrasts([member, replace(tube(20), name="full")]):
        assert np.isfinite(label.shares).all()
        assert label.shares.max() == 1


def test_a_cord_at_the_edge_of_the_image_keeps_its_area():
    whole, cut = tube(20), tube(20)
    half = Shares(cut.label.data[9:], cut.label.affine.copy(), cut.label.covered)
    half.affine[0, 3] = 9.0
    label = average_contrasts([whole, replace(cut, name="cut", label=half)], method="none")[0]
    np.testing.assert_allclose(label.shares, whole.label.data, atol=1e-6)


def test_images_without_a_common_height_are_left_alone_and_flagged():
    low, high = tube(10), replace(tube(10, start=50.0), name="high")
    labels = average_contrasts([low, high])
    for member, label in zip((low, high), labels, strict=True):
        np.testing.assert_array_equal(label.shares, member.label.data)
        assert label.n_contrasts == 1
    codes = [{flag.code for flag in label.flags} for label in labels]
    assert {"single_contrast"} in codes
    assert {"registration_impossible", "single_contrast"} in codes


def test_a_label_that_disagrees_is_flagged():
    labels = average_contrasts(
        [tube(20), replace(tube(20), name="b"), replace(tube(20, radius=2.0), name="thin")]
    )
    assert {flag.code for flag in labels[2].flags} == {"poor_overlap", "areas_differ"}
    far = replace(tube(20), name="z")  # of two images without the reference, the later name is taken
    far.label.affine[0, 3] = 25.0
    first, last = average_contrasts([tube(20), far])
    assert [flag.code for flag in (*first.flags, *last.flags)] == ["large_shift"]
    assert first.shift_mm == pytest.approx(25)


def test_a_coarse_voxel_is_the_mean_of_the_fine_ones_in_it():
    fine = cylinder((40, 40, 8), radius=11.3).astype(np.float32)
    source = Shares(fine, np.diag([0.5, 0.5, 0.5, 1.0]), np.ones(8, dtype=bool))
    coarse = np.diag([2.0, 2.0, 2.0, 1.0])
    coarse[:3, 3] = 0.75
    shares, coverage = sample(source, (10, 10, 2), coarse)
    np.testing.assert_allclose(coverage, 1)
    blocks = fine.reshape(10, 4, 10, 4, 2, 4).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(shares, blocks, atol=1e-5)
