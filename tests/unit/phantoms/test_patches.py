import numpy as np
import pytest

from softcord.phantoms.anatomy import AnatomyOptions
from softcord.phantoms.patches import ScanGeometry, draw_geometry, draw_nothing, draw_scan, rotation

FINEST = (0.6, 1.2)


def test_a_rotation_keeps_lengths_and_handedness():
    for seed in range(20):
        matrix = rotation(*np.random.default_rng(seed).normal(0, 1, 3))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_angle_turns_about_its_own_axis(axis):
    angles = [0.0, 0.0, 0.0]
    angles[axis] = np.pi / 2
    turned = rotation(*angles)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    np.testing.assert_allclose(turned @ np.eye(3)[axis], np.eye(3)[axis], atol=1e-12)
    np.testing.assert_allclose(turned @ np.eye(3)[a], np.eye(3)[b], atol=1e-12)


def test_a_geometry_covers_the_field_of_view_to_half_a_voxel():
    extent = (40.0, 50.0, 60.0)
    for seed in range(200):
        geometry = draw_geometry(np.random.default_rng(seed), extent, FINEST)
        for size, zoom, wanted in zip(geometry.shape, geometry.zooms, extent, strict=True):
            assert size >= 1
            assert abs(size * zoom - wanted) <= max(zoom / 2, zoom - wanted) + 1e-9


def test_sub_voxels_are_not_finer_than_what_the_network_sees():
    for seed in range(200):
        geometry = draw_geometry(np.random.default_rng(seed), (40.0, 50.0, 60.0), FINEST)
        for zoom, parts, finest in zip(geometry.zooms, geometry.parts, (0.6, 0.6, 1.2), strict=True):
            assert zoom >= finest
            assert parts >= 1
            assert parts == 1 or zoom / parts >= finest * 0.86


def test_isotropic_axial_sagittal_and_gapped_scans_all_occur():
    drawn = [
        draw_geometry(np.random.default_rng(seed), (40.0, 40.0, 40.0), (0.3, 0.3)) for seed in range(200)
    ]
    zooms = np.array([geometry.zooms for geometry in drawn])
    x, y, z = zooms.T
    assert (zooms[:, 2] > 8).any()  # wide gaps
    assert ((x == y) & (y == z)).any()
    assert ((x > 2 * y) & (y == z)).any()  # thick sagittal slices
    assert ((z > 2 * x) & (x == y)).any()  # thick axial slices
    assert ((y > x) & (x == z)).any()  # coronal ones


def test_a_scan_has_its_geometry_and_a_share_between_nothing_and_all():
    geometry = ScanGeometry((20, 18, 5), (1.0, 1.0, 4.0), (1, 1, 2))
    for seed in range(8):
        scan = draw_scan(np.random.default_rng(seed), geometry)
        assert scan.image.shape == scan.share.shape == geometry.shape
        assert scan.image.dtype == scan.share.dtype == np.float32
        assert scan.zooms == geometry.zooms
        assert np.isfinite(scan.image).all()
        assert 0 <= scan.share.min() <= scan.share.max() <= 1


def test_a_scan_of_a_cord_that_is_known_holds_its_volume():
    """A cylinder cut by any plane has its area over the cosine of the angle."""
    options = AnatomyOptions(half_rl=6.0, half_ap=4.0, curved=False, pathology=False, ends=False)
    geometry = ScanGeometry((64, 64, 6), (1.5, 1.5, 3.0), (2, 2, 2))
    found = []
    for seed in range(12):
        share = draw_scan(np.random.default_rng(seed), geometry, options).share
        edges = np.concatenate([share[[0, -1]].ravel(), share[:, [0, -1]].ravel()])
        if not edges.any() and share.any():
            found.append(share.sum(axis=(0, 1)).mean() * 1.5**2)
    assert len(found) >= 8
    assert min(found) > 0.99 * np.pi * 24
    assert max(found) < 1.6 * np.pi * 24
    assert np.median(found) == pytest.approx(np.pi * 24, rel=0.1)


def test_a_scan_holds_cord_or_none_as_is_asked_for():
    geometry = ScanGeometry((10, 10, 3), (12.0, 12.0, 8.0), (1, 1, 1))  # a wide field of view
    for cord in (True, False):
        options = AnatomyOptions(ends=False, cord=cord)
        for seed in range(20):
            assert draw_scan(np.random.default_rng(seed), geometry, options).share.any() == cord


def test_a_clean_scan_shows_the_edge_of_the_cord_where_the_share_has_it():
    """Grey levels across the edge follow the share; artefacts and noise part the two in other scans."""
    geometry = ScanGeometry((40, 40, 4), (0.9, 0.9, 3.0), (2, 2, 1))
    anatomy = AnatomyOptions(pathology=False, ends=False)

    def likeness(clean: bool) -> float:
        found = []
        for seed in range(16):
            scan = draw_scan(np.random.default_rng(seed), geometry, anatomy, clean=clean)
            edge = (scan.share > 0.1) & (scan.share < 0.9)
            if edge.sum() > 20:
                found.append(abs(np.corrcoef(scan.image[edge], scan.share[edge])[0, 1]))
        assert len(found) >= 8
        return float(np.median(found))

    assert likeness(clean=True) > likeness(clean=False) + 0.05


def test_the_same_generator_draws_the_same_scan():
    geometry = ScanGeometry((20, 18, 5), (1.0, 1.0, 4.0), (1, 1, 2))
    first, again = (draw_scan(np.random.default_rng(5), geometry) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.share, again.share)


def test_a_scan_of_nothing_has_grey_levels_of_many_kinds_and_no_cord():
    looks = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scan = draw_nothing(rng, ScanGeometry((24, 26, 8), (1.0, 1.0, 4.0), (1, 1, 1)))
        assert scan.image.shape == scan.share.shape == (24, 26, 8)
        assert scan.image.dtype == np.float32
        assert np.isfinite(scan.image).all()
        assert scan.image.std() > 0
        assert not scan.share.any()
        steps = np.abs(np.diff(scan.image, axis=0)).mean() / scan.image.std()
        looks.append(steps)
    assert min(looks) < 0.3  # smooth
    assert max(looks) > 0.9  # white noise
