import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from softcord.resample import Axis, Grid, crop_grid, resample, resample_axis, working_grid

ZOOMS = st.floats(0.2, 12)
LENGTHS = st.integers(1, 40)
TARGETS = {"in_plane": 0.75, "along": 1.5}
COARSE = {"in_plane": 1.5, "along": 3.0}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(0, 1, shape).astype(np.float32)


def positions(axis: Axis) -> np.ndarray:
    """Sample positions, in voxels of the input."""
    return axis.start + axis.step * np.arange(axis.n)


def identity_grid(shape: tuple[int, ...], zooms=(1.0, 1.0, 1.0)) -> Grid:
    i, j, k = (Axis(n, n, 0.0, 1.0) for n in shape)
    return Grid((i, j, k), zooms)


# ---- one axis


def test_the_identity_copies_no_voxel():
    data = noise(4, 5, 6)
    assert resample_axis(data, Axis(5, 5, 0.0, 1.0), 1) is data
    same = resample(data, identity_grid(data.shape))
    assert np.shares_memory(same, data)
    np.testing.assert_array_equal(same, data)


@pytest.mark.parametrize("turn", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, -1)])
def test_the_order_of_voxels_in_memory_does_not_matter(turn, flip):
    data = noise(14, 15, 16)
    grid = working_grid(data.shape, (0.4, 1.0, 5.0), in_plane=0.75, along=1.5)
    stored = np.ascontiguousarray(data[:: flip[0], :: flip[1], :: flip[2]].transpose(turn))
    seen = stored.transpose(np.argsort(turn))[:: flip[0], :: flip[1], :: flip[2]]
    np.testing.assert_allclose(resample(seen, grid), resample(data, grid), rtol=1e-6)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_a_sample_between_two_voxels_is_weighted_by_nearness(dim):
    data = np.moveaxis(np.array([[[0.0, 10.0, 30.0]]], dtype=np.float32), 2, dim)
    found = resample_axis(data, Axis(3, 4, 0.25, 0.5), dim)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.ravel(), [2.5, 7.5, 15.0, 25.0])


def test_samples_beyond_the_ends_repeat_the_last_voxel():
    data = np.array([1.0, 2.0, 4.0], dtype=np.float32)
    np.testing.assert_allclose(resample_axis(data, Axis(3, 8, -2.0, 1.0), 0), [1, 1, 1, 2, 4, 4, 4, 4])


@pytest.mark.parametrize("step", [2.0, 2.5, 3.0, 1.3])
def test_a_coarse_sample_is_the_mean_of_what_its_voxel_covers(step):
    fine = 1000  # the truth, by brute force: each voxel as a thousand equal parts
    data = noise(13)
    axis = Axis(13, 3, 2.7, step)
    parts = np.repeat(data, fine)
    edges = np.round((positions(axis)[:, None] + [-step / 2 + 0.5, step / 2 + 0.5]) * fine).astype(int)
    expected = [parts[low:high].mean() for low, high in edges]
    np.testing.assert_allclose(resample_axis(data, axis, 0), expected, atol=1e-4)


def test_without_averaging_a_coarse_sample_is_what_is_at_its_centre():
    data = noise(9)
    np.testing.assert_array_equal(resample_axis(data, Axis(9, 3, 1.0, 3.0), 0, average=False), data[1::3])


@given(
    n=LENGTHS,
    n_out=LENGTHS,
    start=st.floats(-5, 45),
    step=st.floats(0.05, 9),
    average=st.booleans(),
)
def test_a_constant_stays_and_nothing_leaves_the_range_of_the_input(n, n_out, start, step, average):
    axis = Axis(n, n_out, start, step)
    constant = resample_axis(np.full(n, 0.7, dtype=np.float32), axis, 0, average=average)
    np.testing.assert_allclose(constant, 0.7, rtol=1e-5)
    data = noise(n)
    found = resample_axis(data, axis, 0, average=average)
    assert found.shape == (n_out,)
    assert data.min() - 1e-5 <= found.min() <= found.max() <= data.max() + 1e-5


@given(n=st.integers(2, 40), n_out=LENGTHS, start=st.floats(0, 39), step=st.floats(0.05, 1))
def test_a_ramp_is_read_off_exactly_inside_the_field_of_view(n, n_out, start, step):
    axis = Axis(n, n_out, start, step)
    inside = positions(axis) <= n - 1
    found = resample_axis(np.arange(n, dtype=np.float32), axis, 0)
    np.testing.assert_allclose(found[inside], positions(axis)[inside], atol=1e-4)


@given(n=LENGTHS, n_out=LENGTHS, start=st.floats(-5, 5), step=st.floats(0.1, 9))
def test_the_inverse_says_where_the_input_lies_among_the_output(n, n_out, start, step):
    axis = Axis(n, n_out, start, step)
    inverse = axis.inverse()
    assert (inverse.n_in, inverse.n) == (n_out, n)
    # the input's voxels, found among the output's and taken back by the forward map, are where they were
    np.testing.assert_allclose(axis.start + axis.step * positions(inverse), np.arange(n), atol=1e-9)
    twice = inverse.inverse()
    assert (twice.n_in, twice.n) == (axis.n_in, axis.n)
    np.testing.assert_allclose([twice.start, twice.step], [axis.start, axis.step], atol=1e-12)


# ---- sums and areas


@given(n=LENGTHS, zoom=st.floats(0.2, 1.4), spacing=st.floats(0.5, 3))
def test_averaging_over_the_whole_field_of_view_keeps_the_sum(n, zoom, spacing):
    axis = working_grid((n, 1, 1), (zoom, 5.0, 5.0), in_plane=spacing, along=1.5).axes[0]
    assume(axis.step > 1)
    inside = noise(n)
    inside[[0, -1]] = 0  # what lies at the very edge is repeated beyond it
    found = resample_axis(inside, axis, 0)
    np.testing.assert_allclose(found.sum() * axis.step, inside.sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("zooms", [(0.3, 0.3, 0.5), (0.25, 0.4, 0.9), (0.5, 0.5, 2.5)])
def test_the_area_of_a_soft_disc_is_kept(zooms):
    shape = tuple(round(30 / z) for z in zooms[:2])
    x, y = (((np.arange(n) + 0.5) * z - 15.3) for n, z in zip(shape, zooms[:2], strict=True))
    disc = np.clip(0.5 - (np.hypot(x[:, None], y[None, :]) - 5) / zooms[0], 0, 1).astype(np.float32)
    data = np.repeat(disc[..., None], 6, axis=2)
    grid = working_grid(data.shape, zooms, **TARGETS)
    found = resample(data, grid).sum(axis=(0, 1)) * grid.zooms[0] * grid.zooms[1]
    np.testing.assert_allclose(found, disc.sum() * zooms[0] * zooms[1], rtol=1e-4)
    assert found[0] == pytest.approx(np.pi * 25, rel=0.01)


# ---- volumes


def test_axes_are_resampled_in_whichever_order_to_the_same_result():
    data = noise(8, 9, 10)
    axes = Axis(8, 3, 0.5, 2.5), Axis(9, 17, 0.0, 0.5), Axis(10, 4, 1.0, 2.0)
    expected = data
    for dim in (1, 2, 0):
        expected = resample_axis(expected, axes[dim], dim)
    found = resample(data, Grid(axes, (1.0, 1.0, 1.0)))
    assert found.shape == (3, 17, 4)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_input_is_left_as_it_was():
    data = noise(8, 9, 10)
    before = data.copy()
    resample(data, working_grid(data.shape, (0.4, 1.6, 5.0), **TARGETS))
    np.testing.assert_array_equal(data, before)


def test_an_array_of_another_shape_than_the_grid_s_is_refused():
    with pytest.raises(ValueError, match=r"shape the grid was made for.*got \(4, 5, 7\)"):
        resample(noise(4, 5, 7), identity_grid((4, 5, 6)))


@given(shape=st.tuples(LENGTHS, LENGTHS, LENGTHS), zooms=st.tuples(ZOOMS, ZOOMS, ZOOMS))
@settings(max_examples=50)
def test_there_and_back_ends_on_the_grid_of_the_input(shape, zooms):
    for grid in (working_grid(shape, zooms, **TARGETS), working_grid(shape, zooms, **COARSE)):
        back = grid.inverse(zooms)
        assert back.shape == shape
        assert tuple(axis.n_in for axis in back.axes) == grid.shape
        assert back.zooms == zooms


@pytest.mark.parametrize("zooms", [(0.75, 0.75, 1.5), (0.6, 0.9, 5.0), (3.0, 0.8, 1.0), (1.9, 1.2, 18.0)])
def test_split_and_untouched_voxels_come_back_exactly(zooms):
    data = noise(7, 8, 5)
    grid = working_grid(data.shape, zooms, **TARGETS)
    back = resample(resample(data, grid), grid.inverse(zooms), average=False)
    np.testing.assert_allclose(back, data, atol=1e-6)


def test_a_smooth_volume_comes_back_from_a_coarser_grid_nearly_as_it_was():
    x = np.linspace(0, np.pi, 60)
    data = (np.sin(x)[:, None, None] * np.sin(x)[None, :, None] * np.ones((1, 1, 10))).astype(np.float32)
    grid = working_grid(data.shape, (0.3, 0.3, 0.6), **TARGETS)
    assert grid.shape[0] < 60
    back = resample(resample(data, grid), grid.inverse((0.3, 0.3, 0.6)), average=False)
    np.testing.assert_allclose(back[2:-2, 2:-2], data[2:-2, 2:-2], atol=0.01)


def test_a_part_of_a_grid_sees_the_same_part_of_the_volume():
    data = noise(20, 21, 12)
    grid = working_grid(data.shape, (0.4, 1.5, 5.0), **TARGETS)
    box = slice(2, 7), slice(0, 11), slice(5, grid.shape[2])
    part = crop_grid(grid, box)
    assert part.zooms == grid.zooms
    np.testing.assert_allclose(resample(data, part), resample(data, grid)[box], atol=1e-6)


# ---- the rules of the working grid


@pytest.mark.parametrize(
    ("zoom", "expected"),
    [
        (0.2, 0.8),  # finer: whole voxels are averaged where that comes near what is wanted
        (0.25, 0.75),
        (0.3, 0.6),
        (0.35, 0.7),
        (0.5, 0.75),  # else it is resampled
        (0.51, 0.51),  # about what is wanted: as it is, from two thirds on
        (0.6, 0.6),
        (0.75, 0.75),
        (1.0, 1.0),
        (1.04, 1.04),
        (1.06, 0.53),  # coarser: split
        (1.5, 0.75),
        (2.0, 2 / 3),
        (4.5, 0.75),
        (9.0, 9 / 8),  # into eight at most
    ],
)
def test_across_the_cord_samples_are(zoom, expected):
    zooms = working_grid((100, 100, 10), (zoom, zoom, 2.0), **TARGETS).zooms
    assert zooms[:2] == pytest.approx((expected, expected))


@pytest.mark.parametrize(
    ("zoom", "expected"),
    [
        (0.5, 1.5),
        (0.7, 1.4),
        (0.8, 1.6),
        (0.95, 1.5),
        (1.0, 1.0),
        (2.09, 2.09),
        (2.2, 1.1),
        (3.0, 1.5),
        (5.0, 5 / 3),
        (6.0, 1.5),
        (17.0, 4.25),  # far apart: into four, whatever the distance
    ],
)
def test_along_the_cord_samples_are(zoom, expected):
    assert working_grid((10, 10, 50), (1.0, 1.0, zoom), **TARGETS).zooms[2] == pytest.approx(expected)


@given(shape=st.tuples(LENGTHS, LENGTHS, LENGTHS), zooms=st.tuples(ZOOMS, ZOOMS, ZOOMS))
def test_a_grid_covers_the_field_of_view_and_keeps_its_centre(shape, zooms):
    for grid in (working_grid(shape, zooms, **TARGETS), working_grid(shape, zooms, **COARSE)):
        for axis, n, zoom, distance in zip(grid.axes, shape, zooms, grid.zooms, strict=True):
            where = positions(axis)
            assert axis.n_in == n
            assert axis.step * zoom == pytest.approx(distance)
            assert (where[0] + where[-1]) / 2 == pytest.approx((n - 1) / 2)
            assert axis.n * axis.step >= n - 1e-4


@given(n=LENGTHS, zoom=st.floats(2.2, 30))
def test_samples_of_a_split_slice_include_its_centre(n, zoom):
    axis = working_grid((3, 3, n), (1.0, 1.0, zoom), **TARGETS).axes[2]
    assert 2 <= round(1 / axis.step) <= 4
    nearest = np.abs(positions(axis)[:, None] - np.arange(n)).min(axis=0)
    np.testing.assert_allclose(nearest, 0, atol=1e-9)


def test_the_samples_at_the_centres_of_split_slices_are_the_slices():
    data = noise(3, 3, 6)
    grid = working_grid(data.shape, (0.75, 0.75, 6.0), **TARGETS)
    parts = round(1 / grid.axes[2].step)
    assert parts == 4
    np.testing.assert_array_equal(resample(data, grid)[..., parts // 2 :: parts], data)


def test_a_single_slice_is_enough():
    grid = working_grid((40, 40, 1), (0.5, 0.5, 5.0), **TARGETS)
    assert grid.shape[2] == 3
    np.testing.assert_allclose(resample(np.ones((40, 40, 1), dtype=np.float32), grid), 1, rtol=1e-6)
