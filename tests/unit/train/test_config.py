from dataclasses import replace
from math import inf, nan

import pytest

from softcord.train.config import (
    GridConfig,
    ImageSource,
    MapSource,
    MixConfig,
    NetworkConfig,
    ScheduleConfig,
    SynthConfig,
)


def test_a_name_is_enough_for_a_configuration():
    assert SynthConfig(name="mine").seed == 0


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (NetworkConfig, {"channels": ()}, r"channels must be at least one number, each 1 or more, got \(\)"),
        (NetworkConfig, {"channels": (8, 0)}, "channels must be"),
        (NetworkConfig, {"fold": (2, 0, 1)}, r"fold must be 1 or more along each axis, got \(2, 0, 1\)"),
        (GridConfig, {"in_plane": 0.0}, "in_plane must be a number above 0, got 0.0"),
        (GridConfig, {"along": -1.5}, "along must be a number above 0"),
        (GridConfig, {"coarse": inf}, "coarse must be a number above 0"),
        (GridConfig, {"in_plane": nan}, "in_plane must be a number above 0"),
        (GridConfig, {"patch": (64, 64, 0)}, "patch must be 1 or more"),
        (MixConfig, {"maps": -0.1}, "maps must be 0 or more"),
        (MixConfig, {"near_cord": 1.5}, "near_cord must be from 0 to 1"),
        (MixConfig, {"coarse": nan}, "coarse must be from 0 to 1"),
        (ScheduleConfig, {"steps": 0}, "steps must be 1 or more, got 0"),
        (ScheduleConfig, {"batch": -1}, "batch must be 1 or more"),
        (ScheduleConfig, {"renew_every": 0}, "renew_every must be 1 or more"),
        (ScheduleConfig, {"learning_rate": 0.0}, "learning_rate must be a number above 0"),
        (ScheduleConfig, {"weight_decay": -1e-4}, "weight_decay must be 0 or more"),
        (ScheduleConfig, {"warm_up": -1}, "warm_up must be 0 or more"),
        (ScheduleConfig, {"dice": inf}, "dice must be 0 or more"),
        (ScheduleConfig, {"calibration": -1}, "calibration must be 0 or more"),
        (ScheduleConfig, {"ema": 1.0}, "ema must be from 0 to below 1"),
        (ScheduleConfig, {"pool": 3, "batch": 4}, r"pool must be at least batch \(4\), got 3"),
        (MapSource, {"files": "a", "tissues": {"BONE": [1]}}, "tissues must be among AIR, .*, got BONE"),
        (SynthConfig, {"name": "mine", "seed": -1}, "seed must be 0 or more"),
        (SynthConfig, {"name": "mine", "workers": -1}, "workers must be 0 or more"),
        (SynthConfig, {"name": "mine", "checkpoint_every": 0}, "checkpoint_every must be 1 or more"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(**values)


def test_a_patch_must_suit_the_network():
    network = NetworkConfig(channels=(4, 8, 16), fold=(2, 2, 1))
    assert network.multiple == (8, 8, 4)
    assert SynthConfig(name="mine", network=network, grid=GridConfig(patch=(8, 16, 4)))
    for patch in ((8, 12, 4), (8, 8, 4)):
        with pytest.raises(ValueError, match=r"grid.patch must be a multiple of \(8, 8, 4\) .* got \(8, "):
            SynthConfig(name="mine", network=network, grid=GridConfig(patch=patch))


def test_there_must_be_something_to_draw():
    nothing = MixConfig(phantoms=0.0, maps=0.5, images=0.5)
    with pytest.raises(ValueError, match=r"mix must be above 0 .* got \(0.0, 0.5, 0.5\)"):
        SynthConfig(name="mine", mix=nothing)
    assert SynthConfig(name="mine", mix=nothing, maps=[MapSource("*.nii.gz")])
    images = [ImageSource("images.tsv")]
    assert SynthConfig(name="mine", mix=nothing, images=images)
    with pytest.raises(ValueError, match="mix must be above 0"):
        SynthConfig(name="mine", mix=replace(nothing, images=0.0), images=images)
