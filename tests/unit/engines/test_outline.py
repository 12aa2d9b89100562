"""Outlines in polar coordinates: of sections whose shape is known."""

import numpy as np
import pytest

from softcord.engines.outline import ANGLES, DIRECTIONS, Outline, draw, outline_of


def section(half_i: float, half_j: float, zooms=(0.5, 0.5, 2.0), shift=(0.0, 0.0), size=40.0) -> np.ndarray:
    """Shares of an ellipse in two slices, from 8 × 8 sub-voxels; half axes and shift in mm."""
    parts = 8
    place = []
    for zoom, off in zip(zooms[:2], shift, strict=True):
        n = round(size / zoom)
        place.append((np.arange(parts * n) + 0.5) * zoom / parts - n * zoom / 2 - off)
    inside = (place[0][:, None] / half_i) ** 2 + (place[1][None] / half_j) ** 2 < 1
    n, m = (side.size // parts for side in place)
    share = inside.reshape(n, parts, m, parts).mean(axis=(1, 3)).astype(np.float32)
    return np.repeat(share[..., None], 2, axis=2)


def drawn(outline: Outline, shape: tuple[int, int, int]) -> np.ndarray:
    share = np.zeros(shape)
    for part in draw(outline, np.ones_like(outline.radius), shape[:2]):
        share[part.where] = part.share
    return share


@pytest.mark.parametrize("zooms", [(0.5, 0.5, 2.0), (1.0, 1.0, 1.0), (0.5, 1.0, 5.0), (1.5, 1.5, 1.5)])
def test_an_ellipse_reaches_as_far_as_its_formula_says(zooms):
    outline = outline_of(section(6.0, 4.0, zooms, shift=(3.2, -2.1)), zooms)
    true = 24 / np.hypot(4.0 * np.cos(ANGLES), 6.0 * np.sin(ANGLES))
    assert np.abs(outline.radius - true[:, None]).max() < 0.25 * max(zooms[:2])
    assert np.abs(outline.radius - true[:, None]).mean() < 0.08 * max(zooms[:2])
    assert outline.held.all()
    assert outline.planes.tolist() == [0, 1]


@pytest.mark.parametrize("zooms", [(0.5, 0.5, 2.0), (0.7, 1.0, 5.0), (1.5, 1.5, 1.5)])
def test_an_outline_that_is_drawn_has_the_area_that_it_encloses(zooms):
    share = section(6.0, 4.0, zooms, shift=(0.3, 0.2))
    outline = outline_of(share, zooms)
    radius = np.repeat(5.0 + 0.8 * np.cos(2 * ANGLES)[:, None], 2, axis=1)
    exact = Outline(radius, outline.middle, outline.planes, outline.held, zooms)
    area = drawn(exact, share.shape).sum(axis=(0, 1)) * zooms[0] * zooms[1]
    np.testing.assert_allclose(area, np.pi * (5.0**2 + 0.8**2 / 2), rtol=0.01)


def test_a_section_that_cannot_be_seen_whole_from_its_middle_is_not_held():
    crescent = section(7.0, 7.0) * (1 - section(6.0, 6.0, shift=(0.0, 3.0)))
    two = np.maximum(section(3.0, 3.0, shift=(-8.0, 0.0)), section(3.0, 3.0, shift=(8.0, 0.0)))
    assert outline_of(crescent.astype(np.float32), (0.5, 0.5, 2.0)) is None
    assert outline_of(two, (0.5, 0.5, 2.0)) is None
    both = np.concatenate([section(5.0, 4.0), two, section(5.0, 4.0)], axis=2)
    assert outline_of(both, (0.5, 0.5, 2.0)).held.tolist() == [True, True, False, False, True, True]


def test_slices_without_a_cord_between_others_are_not_held():
    share = np.concatenate([section(5.0, 4.0), 0 * section(5.0, 4.0), section(5.0, 4.0)], axis=2)
    outline = outline_of(share, (0.5, 0.5, 2.0))
    assert outline.held.tolist() == [True, True, False, False, True, True]
    assert np.isfinite(outline.radius).all()


def test_no_cord_has_no_outline():
    assert outline_of(np.full((8, 8, 3), 0.4, dtype=np.float32), (1.0, 1.0, 1.0)) is None


def test_a_cord_that_leaves_the_view_is_whole_within_it():
    share = section(6.0, 6.0)[40:]  # from its middle on
    outline = outline_of(share, (0.5, 0.5, 2.0))
    np.testing.assert_allclose(drawn(outline, share.shape), share, atol=0.25)
    np.testing.assert_allclose(drawn(outline, share.shape)[:3], share[:3], atol=0.1)


def test_the_curvature_of_a_circle_is_one_over_its_radius():
    outline = outline_of(section(5.0, 5.0, (0.25, 0.25, 1.0)), (0.25, 0.25, 1.0))
    assert outline.curvature().mean() == pytest.approx(1 / 5, rel=0.02)


def test_what_has_no_weight_does_not_count():
    outline = outline_of(section(5.0, 5.0), (0.5, 0.5, 2.0))
    values = np.ones((DIRECTIONS, 2))
    values[10:20] = 100.0
    weights = np.where(values == 1, 1.0, 0.0)
    np.testing.assert_allclose(outline.smooth(values, weights, 1.0, 2.0)[:10], 1)
    assert (outline.smooth(values, 0 * weights, 1.0, 2.0) == 0).all()


@pytest.mark.parametrize("half_axes", [(6.0, 4.0), (4.0, 6.0), (5.0, 5.0)])
def test_the_round_outline_goes_on_where_a_quarter_of_an_ellipse_is_not_seen(half_axes):
    a, b = half_axes
    true = np.repeat(a * b / np.hypot(b * np.cos(ANGLES), a * np.sin(ANGLES))[:, None], 3, axis=1)
    outline = Outline(true, np.zeros((2, 3)), np.arange(3), np.ones(3, bool), (0.5, 0.5, 2.0))
    seen = (np.cos(ANGLES) > -0.7)[:, None] * np.ones(3)
    rounded = outline.rounded(np.where(seen > 0, true, 0), seen, 5.0)
    whole, part = ((radius**2).sum(axis=0) for radius in (true, rounded))
    np.testing.assert_allclose(rounded[seen > 0], true[seen > 0], atol=0.15)
    np.testing.assert_allclose(part, whole, rtol=0.1)


def test_the_round_outline_of_a_slice_is_also_made_of_those_nearby():
    true = np.repeat(5.0 + 0.8 * np.cos(2 * ANGLES)[:, None], 9, axis=1)
    outline = Outline(true, np.zeros((2, 9)), np.arange(9), np.ones(9, bool), (0.5, 0.5, 2.0))
    seen = np.ones_like(true)
    seen[:, 4] = 0
    rounded = outline.rounded(np.where(seen > 0, true, 0), seen, 5.0)
    np.testing.assert_allclose(rounded, true, atol=0.05)


@pytest.mark.parametrize("lean", [0.0, 0.4])
def test_an_outline_knows_how_its_cord_leans(lean):
    middle = np.array([[0.0], [lean]]) * np.arange(20) * 3.0 / 0.5  # voxels: slices of 3 mm, pixels of 0.5 mm
    outline = Outline(
        np.full((DIRECTIONS, 20), 5.0), middle, np.arange(20), np.ones(20, bool), (0.5, 0.5, 3.0)
    )
    np.testing.assert_allclose(
        outline.lean(5.0)[:, 5:15], (lean * np.sin(ANGLES))[:, None] * np.ones(10), atol=1e-3
    )
    one = Outline(
        np.full((DIRECTIONS, 1), 5.0), middle[:, :1], np.arange(1), np.ones(1, bool), (0.5, 0.5, 3.0)
    )
    np.testing.assert_array_equal(one.lean(5.0), 0)
