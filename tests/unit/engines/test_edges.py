"""Edges that follow the grey levels: on cords whose area is known."""

import numpy as np
import pytest

from softcord.engines.edges import place_edges
from softcord.engines.intensity import grey_scale
from softcord.phantoms import AnatomyOptions
from softcord.softseg import EDGE_INSET_MM

RADIUS = 5.0


def rod(zoom: float, radius: float = RADIUS, shift: float = 0.3) -> np.ndarray:
    """Share of each voxel that lies in a rod along the third axis, from 8 × 8 sub-voxels."""
    n = round(40 / zoom)
    x = (np.arange(8 * n) + 0.5) * zoom / 8 - n * zoom / 2
    inside = np.hypot(x[:, None] - shift, x[None, :] - 0.5 * shift) < radius
    share = inside.reshape(n, 8, n, 8).mean(axis=(1, 3)).astype(np.float32)
    return np.repeat(share[..., None], 6, axis=2)


def area(share: np.ndarray, zoom: float) -> float:
    return float(share[..., 1:-1].sum()) * zoom**2 / 4


@pytest.mark.parametrize("zoom", [0.5, 0.8, 1.0, 1.5])
@pytest.mark.parametrize(("cord", "around"), [(0.3, 0.9), (0.8, 0.2)])
@pytest.mark.parametrize("off", [-0.6, 0.0, 0.6])
def test_an_edge_that_is_off_by_half_a_millimetre_is_put_where_the_grey_levels_change(
    zoom, cord, around, off
):
    truth = rod(zoom)
    image = around + truth * (cord - around)
    image += 0.02 * np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    start = (rod(zoom, RADIUS + off) > 0.5).astype(np.float32)
    placed = place_edges(image, start, (zoom, zoom, 2.0), rim=0.0)
    assert area(placed, zoom) == pytest.approx(np.pi * RADIUS**2, rel=0.02)
    assert np.abs(placed - truth)[..., 1:-1].mean() < 0.3 * np.abs(start - truth)[..., 1:-1].mean() + 0.004


@pytest.mark.parametrize(("cord", "around"), [(0.3, 0.9), (0.8, 0.2)])
@pytest.mark.parametrize("off", [-1.0, 1.0])
def test_an_edge_that_is_off_by_a_millimetre_arrives(cord, around, off):
    truth = rod(1.0)
    image = around + truth * (cord - around)
    image += 0.02 * np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    placed = place_edges(image, rod(1.0, RADIUS + off), (1.0, 1.0, 2.0), rim=0.0)
    assert area(placed, 1.0) == pytest.approx(np.pi * RADIUS**2, rel=0.02)


def test_the_cord_ends_the_rim_within_the_half_way_grey_level():
    truth = rod(0.5)
    image = 0.9 - 0.6 * truth
    whole, less = (place_edges(image, truth, (0.5, 0.5, 2.0), rim=rim) for rim in (0.0, 0.2))
    assert area(whole, 0.5) - area(less, 0.5) == pytest.approx(0.2 * 2 * np.pi * RADIUS, rel=0.1)


def test_a_dark_plane_is_as_good_as_a_bright_one_once_the_planes_are_levelled():
    truth = np.repeat(rod(1.0)[..., :1], 30, axis=2)
    fall = np.ones(30, dtype=np.float32)
    fall[:8] = 0.1
    image = (0.9 - 0.6 * truth) * fall
    start = (np.repeat(rod(1.0, RADIUS - 0.6)[..., :1], 30, axis=2) > 0.5).astype(np.float32)
    uneven, even = (
        place_edges(image, start, (1.0, 1.0, 2.0), rim=0.0, scale=scale)
        for scale in (None, grey_scale(image))
    )
    assert np.abs(even - truth).max() < 0.2
    assert np.abs(uneven - truth)[..., :6].max() > 0.4


def test_where_grey_levels_say_nothing_the_shares_stay():
    rng = np.random.default_rng(0)
    image = rng.standard_normal((40, 40, 6)).astype(np.float32)
    start = rod(1.0, 5.4)
    placed = place_edges(image, start, (1.0, 1.0, 2.0))
    near = (start > 0) & (start < 1)
    assert np.abs(placed - start)[near].mean() < 0.05
    np.testing.assert_array_equal(place_edges(np.zeros_like(image), start, (1.0, 1.0, 2.0)), start)


@pytest.mark.parametrize("scale", [(1.0, 0.0), (900.0, -3000.0), (1e-9, 0.0), (1e20, 0.0)])
def test_the_grey_scale_does_not_matter(scale):
    truth = rod(1.0)
    image = 0.9 - 0.6 * truth + 0.01 * np.random.default_rng(0).standard_normal(truth.shape)
    start = (rod(1.0, 5.5) > 0.5).astype(np.float32)
    gain, offset = scale
    plain = place_edges(image.astype(np.float32), start, (1.0, 1.0, 2.0))
    scaled = place_edges((gain * image + offset).astype(np.float32), start, (1.0, 1.0, 2.0))
    np.testing.assert_allclose(scaled, plain, atol=0.01)


def test_nothing_changes_far_from_the_edge_nor_in_what_came():
    truth = rod(1.0)
    image, start = 0.9 - 0.6 * truth, (truth > 0.5).astype(np.float32)
    image[2:5, 2:5] = 0.3  # as bright as the cord
    kept = image.copy(), start.copy()
    placed = place_edges(image, start, (1.0, 1.0, 2.0))
    np.testing.assert_array_equal(placed[:8], 0)
    np.testing.assert_array_equal(placed[19:22, 19:22], 1)
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(start, kept[1])


@pytest.mark.parametrize("shape", [(1, 30, 4), (30, 1, 4), (30, 30, 1), (3, 3, 3)])
def test_views_of_a_single_voxel_along_an_axis_are_taken(shape):
    start = np.zeros(shape, dtype=np.float32)
    start[tuple(slice(n // 3, n // 3 + max(1, n // 3)) for n in shape)] = 1
    placed = place_edges(1 - 0.5 * start, start, (1.0, 1.0, 2.0))
    assert placed.shape == shape
    assert np.isfinite(placed).all()


@pytest.mark.parametrize("noise", [0.03, 0.1, 0.2, 0.3])
def test_noise_does_not_make_the_cord_larger(noise):
    truth = rod(1.0)
    image = truth + noise * np.random.default_rng(1).standard_normal(truth.shape).astype(np.float32)
    placed = place_edges(image, truth, (1.0, 1.0, 2.0))
    assert area(placed, 1.0) == pytest.approx(np.pi * (RADIUS - EDGE_INSET_MM) ** 2, rel=0.02)


def test_a_cord_at_the_border_of_the_view_loses_nothing_there():
    truth = rod(1.0)
    image, cut = 0.9 - 0.6 * truth, slice(20, None)  # through the middle of the cord
    whole = place_edges(image, truth, (1.0, 1.0, 2.0))
    half = place_edges(image[cut], truth[cut], (1.0, 1.0, 2.0))
    np.testing.assert_allclose(half, whole[cut], atol=0.15)  # where the border cuts the edge
    assert half.sum() == pytest.approx(whole[cut].sum(), rel=0.02)


@pytest.mark.parametrize("beyond", [3.0, 3.5, 4.0])
def test_a_cord_of_which_the_view_shows_a_part_keeps_it(beyond):
    truth = rod(0.5, shift=0.0)[: 40 - round(2 * beyond)]
    placed = place_edges(0.9 - 0.6 * truth, truth, (0.5, 0.5, 2.0), rim=0.0)
    assert area(placed, 0.5) == pytest.approx(area(truth, 0.5), abs=0.5)


def test_two_pieces_in_a_slice_and_slices_between_pieces_are_taken():
    truth = rod(1.0, 4.0)
    both = np.concatenate([truth, truth])
    both[:40, :, 3] = 0  # one of the two has a gap
    placed = place_edges(0.9 - 0.6 * both, both, (1.0, 1.0, 2.0), rim=0.0)
    np.testing.assert_allclose(placed, both, atol=0.1)


@pytest.mark.parametrize("zoom", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("width", [1.0, 2.0, 6.0])
@pytest.mark.parametrize("beyond", [0.1, 0.3])
def test_thin_fluid_does_not_make_the_cord_smaller(zoom, width, beyond):
    truth, sac = rod(zoom), rod(zoom, RADIUS + width)
    image = 0.3 * truth + 0.9 * (sac - truth) + beyond * (1 - sac)
    image += 0.02 * np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    placed = place_edges(image, rod(zoom, RADIUS - 0.4), (zoom, zoom, 2.0), rim=0.0)
    assert area(placed, zoom) == pytest.approx(np.pi * RADIUS**2, rel=0.03 if zoom <= 1 else 0.07)


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("cord", "fluid", "beyond"), [(0.7, 0.3, 0.9), (0.6, 0.9, 0.1), (0.3, 0.9, 0.1)])
@pytest.mark.parametrize("off", [0.0, 0.3])
def test_the_far_side_of_thin_fluid_is_not_taken_for_the_edge(zoom, cord, fluid, beyond, off):
    truth, sac = rod(zoom), rod(zoom, RADIUS + 1.5)
    image = cord * truth + fluid * (sac - truth) + beyond * (1 - sac)
    image += 0.02 * np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    placed = place_edges(image, rod(zoom, RADIUS + off), (zoom, zoom, 2.0), rim=0.0)
    assert area(placed, zoom) == pytest.approx(np.pi * RADIUS**2, rel=0.1 if zoom > 1 else 0.05)


@pytest.mark.parametrize("zoom", [0.5, 1.0, 1.5])
@pytest.mark.parametrize(("cord", "fluid"), [(0.3, 0.9), (0.6, 0.2)])
def test_half_a_millimetre_of_thin_fluid_taken_for_cord_is_given_back(zoom, cord, fluid):
    truth, sac = rod(zoom), rod(zoom, RADIUS + 1.0)
    image = cord + (fluid - cord) * (sac - truth)  # beyond the fluid, all is as grey as the cord
    image += 0.02 * np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    placed = place_edges(image, rod(zoom, RADIUS + 0.5), (zoom, zoom, 2.0), rim=0.0)
    assert area(placed, zoom) == pytest.approx(np.pi * RADIUS**2, rel=0.02 if zoom <= 1 else 0.06)


@pytest.mark.parametrize(("zoom", "radius"), [(1.0, 0.8), (1.5, 1.2), (2.0, 1.7)])
def test_a_cord_too_thin_to_be_read_within_stays(zoom, radius):
    truth = rod(zoom, radius)
    image = 0.9 - 0.6 * truth + 0.02 * np.random.default_rng(0).standard_normal(truth.shape)
    placed = place_edges(image.astype(np.float32), truth, (zoom, zoom, 2.0))
    assert area(placed, zoom) == pytest.approx(area(truth, zoom), rel=0.05)


@pytest.mark.parametrize("half_axes", [(6.5, 4.0), (7.0, 2.5)])
def test_the_rim_is_as_wide_across_the_edge_of_a_flat_cord(half_axes):
    a, b = half_axes
    x = (np.arange(640) + 0.5) / 16 - 20
    flat = (x[:, None] / a) ** 2 + (x[None] / b) ** 2 < 1
    truth = flat.reshape(80, 8, 80, 8).mean(axis=(1, 3)).astype(np.float32)
    truth = np.repeat(truth[..., None], 6, axis=2)
    whole, less = (place_edges(0.9 - 0.6 * truth, truth, (0.5, 0.5, 2.0), rim=rim) for rim in (0.0, 0.3))
    round_ = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))  # circumference, by Ramanujan
    taken = 0.3 * round_ - np.pi * 0.3**2
    assert area(whole, 0.5) - area(less, 0.5) == pytest.approx(taken, rel=0.12)


def test_a_stray_voxel_elsewhere_in_the_slice_does_not_matter():
    truth = rod(0.5)
    start = truth.copy()
    start[5, 5, 3] = 0.6
    plain, stray = (place_edges(0.9 - 0.6 * truth, map_, (0.5, 0.5, 2.0)) for map_ in (truth, start))
    np.testing.assert_allclose(np.delete(stray[..., 3], 5, 0), np.delete(plain[..., 3], 5, 0), atol=0.05)


def test_a_bright_vessel_beside_the_cord_is_not_what_its_edge_is_measured_by():
    truth, vessel = rod(0.5), np.roll(rod(0.5, 1.0), (15, 3), axis=(0, 1))
    image = 0.5 * truth + 0.8 * (1 - truth) + 2.0 * vessel
    placed = place_edges(image, truth, (0.5, 0.5, 2.0), rim=0.0)
    assert area(placed, 0.5) == pytest.approx(np.pi * RADIUS**2, rel=0.03)


@pytest.mark.parametrize("zooms", [(0.5, 1.0), (0.5, 1.5), (1.0, 2.0)])
def test_pixels_need_not_be_square(zooms):
    fine = rod(0.5, shift=0.2)
    f, g = (round(zoom / 0.5) for zoom in zooms)
    n, m = 80 // f * f, 80 // g * g
    truth = fine[:n, :m].reshape(n // f, f, m // g, g, 6).mean(axis=(1, 3))
    image = 0.9 - 0.6 * truth + 0.01 * np.random.default_rng(0).standard_normal(truth.shape)
    placed = place_edges(image.astype(np.float32), truth, (*zooms, 2.0), rim=0.0)
    found = placed[..., 1:-1].sum() * zooms[0] * zooms[1] / 4
    assert found == pytest.approx(np.pi * RADIUS**2, rel=0.02)


def test_a_root_beside_the_cord_is_not_cord():
    truth = rod(0.5)
    root = np.roll(rod(0.5, 0.8), (13, 3), axis=(0, 1))  # a millimetre from the cord
    image = 0.9 - 0.6 * np.maximum(truth, root)
    placed = place_edges(image, truth, (0.5, 0.5, 2.0), rim=0.0)
    assert area(placed, 0.5) == pytest.approx(np.pi * RADIUS**2, rel=0.02)
    assert placed[root * (1 - truth) > 0.5].max() < 0.1


def test_what_lies_behind_thin_fluid_is_no_edge_even_where_the_cord_touches_it():
    n = 80
    truth, sac = rod(0.5), rod(0.5, RADIUS + 2.0)
    image = 0.6 * truth + 0.9 * (sac - truth) + 0.1 * (1 - sac)
    image[:, : n // 2 - 7] = 0.1  # dark up to the cord on one side: no fluid is seen there
    start = rod(0.5, RADIUS)
    start[:, : n // 2 - 7] = 0
    placed = place_edges(image, start, (0.5, 0.5, 2.0), rim=0.0)
    # the cord goes on round a little, into what cuts it flat
    assert area(placed, 0.5) == pytest.approx(area(start, 0.5), rel=0.05)


@pytest.mark.parametrize("zoom", [0.5, 1.0])
def test_where_the_surroundings_are_as_grey_as_the_cord_it_goes_on_round_wherever_it_started(zoom):
    truth = rod(zoom, shift=0.0)
    n = truth.shape[0]
    x = (np.arange(n) - (n - 1) / 2)[:, None] + 0 * np.arange(n)
    like_cord = x < -0.6 * np.hypot(x, x.T)  # of the edge, 106 degrees are not to be seen
    image = np.where(like_cord[..., None], 0.3, 0.9 - 0.6 * truth)
    image = (image + 0.02 * np.random.default_rng(0).standard_normal(image.shape)).astype(np.float32)
    small, large = (
        area(place_edges(image, rod(zoom, RADIUS + off, shift=0.0), (zoom, zoom, 2.0), rim=0.0), zoom)
        for off in (-0.6, 0.6)
    )
    assert small == pytest.approx(large, rel=0.02)  # starts: 0.77 and 1.25 of the area
    assert small == pytest.approx(np.pi * RADIUS**2, rel=0.07)


@pytest.mark.parametrize("off", [-0.4, 0.0, 0.4])
def test_a_cord_flattened_without_fluid_in_front_is_not_filled_up_by_its_neighbours(off):
    zoom, thickness, slices = 0.5, 2.0, 30
    x = (np.arange(320) + 0.5) * zoom / 4 - 20

    def ellipse(half_i: float, half_j: float) -> np.ndarray:
        inside = (x[:, None] / half_i) ** 2 + (x[None] / half_j) ** 2 < 1
        return inside.reshape(80, 4, 80, 4).mean(axis=(1, 3))

    rng = np.random.default_rng(0)
    image, start = (np.empty((80, 80, slices), np.float32) for _ in range(2))
    for k in range(slices):
        bump = np.exp(-0.5 * ((k - (slices - 1) / 2) * thickness / 6) ** 2)
        half = 4.5 * (1 - 0.45 * bump)  # in front and behind, as the fluid gets thinner until there is none
        cord, sac = ellipse(6.0, half), ellipse(8.5, half + 2 * (1 - bump))
        fluid = np.maximum(sac - cord, 0)
        image[..., k] = 0.3 * cord + 0.9 * fluid + 0.35 * (1 - cord - fluid)
        start[..., k] = ellipse(6.0 + off, half + off)
    image += 0.02 * rng.standard_normal(image.shape).astype(np.float32)
    placed = place_edges(image, start, (zoom, zoom, thickness), rim=0.0)
    found = placed[..., 13:17].sum(axis=(0, 1)).mean() * zoom**2
    bumps = np.exp(-0.5 * ((np.arange(13, 17) - (slices - 1) / 2) * thickness / 6) ** 2)
    assert found == pytest.approx(np.pi * 6.0 * 4.5 * (1 - 0.45 * bumps).mean(), rel=0.02)


@pytest.mark.parametrize("lean", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("width", [1.2, 6.0])
def test_a_cord_that_leans_within_its_thick_slices_has_the_area_of_its_section(lean, width):
    zoom, thickness, parts = 0.5, 3.0, 15
    x = (np.arange(160) + 0.5) * zoom / 2 - 20
    truth, sac = (np.empty((80, 80, 12), np.float32) for _ in range(2))
    for k in range(12):
        heights = ((np.arange(parts) + 0.5) / parts + k - 6) * thickness
        for share, radius in ((truth, RADIUS), (sac, RADIUS + width)):
            inside = sum(np.hypot(x[:, None], x[None] - lean * z) < radius for z in heights)
            share[..., k] = (inside / parts).reshape(80, 2, 80, 2).mean(axis=(1, 3))
    image = 0.3 * truth + 0.9 * (sac - truth) + 0.1 * (1 - sac)
    placed = place_edges(image, (truth > 0.5).astype(np.float32), (zoom, zoom, thickness), rim=0.0)
    found = placed[..., 2:-2].sum(axis=(0, 1)) * zoom**2
    np.testing.assert_allclose(found, np.pi * RADIUS**2, rtol=0.025)


def test_a_slice_that_is_half_filled_stays_so():
    truth = rod(0.5)
    start = truth.copy()
    start[..., 0] *= 0.55
    placed = place_edges(0.9 - 0.6 * start, start, (0.5, 0.5, 2.0), rim=0.0)
    np.testing.assert_array_equal(placed[..., 0], start[..., 0])


@pytest.mark.parametrize(
    "turn", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a.swapaxes(0, 1)], ids="ijx"
)
def test_a_mirror_changes_nothing(turn):
    truth = rod(1.0)
    image = 0.9 - 0.6 * truth + 0.05 * np.random.default_rng(0).standard_normal(truth.shape)
    image, start = image.astype(np.float32), rod(1.0, RADIUS + 0.5)
    plain = place_edges(image, start, (1.0, 1.0, 2.0))
    turned = place_edges(
        np.ascontiguousarray(turn(image)), np.ascontiguousarray(turn(start)), (1.0, 1.0, 2.0)
    )
    np.testing.assert_allclose(turned, turn(plain), atol=0.02)


def test_the_rim_is_that_of_the_phantoms():
    assert AnatomyOptions().rim_mm == EDGE_INSET_MM


def test_in_large_voxels_the_shares_stay():
    truth = rod(2.5)
    start = rod(2.5, 5.5)
    np.testing.assert_array_equal(place_edges(0.9 - 0.6 * truth, start, (2.5, 2.5, 2.0)), start)


def test_shares_without_a_cord_stay_as_they_are():
    faint = np.full((8, 8, 3), 0.2, dtype=np.float32)
    np.testing.assert_array_equal(place_edges(faint, faint, (1.0, 1.0, 1.0)), faint)
