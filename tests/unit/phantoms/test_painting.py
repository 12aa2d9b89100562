from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from softcord.phantoms.anatomy import AnatomyOptions, Lesion, draw_anatomy
from softcord.phantoms.painting import Painter, Points
from softcord.phantoms.tissues import Tissue, draw_palette

ELLIPSE = AnatomyOptions(half_rl=6.0, half_ap=4.0, curved=False, pathology=False, ends=False)
SIZE = 0.25


def body(options: AnatomyOptions = ELLIPSE, **changes: object):
    return replace(draw_anatomy(np.random.default_rng(0), options), **changes)


def points(z: np.ndarray | list[float] = (0.0,)) -> Points:
    """A fine slice, or several, 20 mm wide."""
    x = (np.arange(80, dtype=np.float32) - 39.5) * np.float32(SIZE)
    z = np.asarray(z, dtype=np.float32)
    return Points(x[:, None, None], x[None, :, None], z[None, None, :], SIZE, 1.0)


def paint(anatomy, where: Points | None = None):
    palette = draw_palette(np.random.default_rng(1), "T2w")
    smooth = replace(palette, texture=np.zeros_like(palette.texture))
    return Painter(anatomy, smooth).paint(where or points())


@pytest.mark.parametrize("exponent", [1.8, 2.0, 2.7])
@pytest.mark.parametrize("turn", [0.0, 0.5])
@pytest.mark.parametrize("bend", [-0.15, 0.0, 0.3])
def test_neither_turn_nor_bend_nor_boxiness_makes_the_painted_area_wrong(exponent, turn, bend):
    anatomy = body(exponent=exponent, bend=bend)
    anatomy = replace(anatomy, turn=np.full_like(anatomy.turn, turn))
    _, share, _ = paint(anatomy)
    assert share.sum() * SIZE**2 == pytest.approx(anatomy.areas_mm2(np.array([0.0]))[0], rel=0.005)


def test_the_share_is_one_inside_the_ellipse_zero_outside_and_a_half_on_its_edge():
    where = points()
    _, share, _ = paint(body(), where)
    radius = np.hypot(where.x / 6, where.y / 4)
    assert (share[radius < 0.9] == 1).all()
    assert (share[radius > 1.1] == 0).all()
    edge = Points(np.float32([6, 0, -6, 0]), np.float32([0, 4, 0, -4]), np.float32([0]), SIZE, 1.0)
    np.testing.assert_allclose(paint(body(), edge)[1], 0.5, atol=1e-3)


def test_the_rim_looks_like_the_cord_and_is_no_part_of_it():
    """Half-way between the grey levels of cord and fluid lies the edge of the rim, on either axis."""
    palette = draw_palette(np.random.default_rng(1), "T2w")
    cord, fluid = palette.level[Tissue.WHITE], palette.level[Tissue.CSF]
    for rim in (0.0, 0.1, 0.4):
        anatomy = body(rim=rim, roots=0, gap_rl=np.full(801, 4.0), gap_ap=np.full(801, 4.0))
        edge = Points(np.float32([6 + rim, 0]), np.float32([0, 4 + rim]), np.float32([0, 0]), 0.05, 1.0)
        image, share, _ = paint(anatomy, edge)
        np.testing.assert_allclose(image, (cord + fluid) / 2, atol=0.02)
        np.testing.assert_allclose(share, 0.5 if rim == 0 else 0, atol=0.01)
        assert paint(anatomy)[1].sum() * SIZE**2 == pytest.approx(
            anatomy.areas_mm2(np.array([0.0]))[0], rel=0.005
        )


def test_a_larger_voxel_blurs_the_edge_of_the_cord_over_its_size():
    where = Points(np.linspace(4, 8, 401, dtype=np.float32), *(np.float32([0]),) * 2, 1.0, 1.0)
    _, share, _ = paint(body(), where)
    blurred = where.x[(share > 0) & (share < 1)]
    assert np.ptp(blurred) == pytest.approx(1.0, abs=0.05)
    assert blurred.mean() == pytest.approx(6.0, abs=0.03)


def test_a_point_is_painted_alike_whatever_is_painted_with_it():
    anatomy = body(AnatomyOptions())
    both = paint(anatomy, points([-3.0, 11.0]))
    for n, z in enumerate((-3.0, 11.0)):
        for whole, single in zip(both, paint(anatomy, points([z])), strict=True):
            np.testing.assert_array_equal(whole[..., n : n + 1], single)


def test_a_lesion_and_a_syrinx_lie_within_the_cord_and_take_nothing_from_its_area():
    lesion, syrinx = Lesion(0.7, 0.0, 0.0, 0.5, 0.5, 5.0), Lesion(-0.3, 0.0, 0.0, 0.3, 0.3, 30.0)
    plain, ill = body(), body(lesions=(lesion,), syrinx=syrinx)
    (_, share, _), (_, share_ill, labels) = paint(plain), paint(ill)
    np.testing.assert_array_equal(share, share_ill)
    for tissue in (Tissue.LESION, Tissue.SYRINX):
        assert (labels == tissue).any()
        assert (share[labels == tissue] > 0.5).all()


def test_what_is_beyond_a_lesion_s_length_is_healthy():
    ill = body(lesions=(Lesion(0.0, 0.0, 0.0, 0.5, 0.5, 5.0),))
    labels = paint(ill, points([0.0, 20.0]))[2]
    assert (labels[..., 0] == Tissue.LESION).any()
    assert not (labels[..., 1] == Tissue.LESION).any()


def test_metal_hides_whatever_is_there():
    image, share, labels = paint(body(metal=((0.0, 0.0, 0.0, 3.0),)))
    assert labels[40, 40, 0] == Tissue.METAL
    assert image[40, 40, 0] == pytest.approx(0, abs=1e-6)
    assert share[40, 40, 0] == 1  # the cord is still there, unseen


def test_from_the_cord_outwards_come_fluid_then_bone():
    labels = paint(body(dura=0.0, roots=0))[2]
    outwards = labels[40, 40:, 0]  # to the front
    order = [int(outwards[0]), *(int(b) for a, b in pairwise(outwards) if a != b)]
    assert order.index(Tissue.WHITE) < order.index(Tissue.CSF)
    assert not set(order[: order.index(Tissue.CSF)]) - {Tissue.WHITE, Tissue.GREY}


def test_the_dura_lies_between_fluid_and_epidural_space():
    labels = paint(body(dura=0.8, roots=0))[2]
    assert (labels == Tissue.DURA).any()
    assert not (paint(body(dura=0.0, roots=0))[2] == Tissue.DURA).any()


@pytest.mark.parametrize("end", ["conus_z", "top_z"])
def test_the_cord_ends_within_a_voxel_of_its_end(end):
    sign = 1 if end == "top_z" else -1
    _, share, _ = paint(body(**{end: 0.0}), points([-5.0, -0.25, 0.25, 5.0]))
    filled = share.sum(axis=(0, 1))[::sign]
    full = filled[0]
    np.testing.assert_allclose(filled / full, [1, 0.75, 0.25, 0], atol=0.01)


def test_above_the_cord_is_the_brainstem_and_below_it_are_nerve_roots():
    above = paint(body(top_z=0.0), points([20.0]))[2]
    assert above[40, 40, 0] == Tissue.BRAIN
    below = paint(body(conus_z=0.0), points([-40.0]))[2]
    assert (below == Tissue.ROOT).any()
    assert not np.isin(below, [Tissue.WHITE, Tissue.GREY]).any()


def test_without_a_spine_there_is_neither_bone_nor_canal():
    options = AnatomyOptions(cord=False)
    labels = paint(body(options, has_spine=False, metal=(), top_z=500.0))[2]
    assert not np.isin(labels, [Tissue.CORTEX, Tissue.MARROW, Tissue.DISC, Tissue.CSF, Tissue.WHITE]).any()


def test_far_from_the_body_is_air():
    far = Points(*(np.float32([[[v]]]) for v in (500, 500, 0)), 1.0, 1.0)
    _, share, labels = paint(body(), far)
    assert share.item() == 0
    assert labels.item() == Tissue.AIR
