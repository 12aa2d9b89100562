"""A model is installed whole or not at all, from whatever it is packed in, by however many at once."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from nnunet_models import dataset, plans, serve, write_checkpoint, write_model, zip_folder
from pickled import Call, Name
from softcord import models
from softcord.errors import InputError, ModelError, OutputError, UsageError
from softcord.models import describe, export, install, locate, models_folder, remove
from softcord.models.download import DownloadOptions
from softcord.models.releases import RELEASES, find_release
from softcord.models.store import find_installed, list_installed, read_installed

QUICK = DownloadOptions(timeout_s=2, tries=3, pause_s=0.01)
RESULTS = "nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setenv("SOFTCORD_MODELS", str(folder))
    return folder


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / RESULTS)


@pytest.fixture
def archive(tmp_path, model):
    return zip_folder(model, tmp_path / "model.zip", top=f"model_20250123/{RESULTS}/")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def left_over(store):
    """Everything in the store but models, locks and checksums."""
    return [
        name
        for name in names(store)
        if not (
            name.endswith("/lock")
            or name.startswith(".checksums")
            or "/model/" in f"/{name}"
            or "/installed.json" in name
        )
    ]


WANTED = ["dataset.json", "fold_0/checkpoint_final.pth", "plans.json"]


# ---- what is installed


def test_a_zip_is_installed_with_the_files_that_matter(store, archive):
    done = install(archive)
    installed = done.installed
    assert done.is_new
    assert installed.name == "model"
    assert installed.kind == "nnunet"
    assert installed.folds == ("0",)
    assert installed.sha256 == sha256(archive)
    assert names(installed.content) == WANTED
    assert installed.size_bytes == sum(path.stat().st_size for path in installed.content.rglob("*.*"))
    assert installed.facts["classes"] == {"sc": 1}
    assert installed.facts["spacing"] == [1.0, 0.8, 0.8]
    assert installed.facts["patch"] == [16, 32, 48]
    assert installed.facts["mirror_axes"] == [0, 1, 2]
    assert find_installed("model") == store / "model"
    assert read_installed("model") == installed
    assert list_installed() == [installed]
    assert locate("model") == installed.content
    assert left_over(store) == []


def test_the_same_model_has_the_same_hash_however_it_was_packed(tmp_path, model, archive):
    one = install(archive, name="one").installed
    two = install(model, name="two").installed
    three = install(tmp_path, name="three", inside=RESULTS).installed
    assert one.content_sha256 == two.content_sha256 == three.content_sha256
    assert two.sha256 is None
    assert describe(model).sha256 == one.content_sha256 == describe("one").sha256


@pytest.mark.parametrize("top", ["", "a/", f"a/b/c/{RESULTS}/"])
def test_any_depth_of_folders_will_do(tmp_path, model, top):
    assert install(zip_folder(model, tmp_path / "m.zip", top=top)).installed.folds == ("0",)


def test_several_folds_and_fold_all_are_found(tmp_path):
    model = write_model(tmp_path / "m", folds=("0", "1", "all"), names=("final", "best", "latest"))
    installed = install(model).installed
    assert installed.folds == ("0", "1", "all")
    assert "fold_all/checkpoint_best.pth" in installed.files
    assert not [name for name in installed.files if "latest" in name]


def test_an_unfinished_training_is_taken_as_it_is(tmp_path):
    assert (
        "fold_0/checkpoint_latest.pth"
        in install(write_model(tmp_path / "m", names=("latest",))).installed.files
    )


def test_what_macos_leaves_in_zips_is_ignored(tmp_path, model):
    more = {"__MACOSX/._plans.json": b"x", f"{RESULTS}/._dataset.json": b"x", ".DS_Store": b"x"}
    path = zip_folder(model, tmp_path / "m.zip", top=f"{RESULTS}/", more=more)
    assert names(install(path).installed.content) == WANTED


@pytest.mark.parametrize("place", ["", f"{RESULTS}/"])
def test_the_crop_of_models_trained_on_crops_is_kept(tmp_path, model, place):
    crop = {"superior": 40, "inferior": 100}
    more = {f"{place}crop_metadata.json": json.dumps(crop).encode()}
    installed = install(zip_folder(model, tmp_path / "m.zip", top=f"{RESULTS}/", more=more)).installed
    assert json.loads((installed.content / "crop_metadata.json").read_text()) == crop
    assert installed.facts["crop"] == crop


def test_of_several_models_the_full_resolution_is_taken_or_one_is_asked_for(tmp_path):
    for kind in ("2d", "3d_fullres"):
        write_model(tmp_path / "all" / f"nnUNetTrainer__nnUNetPlans__{kind}")
    assert install(tmp_path / "all").installed.kind == "nnunet"
    write_model(tmp_path / "all" / "other__3d_fullres")
    with pytest.raises(ModelError, match=r"holds 3 models: .*2d.*--inside"):
        install(tmp_path / "all", name="b")
    assert install(tmp_path / "all", name="b", inside="other__3d_fullres").is_new
    with pytest.raises(ModelError, match="holds no folder nowhere"):
        install(tmp_path / "all", name="c", inside="nowhere")


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "file"])
def test_a_checkpoint_alone_is_a_start_for_training_and_cannot_segment(tmp_path, is_zip, monkeypatch):
    path = write_checkpoint(tmp_path / "in" / "model_final.pth", bare=True)
    if is_zip:
        path = zip_folder(path.parent, tmp_path / "start_nnunet_compatible.zip")
    installed = install(path, name="start").installed
    assert installed.kind == "weights"
    assert names(installed.content) == ["checkpoint.pth"]
    assert installed.facts["features"] == [4, 8]
    assert installed.facts["is_readme_topology"] is False
    monkeypatch.setattr("softcord.models.results.README_FEATURES", [4, 8])
    assert install(path, name="known").installed.facts["is_readme_topology"] is True
    assert "cannot segment" in describe("start").description
    with pytest.raises(ModelError, match=r"'start' is a checkpoint alone, .*Start a training"):
        models.load("start")


def test_a_model_of_softcords_own_format_is_installed_too(tmp_path):
    sha = export("softcord", tmp_path / "own.zip")
    installed = install(tmp_path / "own.zip", sha256=sha).installed
    assert installed.kind == "compact"
    assert models.load("own", device="cpu", threads=1).info.sha256 == models.describe("softcord").sha256


def test_the_name_is_that_of_the_file_unless_given(tmp_path, model):
    for file, name in (
        ("My model (2).zip", "My-model-2"),
        ("model_x_20260101_nnunet_compatible.zip", "model_x_20260101"),
    ):
        assert install(zip_folder(model, tmp_path / file)).installed.name == name
    for name in ("", "a/b", "..", ".hidden", "a" * 65, "-x", "a\n"):
        with pytest.raises(UsageError, match="name"):
            install(model, name=name or "  ")
    with pytest.raises(UsageError, match="embedded"):
        install(model, name="Softcord")


# ---- again, instead, away


def test_again_is_no_error_and_another_model_needs_overwrite(tmp_path, archive):
    first = install(archive)
    again = install(archive)
    assert not again.is_new
    assert again.installed == first.installed
    other = zip_folder(write_model(tmp_path / "other", folds=("1",)), tmp_path / "other.zip")
    with pytest.raises(OutputError, match=r"called model is installed already, from .*model\.zip"):
        install(other, name="model")
    assert read_installed("model") == first.installed
    assert install(other, name="model", overwrite=True).installed.folds == ("1",)
    assert names(locate("model")) == [name.replace("fold_0", "fold_1") for name in WANTED]


def test_a_damaged_model_is_installed_again(archive, model, caplog):
    first = install(archive).installed
    for damage in ("plans.json", "fold_0/checkpoint_final.pth"):
        for source in (archive, model):
            (first.content / damage).write_bytes(b"x")
            done = install(source, name="model")
            assert done.is_new
            assert done.installed.content_sha256 == first.content_sha256
    assert "is damaged" in caplog.text
    (first.folder / "installed.json").write_text("{")
    assert install(archive).is_new
    assert read_installed("model").content_sha256 == first.content_sha256


def test_a_folder_again_is_the_same_and_a_changed_one_is_not(model, store):
    install(model, name="m")
    assert not install(model, name="m").is_new
    (model / "dataset.json").write_text(json.dumps(dataset(cord=1)))
    with pytest.raises(OutputError, match="--overwrite"):
        install(model, name="m")
    assert left_over(store) == []


def test_a_removed_model_is_gone_and_can_come_again(archive, store):
    install(archive)
    assert remove("model") == store / "model"
    assert list_installed() == []
    assert left_over(store) == []
    with pytest.raises(ModelError, match="'model' is not installed"):
        remove("model")
    with pytest.raises(UsageError, match="part of the package"):
        remove("softcord")
    assert install(archive).is_new


def test_an_exported_model_installs_as_the_same_and_packs_the_same(tmp_path, archive):
    first = install(archive).installed
    sha = export("model", tmp_path / "out.zip")
    assert sha == sha256(tmp_path / "out.zip")
    again = install(tmp_path / "out.zip", name="again", sha256=sha).installed
    assert again.content_sha256 == first.content_sha256
    assert export("model", tmp_path / "out2.zip") == sha
    with pytest.raises(OutputError, match="exists already"):
        export("model", tmp_path / "out.zip")
    with pytest.raises(UsageError, match=r"\.zip"):
        export("model", tmp_path / "out.tar")
    (first.content / "plans.json").write_text(json.dumps(plans(spacing=[1, 1, 1])))
    with pytest.raises(ModelError, match="not the file that was installed"):
        export("model", tmp_path / "out.zip", overwrite=True)
    assert sha256(tmp_path / "out.zip") == sha


# ---- downloads and checksums


def test_a_url_needs_a_checksum(archive, store):
    with serve(archive.read_bytes()) as server:
        with pytest.raises(UsageError, match="a download needs its checksum"):
            install(server.url)
        assert server.requests == []
        with pytest.raises(ModelError, match="SHA-256"):
            install(server.url, sha256="0" * 64, options=QUICK)
        assert list_installed() == []
        assert (
            install(server.url, sha256=sha256(archive).upper(), options=QUICK).installed.source == server.url
        )
        assert left_over(store) == []


def test_a_checksum_can_be_confirmed_and_is_required_from_then_on(archive):
    asked = []

    def confirm(*question):
        asked.append(question)
        return len(asked) > 1

    with serve(archive.read_bytes()) as server:
        with pytest.raises(ModelError, match="not confirmed"):
            install(server.url, confirm=confirm, options=QUICK)
        assert list_installed() == []
        done = install(server.url, confirm=confirm, options=QUICK)
        assert done.is_first_use
        assert asked[1] == (server.url, sha256(archive), archive.stat().st_size)
        assert not install(server.url).is_new
        remove("model")
        assert not install(server.url, options=QUICK).is_first_use
        remove("model")
        server.content = server.content + b"\0"
        with pytest.raises(ModelError, match="expected"):
            install(server.url, options=QUICK)
        assert len(asked) == 2


def test_a_file_must_have_the_checksum_that_is_given(archive, model):
    install(archive)  # what is there already does not save a wrong one
    with pytest.raises(ModelError, match=r"model\.zip: SHA-256"):
        install(archive, sha256="0" * 64)
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        install(archive, sha256="abc")
    with pytest.raises(UsageError, match="a folder has none"):
        install(model, sha256="0" * 64)


def test_offline_uses_what_is_there_and_no_network(archive):
    with serve(archive.read_bytes()) as server:
        with pytest.raises(ModelError, match="--offline forbids the network"):
            install(server.url, sha256=sha256(archive), offline=True)
        assert server.requests == []
        install(server.url, sha256=sha256(archive), options=QUICK)
    assert not install(server.url, sha256=sha256(archive), offline=True).is_new
    assert install(archive, name="b", offline=True).is_new


def test_who_may_only_read_the_models_can_ask_for_one_again(archive, store, monkeypatch):
    install(archive)

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("softcord.models.store.work_folder", forbidden)
    assert not install(archive).is_new
    with pytest.raises(OutputError, match="Permission denied"):
        install(archive, name="other")


def test_official_releases_are_known_by_name(archive, monkeypatch):
    assert find_release("v3.0") == find_release("contrast-agnostic-v3.0") == RELEASES[0]
    assert RELEASES[0].url.endswith("/v3.0/model_contrast_agnostic_20250123.zip")
    assert find_release("something") is None
    for name in ("v2.0", "v2.5", "contrast-agnostic-v2.4"):
        with pytest.raises(ModelError, match=r"Lightning .*v3\.0"):
            install(name)
    with pytest.raises(ModelError, match=r"Run: softcord models install contrast-agnostic-v3\.0"):
        locate("v3.0")
    with serve(archive.read_bytes()) as server:
        import dataclasses

        release = dataclasses.replace(RELEASES[0], url=server.url)
        monkeypatch.setattr("softcord.models.releases.RELEASES", (release,))
        done = install("v3.0", options=QUICK)
        assert done.is_first_use
        assert done.installed.name == "contrast-agnostic-v3.0"
        assert describe("contrast-agnostic-v3.0").version == "3.0"
        remove("contrast-agnostic-v3.0")
        server.content += b"\0"
        with pytest.raises(ModelError, match="expected"):
            install("v3.0", options=QUICK)


def test_a_killed_download_is_gone_on_with(tmp_path, model, store):
    more = {"training_log.txt": np.random.default_rng(0).bytes(500_000)}
    archive = zip_folder(model, tmp_path / "model.zip", more=more)
    with serve(archive.read_bytes()) as server:
        server.faults = ["stall"]
        child = start_install(server.url, sha256(archive), store)
        part = store / ".unfinished" / "model" / "download"
        wait_for(lambda: part.exists() and part.stat().st_size > 1000)
        child.kill()
        child.communicate()
        assert list_installed() == []
        assert install(server.url, sha256=sha256(archive), options=QUICK).is_new
        assert server.requests[-1]["Range"].startswith("bytes=")
    assert left_over(store) == []


def start_install(url, sha, store, *more):
    program = (
        "import sys; from softcord.models import install; done = install(sys.argv[1], sha256=sys.argv[2]); "
        "print(done.is_new, done.installed.content_sha256)"
    )
    environment = {**os.environ, "SOFTCORD_MODELS": str(store)}
    return subprocess.Popen(
        [sys.executable, "-c", program, url, sha],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_twenty_at_once_install_once(archive, store):
    with serve(archive.read_bytes()) as server:
        children = [start_install(server.url, sha256(archive), store) for _ in range(20)]
        said = [child.communicate(timeout=120) for child in children]
        assert [child.returncode for child in children] == [0] * 20, said
        assert sorted(out.split()[0] for out, _ in said) == ["False"] * 19 + ["True"]
        assert len({out.split()[1] for out, _ in said}) == 1
        assert len(server.requests) == 1
    assert left_over(store) == []


@pytest.mark.parametrize("moment", ["copy", "check", "name"])
def test_an_installation_that_is_killed_leaves_nothing_half_done(archive, store, moment):
    """Killed when files have been copied, when they have been checked, and between two renames."""
    kill = "os.kill(os.getpid(), 9)"
    stop = {
        "copy": f"import softcord.models.installing as i; i._facts = lambda *_: {kill}",
        "check": f"import softcord.models.installing as i; i.write_record = lambda *_: {kill}",
        "name": (
            "import pathlib; real = pathlib.Path.rename\n"
            "def rename(path, target):\n"
            f"    if path.name.startswith('new-'): {kill}\n"
            "    return real(path, target)\n"
            "pathlib.Path.rename = rename"
        ),
    }[moment]
    program = f"import os, sys\n{stop}\nfrom softcord.models import install\n"
    program += "install(sys.argv[1], name='model', overwrite=True)"
    before = install(archive).installed
    other = zip_folder(write_model(store.parent / "other", folds=("3",)), store.parent / "other.zip")
    environment = {**os.environ, "SOFTCORD_MODELS": str(store)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(other)],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    if moment != "name":  # then there is no model for as long as a rename takes
        assert read_installed("model") == before
    assert not install(archive).is_new
    assert read_installed("model") == before
    assert install(other, name="model", overwrite=True).installed.folds == ("3",)
    assert left_over(store) == []


def test_a_disk_without_locks_still_installs_whole_models(archive, store, monkeypatch, caplog):
    def no_lock(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", no_lock)
    assert install(archive).is_new
    assert not install(archive).is_new
    assert "no locks" in caplog.text
    assert left_over(store) == []


def test_a_store_that_cannot_be_written_is_an_output_error(archive, store, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOFTCORD_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(OutputError, match="SOFTCORD_MODELS"):
        install(archive)
    with pytest.raises((ModelError, NotADirectoryError)):
        list_installed()


def test_a_full_disk_leaves_nothing(archive, store, monkeypatch):
    import errno
    from pathlib import Path

    real = Path.open

    def full(path, mode="r", *args, **options):
        if "new-" in str(path) and "checkpoint" in path.name and mode == "xb":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, *args, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match="Free some space"):
        install(archive)
    assert left_over(store) == []


def test_the_folder_of_models_can_be_moved_and_has_a_place_of_its_own_else(store, monkeypatch):
    assert models_folder() == store
    monkeypatch.delenv("SOFTCORD_MODELS")
    assert models_folder().parts[-2:] == ("softcord", "models")


def test_a_damaged_record_hides_no_other_model(archive, store, caplog):
    install(archive)
    install(archive, name="other")
    (store / "other" / "installed.json").write_text("{")
    assert [installed.name for installed in list_installed()] == ["model"]
    assert "other" in caplog.text
    with pytest.raises(ModelError, match="Install it again"):
        describe("other")


def test_installed_models_are_available_and_described(archive):
    install(archive)
    assert [info.name for info in models.available()] == ["softcord", "model"]
    info = describe("model")
    assert info.description == "nnU-Net 3d_fullres: sc; 1 fold"
    assert info.config["source"] == str(archive)
    assert locate(models_folder() / "model") == locate("model")


def test_names_in_a_model_do_not_command_the_terminal(model, capsys):
    from softcord.cli import main

    (model / "dataset.json").write_text(json.dumps(dataset(**{"sc\x1b[2J": 1})))
    install(model, name="m")
    main(["models", "list"])
    main(["models", "info", "m"])
    assert "\x1b" not in capsys.readouterr().out


# ---- what is refused


def test_links_in_a_folder_are_followed_and_broken_ones_named(tmp_path, model):
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    elsewhere = checkpoint.rename(tmp_path / "object")
    checkpoint.symlink_to(elsewhere)
    assert install(model, name="linked").is_new
    elsewhere.unlink()
    with pytest.raises(InputError, match="datalad get"):
        install(model, name="broken")


@pytest.mark.parametrize("part", ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"])
def test_a_model_that_lacks_a_part_is_refused_by_its_name(model, part):
    (model / part).unlink()
    with pytest.raises(ModelError, match=r"checkpoint_\*" if "fold" in part else part):
        install(model, name="m")


@pytest.mark.parametrize("part", ["plans.json", "dataset.json"])
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "[" * 100_000, '{"configurations": 3, "labels": 3}', "\xff"]
)
def test_descriptions_that_say_nothing_are_refused(model, part, content, store):
    (model / part).write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelError, match=part.replace(".", r"\.")):
        install(model, name="m")
    assert left_over(store) == []


@pytest.mark.parametrize(
    "changes", [{"patch_size": [16, 16]}, {"spacing": "abc"}, {"spacing": [0, 1, 1]}, {"patch_size": None}]
)
def test_plans_of_anything_but_three_dimensions_are_refused(model, changes):
    (model / "plans.json").write_text(json.dumps(plans(**changes)))
    with pytest.raises(ModelError, match=r"must be three numbers"):
        install(model, name="m")


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("plans.json", {"UNet_class_name": "Primus"}, "UNet_class_name: Primus is not supported by softcord"),
        ("plans.json", {"preprocessor_name": "Mine"}, "preprocessor_name: Mine is not supported"),
        ("plans.json", {"normalization_schemes": ["Mine"]}, "Mine is not supported"),
        ("plans.json", {"UNet_class_name": "x" * 9999}, "UNet_class_name: xxx"),
        ("plans.json", {"use_mask_for_norm": None}, "incomplete or damaged"),
        ("dataset.json", {"channel_names": {"0": "a", "1": "b"}}, "2 channels, and the plans 1"),
        ("dataset.json", {"image_orientation": "RRI"}, "no orientation"),
        ("crop_metadata.json", {"superior": 40}, "one margin in mm for each face"),
    ],
)
def test_a_model_that_cannot_be_run_is_installed_and_says_why(model, part, change, reason):
    assert "cannot_segment" not in describe(model).config
    content = {"plans.json": plans(**change), "dataset.json": {**dataset(), **change}}.get(part, change)
    (model / part).write_text(json.dumps(content))
    assert install(model, name="m").is_new
    for info in (describe("m"), describe(model)):
        assert reason in info.config["cannot_segment"]
        assert len(info.config["cannot_segment"]) <= 300
        assert info.description.endswith("; it cannot segment")
    if part == "plans.json":
        with pytest.raises(ModelError, match=reason):
            models.load("m", device="cpu")


def test_an_unfinished_training_cannot_segment(tmp_path):
    install(write_model(tmp_path / "m", names=("latest",)))
    assert r"no fold_*/checkpoint_final.pth" in describe("m").config["cannot_segment"]


def test_checkpoints_that_belong_to_other_plans_are_refused(model):
    write_checkpoint(model / "fold_1" / "checkpoint_final.pth", more={"init_args": {"configuration": "2d"}})
    with pytest.raises(ModelError, match="several configurations: 2d, 3d_fullres"):
        install(model, name="m")
    (model / "fold_0" / "checkpoint_final.pth").unlink()
    with pytest.raises(ModelError, match="no configuration 2d"):
        install(model, name="m")


def test_a_hostile_checkpoint_is_refused_and_nothing_of_it_stays(tmp_path, model, store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = Call(Name("posix", "system"), ("touch ran",))
    write_checkpoint(model / "fold_0" / "checkpoint_final.pth", more={"x": call})
    path = zip_folder(model, tmp_path / "model.zip", top="m/")
    with pytest.raises(
        ModelError, match=r"model\.zip/fold_0/checkpoint_final\.pth: refused: .* posix\.system"
    ):
        install(path)
    assert not (tmp_path / "ran").exists()
    assert list_installed() == []
    assert left_over(store) == []


def entry(name, **changes):
    info = zipfile.ZipInfo(name)
    for key, value in changes.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    ("bad", "content", "reason"),
    [
        (entry("../../evil.txt"), b"x", "leads out of the zip"),
        (entry("m/../../evil.txt"), b"x", "leads out of the zip"),
        (entry("/etc/evil"), b"x", "not a place within"),
        (entry("C:/evil"), b"x", "not a place within"),
        (entry("m\\..\\evil"), b"x", "not a place within"),
        (entry("m/link", external_attr=0o120777 << 16), b"/etc/passwd", "is a link"),
        (entry("m/pipe", external_attr=0o010644 << 16), b"", "neither a file nor a folder"),
        (entry("m/a\x1b[31m"), b"", "no name of a file"),
        (entry("m/" + "a" * 2000), b"", "no name of a file"),
        (entry("m/PLANS.json"), b"{}", "is there twice"),
        (entry("m/zeros", compress_type=zipfile.ZIP_DEFLATED), bytes(64 << 20), "as a bomb does"),
    ],
)
def test_zips_that_would_do_harm_are_refused(tmp_path, model, store, bad, content, reason):
    path = zip_folder(model, tmp_path / "model.zip", top="m/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(bad, content)
    with pytest.raises(ModelError, match=reason) as caught:
        install(path)
    assert "model.zip: refused" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert left_over(store) == []
    assert not list(tmp_path.rglob("evil*"))


def test_an_encrypted_zip_is_refused(tmp_path, model):
    path = zip_folder(model, tmp_path / "model.zip", top="m/")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # the flag in the list of entries
    path.write_bytes(raw)
    with pytest.raises(ModelError, match="is encrypted"):
        install(path)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "the file is empty"),
        (b"\x1f\x8b\x08\x00rest", "got a tar archive"),
        (b"<!DOCTYPE html><html>", "got a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"PK\x03\x04 and no more", "a damaged zip"),
        (b"hello", "something else"),
    ],
)
def test_what_is_no_zip_is_named(tmp_path, raw, reason):
    (tmp_path / "model.zip").write_bytes(raw)
    with pytest.raises(ModelError, match=reason):
        install(tmp_path / "model.zip")


def test_a_damaged_zip_is_refused_wherever_the_damage_is(archive, tmp_path, store):
    whole = archive.read_bytes()
    rng = np.random.default_rng(1)
    done = 0
    for number in range(120):
        raw = bytearray(whole)
        if number % 2:
            raw = raw[: rng.integers(len(raw))]
        else:
            raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        path = tmp_path / "damaged.zip"
        path.write_bytes(raw)
        with contextlib.suppress(ModelError, InputError):
            done += install(path, overwrite=True).is_new
        assert left_over(store) == []
    assert done < 60  # a changed date or attribute is no damage


def test_missing_files_and_unknown_names_are_input_errors(tmp_path):
    with pytest.raises(InputError, match=r"no such file or folder, and no release .*--releases"):
        install("nothing")
    (tmp_path / "m.zip").symlink_to(".git/annex/objects/absent")
    with pytest.raises(InputError, match="datalad get"):
        install(tmp_path / "m.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="holds no model"):
        install(tmp_path / "empty")
    for url in ("ftp://example.org/m.zip", "https://", "https://[::1/m.zip", "://"):
        with pytest.raises(UsageError, match=r"https|name|address"):
            install(url)


def test_lightning_checkpoints_are_refused_by_name(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "best.ckpt").write_bytes(b"x")
    for source in (
        tmp_path / "m",
        tmp_path / "m" / "best.ckpt",
        zip_folder(tmp_path / "m", tmp_path / "m.zip"),
    ):
        with pytest.raises(ModelError, match=r"Lightning \(\.ckpt\)"):
            install(source)
