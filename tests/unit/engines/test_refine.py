"""The cord is followed wherever it goes, and nothing is lost against computing the whole volume."""

from dataclasses import replace

import numpy as np
import pytest

from softcord.engines import Network, PredictOptions, predict
from softcord.engines.intensity import GreyScale
from softcord.engines.refine import Guide, follow_cord

PLAIN = PredictOptions(follow_edges=False)


class BrightIsCord:
    """An engine that takes grey levels for shares, and counts what it computes."""

    def __init__(self) -> None:
        self.samples = 0
        self.shapes: list[tuple[int, ...]] = []

    def run(self, image: np.ndarray) -> np.ndarray:
        self.samples += image.size
        self.shapes.append(image.shape)
        share = np.clip(image, 1e-6, 1 - 1e-6)
        return np.log(share / (1 - share)).astype(np.float32)


def make_network() -> tuple[Network, BrightIsCord]:
    engine = BrightIsCord()
    return Network(engine, (16, 16, 8), in_plane=0.75, along=1.5, coarse=2.0), engine


def tube(shape, zooms, course, radius=7.0):
    """A tube of share 1 whose centre in mm is ``course(z)``, with partial volume at its edge."""
    i, j, k = (np.arange(n) * z for n, z in zip(shape, zooms, strict=True))
    cx, cy = course(k)
    distance = np.hypot(i[:, None, None] - cx, j[None, :, None] - cy) - radius
    return np.clip(0.5 - distance / zooms[0], 0, 1).astype(np.float32)


COURSES = {
    "straight": lambda z: (60 + 0 * z, 60 + 0 * z),
    "oblique": lambda z: (20 + 0.35 * z, 100 - 0.3 * z),
    "scoliotic": lambda z: (60 + 38 * np.sin(z / 35), 60 + 30 * np.cos(z / 50)),
    "along the edge of the view": lambda z: (4 + 0 * z, 115 + 0 * z),
}


@pytest.mark.parametrize("name", COURSES)
@pytest.mark.parametrize("zooms", [(1.0, 1.0, 1.0), (0.8, 0.8, 5.0)])
def test_following_the_cord_gives_what_the_whole_volume_gives(name, zooms):
    shape = (int(120 / zooms[0]), int(120 / zooms[1]), int(240 / zooms[2]))
    data = tube(shape, zooms, COURSES[name])
    network, engine = make_network()
    followed = predict(data, zooms, network, PLAIN).soft
    spent = engine.samples
    engine.samples = 0
    whole = predict(data, zooms, network, replace(PLAIN, whole=True)).soft
    np.testing.assert_allclose(followed, whole, atol=1e-5)
    assert np.abs(followed - data).max() < 0.5
    assert abs(followed.sum() / data.sum() - 1) < 0.01
    assert spent < 0.85 * engine.samples


def test_a_cord_that_is_known_in_one_plane_is_followed_to_both_ends():
    zooms = (1.0, 1.0, 1.5)
    data = tube((120, 120, 200), zooms, COURSES["scoliotic"])
    network, _ = make_network()
    grid = network.fine_grid(data.shape, zooms)
    guide = Guide(grid.shape[2])
    i, j = np.nonzero(data[:, :, 100] > 0.5)
    guide.add(100, i, j)
    grey = GreyScale(0.0, 1.0, np.ones(200, dtype=np.float32))
    refined = follow_cord(data, grey, grid, guide, network, lambda image: [network.shares(image)])
    assert refined is not None
    found = refined.looks[0]
    assert found.shape[2] == 200
    assert abs(found.sum() / data.sum() - 1) < 0.01


def test_a_guide_that_knows_nothing_finds_nothing():
    network, engine = make_network()
    data = np.zeros((128, 128, 100), np.float32)
    data[0, 0, 0] = 1
    prediction = predict(data, (1.0, 1.0, 1.0), network, PLAIN)
    assert prediction.soft.max() == 0
    assert len(engine.shapes) == 1  # one look at low resolution, and none after it
    assert np.prod(engine.shapes[0]) < data.size / 4


def test_a_small_view_is_computed_in_one_pass():
    data = tube((50, 50, 60), (1.0, 1.0, 1.0), lambda z: (25 + 0 * z, 25 + 0 * z))
    network, engine = make_network()
    predict(data, (1.0, 1.0, 1.0), network, PLAIN)
    assert engine.shapes == [(64, 64, 64)]


def test_a_single_slice_and_a_thin_slab_are_segmented():
    for planes in (1, 2, 3):
        data = tube((60, 60, planes), (1.0, 1.0, 5.0), lambda z: (30 + 0 * z, 30 + 0 * z))
        network, _ = make_network()
        soft = predict(data, (1.0, 1.0, 5.0), network, PLAIN).soft
        assert soft.shape == data.shape
        assert abs(soft.sum() / data.sum() - 1) < 0.01


def test_bright_spots_far_from_the_cord_are_dropped():
    zooms = (1.0, 1.0, 1.0)
    data = tube((160, 160, 100), zooms, lambda z: (60 + 0 * z, 60 + 0 * z))
    with_spot = data.copy()
    with_spot[80:84, 60:64, 40:44] = 1
    network, _ = make_network()
    np.testing.assert_allclose(
        predict(with_spot, zooms, network, PLAIN).soft, predict(data, zooms, network, PLAIN).soft, atol=1e-5
    )


def test_slices_17_mm_apart_are_one_cord_even_where_it_leans():
    zooms = (0.9, 0.9, 17.0)
    data = tube((130, 130, 5), zooms, lambda z: (50 + 0.5 * z, 70 - 0.3 * z))
    network, _ = make_network()
    soft = predict(data, zooms, network, PLAIN).soft
    assert (soft.max(axis=(0, 1)) > 0.9).all()
    assert abs(soft.sum() / data.sum() - 1) < 0.01


def test_uncertainty_is_highest_at_the_edge_and_leaves_the_map_as_it_is():
    zooms = (1.0, 1.0, 1.0)
    data = tube((60, 60, 60), zooms, lambda z: (30 + 0 * z, 30 + 0 * z))
    network, _ = make_network()
    plain = predict(data, zooms, network, PLAIN)
    spread = predict(data, zooms, network, replace(PLAIN, uncertainty=True))
    np.testing.assert_array_equal(plain.soft, spread.soft)
    assert plain.uncertainty is None
    assert spread.uncertainty is not None
    edge = (data > 0.2) & (data < 0.8)
    assert spread.uncertainty[edge].mean() > 1.3 * spread.uncertainty[data == 1].mean()
    assert spread.uncertainty[data == 0].max() < 0.05


def test_the_calibration_of_a_network_moves_its_shares():
    image = np.full((16, 16, 8), 0.5, np.float32)
    network = Network(BrightIsCord(), (16, 16, 8), 0.75, 1.5, 2.0, scale=2.0, shift=1.0)
    np.testing.assert_allclose(network.shares(image), 1 / (1 + np.exp(-1.0)), rtol=1e-5)


def test_air_beside_the_body_is_not_searched_and_changes_nothing():
    zooms = (1.0, 1.0, 1.0)
    body = tube((120, 120, 100), zooms, lambda z: (60 + 0 * z, 60 + 0 * z), radius=14.0)
    grain = np.random.default_rng(0).random(body.shape, dtype=np.float32)
    body = np.maximum(body, 0.2 * grain)
    padded = np.pad(body, ((80, 60), (70, 90), (0, 0)))
    network, engine = make_network()
    alone = predict(body, zooms, network, PLAIN).soft
    spent = engine.samples
    with_air = predict(padded, zooms, network, PLAIN).soft
    np.testing.assert_allclose(with_air[80:-60, 70:-90], alone, atol=0.02)
    assert engine.samples - spent < 2 * spent


def test_a_speck_is_no_cord():
    network, _ = make_network()
    speck = np.zeros((60, 60, 60), np.float32)
    speck[30:33, 30:33, 30:33] = 1
    assert predict(speck, (1.0, 1.0, 1.0), network, replace(PLAIN, whole=True)).soft.max() == 0
