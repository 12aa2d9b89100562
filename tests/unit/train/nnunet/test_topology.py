import pytest

from softcord.errors import UsageError
from softcord.train.nnunet.topology import TOPOLOGIES, check_patch, make_plans

BIG = TOPOLOGIES["contrast-agnostic"]


def test_the_topology_is_that_of_the_contrast_agnostic_model():
    kwargs = BIG.architecture()["arch_kwargs"]
    assert BIG.patch == (64, 192, 320)
    assert kwargs["n_stages"] == 6
    assert kwargs["features_per_stage"] == [32, 64, 128, 256, 320, 320]
    assert kwargs["n_conv_per_stage"] == [2] * 6
    assert kwargs["n_conv_per_stage_decoder"] == [2] * 5
    assert kwargs["strides"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]
    assert kwargs["kernel_sizes"] == [[3, 3, 3]] * 6


@pytest.mark.parametrize("patch", [(32, 64, 96), (64, 128, 64), (64, 160, 192), (64, 192, 256), (16, 32, 64)])
def test_any_patch_of_whole_multiples_is_taken(patch):
    assert check_patch(patch, BIG.multiple) == patch


@pytest.mark.parametrize(
    ("patch", "nearest"),
    [
        ((60, 190, 320), "64 192 320 or 48 160 320"),
        ((64, 100, 320), "64 96 320 or 64 128 320"),
        ((8, 32, 64), "16 32 64"),
        ((16, 32, 32), "16 32 64"),  # one voxel in the deepest stage, which cannot be normalised
    ],
)
def test_any_other_patch_is_refused_and_the_nearest_are_named(patch, nearest):
    with pytest.raises(UsageError) as caught:
        check_patch(patch, BIG.multiple)
    given = " ".join(map(str, patch))
    assert str(caught.value) == (
        "A patch must be a multiple of 16 32 32 voxels along R-L, A-P and S-I, and more than that along one "
        f"of them; got {given}. Nearest that fit: {nearest}."
    )


def test_the_transposition_of_plans_is_undone_by_its_inverse():
    plans = make_plans(
        BIG,
        dataset_name="Dataset101_Cord",
        patch=BIG.patch,
        spacing=(1, 1, 1),
        batch=2,
        median_shape=(1, 1, 1),
        median_spacing=(1, 1, 1),
        normalisation=["ZScoreNormalization"],
        masked=[False],
        intensities={},
    )
    forward, backward = plans["transpose_forward"], plans["transpose_backward"]
    assert [forward[axis] for axis in backward] == [0, 1, 2]
