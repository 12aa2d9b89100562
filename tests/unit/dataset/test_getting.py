import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from annexes import WHO, git, make_annex, release, save
from bidstrees import add_case, write_recipe
from softcord.dataset import get_datasets, split_subjects
from softcord.dataset.people import is_here
from softcord.errors import UsageError

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None
    or find_spec("datalad") is None
    or shutil.which("git-annex", path=WHO["PATH"]) is None,
    reason="needs git, DataLad and git-annex, which come with softcord[dataset]",
)
SIX = [f"{n:02d}" for n in range(6)]


@pytest.fixture(autouse=True)
def unlock(tmp_path, monkeypatch):
    """Let pytest remove the annexes afterwards; no settings of the user."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    yield
    release(tmp_path)


def here(folder: Path) -> set[str]:
    """Names of images and labels whose content is in a clone."""
    return {path.name for path in folder.rglob("*.nii.gz") if ".git" not in path.parts and is_here(path)}


def test_only_the_needed_files_of_a_real_annex_are_fetched(tmp_path):
    source = make_annex(tmp_path / "source", SIX, contrasts=("T2w", "T1w"))
    recipe = write_recipe(
        tmp_path, {"name": "one", "url": source.as_uri(), "contrasts": ["T2w"], "exclude": ["sub-03"]}
    )
    result = get_datasets(recipe, tmp_path / "data")
    wanted = {f"sub-{n}_T2w{end}" for n in SIX if n != "03" for end in (".nii.gz", "_label-SC_seg.nii.gz")}
    assert here(tmp_path / "data" / "one") == wanted
    assert (result.n_files, result.n_new, result.missing) == (10, 10, ())
    (state,) = result.states
    assert state.commit == git(source, "rev-parse", "HEAD")
    assert not state.dirty
    assert len(list((tmp_path / "data" / "one").rglob("*.nii.gz"))) > 24  # the names of all are there


@pytest.mark.parametrize("version", ["r1", "commit", "work"])
def test_a_tag_a_commit_and_a_branch_are_checked_out(tmp_path, version):
    source = make_annex(tmp_path / "source", SIX)
    first = git(source, "rev-parse", "HEAD")
    git(source, "branch", "work")
    add_case(source, "sub-99_T2w")
    save(source, "second")
    name = first if version == "commit" else version
    recipe = write_recipe(tmp_path, {"name": "one", "url": source.as_uri(), "version": name})
    result = get_datasets(recipe, tmp_path / "data")
    assert result.states[0].commit == first
    assert not (tmp_path / "data" / "one" / "sub-99").exists()


def test_a_later_version_is_checked_out_in_the_same_clone(tmp_path):
    source = make_annex(tmp_path / "source", SIX)
    get_datasets(
        write_recipe(tmp_path, {"name": "one", "url": source.as_uri(), "version": "r1"}), tmp_path / "data"
    )
    add_case(source, "sub-99_T2w")
    second = save(source, "second")
    git(source, "tag", "r2")
    recipe = write_recipe(tmp_path, {"name": "one", "url": source.as_uri(), "version": "r2"})
    result = get_datasets(recipe, tmp_path / "data")
    assert result.states[0].commit == second
    assert result.n_new == 2


def test_what_cannot_be_had_is_listed_and_the_rest_is_got(tmp_path):
    source = make_annex(tmp_path / "source", SIX)
    git(source, "annex", "drop", "--force", "-q", "sub-02")
    other = tmp_path / "other"
    add_case(other, "sub-50_T2w")
    recipe = write_recipe(
        tmp_path,
        {"name": "gone", "url": (tmp_path / "nowhere").as_uri()},
        {"name": "one", "url": source.as_uri()},
        {"name": "given"},
        {"name": "old", "url": source.as_uri(), "version": "r0"},
        {"name": "other", "path": "other"},
    )
    result = get_datasets(recipe, tmp_path / "data")
    assert [state.name for state in result.states] == ["one", "other"]
    missing = {(one.dataset, one.path): one.reason for one in result.missing}
    assert set(missing) == {
        ("gone", ""),
        ("one", "sub-02/anat/sub-02_T2w.nii.gz"),
        ("given", ""),
        ("old", ""),
    }
    assert "cannot be cloned" in missing["gone", ""]
    assert "not available" in missing["one", "sub-02/anat/sub-02_T2w.nii.gz"]
    assert "Say it with --folder given=DIR" in missing["given", ""]
    assert "no commit, tag or branch r0" in missing["old", ""]
    with (tmp_path / "data" / "missing.tsv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file, delimiter="\t"))) == 4
    assert not list((tmp_path / "data").glob(".*"))  # no half clones
    assert result.n_files == 13


def test_changes_in_a_clone_are_recorded(tmp_path):
    source = make_annex(tmp_path / "source", SIX)
    recipe = write_recipe(tmp_path, {"name": "one", "url": source.as_uri()})
    get_datasets(recipe, tmp_path / "data")
    table = tmp_path / "data" / "one" / "participants.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace("HC", "MS"), encoding="utf-8")
    result = get_datasets(recipe, tmp_path / "data")
    assert result.states[0].dirty
    assert result.states[0].modified == ("participants.tsv",)
    split = split_subjects(recipe, tmp_path / "data", tmp_path / "split")
    assert split.commits["one"].endswith("+changes")


def test_a_clone_with_changes_is_not_moved_to_another_version(tmp_path):
    source = make_annex(tmp_path / "source", SIX)
    get_datasets(
        write_recipe(tmp_path, {"name": "one", "url": source.as_uri(), "version": "r1"}), tmp_path / "data"
    )
    save_path = tmp_path / "data" / "one" / "participants.tsv"
    save_path.write_text(save_path.read_text(encoding="utf-8") + "sub-77\tHC\n", encoding="utf-8")
    add_case(source, "sub-99_T2w")
    save(source, "second")
    git(source, "tag", "r2")
    recipe = write_recipe(tmp_path, {"name": "one", "url": source.as_uri(), "version": "r2"})
    result = get_datasets(recipe, tmp_path / "data")
    assert "with changes, the recipe says r2" in result.missing[0].reason
    assert "sub-77" in save_path.read_text(encoding="utf-8")


def test_a_folder_without_git_is_used_where_it_is(tmp_path):
    root = tmp_path / "elsewhere" / "set"
    for n in SIX:
        add_case(root, f"sub-{n}_T2w")
    recipe = write_recipe(tmp_path, {"name": "one", "path": "nowhere"})
    result = get_datasets(recipe, tmp_path / "data", folders={"one": root})
    assert result.missing == ()
    assert result.states[0].commit == ""
    split = split_subjects(recipe, tmp_path / "data", tmp_path / "split")
    assert sum(len(getattr(split, name)["one"]) for name in ("train", "val", "test")) == 6


def test_the_commit_of_a_folder_under_git_is_recorded(tmp_path):
    source = make_annex(tmp_path / "source", SIX)
    recipe = write_recipe(tmp_path, {"name": "one", "path": "source"})
    result = get_datasets(recipe, tmp_path / "data")
    assert result.states[0].commit == git(source, "rev-parse", "HEAD")


def test_a_folder_of_an_unknown_dataset_is_an_error(tmp_path):
    recipe = write_recipe(tmp_path, {"name": "one"})
    with pytest.raises(UsageError, match="has no dataset two; it has one"):
        get_datasets(recipe, tmp_path / "data", folders={"two": tmp_path})


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    subjects = [f"{n:02d}" for n in range(40)]
    source = make_annex(tmp_path / "source", subjects)
    recipe = write_recipe(tmp_path, {"name": "one", "url": source.as_uri()})
    words = ["dataset", "get", recipe, "-o", tmp_path / "data", "--jobs", "1"]
    command = [sys.executable, "-m", "softcord", *map(str, words)]
    process = subprocess.Popen(command)
    clone = tmp_path / "data" / "one"
    for _ in range(20000):
        if clone.exists() and len(here(clone)) >= 3:
            break
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.003)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in clone.glob("sub-*/anat/*.nii.gz") if is_here(path)}
    assert 1 <= len(before) < 40
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "80 files here" in run.stdout
    assert len(here(clone)) == 80
    assert {path: path.stat().st_mtime_ns for path in before} == before
    states = json.loads((tmp_path / "data" / "datasets.json").read_text(encoding="utf-8"))
    assert states["datasets"][0]["commit"] == git(source, "rev-parse", "HEAD")


def test_a_clone_that_was_killed_is_made_anew(tmp_path):
    source = make_annex(tmp_path / "source", SIX)
    half = tmp_path / "data" / ".one.partial" / ".git" / "annex" / "objects" / "x"
    half.mkdir(parents=True)
    (half / "file").write_text("half", encoding="utf-8")
    half.chmod(0o500)
    recipe = write_recipe(tmp_path, {"name": "one", "url": source.as_uri()})
    result = get_datasets(recipe, tmp_path / "data")
    assert result.n_new == 12
    assert [path.name for path in (tmp_path / "data").iterdir() if path.is_dir()] == ["one"]
