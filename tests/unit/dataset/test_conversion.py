import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidstrees import AXES, add_case, cylinder, write_data, write_image, write_participants, write_recipe
from softcord.dataset import convert, split_subjects
from softcord.errors import InputError, OutputError

PEOPLE = [f"{n:02d}" for n in range(6)]
FROZEN = {"test": ["sub-00"], "val": ["sub-01"], "train": [f"sub-{n}" for n in PEOPLE[2:]]}


@pytest.fixture
def tree(tmp_path):
    """A dataset of six people, one in test and one in val."""
    root = tmp_path / "one"
    for n in PEOPLE:
        add_case(root, f"sub-{n}_T2w")
    (tmp_path / "lists.yaml").write_text(json.dumps(FROZEN), encoding="utf-8")
    return root


def run(tmp_path, *roots, options=None, **source):
    data = write_data(tmp_path / "data", *roots)
    first = {"name": "one", "frozen": {"file": "lists.yaml"}, **source}
    recipe = write_recipe(tmp_path, first, *({"name": root.name} for root in roots[1:]))
    split_subjects(recipe, data, tmp_path / "split", overwrite=True)
    options = {"jobs": 1, "overwrite": True, **(options or {})}
    return convert(recipe, data, tmp_path / "raw", split=tmp_path / "split", **options)


def load(folder, name):
    return nib.load(folder / name)


def test_the_layout_is_that_of_nnunet(tmp_path, tree):
    made = run(tmp_path, tree)
    folder = tmp_path / "raw" / "Dataset999_Cord"
    assert made.folder == folder
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert facts["channel_names"] == {"0": "acq"}
    assert facts["labels"] == {"background": 0, "sc": 1}
    assert facts["numTraining"] == 5
    assert facts["softcord"]["orientation"] == "LAS"
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == [
        f"one_sub-{n}_T2w_0000.nii.gz" for n in PEOPLE[1:]
    ]
    for name in ("labelsTr", "softTr"):
        assert sorted(path.name for path in (folder / name).iterdir()) == [
            f"one_sub-{n}_T2w.nii.gz" for n in PEOPLE[1:]
        ]
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["one_sub-00_T2w_0000.nii.gz"]
    folds = json.loads((folder / "splits_final.json").read_text(encoding="utf-8"))
    assert folds == [
        {"train": [f"one_sub-{n}_T2w" for n in PEOPLE[2:]], "val": ["one_sub-01_T2w"]},
    ]


def test_nnunet_itself_finds_nothing_wrong_with_the_dataset(tmp_path, tree):
    for module in ("torch", "nnunetv2"):
        pytest.importorskip(module, reason="needs nnU-Net, which comes with softcord[train]")
    made = run(tmp_path, tree)
    code = (
        "import sys; from nnunetv2.experiment_planning import verify_dataset_integrity as nnunet\n"
        "if __name__ == '__main__': nnunet.verify_dataset_integrity(sys.argv[1], 1)"
    )
    script = tmp_path / "verify.py"
    script.write_text(code, encoding="utf-8")
    places = {f"nnUNet_{name}": str(tmp_path / "raw") for name in ("raw", "preprocessed", "results")}
    verdict = subprocess.run(
        [sys.executable, script, made.folder],
        env={**os.environ, **places},
        check=False,
        capture_output=True,
        text=True,
    )
    assert verdict.returncode == 0, verdict.stderr
    assert "verify_dataset_integrity Done" in verdict.stdout


def test_every_orientation_becomes_las_with_every_voxel_in_its_place(tmp_path, tree):
    codes = ["RAS", "LPI", "SAR", "PIR", "ASL", "IRP"]
    world = {}
    for n, code in zip(PEOPLE, codes, strict=True):
        path = tree / f"sub-{n}" / "anat" / f"sub-{n}_T2w.nii.gz"
        label = tree / "derivatives" / "labels" / f"sub-{n}" / "anat" / f"sub-{n}_T2w_label-SC_seg.nii.gz"
        for file in (path, label):
            image = nib.load(file)
            data = np.asarray(image.dataobj).copy()
            ornt = nib.orientations.ornt_transform(
                nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(code))
            )
            turned = nib.Nifti1Image(data, image.affine).as_reoriented(ornt)
            nib.save(turned, file)
        world[n] = (data.sum(), image.affine @ [*(np.argwhere(data).mean(axis=0)), 1])
    made = run(tmp_path, tree)
    assert made.mismatches == ()
    for n in PEOPLE:
        ending = "Ts" if n == "00" else "Tr"
        image = load(made.folder, f"images{ending}/one_sub-{n}_T2w_0000.nii.gz")
        label = load(made.folder, f"labels{ending}/one_sub-{n}_T2w.nii.gz")
        assert nib.aff2axcodes(image.affine) == ("L", "A", "S")
        np.testing.assert_allclose(image.affine, label.affine)
        cord = np.asarray(label.dataobj)
        assert cord.sum() == world[n][0]
        np.testing.assert_allclose(
            label.affine @ [*np.argwhere(cord).mean(axis=0), 1], world[n][1], atol=1e-4
        )
        inside = np.asarray(image.dataobj)[cord > 0].mean()
        assert inside > 350 > 150 > np.asarray(image.dataobj)[cord == 0].mean()


def test_the_type_of_whole_numbers_is_kept_and_values_are_not_changed(tmp_path, tree):
    before = np.asarray(nib.load(tree / "sub-02" / "anat" / "sub-02_T2w.nii.gz").dataobj)
    made = run(tmp_path, tree)
    image = load(made.folder, "imagesTr/one_sub-02_T2w_0000.nii.gz")
    assert image.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(image.dataobj)[::-1], before)


def test_oblique_and_slightly_sheared_headers_get_axes_at_right_angles(tmp_path, tree):
    turn = nib.eulerangles.euler2mat(0.1, 0.2, -0.15)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 1.0, 2.0]) @ np.array([[1, 0.004, 0], [0, 1, 0], [0, 0.003, 1]])
    add_case(tree, "sub-03_T2w", affine=affine)
    made = run(tmp_path, tree)
    image = load(made.folder, "imagesTr/one_sub-03_T2w_0000.nii.gz")
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    corners = np.array([[0, 0, 0, 1], [15, 15, 7, 1], [15, 0, 7, 1]])
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = 15
    apart = np.abs((corners @ (image.affine - affine @ flip).T)[:, :3]).max()
    assert apart < 0.1
    itk = pytest.importorskip("SimpleITK", reason="needs SimpleITK, which comes with softcord[dataset]")
    itk.ReadImage(str(made.folder / "imagesTr" / "one_sub-03_T2w_0000.nii.gz"))


def label_of(tree, n):
    return tree / "derivatives" / "labels" / f"sub-{n}" / "anat" / f"sub-{n}_T2w_label-SC_seg.nii.gz"


def test_a_label_on_another_grid_is_resampled_and_named_and_keeps_its_volume(tmp_path, tree):
    fine = np.diag([0.5, 0.5, 1.0, 1.0])
    fine[:3, 3] = [-0.25, -0.25, -0.5]
    cord = np.kron(cylinder(), np.ones((2, 2, 2), dtype=np.uint8))
    write_image(label_of(tree, "02"), cord, fine)
    made = run(tmp_path, tree)
    (record,) = made.mismatches
    assert record.case == "one_sub-02_T2w"
    assert record.placed == "resampled"
    assert "voxels of another size; the label was resampled" in record.notes
    soft = np.asarray(load(made.folder, "softTr/one_sub-02_T2w.nii.gz").dataobj)
    np.testing.assert_allclose(
        soft[::-1], cylinder(), atol=0.35
    )  # within a voxel: linear between fine voxels
    np.testing.assert_allclose(soft.sum(), cylinder().sum(), rtol=0.01)


def test_a_label_that_is_shifted_by_its_header_is_moved_and_named(tmp_path, tree):
    shifted = AXES.copy()
    shifted[0, 3] = 3.0
    write_image(label_of(tree, "02"), cylinder(shift=(-3, 0)), shifted)  # the same place in space
    made = run(tmp_path, tree)
    (record,) = made.mismatches
    assert record.apart_mm == pytest.approx(3)
    assert "places up to 3.00 mm apart" in record.notes
    soft = np.asarray(load(made.folder, "softTr/one_sub-02_T2w.nii.gz").dataobj)
    np.testing.assert_allclose(soft[::-1], cylinder(), atol=1e-5)


@pytest.mark.parametrize("why", ["no place in the header", "the recipe trusts voxels"])
def test_voxels_are_taken_where_the_header_of_the_label_is_wrong(tmp_path, tree, why):
    wrong = AXES.copy()
    wrong[0, 3] = 50.0
    path = write_image(label_of(tree, "02"), cylinder(), wrong)
    if why == "no place in the header":
        image = nib.load(path)
        image = nib.Nifti1Image(np.asarray(image.dataobj), None, image.header)
        image.set_sform(None, code=0)
        image.set_qform(None, code=0)
        nib.save(image, path)
        made = run(tmp_path, tree)
    else:
        made = run(tmp_path, tree, trust="voxels")
    (record,) = made.mismatches
    assert record.placed == "voxels"
    soft = np.asarray(load(made.folder, "softTr/one_sub-02_T2w.nii.gz").dataobj)
    np.testing.assert_array_equal(soft[::-1], cylinder())


def test_a_label_outside_its_image_fails_alone(tmp_path, tree):
    away = AXES.copy()
    away[0, 3] = 50.0
    write_image(label_of(tree, "02"), cylinder(), away)
    made = run(tmp_path, tree)
    ((name, error),) = made.failed
    assert name == "one_sub-02_T2w"
    assert "100 % of the label lie outside sub-02_T2w.nii.gz" in str(error)
    assert len(made.records) == 5
    facts = json.loads((made.folder / "dataset.json").read_text(encoding="utf-8"))
    assert facts["numTraining"] == 4


def test_the_soft_label_keeps_shares_and_the_hard_one_is_cut_at_a_half(tmp_path, tree):
    soft = cylinder().astype(np.float32) * 0.75
    soft[8, :, :] = 0.25
    write_image(label_of(tree, "02"), soft)
    made = run(tmp_path, tree)
    got = load(made.folder, "softTr/one_sub-02_T2w.nii.gz")
    assert got.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(got.dataobj)[::-1], soft)
    hard = np.asarray(load(made.folder, "labelsTr/one_sub-02_T2w.nii.gz").dataobj)
    np.testing.assert_array_equal(hard[::-1], soft >= 0.5)


def test_raters_are_averaged(tmp_path, tree):
    write_image(label_of(tree, "02").with_name("sub-02_T2w_label-SC_desc-b_seg.nii.gz"), cylinder(radius=3.0))
    made = run(tmp_path, tree, labels={"suffix": ["label-SC_seg", "label-SC_desc-b_seg"]})
    soft = np.asarray(load(made.folder, "softTr/one_sub-02_T2w.nii.gz").dataobj)
    np.testing.assert_array_equal(soft[::-1], (cylinder() + cylinder(radius=3.0).astype(float)) / 2)


def test_nan_in_image_and_label_become_zero_and_are_named(tmp_path, tree):
    label = cylinder().astype(np.float32)
    label[0, 0] = np.nan
    write_image(label_of(tree, "02"), label)
    image = np.random.default_rng(1).normal(10, 1, (16, 16, 8)).astype(np.float32)
    image[1, 1, 1] = np.nan
    write_image(tree / "sub-02" / "anat" / "sub-02_T2w.nii.gz", image)
    made = run(tmp_path, tree)
    for name in ("imagesTr/one_sub-02_T2w_0000.nii.gz", "softTr/one_sub-02_T2w.nii.gz"):
        assert np.isfinite(np.asarray(load(made.folder, name).dataobj)).all()
    record = next(record for record in made.records if record.case == "one_sub-02_T2w")
    assert record.notes.count("NaN or infinite") == 2


def test_sources_are_not_touched_though_they_are_links_and_read_only(tmp_path, tree):
    store = tmp_path / "store"
    store.mkdir()
    for path in [*tree.rglob("*.nii.gz")]:
        path.rename(store / path.name)
        (store / path.name).chmod(0o444)
        path.symlink_to(store / path.name)
    before = {path: path.read_bytes() for path in store.iterdir()}
    run(tmp_path, tree)
    assert {path: path.read_bytes() for path in store.iterdir()} == before


def test_provenance_says_where_each_case_came_from(tmp_path, tree):
    write_participants(tree, {f"sub-{n}": {"pathology": "MS"} for n in PEOPLE})
    made = run(tmp_path, tree)
    with (made.folder / "provenance.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 6
    row = rows[0]
    assert (row["case"], row["set"], row["pathology"]) == ("one_sub-00_T2w", "test", "MS")
    assert row["image"] == "sub-00/anat/sub-00_T2w.nii.gz"
    assert len(row["image_sha256"]) == 64
    assert float(row["soft_mm3"]) == pytest.approx(cylinder().sum() * 2)


def test_several_processes_make_the_same_files(tmp_path, tree):
    one = run(tmp_path, tree)
    first = {path.name: path.read_bytes() for path in one.folder.glob("*T[rs]/*")}
    two = run(tmp_path, tree, options={"jobs": 2, "overwrite": True})
    assert {path.name: path.read_bytes() for path in two.folder.glob("*T[rs]/*")} == first
    assert len(first) == 12  # labels and soft labels have one name


# ---- leaks that names do not show


def test_the_same_values_with_another_header_and_compression_in_two_sets_are_a_leak(tmp_path, tree):
    image = nib.load(tree / "sub-02" / "anat" / "sub-02_T2w.nii.gz")
    moved = image.affine.copy()
    moved[:3, 3] += 7
    copy = nib.Nifti1Image(np.asarray(image.dataobj).astype(np.float32), moved)
    nib.save(copy, tree / "sub-00" / "anat" / "sub-00_T2w.nii.gz")
    write_image(label_of(tree, "00"), cylinder(), moved)
    with pytest.raises(
        InputError, match=r"sub-00_T2w.nii.gz in test and one/\S+sub-02_T2w.nii.gz in train hold"
    ):
        run(tmp_path, tree)
    assert not (tmp_path / "raw" / "Dataset999_Cord" / "dataset.json").exists()


def test_a_split_in_which_a_person_was_moved_by_hand_is_refused(tmp_path, tree):
    add_case(tree, "sub-77_T2w", seed=1)
    path = tree / "sub-77" / "anat" / "sub-77_T2w.nii.gz"
    path.unlink()
    path.symlink_to("../../sub-00/anat/sub-00_T2w.nii.gz")
    run(tmp_path, tree)
    content = json.loads((tmp_path / "split" / "split.json").read_text(encoding="utf-8"))
    assert "sub-77" in content["test"]["one"]
    content["test"]["one"].remove("sub-77")
    content["train"]["one"].append("sub-77")
    (tmp_path / "split" / "split.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="the same file, by a link"):
        convert(tmp_path / "recipe.yaml", tmp_path / "data", tmp_path / "other", split=tmp_path / "split")


# ---- going on


def test_a_second_run_does_nothing_again_but_what_changed(tmp_path, tree):
    made = run(tmp_path, tree)
    times = {path: path.stat().st_mtime_ns for path in made.folder.glob("*T[rs]/*")}
    add_case(tree, "sub-03_T2w", seed=5)
    again = run(tmp_path, tree, options={"overwrite": False})
    assert again.n_before == 5
    changed = {path.name for path, then in times.items() if path.stat().st_mtime_ns != then}
    assert changed == {"one_sub-03_T2w_0000.nii.gz", "one_sub-03_T2w.nii.gz"}


def test_results_of_images_that_are_gone_are_removed(tmp_path, tree):
    run(tmp_path, tree)
    label_of(tree, "03").unlink()
    made = convert(
        tmp_path / "recipe.yaml", tmp_path / "data", tmp_path / "raw", split=tmp_path / "split", jobs=1
    )
    assert not list(made.folder.glob("*T[rs]/one_sub-03*"))
    assert len(list(made.folder.glob("*T[rs]/*"))) == 15


def test_a_dataset_of_another_split_is_not_mixed(tmp_path, tree):
    run(tmp_path, tree)
    lists = {**FROZEN, "test": ["sub-01"], "val": ["sub-00"]}
    (tmp_path / "lists.yaml").write_text(json.dumps(lists), encoding="utf-8")
    with pytest.raises(OutputError, match="made from another recipe or split"):
        run(tmp_path, tree, options={"overwrite": False})
    made = run(tmp_path, tree, options={"overwrite": True})
    assert [path.name for path in (made.folder / "imagesTs").iterdir()] == ["one_sub-01_T2w_0000.nii.gz"]
    assert not list((made.folder / "imagesTr").glob("one_sub-01*"))


def test_a_folder_that_softcord_did_not_make_is_left_alone(tmp_path, tree):
    folder = tmp_path / "raw" / "Dataset999_Cord"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="was not made by softcord"):
        run(tmp_path, tree)
    assert (folder / "mine.txt").exists()


@pytest.mark.parametrize("ended_at", ["imagesTr", "labelsTs"])
def test_a_run_that_was_ended_while_its_folders_were_made_goes_on(tmp_path, tree, monkeypatch, ended_at):
    mkdir = Path.mkdir

    def killed(self, *arguments, **options):
        if self.name == ended_at:
            raise KeyboardInterrupt
        mkdir(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, tree)
    assert (run(tmp_path, tree).folder / "dataset.json").is_file()


def test_a_run_that_was_ended_before_it_said_what_it_was_goes_on(tmp_path, tree):
    records = tmp_path / "raw" / "Dataset999_Cord" / ".cases"
    records.mkdir(parents=True)
    (records / ".softcord-0123456789ab.tmp").write_text("{", encoding="utf-8")
    assert (run(tmp_path, tree).folder / "dataset.json").is_file()


def test_a_person_who_is_new_since_the_split_is_an_error(tmp_path, tree):
    run(tmp_path, tree)
    add_case(tree, "sub-99_T2w")
    with pytest.raises(InputError, match="one/sub-99: in no set of the split"):
        convert(tmp_path / "recipe.yaml", tmp_path / "data", tmp_path / "raw", split=tmp_path / "split")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path, jobs):
    root = tmp_path / "one"
    for n in range(16):
        add_case(root, f"sub-{n:02d}_T2w", shape=(48, 48, 24))
    data = write_data(tmp_path / "data", root)
    recipe = write_recipe(tmp_path, {"name": "one"})
    split_subjects(recipe, data, tmp_path / "split")
    words = ["dataset", "convert", recipe, data, "--split", tmp_path / "split", "-o", tmp_path / "raw"]
    command = [sys.executable, "-m", "softcord", *map(str, words), "--jobs", str(jobs)]
    records = tmp_path / "raw" / "Dataset999_Cord" / ".cases"
    process = subprocess.Popen(command)
    wait_for(lambda: len(list(records.glob("one_*.json"))) >= 2, process)
    workers = children_of(process.pid)
    assert len(workers) >= (2 if jobs == 2 else 0)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {path.name for path in records.glob("one_*.json")}
    assert 2 <= len(done) < 16
    assert not (records.parent / "dataset.json").exists()
    wait_for(lambda: not any(map(is_running, workers)), None)  # its workers leave with it
    done = {path.stem for path in records.glob("one_*.json")}
    times = {path: path.stat().st_mtime_ns for name in done for path in records.parent.glob(f"*T*/{name}*")}
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"16 cases ({len(done)} done before)" in run.stdout
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert len(list(records.parent.glob("*T[rs]/*.nii.gz"))) == 48
    whole = convert(recipe, data, tmp_path / "whole", split=tmp_path / "split", jobs=1).folder
    for path in whole.glob("*T[rs]/*"):
        assert (records.parent / path.relative_to(whole)).read_bytes() == path.read_bytes()
    for name in ("dataset.json", "splits_final.json", "provenance.tsv"):
        assert (whole / name).read_text() == (records.parent / name).read_text()


def wait_for(condition, process):
    for _ in range(20000):
        if condition():
            return
        assert process is None or process.poll() is None, "ended before it could be killed"
        time.sleep(0.003)
    pytest.fail("waited too long")


def children_of(pid):
    """Processes that a process has started."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return {int(child) for child, parent in map(str.split, listing.splitlines()) if int(parent) == pid}


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    listing = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(listing, check=False, capture_output=True, text=True).stdout
    return bool(state) and not state.startswith("Z")
