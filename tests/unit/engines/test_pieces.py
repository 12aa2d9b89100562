import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter

from softcord.engines.pieces import LEAST_MM3, Evidence, weigh

ZOOMS = (0.75, 0.75, 1.5)


def rod(radius: float = 5.0) -> np.ndarray:
    """A soft rod along the third axis, radius in voxels."""
    x = np.arange(40) - 19.5
    share = np.clip(0.5 - (np.hypot(x[:, None], x[None, :]) - radius), 0, 1)
    return np.repeat(share[..., None], 10, axis=2).astype(np.float32)


def judged(shares: np.ndarray) -> Evidence:
    pieces = shares > 0.3
    return weigh(shares, pieces, binary_dilation(pieces, iterations=3), ZOOMS)


def test_a_cord_with_a_rim_of_one_voxel_is_one():
    evidence = judged(rod())
    assert evidence.volume_mm3 == pytest.approx((rod() > 0.3).sum() * 0.75 * 0.75 * 1.5)
    assert evidence.highest == 1
    assert evidence.mean > 0.8
    assert evidence.crisp > 0.6
    assert evidence.is_cord


@pytest.mark.parametrize(
    ("what", "shares"),
    [
        ("nothing", np.zeros((20, 20, 4))),
        ("nowhere sure", 0.7 * rod()),
        ("sure in one place alone", np.maximum(0.4 * rod(), 1.0 * (np.arange(10) == 5) * (rod(2) > 0))),
        ("a wide rim around little", gaussian_filter(1.6 * rod(4), (5, 5, 0))),
        ("too small", rod(1.0)[..., :2]),
    ],
)
def test_what_is_seen_with_doubts_is_none(what, shares):
    assert not judged(shares.astype(np.float32)).is_cord, what


def test_a_thin_slice_of_a_thin_cord_is_enough():
    assert LEAST_MM3 < 30 * 1.5  # 30 mm² is the least that a cord measures
