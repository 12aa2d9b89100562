"""Vertebral levels from discs, and their place in PAM50."""

import numpy as np
import pytest

from softcord.errors import InputError, UsageError
from softcord.levels import (
    PAM50_SLICES,
    Levels,
    choose_levels,
    distance_aside_mm,
    kind_of_labels,
    level_name,
    levels_from_discs,
    parse_levels,
    to_pam50,
)


@pytest.mark.parametrize(
    ("text", "levels"),
    [("3", (3,)), ("2:5", (2, 3, 4, 5)), ("C2:C3", (2, 3)), ("t1,t2", (8, 9)), ("2,2", (2,))],
)
def test_levels_are_read(text, levels):
    assert parse_levels(text) == levels


@pytest.mark.parametrize("text", ["", "0", "C9", "5:2", "2:3:4", "x", "26"])
def test_what_is_no_level_is_refused(text):
    with pytest.raises(UsageError, match="Levels must be like"):
        parse_levels(text)


def test_every_level_has_a_name():
    assert [level_name(n) for n in (1, 7, 8, 19, 20, 25)] == ["C1", "C7", "T1", "T12", "L1", "S1"]


def test_a_slice_at_a_disc_belongs_to_the_level_below():
    levels = levels_from_discs({2: 25.0, 3: 18.0, 4: 9.0}, np.arange(30), spacing_mm=2.0)
    assert levels.of_slice[[9, 10, 18, 19, 25, 26]].tolist() == [4, 3, 3, 2, 2, 1]
    assert levels.missing_discs == ()
    assert levels.is_open[[0, 9, 10, 25, 26]].tolist() == [True, True, False, False, True]


def test_beyond_the_outermost_discs_levels_end_and_sct_goes_on():
    slices = np.arange(100)
    ours = levels_from_discs({3: 50.0}, slices, spacing_mm=1.0).of_slice
    theirs = levels_from_discs({3: 50.0}, slices, spacing_mm=1.0, guess=True).of_slice
    assert (theirs == np.where(slices <= 50, 3, 2)).all()
    assert ours[[0, 20]].tolist() == [0, 0]
    assert ours[[45, 50, 51, 60]].tolist() == [3, 3, 2, 2]
    assert ours[99] == 0


def test_between_discs_that_are_no_neighbours_the_level_is_unknown_and_sct_guesses():
    slices = np.arange(60)
    ours = levels_from_discs({3: 44.0, 5: 9.0}, slices, spacing_mm=1.0)
    assert ours.missing_discs == (4,)
    assert not ours.of_slice[10:45].any()
    theirs = levels_from_discs({3: 44.0, 5: 9.0}, slices, spacing_mm=1.0, guess=True)
    assert (theirs.of_slice[10:45] == 3).all()


def test_discs_in_the_wrong_order_are_refused():
    with pytest.raises(InputError, match="one below the other, got 3 at slice 5, 4 at slice 9"):
        levels_from_discs({3: 5.0, 4: 9.0}, np.arange(20), spacing_mm=1.0)


def test_a_level_that_is_not_there_is_an_error_that_names_those_that_are():
    levels = Levels(np.array([4, 4, 3, 0]), (5,), np.zeros(4, dtype=bool))
    assert choose_levels(levels, (3, 9)) == (3,)
    with pytest.raises(
        InputError, match=r"at level 9; levels that are there: 3 \(C3\), 4 \(C4\) \(disc 5 is"
    ):
        choose_levels(levels, (9,))


@pytest.mark.parametrize(
    ("counts", "kind"),
    [
        ({1: 1, 3: 1, 50: 1}, "discs"),
        ({2: 4000, 3: 3000}, "levels"),
        ({1: 9000, 2: 9999, 13: 400, 63: 300}, "totalspineseg"),
    ],
)
def test_files_of_labels_are_told_apart(counts, kind):
    assert kind_of_labels(counts) == kind


@pytest.mark.parametrize("counts", [{}, {255: 8000}, {3: 4, 99: 2}])
def test_other_labels_are_refused(counts):
    with pytest.raises(InputError):
        kind_of_labels(counts)


def test_the_distance_of_a_point_beside_the_cord_is_sideways():
    curve = np.array([[0.0, 0.0, z] for z in range(10)])
    assert distance_aside_mm(np.array([[3.0, 4.0, 5.0]]), curve) == 5.0
    assert distance_aside_mm(np.array([[3.0, 4.0, 50.0]]), curve) == 5.0


def test_in_pam50_everybody_has_the_same_slices():
    short = to_pam50(np.repeat([5, 4, 3, 2], [6, 9, 11, 5]), 1.5)
    tall = to_pam50(np.repeat([5, 4, 3, 2], [30, 45, 50, 20]), 0.4)
    for level in (3, 4):
        assert short[level][1] == tall[level][1]
        assert len(short[level][1]) == len(short[level][0])
        assert (short[level][1].start, short[level][1].stop - 1) == PAM50_SLICES[level]
    assert short[5][1].stop == PAM50_SLICES[4][0]  # against its neighbour
    assert short[2][1].start == PAM50_SLICES[3][1] + 1


def test_pam50_levels_touch_each_other():
    for level in range(1, 20):
        assert PAM50_SLICES[level + 1][1] + 1 == PAM50_SLICES[level][0]
