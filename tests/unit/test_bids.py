import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softcord.bids import (
    Outputs,
    format_name,
    image_stem,
    is_output_name,
    output_paths,
    parse_name,
    plan_outputs,
)
from softcord.errors import UsageError


def names(outputs: Outputs) -> tuple[str, str, str, str]:
    return outputs.soft.name, outputs.mask.name, outputs.sidecar.name, outputs.uncertainty.name


# ---- default names


def test_a_bids_image_gets_the_names_of_bids_derivatives_beside_it():
    outputs = output_paths("data/sub-01/anat/sub-01_T2w.nii.gz")
    assert outputs.soft.parent == Path("data/sub-01/anat")
    assert names(outputs) == (
        "sub-01_space-orig_label-SC_desc-T2w_probseg.nii.gz",
        "sub-01_space-orig_label-SC_desc-T2w_mask.nii.gz",
        "sub-01_space-orig_label-SC_desc-T2w_probseg.json",
        "sub-01_space-orig_label-SC_desc-T2wUncertainty_probseg.nii.gz",
    )
    assert outputs.new_folder is None


def test_all_entities_of_the_image_are_kept_in_bids_order():
    outputs = output_paths("sub-01_ses-2_acq-crop_run-1_mt-on_MTS.nii.gz")
    assert outputs.soft.name == (
        "sub-01_ses-2_acq-crop_run-1_mt-on_space-orig_label-SC_desc-MTS_probseg.nii.gz"
    )


def test_a_description_of_the_image_is_joined_with_its_suffix():
    outputs = output_paths("sub-epi01_task-rest_desc-mean_bold.nii.gz")
    assert outputs.soft.name == "sub-epi01_task-rest_space-orig_label-SC_desc-meanbold_probseg.nii.gz"


def test_a_space_of_the_image_is_kept_because_the_result_lies_in_it():
    outputs = output_paths("sub-01_space-PAM50_T2w.nii.gz")
    assert outputs.soft.name == "sub-01_space-PAM50_label-SC_desc-T2w_probseg.nii.gz"


def test_an_entity_that_bids_does_not_know_is_kept_before_the_space():
    outputs = output_paths("sub-01_site-montreal_T2w.nii.gz")
    assert outputs.soft.name == "sub-01_site-montreal_space-orig_label-SC_desc-T2w_probseg.nii.gz"


def test_a_volume_of_a_series_is_named_in_the_description():
    outputs = output_paths("sub-01_dwi.nii.gz", volume=3)
    assert outputs.soft.name == "sub-01_space-orig_label-SC_desc-dwiVolume3_probseg.nii.gz"


@pytest.mark.parametrize("name", ["t2.nii.gz", "t2.nii", "T2.NII.GZ"])
def test_an_image_outside_bids_gets_the_suffixes_of_sct(name):
    stem = name.split(".")[0]
    assert names(output_paths(name)) == (
        f"{stem}_softseg.nii.gz",
        f"{stem}_seg.nii.gz",
        f"{stem}_softseg.json",
        f"{stem}_uncertainty.nii.gz",
    )


def test_a_bids_image_gets_the_suffixes_of_sct_when_they_are_asked_for():
    assert output_paths("sub-01_T2w.nii.gz", naming="sct").soft.name == "sub-01_T2w_softseg.nii.gz"


def test_a_volume_of_a_series_is_named_with_sct_suffixes_too():
    assert output_paths("dwi.nii.gz", volume=0).mask.name == "dwi_vol-0_seg.nii.gz"


def test_an_unknown_naming_is_a_usage_error():
    with pytest.raises(UsageError, match="'bids' or 'sct', got 'fsl'"):
        output_paths("t2.nii.gz", naming="fsl")


# ---- parsing and formatting


@pytest.mark.parametrize(
    "stem",
    [
        "t2",
        "T2w_sub-01",  # sub- is not first
        "sub-01",  # no suffix
        "sub-01_T2w_denoised",  # a word that is no entity
        "sub-01_acq-a_acq-b_T2w",  # an entity twice
        "sub-_T2w",  # an entity without a value
        "sub-01_T2w.denoised",
        "",
    ],
)
def test_a_name_outside_bids_is_told_apart(stem):
    assert parse_name(stem) is None


LABELS = st.text(st.sampled_from("abcXYZ019"), min_size=1, max_size=4)
ENTITIES = st.dictionaries(
    st.sampled_from("ses task acq ce dir run echo flip inv mt part space chunk desc".split()), LABELS
)


@given(LABELS, ENTITIES, st.sampled_from(["T1w", "T2w", "T2star", "MTS", "dwi", "bold"]))
def test_a_bids_name_survives_parsing_and_formatting(subject, entities, suffix):
    entities = {"sub": subject, **entities}
    stem = format_name(entities, suffix)
    assert parse_name(stem) == (entities, suffix)


IMAGES = st.builds(
    lambda subject, entities, suffix: format_name({"sub": subject, **entities}, suffix),
    LABELS,
    ENTITIES.map(lambda entities: {k: v for k, v in entities.items() if k != "desc"}),
    st.sampled_from(["T1w", "T2w", "T2star", "MTS", "dwi", "bold"]),
)


@given(st.lists(IMAGES, min_size=2, max_size=12, unique=True), st.sampled_from(["bids", "sct"]))
def test_images_with_different_names_never_share_a_result(stems, naming):
    plan = plan_outputs([f"{stem}.nii.gz" for stem in stems], naming=naming)
    files = [path for outputs in plan for path in (outputs.soft, outputs.mask, outputs.sidecar)]
    assert len(set(files)) == len(files)


@given(IMAGES, st.sampled_from(["bids", "sct"]), st.none() | st.integers(0, 99))
def test_every_result_is_recognised_as_a_segmentation_and_no_image_is(stem, naming, volume):
    outputs = output_paths(f"{stem}.nii.gz", naming=naming, volume=volume)
    assert not is_output_name(f"{stem}.nii.gz")
    assert all(is_output_name(path) for path in (outputs.soft, outputs.mask, outputs.uncertainty))


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_T2w_label-SC_seg.nii.gz",
        "sub-01_T2w_desc-softseg_label-SC_seg.nii",
        "sub-01_T2w_softseg.nii.gz",
    ],
)
def test_older_names_of_segmentations_are_recognised(name):
    assert is_output_name(name)


# ---- where an output was asked for


def test_one_output_file_holds_the_soft_map_and_the_rest_lies_beside_it():
    outputs = output_paths("in/sub-01_T2w.nii.gz", out="out/cord.nii.gz")
    assert outputs.soft == Path("out/cord.nii.gz")
    assert names(outputs) == (
        "cord.nii.gz",
        "cord_mask.nii.gz",
        "cord.json",
        "cord_uncertainty.nii.gz",
    )
    assert outputs.new_folder is None


def test_the_mask_is_compressed_only_if_the_soft_map_is():
    assert output_paths("t2.nii.gz", out="cord.nii").mask == Path("cord_mask.nii")


def test_a_trailing_slash_means_a_folder_that_may_have_to_be_made():
    outputs = output_paths("in/t2.nii.gz", out="results/")
    assert outputs.soft == Path("results/t2_softseg.nii.gz")
    assert outputs.new_folder == Path("results")


def test_a_trailing_slash_means_a_folder_even_if_it_is_called_like_a_file():
    assert output_paths("in/t2.nii.gz", out="odd.nii.gz/").soft == Path("odd.nii.gz/t2_softseg.nii.gz")


def test_a_folder_that_exists_is_a_folder_without_a_slash(tmp_path):
    assert output_paths("in/t2.nii.gz", out=tmp_path).soft == tmp_path / "t2_softseg.nii.gz"


def test_several_images_make_a_folder_of_any_name_but_a_file_name():
    assert output_paths("t2.nii.gz", out="results", several=True).soft.parent == Path("results")
    with pytest.raises(UsageError, match="one file cannot hold the results of several"):
        output_paths("t2.nii.gz", out="cord.nii.gz", several=True)


def test_a_name_that_is_neither_file_nor_folder_is_a_usage_error_with_the_way_out():
    with pytest.raises(
        UsageError, match=r"cord\.img: an output file must end in \.nii or \.nii\.gz.*cord\.img/"
    ):
        output_paths("t2.nii.gz", out="cord.img")


# ---- a whole run


def test_two_images_of_one_name_in_one_folder_are_refused_with_both_names():
    with pytest.raises(UsageError, match=r"a/t2\.nii\.gz and b/t2\.nii\.gz would both write"):
        plan_outputs(["a/t2.nii.gz", "b/t2.nii.gz"], out="results/")


def test_two_images_of_one_name_beside_themselves_are_fine():
    plan = plan_outputs(["a/t2.nii.gz", "b/t2.nii.gz"])
    assert [outputs.soft.parent for outputs in plan] == [Path("a"), Path("b")]


def test_the_same_image_compressed_and_not_is_refused():
    with pytest.raises(UsageError, match="would both write"):
        plan_outputs(["t2.nii", "t2.nii.gz"])


def test_one_image_spelled_in_two_ways_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="would both write"):
        plan_outputs(["t2.nii.gz", tmp_path / "t2.nii.gz"])


@pytest.mark.parametrize("spelling", ["t2.nii.gz", "./t2.nii.gz", os.path.join("sub", "..", "t2.nii.gz")])  # noqa: PTH118
def test_a_result_is_never_an_image_of_the_run(spelling):
    with pytest.raises(UsageError, match="would overwrite an image"):
        plan_outputs(["t2.nii.gz"], out=spelling)


def test_a_segmentation_among_the_images_is_refused_by_name():
    with pytest.raises(UsageError, match=r"t2_softseg\.nii\.gz: expected an image to segment"):
        plan_outputs(["t2.nii.gz", "t2_softseg.nii.gz"])


def test_a_stem_keeps_dots_that_are_not_the_ending():
    assert image_stem("a/scan.v2.nii.gz") == "scan.v2"
