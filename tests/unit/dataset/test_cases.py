import logging

import pytest

from bidstrees import add_case, write_participants
from softcord.dataset.cases import find_cases
from softcord.dataset.recipe import LabelRule, Pathology, Source
from softcord.errors import InputError

SEG = LabelRule(("label-SC_seg",))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "one"
    for name in ("sub-02_T2w", "sub-01_ses-M0_T2w", "sub-01_ses-M12_T2w", "sub-03_flip-1_mt-on_MTS"):
        add_case(folder, name)
    add_case(folder, "sub-03_mt-off_MTS", label="")
    return folder


def names(source, root):
    return [case.name for case in find_cases(source, root)]


def test_images_with_a_label_are_found_in_the_order_of_names(root):
    found = find_cases(Source("one", SEG), root)
    assert [case.name for case in found] == [
        "one_sub-01_ses-M0_T2w",
        "one_sub-01_ses-M12_T2w",
        "one_sub-02_T2w",
        "one_sub-03_flip-1_mt-on_MTS",
    ]
    assert [case.contrast for case in found] == ["T2w", "T2w", "T2w", "mt-on_MTS"]
    assert [case.session for case in found] == ["ses-M0", "ses-M12", "", ""]


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({"contrasts": ("mt-on_MTS",)}, ["one_sub-03_flip-1_mt-on_MTS"]),
        ({"include": ("*_ses-M0_*",)}, ["one_sub-01_ses-M0_T2w"]),
        ({"include": ("sub-02", "sub-03")}, ["one_sub-02_T2w", "one_sub-03_flip-1_mt-on_MTS"]),
        ({"exclude": ("sub-01/ses-M12/*", "*_MTS.nii.gz")}, ["one_sub-01_ses-M0_T2w", "one_sub-02_T2w"]),
    ],
)
def test_contrasts_and_patterns_choose_images(root, rules, wanted):
    assert names(Source("one", SEG, **rules), root) == wanted


def test_labels_of_several_raters_are_all_taken(root):
    add_case(root, "sub-02_T2w", label="label-SC_desc-b_seg")
    rule = LabelRule(("label-SC_seg", "label-SC_desc-b_seg"))
    found = {case.name: len(case.labels) for case in find_cases(Source("one", rule), root)}
    assert found["one_sub-02_T2w"] == 2
    assert found["one_sub-01_ses-M0_T2w"] == 1


def test_a_file_of_git_annex_counts_though_its_content_is_not_here(root):
    (root / "sub-04" / "anat").mkdir(parents=True)
    labels = root / "derivatives" / "labels" / "sub-04" / "anat"
    labels.mkdir(parents=True)
    target = ".git/annex/objects/a/b/SHA256E-s5--ab.nii.gz/SHA256E-s5--ab.nii.gz"
    (root / "sub-04" / "anat" / "sub-04_T2w.nii.gz").symlink_to(f"../../{target}")
    (labels / "sub-04_T2w_label-SC_seg.nii.gz").symlink_to(f"../../../../{target}")
    assert "one_sub-04_T2w" in names(Source("one", SEG), root)


def test_pathology_comes_from_names_then_from_the_table_then_from_the_default(root):
    write_participants(root, {"sub-01": {"pathology": "MS"}, "sub-02": {"pathology": "ALS"}})
    rule = Pathology(subjects={"sub-02": "HC"}, default="other")
    found = {case.subject: case.pathology for case in find_cases(Source("one", SEG, pathology=rule), root)}
    assert found == {"sub-01": "MS", "sub-02": "HC", "sub-03": "other"}
    only = Pathology(only=("MS",))
    assert {case.subject for case in find_cases(Source("one", SEG, pathology=only), root)} == {"sub-01"}


def test_a_pattern_or_contrast_that_fits_nothing_is_said(root, caplog):
    with caplog.at_level(logging.WARNING):
        names(Source("one", SEG, exclude=("sub-99",), contrasts=("T2w", "PSIR")), root)
    assert "the pattern 'sub-99' fits no image" in caplog.text
    assert "no image has the contrast PSIR" in caplog.text


def test_labels_that_were_renamed_are_an_error_that_says_what_was_looked_for(root):
    source = Source("one", LabelRule(("seg-manual",)))
    with pytest.raises(InputError, match=r"anat/sub-01_ses-M0_T2w_seg-manual.nii.gz in .*one\. Check labels"):
        find_cases(source, root)


def test_a_dataset_without_such_images_is_an_error(root):
    with pytest.raises(InputError, match=r"has no image .* of PSIR, STIR"):
        find_cases(Source("one", SEG, contrasts=("PSIR", "STIR")), root)


def test_a_column_that_does_not_exist_is_an_error(root):
    write_participants(root, {"sub-01": {"age": "30"}})
    with pytest.raises(
        InputError, match=r"no value in column centre, .* as site_column; it has participant_id, age"
    ):
        find_cases(Source("one", SEG, site_column="centre"), root)


def test_a_subject_that_is_there_twice_is_an_error(root):
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\t3\nsub-01\t4\n", encoding="utf-8")
    with pytest.raises(InputError, match="sub-01 is there twice"):
        find_cases(Source("one", SEG), root)
