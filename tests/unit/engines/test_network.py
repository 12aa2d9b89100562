import numpy as np

from softcord.engines import Network
from softcord.engines.network import SLAB


class Recorder:
    """An engine that keeps what it sees and gives its logits back."""

    device = "cpu"

    def run(self, image):
        self.seen = image
        return image


def network(engine):
    return Network(engine, (16, 16, 8), 0.75, 1.5, 2.0)


def image_of(planes):
    return np.random.default_rng(0).uniform(0.1, 1, (14, 16, planes)).astype(np.float32)


def test_a_slab_goes_on_beyond_its_ends_and_beside_it_there_is_nothing():
    engine, image = Recorder(), image_of(3)
    shares = network(engine).shares(image)
    assert engine.seen.shape == (16, 16, 8)
    assert not engine.seen[[0, -1]].any()
    planes = [0, 0, 0, 1, 2, 2, 2, 2]
    np.testing.assert_array_equal(engine.seen[1:-1], image[:, :, planes])
    np.testing.assert_allclose(shares, 1 / (1 + np.exp(-image)), rtol=1e-6)


def test_beyond_the_ends_of_a_taller_view_there_is_nothing():
    engine, image = Recorder(), image_of(SLAB + 1)
    shares = network(engine).shares(image)
    inside = engine.seen[1:-1, :, 3 : SLAB + 4]
    np.testing.assert_array_equal(inside, image)
    assert np.count_nonzero(engine.seen) == image.size
    assert shares.shape == image.shape
