import json
import os
import random
import shutil

import pytest

from bidstrees import add_case, write_data, write_participants, write_recipe
from softcord.dataset import read_split, split_subjects
from softcord.dataset.cases import find_cases
from softcord.dataset.people import check_leaks
from softcord.dataset.recipe import LabelRule, Source
from softcord.errors import InputError, OutputError

SEG = LabelRule(("label-SC_seg",))


def build(tmp_path, *subjects, name="one", contrasts=("T2w", "T1w")):
    root = tmp_path / name
    for subject in subjects:
        for contrast in contrasts:
            add_case(root, f"sub-{subject}_{contrast}")
    return root


def split(tmp_path, *roots, sources=None, **keys):
    data = write_data(tmp_path / "data", *roots)
    sources = sources or [{"name": root.name} for root in roots]
    return split_subjects(write_recipe(tmp_path, *sources, **keys), data, tmp_path / "split")


TEN = [f"{n:02d}" for n in range(10)]


def test_every_subject_is_in_one_set(tmp_path):
    made = split(tmp_path, build(tmp_path, *TEN))
    sets = [*made.train["one"], *made.val["one"], *made.test["one"]]
    assert sorted(sets) == [f"sub-{n}" for n in TEN]
    assert [len(made.train["one"]), len(made.val["one"]), len(made.test["one"])] == [8, 1, 1]
    assert read_split(tmp_path / "split" / "split.json") == made


def test_the_split_does_not_depend_on_the_order_in_which_the_disk_lists_files(tmp_path, monkeypatch):
    first = split(tmp_path, build(tmp_path, *TEN))
    real = os.scandir

    def shuffled(*args):
        with real(*args) as entries:
            found = list(entries)
        random.Random(len(found)).shuffle(found)
        return _Entries(found)

    monkeypatch.setattr(os, "scandir", shuffled)
    other = tmp_path / "other"
    root = build(other, *reversed(TEN))
    assert split(other, root).test == first.test
    assert split(tmp_path, tmp_path / "one") == first


class _Entries(list):
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def close(self):
        return None


def test_the_split_does_not_depend_on_which_files_have_been_fetched(tmp_path):
    root = build(tmp_path, *TEN)
    first = split(tmp_path, root)
    for path in [*root.glob("sub-0[0-4]/anat/*.nii.gz")]:
        path.unlink()
        path.symlink_to(f"../../.git/annex/objects/a/b/K/SHA256E-s9--{path.stem}.nii.gz")
    assert split(tmp_path, root) == first
    assert "leave out 10 images" in (tmp_path / "split" / "statistics.md").read_text()


# ---- one person in two sets


def rows(tmp_path, *pairs):
    """Cases of one dataset with planted sets."""
    cases = {case.image.name: case for case in find_cases(Source("one", SEG), tmp_path / "one")}
    return [cases[f"{name}.nii.gz"] for name, _ in pairs], [chosen for _, chosen in pairs]


def test_a_person_with_two_sessions_in_two_sets_is_a_leak(tmp_path):
    build(tmp_path, "01_ses-1", "01_ses-2", "02")
    planted = [("sub-01_ses-1_T2w", "train"), ("sub-02_T2w", "train"), ("sub-01_ses-2_T2w", "test")]
    with pytest.raises(InputError) as raised:
        check_leaks(*rows(tmp_path, *planted))
    assert "one/sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz in train" in str(raised.value)
    assert "one/sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz in test" in str(raised.value)
    planted[2] = ("sub-01_ses-2_T2w", "train")
    check_leaks(*rows(tmp_path, *planted, ("sub-02_T1w", "train")))


def frozen(tmp_path, name, **lists):
    (tmp_path / f"{name}.yaml").write_text(json.dumps(lists), encoding="utf-8")
    return {"file": f"{name}.yaml"}


def test_a_person_of_two_datasets_in_two_sets_is_a_leak(tmp_path):
    roots = build(tmp_path, *TEN), build(tmp_path, "03", "11", "12", name="two")
    sources = [
        {"name": "one", "frozen": frozen(tmp_path, "one", test=["sub-01"], train=["sub-03"], val=["sub-02"])},
        {"name": "two", "frozen": frozen(tmp_path, "two", test=["sub-03"])},
    ]
    with pytest.raises(InputError, match=r"one/sub-03/\S+ in train and two/sub-03/\S+ in test .*`people`"):
        split(tmp_path, *roots, sources=sources)
    sources[1]["people"] = "hospital"  # names that have nothing to do with those of the other
    made = split(tmp_path, *roots, sources=sources)
    assert made.set_of("one", "sub-03") == "train"
    assert made.set_of("two", "sub-03") == "test"


def test_a_person_of_two_datasets_is_kept_together_when_nothing_is_frozen(tmp_path):
    roots = build(tmp_path, *TEN), build(tmp_path, *TEN, name="two")
    made = split(tmp_path, *roots)
    assert made.test["one"] == made.test["two"]
    assert made.val["one"] == made.val["two"]


def link_subject(root):
    (root / "sub-77").mkdir()
    (root / "sub-77" / "anat").symlink_to("../sub-03/anat")
    folder = root / "derivatives" / "labels"
    shutil.copytree(folder / "sub-03", folder / "sub-77")
    for path in folder.glob("sub-77/anat/*"):
        path.rename(path.with_name(path.name.replace("sub-03", "sub-77")))


def link_file(root):
    add_case(root, "sub-77_T2w")
    path = root / "sub-77" / "anat" / "sub-77_T2w.nii.gz"
    path.unlink()
    path.symlink_to("../../sub-03/anat/sub-03_T2w.nii.gz")


def copy_file(root):
    link_file(root)
    path = root / "sub-77" / "anat" / "sub-77_T2w.nii.gz"
    path.unlink()
    shutil.copy(root / "sub-03" / "anat" / "sub-03_T2w.nii.gz", path)


def hard_link(root):
    link_file(root)
    path = root / "sub-77" / "anat" / "sub-77_T2w.nii.gz"
    path.unlink()
    os.link(root / "sub-03" / "anat" / "sub-03_T2w.nii.gz", path)


def same_annex_key(root):
    link_file(root)
    for subject, folder in (("03", "a/b"), ("77", "x/y")):  # as in two annexes, that name folders differently
        path = root / f"sub-{subject}" / "anat" / f"sub-{subject}_T2w.nii.gz"
        path.unlink()
        path.symlink_to(f"../../.git/annex/objects/{folder}/MD5E-s9--0cc1.nii.gz/MD5E-s9--0cc1.nii.gz")


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (link_file, "the same file, by a link"),
        (copy_file, "files with the same content"),
        (hard_link, "files with the same content"),
        (same_annex_key, "files with the same content"),
    ],
)
def test_one_image_under_two_names_in_two_sets_is_a_leak(tmp_path, plant, reason):
    root = build(tmp_path, *TEN)
    plant(root)
    lists = frozen(tmp_path, "one", test=["sub-77"], train=["sub-03"], val=["sub-02"])
    with pytest.raises(
        InputError, match=rf"sub-03_T2w.nii.gz in train and \S+sub-77_T2w.nii.gz in test \({reason}"
    ):
        split(tmp_path, root, sources=[{"name": "one", "frozen": lists}])


@pytest.mark.parametrize("plant", [link_file, copy_file, hard_link, same_annex_key])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_image_under_two_names_stays_in_one_set_by_itself(tmp_path, plant, seed):
    root = build(tmp_path, *TEN)
    plant(root)
    made = split(tmp_path, root, seed=seed, ratios=[0.4, 0.3, 0.3])
    assert made.set_of("one", "sub-03") == made.set_of("one", "sub-77")


def test_a_folder_that_is_a_link_to_another_subject_is_a_leak(tmp_path):
    root = build(tmp_path, *TEN)
    link_subject(root)
    for path in root.glob("sub-03/anat/*"):  # names in the folder are those of the other subject
        (path.parent / path.name.replace("sub-03", "sub-77")).symlink_to(path.name)
    lists = frozen(tmp_path, "one", test=["sub-77"], train=["sub-03"], val=["sub-02"])
    with pytest.raises(InputError, match="the same file, by a link"):
        split(tmp_path, root, sources=[{"name": "one", "frozen": lists}])


def test_a_person_with_two_subject_names_in_a_table_is_one_person(tmp_path):
    root = build(tmp_path, *TEN)
    write_participants(root, {f"sub-{n}": {"patient": "P3" if n in ("03", "07") else f"Q{n}"} for n in TEN})
    source = {"name": "one", "person_column": "patient"}
    add_case(tmp_path / "two", "sub-07_T2w")  # and its subject name still counts in another dataset
    for seed in range(4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        data = write_data(folder / "data", root, tmp_path / "two")
        recipe = write_recipe(folder, source, {"name": "two"}, seed=seed, ratios=[0.4, 0.3, 0.3])
        made = split_subjects(recipe, data, folder / "split")
        sets = {made.set_of("one", "sub-03"), made.set_of("one", "sub-07"), made.set_of("two", "sub-07")}
        assert len(sets) == 1
    lists = frozen(tmp_path, "one", test=["sub-07"], val=["sub-03"])
    with pytest.raises(InputError, match="the same person by name or table"):
        split(tmp_path, root, sources=[{**source, "frozen": lists}])


def test_a_chain_of_links_is_one_person(tmp_path):
    root = build(tmp_path, *TEN)
    write_participants(root, {f"sub-{n}": {"patient": "P" if n in ("07", "08") else n} for n in TEN})
    copy = root / "sub-08" / "anat" / "sub-08_T1w.nii.gz"
    copy.unlink()
    copy.symlink_to("../../sub-03/anat/sub-03_T1w.nii.gz")  # 03 is 08, and 08 is 07
    lists = frozen(tmp_path, "one", test=["sub-07"], val=["sub-03"])
    sources = [{"name": "one", "person_column": "patient", "frozen": lists}]
    with pytest.raises(InputError, match=r"one/sub-03 \(val\).*one/sub-07 \(test\)"):
        split(tmp_path, root, sources=sources)


# ---- lists that never change


def test_a_frozen_test_list_is_honoured_and_not_rewritten(tmp_path):
    root = build(tmp_path, *TEN)
    lists = frozen(tmp_path, "one", test=["sub-04", "sub-99"])
    before = (tmp_path / "one.yaml").read_bytes()
    made = split(tmp_path, root, sources=[{"name": "one", "frozen": lists}], ratios=[0.5, 0.2, 0.3])
    assert made.test == {"one": ("sub-04",)}
    assert made.frozen["one"].absent == ("sub-99",)
    assert (tmp_path / "one.yaml").read_bytes() == before
    assert len(made.val["one"]) == 3  # of the nine others, in the proportion of 0.5 to 0.2


def test_an_earlier_split_can_be_the_frozen_list(tmp_path):
    root = build(tmp_path, *TEN)
    earlier = split(tmp_path, root, seed=4)
    shutil.copy(tmp_path / "split" / "split.json", tmp_path / "earlier.json")
    for name in ("20", "21", "22", "23", "24"):
        add_case(root, f"sub-{name}_T2w")
    later = tmp_path / "later"
    later.mkdir()
    source = {"name": "one", "frozen": {"file": "../earlier.json"}}
    made = split_subjects(write_recipe(later, source), tmp_path / "data", later)
    assert made.test == earlier.test
    assert set(made.train["one"]) >= set(earlier.train["one"])
    assert set(made.val["one"]) >= set(earlier.val["one"])
    assert len(made.train["one"]) + len(made.val["one"]) == 14


def test_nobody_enters_a_frozen_test_set_by_way_of_another_dataset(tmp_path):
    roots = build(tmp_path, *TEN), build(tmp_path, *TEN, name="two")
    lists = frozen(tmp_path, "two", test=["sub-04"])
    sources = [{"name": "one"}, {"name": "two", "frozen": lists}]
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "two.yaml").write_text((tmp_path / "two.yaml").read_text())
        data = write_data(folder / "data", *roots)
        made = split_subjects(write_recipe(folder, *sources, seed=seed), data, folder / "split")
        assert made.test == {"one": ("sub-04",), "two": ("sub-04",)}


def test_a_column_may_say_who_is_in_test_and_leaves_out_others(tmp_path):
    root = build(tmp_path, *TEN)
    words = ["test", "test", "unlabelled", *["train"] * 7]
    write_participants(root, {f"sub-{n}": {"split": word} for n, word in zip(TEN, words, strict=True)})
    made = split(tmp_path, root, sources=[{"name": "one", "frozen": {"column": "split"}}])
    assert made.test["one"] == ("sub-00", "sub-01")
    assert (len(made.train["one"]), len(made.val["one"])) == (6, 1)
    assert made.set_of("one", "sub-02") is None


def test_another_split_is_not_overwritten(tmp_path):
    root = build(tmp_path, *TEN)
    first = split(tmp_path, root)
    with pytest.raises(OutputError, match="holds another split"):
        split(tmp_path, root, seed=51)
    assert read_split(tmp_path / "split" / "split.json") == first


def test_too_few_people_are_an_error(tmp_path):
    with pytest.raises(InputError, match="val would be empty: 2 people"):
        split(tmp_path, build(tmp_path, "01", "02"))


def test_a_split_that_was_edited_into_a_leak_is_refused(tmp_path):
    split(tmp_path, build(tmp_path, *TEN))
    path = tmp_path / "split" / "split.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["train"]["one"].append(content["test"]["one"][0])
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=r"one/sub-\d\d is in train and in test"):
        read_split(path)


def test_folds_leave_out_whole_people_and_never_those_of_test(tmp_path):
    made = split(tmp_path, build(tmp_path, *TEN), folds=3)
    left_out = [subject for fold in made.folds for subject in fold["one"]]
    assert sorted(left_out) == sorted([*made.train["one"], *made.val["one"]])
    assert [len(fold["one"]) for fold in made.folds] == [3, 3, 3]


def test_statistics_count_subjects_images_contrasts_and_vendors(tmp_path):
    root = build(tmp_path, *TEN)
    write_participants(root, {f"sub-{n}": {"pathology": "MS" if n < "05" else "HC"} for n in TEN})
    for n in TEN[:4]:
        sidecar = root / f"sub-{n}" / "anat" / f"sub-{n}_T2w.json"
        sidecar.write_text('{"Manufacturer": "Siemens"}', encoding="utf-8")
    split(tmp_path, root)
    page = (tmp_path / "split" / "statistics.md").read_text(encoding="utf-8")
    assert "| one | 8 | 16 | 1 | 2 | 1 | 2 | 10 | 20 |" in page
    assert "| T2w | 8 | 8 | 1 | 1 | 1 | 1 | 10 | 10 |" in page
    assert page.count("| Siemens |") == 1
    assert page.split("| Siemens |")[1].split("\n")[0].endswith("4 | 4 |")
    assert "| T1w | axial | 10 | 1.00, 1.00, 1.00 | 1.00, 1.00, 1.00 | 2.00, 2.00, 2.00 |" in page
    ms = next(line for line in page.splitlines() if line.startswith("| MS |"))
    assert ms.endswith("| 5 | 10 |")
    table = (tmp_path / "split" / "images.tsv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 21


def test_the_shared_images_are_split_as_their_table_says(tmp_path, shared, root):
    data = tmp_path / "data"
    data.mkdir()
    row = {"name": "shared-bids", "folder": str(shared / "data" / "bids")}
    (data / "datasets.json").write_text(json.dumps({"datasets": [row]}), encoding="utf-8")
    made = split_subjects(root / "recipes" / "dataset-shared-bids.yaml", data, tmp_path / "split")
    assert made.test["shared-bids"] == ("sub-epi01", "sub-ex2014", "sub-gm10062")
    assert len(made.train["shared-bids"]) + len(made.val["shared-bids"]) == 6
    assert len(made.val["shared-bids"]) == 2
