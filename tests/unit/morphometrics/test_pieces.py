"""What lies beside the cord is left out; what goes on after a gap is kept."""

import numpy as np

from softcord.morphometrics import choose_pieces
from softcord.phantoms.cords import CordOptions, make_cord

ZOOMS = (1.0, 1.0, 1.0)


def cord() -> np.ndarray:
    share = make_cord(ZOOMS, CordOptions(tilt_deg=15.0)).share
    return np.pad(share, ((12, 12), (0, 0), (0, 0)))


def test_one_cord_is_returned_as_it_is():
    share = cord()
    assert choose_pieces(share, ZOOMS)[0] is share


def test_a_blob_beside_the_cord_is_left_out_with_its_rim():
    share = cord()
    stained = share.copy()
    stained[1:6, 5:10, 20:25] = 0.05
    stained[2:5, 6:9, 21:24] = 1
    kept, pieces = choose_pieces(stained, ZOOMS)
    assert np.array_equal(kept, share)
    assert (pieces.n_pieces, pieces.n_stray) == (1, 1)
    assert abs(pieces.stray_mm3 - stained.sum() + share.sum()) < 0.01


def test_a_cord_with_a_gap_is_kept_whole():
    share = cord()
    share[:, :, 25:30] = 0
    kept, pieces = choose_pieces(share, ZOOMS)
    assert kept is share
    assert (pieces.n_pieces, pieces.n_stray) == (2, 0)


def test_a_blob_above_and_far_aside_is_left_out():
    share = np.pad(cord(), ((0, 40), (0, 0), (0, 6)))
    share[-6:-2, 10:14, -4:-1] = 1
    assert choose_pieces(share, ZOOMS)[1].n_stray == 1


def test_nothing_has_no_pieces():
    assert choose_pieces(np.zeros((3, 3, 3), dtype=np.float32), ZOOMS)[1].n_pieces == 0
