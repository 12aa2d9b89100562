import numpy as np

from softcord.engines import Network


class Recorder:
    """An engine that keeps what it sees and gives its logits back."""

    device = "cpu"

    def run(self, image):
        self.seen = image
        return image


def test_beyond_the_ends_of_a_view_its_last_plane_goes_on_and_beside_it_there_is_nothing():
    engine = Recorder()
    image = np.random.default_rng(0).uniform(0.1, 1, (14, 16, 3)).astype(np.float32)
    shares = Network(engine, (16, 16, 8), 0.75, 1.5, 2.0).shares(image)
    assert engine.seen.shape == (16, 16, 8)
    assert not engine.seen[[0, -1]].any()
    planes = [0, 0, 0, 1, 2, 2, 2, 2]
    np.testing.assert_array_equal(engine.seen[1:-1], image[:, :, planes])
    np.testing.assert_allclose(shares, 1 / (1 + np.exp(-image)), rtol=1e-6)
