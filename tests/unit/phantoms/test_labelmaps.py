import numpy as np
import pytest

from softcord.phantoms.labelmaps import (
    LabelMap,
    _paint,
    _warped_positions,
    draw_centre,
    scan_label_map,
    without_cord,
)
from softcord.phantoms.patches import ScanGeometry
from softcord.phantoms.tissues import Tissue

N = 40
CENTRE = np.full(3, (N - 1) / 2)


def solid(kind: str, radius: float = 7.0, zooms=(1.0, 1.0, 1.0)) -> LabelMap:
    """A ball, or a rod along the third axis, of label 2 in a body of label 1; radius in voxels."""
    x = np.arange(N) - (N - 1) / 2
    squares = x[:, None, None] ** 2 + x[None, :, None] ** 2
    distance = np.sqrt(squares + (x[None, None, :] ** 2 if kind == "ball" else 0 * x[None, None, :])) - radius
    share = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    labels = np.where(distance < 0, 2, 1).astype(np.int16)
    return LabelMap(labels, share, zooms, {2: Tissue.WHITE, 1: Tissue.MUSCLE})


def test_what_surrounds_the_cord_goes_on_in_its_place():
    labels = solid("rod").labels.copy()
    labels[: N // 2][labels[: N // 2] == 1] = 5  # another tissue on one side
    filled = without_cord(labels, 2)
    assert set(np.unique(filled)) == {1, 5}
    np.testing.assert_array_equal(filled[labels != 2], labels[labels != 2])
    assert (filled[N // 2 - 4] == 5).all()
    assert (filled[N // 2 + 3] == 1).all()


def test_grey_levels_at_the_edge_mix_as_the_share_says():
    """Half-way between the grey levels of cord and surroundings lies half the share."""
    plain = solid("rod")
    label_map = LabelMap(
        without_cord(plain.labels, 2), plain.share, plain.zooms, {2: Tissue.WHITE, 1: Tissue.CSF}
    )
    for seed in range(5):
        rng = np.random.default_rng(seed)
        image = _paint(rng, label_map.labels, label_map.share, label_map, np.ones(3))
        far, inside = label_map.share == 0, label_map.share == 1
        mixed = np.median(image[far]) + label_map.share * (np.median(image[inside]) - np.median(image[far]))
        edge = ~far & ~inside
        gap = abs(np.median(image[inside]) - np.median(image[far]))
        assert abs(np.median(image[edge] - mixed[edge])) < 0.05 * gap + 0.01


@pytest.mark.parametrize("kind", ["ball", "rod"])
@pytest.mark.parametrize("thickness", [1.0, 4.0])
def test_a_scan_holds_the_volume_of_the_cord_times_what_the_warp_makes_of_it(kind, thickness):
    """Volume in the map = the integral over the scan of the share times the Jacobian of the positions."""
    label_map = solid(kind)
    parts = (1, 1, round(thickness))
    geometry = ScanGeometry((44, 44, round(44 / thickness)), (1.0, 1.0, thickness), parts)
    for seed in range(6):
        scan = scan_label_map(np.random.default_rng(seed), label_map, geometry, CENTRE)
        where = _warped_positions(np.random.default_rng(seed), label_map, geometry, CENTRE).astype(float)
        gradients = [np.stack(np.gradient(row)) for row in where]
        volume = np.abs(np.linalg.det(np.moveaxis(np.stack(gradients), (0, 1), (-2, -1))))
        i, j, k = scan.share.shape
        volume = volume.reshape(i, 1, j, 1, k, parts[2]).mean(axis=(1, 3, 5))
        seen = (scan.share * volume * parts[2]).sum()
        if kind == "ball":
            assert seen == pytest.approx(4 / 3 * np.pi * 7**3, rel=0.02)
        else:  # each slice of the map is seen in part: compare with what of the rod is in view
            inside = (np.hypot(where[0] - CENTRE[0], where[1] - CENTRE[1]) < 7).astype(float)
            inside = inside.reshape(i, 1, j, 1, k, parts[2]).mean(axis=(1, 3, 5))
            assert seen == pytest.approx((inside * volume * parts[2]).sum(), rel=0.02)


def test_the_share_is_interpolated_between_the_voxels_of_the_map():
    ramp = np.broadcast_to(np.linspace(0, 1, N, dtype=np.float32)[:, None, None], (N, N, N)).copy()
    label_map = LabelMap(np.ones((N, N, N), dtype=np.int16), ramp, (1.0, 1.0, 1.0))
    geometry = ScanGeometry((16, 16, 16), (0.4, 0.4, 0.4), (1, 1, 1))
    for seed in range(3):
        share = scan_label_map(np.random.default_rng(seed), label_map, geometry, CENTRE).share
        where = _warped_positions(np.random.default_rng(seed), label_map, geometry, CENTRE)
        np.testing.assert_allclose(share, where[0] / (N - 1), atol=1e-4)


def test_the_zooms_of_the_map_are_taken_into_account():
    geometry = ScanGeometry((44, 44, 44), (1.0, 1.0, 1.0), (1, 1, 1))
    volumes = {}
    for zooms in ((1.0, 1.0, 1.0), (0.5, 1.0, 1.0)):
        label_map = solid("ball", zooms=zooms)
        scans = [
            scan_label_map(np.random.default_rng(seed), label_map, geometry, CENTRE) for seed in range(4)
        ]
        volumes[zooms] = np.array([scan.share.sum() for scan in scans])
    np.testing.assert_allclose(volumes[0.5, 1.0, 1.0] / volumes[1.0, 1.0, 1.0], 0.5, rtol=0.12)


def test_the_cord_has_one_grey_level_and_another_than_what_surrounds_it():
    label_map = solid("ball")
    geometry = ScanGeometry((24, 24, 24), (1.0, 1.0, 1.0), (1, 1, 1))
    visible = 0
    for seed in range(10):
        scan = scan_label_map(np.random.default_rng(seed), label_map, geometry, CENTRE)
        assert scan.image.shape == geometry.shape
        assert scan.image.dtype == scan.share.dtype == np.float32
        assert np.isfinite(scan.image).all()
        inside, outside = scan.image[scan.share > 0.99], scan.image[scan.share < 0.01]
        visible += abs(np.median(inside) - np.median(outside)) > 0.05
    assert visible >= 6


@pytest.mark.parametrize("fill", [False, True])
def test_what_is_not_labelled_is_air_or_tissue_as_the_map_says(fill):
    plain = solid("ball")
    label_map = LabelMap(np.where(plain.labels == 2, 2, 0), plain.share, plain.zooms, plain.tissues, fill)
    geometry = ScanGeometry((24, 24, 24), (1.0, 1.0, 1.0), (1, 1, 1))
    flat = []
    for seed in range(12):
        scan = scan_label_map(np.random.default_rng(seed), label_map, geometry, CENTRE)
        outside = scan.image[scan.share < 0.01]
        flat.append(np.ptp(np.percentile(outside, [10, 90])) / max(np.ptp(scan.image), 1e-6))
    assert (np.median(flat) > 0.25) == fill


def test_labels_that_nothing_is_known_of_are_painted_too():
    labels = np.random.default_rng(0).integers(0, 300, (20, 20, 20)).astype(np.int16)
    label_map = LabelMap(labels, np.zeros(labels.shape, dtype=np.float32), (1.0, 1.0, 1.0))
    geometry = ScanGeometry((10, 10, 10), (1.0, 1.0, 1.0), (1, 1, 1))
    scan = scan_label_map(np.random.default_rng(0), label_map, geometry, np.full(3, 9.5))
    assert not scan.share.any()
    assert scan.image.std() > 0


def test_a_centre_near_the_cord_is_near_the_cord():
    label_map = solid("ball", zooms=(0.5, 1.0, 2.0))
    for seed in range(20):
        exact = draw_centre(np.random.default_rng(seed), label_map, near_cord=1.0, spread_mm=0.0)
        assert np.linalg.norm(exact - CENTRE) < 7.6
    spread = [
        draw_centre(np.random.default_rng(seed), label_map, near_cord=1.0, spread_mm=40.0) - CENTRE
        for seed in range(200)
    ]
    np.testing.assert_allclose(np.std(spread, axis=0), [80, 40, 20], rtol=0.2)  # mm over zooms


def test_any_place_in_the_body_can_be_the_centre_and_the_cord_need_not_be_near():
    label_map = solid("ball")
    places = np.array([draw_centre(np.random.default_rng(seed), label_map, 0.0, 0.0) for seed in range(60)])
    assert (np.linalg.norm(places - CENTRE, axis=1) > 10).mean() > 0.5
    assert (np.ptp(places, axis=0) > 25).all()


def test_a_map_without_a_cord_or_without_anything_has_a_centre_nevertheless():
    empty = LabelMap(
        np.zeros((4, 5, 6), dtype=np.int16), np.zeros((4, 5, 6), dtype=np.float32), (1.0, 1.0, 1.0)
    )
    place = draw_centre(np.random.default_rng(0), empty, near_cord=1.0, spread_mm=0.0)
    assert ((place >= 0) & (place < [4, 5, 6])).all()


def test_the_same_generator_draws_the_same_scan():
    geometry = ScanGeometry((12, 12, 4), (1.0, 1.0, 3.0), (1, 1, 2))
    first, again = (
        scan_label_map(np.random.default_rng(3), solid("rod"), geometry, CENTRE) for _ in range(2)
    )
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.share, again.share)
