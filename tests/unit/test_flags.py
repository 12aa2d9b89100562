"""Flags: each is raised by the fault it is named after, and by no healthy cord."""

import re
import time

import numpy as np
import pytest
from scipy import ndimage

from softcord.errors import GeometryError
from softcord.flags import check_segmentation

ISOTROPIC = (1.0, 1.0, 1.0)


def cord(
    shape=(40, 50, 60),
    zooms=ISOTROPIC,
    *,
    ap=7.5,
    rl=12.0,
    bend_mm=0.0,
    first=0,
    last=None,
    centre=None,
    oversampling=3,
    scale=None,
):
    """Elliptic cord along axis 2, as the share of each voxel; bent by a sine in the sagittal plane.

    `ap` and `rl` are diameters in mm; `scale` (K,) multiplies both from slice to slice.
    """
    n = oversampling
    axes = [(np.arange(size * n) + 0.5) / n * zoom for size, zoom in zip(shape, zooms, strict=True)]
    middle = centre or (shape[0] * zooms[0] / 2, shape[1] * zooms[1] / 2)
    soft = np.zeros(shape, dtype=np.float32)
    length = shape[2] * zooms[2]
    for k in range(first, shape[2] if last is None else last):
        for height in axes[2][k * n : (k + 1) * n]:
            front = middle[1] + bend_mm * np.sin(2 * np.pi * height / length)
            size = 1.0 if scale is None else scale[k]
            across = (axes[0][:, None] - middle[0]) / (rl / 2 * size)
            along = (axes[1][None] - front) / (ap / 2 * size)
            inside = across**2 + along**2 < 1
            soft[..., k] += inside.reshape(shape[0], n, shape[1], n).mean(axis=(1, 3)) / n
    return soft


def with_fluid(soft, contrast, noise, seed=0):
    """Image of a cord of intensity 100 in fluid, with noise."""
    rng = np.random.default_rng(seed)
    return (100 + contrast * (1 - soft) + rng.normal(0, noise, soft.shape)).astype(np.float32)


def codes(*arguments, **options):
    return [flag.code for flag in check_segmentation(*arguments, **options)]


@pytest.mark.parametrize(
    ("shape", "zooms"),
    [
        ((40, 50, 60), (1.0, 1.0, 1.0)),
        ((64, 64, 64), (0.8, 0.8, 0.8)),
        ((14, 64, 64), (3.3, 0.8, 0.8)),
        ((80, 80, 20), (0.5, 0.5, 5.0)),
        ((50, 50, 6), (0.9, 0.9, 17.0)),
        ((20, 24, 12), (2.0, 2.0, 8.0)),
        ((64, 80, 1), (0.5, 0.5, 5.0)),
    ],
    ids=["iso", "fine", "sagittal", "axial", "sparse", "coarse", "slice"],
)
def test_a_healthy_cord_has_no_flags_at_any_voxel_size(shape, zooms):
    soft = cord(shape, zooms)
    assert codes(soft, zooms, image=with_fluid(soft, 100, 10)) == []


@pytest.mark.parametrize("zooms", [(1.0, 1.0, 1.0), (0.5, 0.5, 5.0), (0.9, 0.9, 17.0)], ids=str)
def test_a_curved_cord_has_no_flags(zooms):
    shape = tuple(round(size / zoom) for size, zoom in zip((36, 60, 150), zooms, strict=True))
    soft = cord(shape, zooms, bend_mm=10)
    assert codes(soft, zooms, image=with_fluid(soft, 100, 10)) == []


def test_a_cord_that_ends_within_the_view_has_no_flags():
    soft = cord((40, 50, 80), first=20, last=60)
    soft[..., 20] *= 0.4
    soft[..., 59] *= 0.1
    assert codes(soft, ISOTROPIC) == []


def test_the_tapering_conus_has_no_flags():
    scale = np.concatenate([np.linspace(0.15, 1, 30), np.ones(50)])
    assert codes(cord((40, 40, 80), ap=7, rl=9, scale=scale), ISOTROPIC) == []


def test_the_cervical_enlargement_has_no_flags():
    scale = 1 + 0.12 * np.sin(np.linspace(0, np.pi, 80))
    assert codes(cord((40, 40, 80), scale=scale), ISOTROPIC) == []


def test_an_empty_map_has_the_flag_no_cord_alone():
    soft = np.zeros((10, 10, 10), dtype=np.float32)
    assert codes(soft, ISOTROPIC, image=soft) == ["no_cord"]


def test_a_few_voxels_in_a_large_volume_are_nearly_empty():
    soft = np.zeros((40, 40, 40), dtype=np.float32)
    soft[18:22, 18:22, 20:24] = 1
    (flag,) = check_segmentation(soft, ISOTROPIC)
    assert flag.code == "nearly_empty"
    assert "64 mm³" in flag.reason


def test_a_map_that_is_nowhere_half_cord_is_nearly_empty():
    flags = check_segmentation(0.4 * cord(), ISOTROPIC)
    assert flags[0].code == "nearly_empty"
    assert "0.40" in flags[0].reason


def test_a_second_piece_is_flagged_with_the_share_of_the_first():
    soft = cord()
    soft[2:6, 2:6, 20:40] = 1
    flag = next(flag for flag in check_segmentation(soft, ISOTROPIC) if flag.code == "several_pieces")
    assert "2 pieces" in flag.reason
    assert "93 %" in flag.reason  # 70.7 mm² over 60 mm; 16 mm² over 20 mm


def test_a_speck_is_no_piece():
    soft = cord()
    soft[2:4, 2:4, 20:22] = 1
    assert "several_pieces" not in codes(soft, ISOTROPIC)


def test_slices_without_cord_along_the_cord_are_a_gap():
    soft = cord()
    soft[..., 30:33] = 0
    flag = next(flag for flag in check_segmentation(soft, ISOTROPIC) if flag.code == "gaps")
    assert flag.reason.startswith("3 of 60 slices")
    assert "3.0 mm" in flag.reason


@pytest.mark.parametrize(
    ("centre", "edge"),
    [((2, 25), "left"), ((38, 25), "right"), ((20, 2), "back"), ((20, 48), "front")],
    ids=["left", "right", "back", "front"],
)
def test_a_cord_at_the_side_of_the_view_touches_the_edge(centre, edge):
    flag = next(
        flag for flag in check_segmentation(cord(centre=centre), ISOTROPIC) if flag.code == "touches_edge"
    )
    assert f"the {edge} edge" in flag.reason
    assert "60 slices" in flag.reason


@pytest.mark.parametrize(("ap", "rl"), [(11.5, 16.5), (4.0, 5.5)], ids=["large", "small"])
def test_areas_beyond_those_of_healthy_people_are_flagged(ap, rl):
    assert codes(cord(ap=ap, rl=rl), ISOTROPIC) == ["area_out_of_range"]


@pytest.mark.parametrize(
    ("ap", "rl", "wrong", "size"),
    [
        (3.0, 12.0, "front to back", 3.0),
        (14.0, 10.0, "front to back", 14.0),
        (5.0, 19.0, "right to left", 19.0),
        (9.0, 4.0, "right to left", 4.0),
    ],
)
def test_diameters_beyond_those_of_healthy_people_are_flagged(ap, rl, wrong, size):
    (flag,) = check_segmentation(cord(shape=(40, 50, 20), ap=ap, rl=rl, oversampling=9), ISOTROPIC)
    assert flag.code == "diameter_out_of_range"
    assert wrong in flag.reason
    smallest, largest = map(float, re.search(r"all: (\S+) to (\S+) mm", flag.reason).groups())
    assert smallest == pytest.approx(size, abs=0.15)
    assert largest == pytest.approx(size, abs=0.15)


def test_one_bad_slice_in_fifty_is_out_of_no_range():
    scale = np.ones(60)
    scale[30] = 0.4
    assert "area_out_of_range" not in codes(cord(scale=scale), ISOTROPIC)


def test_a_step_of_the_area_is_a_jump():
    scale = np.where(np.arange(60) < 30, 1.0, 0.85)
    (flag,) = check_segmentation(cord(scale=scale), ISOTROPIC)
    assert flag.code == "area_jump"
    assert "1 times" in flag.reason
    assert "from 71 to 51 mm²" in flag.reason


def test_the_same_step_between_thick_slices_is_no_jump():
    scale = np.where(np.arange(12) < 6, 1.0, 0.85)
    zooms = (0.8, 0.8, 8.0)
    assert codes(cord((50, 50, 12), zooms, scale=scale), zooms) == []


def test_a_jump_at_the_end_of_the_cord_is_not_looked_at():
    scale = np.ones(60)
    scale[[0, 1, 58, 59]] = 0.6
    assert codes(cord(scale=scale), ISOTROPIC) == []


@pytest.mark.parametrize(("sigma", "expected"), [(0.5, []), (1.5, ["blurred_rim"])], ids=["sharp", "blurred"])
def test_a_rim_is_flagged_when_it_is_blurred(sigma, expected):
    soft = ndimage.gaussian_filter(cord(), (sigma, sigma, 0))
    assert codes(soft, ISOTROPIC) == expected


@pytest.mark.parametrize(
    ("contrast", "noise", "expected"),
    [(100, 20, []), (-40, 20, []), (2, 20, ["low_contrast"]), (0, 0, ["low_contrast"])],
    ids=["T2w", "T1w", "none", "constant"],
)
def test_contrast_is_low_when_the_fluid_looks_like_the_cord(contrast, noise, expected):
    soft = cord()
    assert codes(soft, ISOTROPIC, image=with_fluid(soft, contrast, noise)) == expected


def test_without_an_image_contrast_is_not_looked_at():
    assert codes(cord(), ISOTROPIC) == []


def test_flags_do_not_depend_on_what_lies_around_the_cord():
    soft = cord(centre=(6.5, 8))
    soft[..., 30:33] = 0
    around = np.pad(soft, [(30, 10), (5, 40), (0, 0)])
    assert check_segmentation(soft, ISOTROPIC) == check_segmentation(around, ISOTROPIC)


def test_a_segmentation_is_3d_and_on_the_grid_of_its_image():
    with pytest.raises(GeometryError, match=r"3-D.*\(4, 4\)"):
        check_segmentation(np.zeros((4, 4), dtype=np.float32), ISOTROPIC)
    with pytest.raises(GeometryError, match=r"\(4, 4, 4\).*\(4, 4, 5\)"):
        check_segmentation(np.zeros((4, 4, 4)), ISOTROPIC, image=np.zeros((4, 4, 5)))


def test_all_checks_of_16_million_voxels_take_less_than_a_tenth_of_a_second():
    soft = np.zeros((192, 260, 320), dtype=np.float32)
    soft[80:120, 100:150, 100:160] = cord()
    image = with_fluid(np.zeros((1, 1, 1), dtype=np.float32), 0, 1) * soft
    seconds = []
    for _ in range(3):
        start = time.process_time()
        check_segmentation(soft, ISOTROPIC, image=image)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.1
