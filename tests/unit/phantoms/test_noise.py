import numpy as np
import pytest

from softcord.phantoms.noise import SIDE, NoiseField


@pytest.fixture
def field():
    return NoiseField(np.random.default_rng(1), 2.5)


def line(*values: float) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)


def test_values_do_not_depend_on_what_else_is_asked_for(field):
    x, y, z = (np.linspace(-30, 40, n, dtype=np.float32) for n in (7, 8, 9))
    whole = field(x[:, None, None], y[None, :, None], z[None, None, :])
    assert whole.shape == (7, 8, 9)
    assert whole.dtype == np.float32
    part = field(x[2:4, None, None], y[None, 5:, None], z[None, None, 1:3])
    np.testing.assert_array_equal(whole[2:4, 5:, 1:3], part)


def test_the_field_repeats_after_as_many_wavelengths_as_it_has_points(field):
    x = np.linspace(0, 10, 50)
    np.testing.assert_allclose(field(x, line(3), line(4)), field(x + 2.5 * SIDE, line(3), line(4)), atol=1e-4)


def test_the_field_changes_over_its_wavelength_and_not_within_a_hundredth_of_it(field):
    x = np.arange(0, 100, 0.025)
    values = field(x, line(0), line(0))
    assert np.abs(np.diff(values)).max() < 0.1
    assert values.std() > 0.3


def test_values_at_the_points_are_standard_normal(field):
    x, y, z = (np.arange(SIDE) * 2.5 - 2.5 * offset for offset in field._offset)
    values = field(x[:, None, None], y[None, :, None], z[None, None, :])
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(1, abs=0.02)
