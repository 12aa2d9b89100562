"""Writing where it cannot be done, and being stopped while writing: with real disks, limits and signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fakes import save_cord, save_nifti
from softcord.cli import main

TESTS = Path(__file__).resolve().parents[1]

# a process with the fake network; with WAIT it stops in the middle of its nth file and says so, with RENAMED
# after the nth file has taken its name
CHILD = """
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
import os, sys, time
import pytest
from fakes import install_fake_network
from softcord.cli import main
import softcord.nifti.saving as saving

install_fake_network(pytest.MonkeyPatch())
limit, wait = int(os.environ["LIMIT"]), int(os.environ["WAIT"])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if wait:
    opened, real = [], saving.Path.open

    class Slow:
        def __init__(self, file): self.file = file
        def __enter__(self): return self
        def __exit__(self, *details): self.file.close()
        def write(self, data):
            self.file.write(bytes(data)[: len(data) // 2 + 1])
            self.file.flush()
            print("writing", flush=True)
            time.sleep(60)

    def open_slowly(path, mode="r", **how):
        file = real(path, mode, **how)
        if "x" not in mode:
            return file
        opened.append(path)
        return Slow(file) if len(opened) == wait else file

    saving.Path.open = open_slowly
if os.environ["RENAMED"] != "0":
    renamed, replace = [], saving.Path.replace

    def replace_slowly(path, target):
        replace(path, target)
        renamed.append(target)
        if len(renamed) == int(os.environ["RENAMED"]):
            print("writing", flush=True)
            time.sleep(60)

    saving.Path.replace = replace_slowly
sys.exit(main(sys.argv[1:]))
"""


def start(
    *arguments: object, limit: int = 0, wait: int = 0, renamed: int = 0, prefix: tuple[str, ...] = ()
) -> subprocess.Popen:
    """Run softcord with the fake network in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", CHILD, *map(str, arguments)],
        env={**environment, "LIMIT": str(limit), "WAIT": str(wait), "RENAMED": str(renamed)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_while_writing(sent: int, *arguments: object, file: int = 0, renamed: int = 0) -> tuple[int, str]:
    """Exit code and errors of a process that gets a signal in its nth file, or after it took its name."""
    process = start(*arguments, wait=file, renamed=renamed)
    assert process.stdout.readline() == "writing\n"
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.fixture
def image(tmp_path) -> Path:
    """An image that compresses badly."""
    noise = np.random.default_rng(0).integers(0, 1000, (32, 32, 32)).astype(np.int16)
    return save_nifti(noise, tmp_path / "t2.nii.gz")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---- full and read-only disks


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB where one can be mounted, else None."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        yield None
        return
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_neither_result_nor_remains(image, small_disk, tmp_path):
    """On a small disk where one can be mounted, else with a limit on the size of files."""
    folder = small_disk or tmp_path / "out"
    folder.mkdir(exist_ok=True)
    before = image.read_bytes()
    process = start("segment", image, "-o", folder, "--mask", limit=0 if small_disk else 1 << 16)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 6, errors
    assert errors.startswith(f"softcord: error: {folder / 't2_softseg.nii.gz'}: cannot be written (")
    assert errors.endswith("Free some space.\n")
    assert names(folder) == set()
    assert image.read_bytes() == before


def test_a_full_disk_keeps_the_old_result_when_replacing(fake, image, small_disk, tmp_path):
    folder = small_disk or tmp_path / "out"
    folder.mkdir(exist_ok=True)
    out, small = folder / "cord.nii.gz", save_cord(tmp_path / "small.nii.gz")
    assert main(["segment", str(small), "-o", str(out), "--mask", "--uncertainty"]) == 0
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(before) == 4
    limit = 0 if small_disk else 1 << 15
    process = start("segment", image, "-o", out, "--mask", "--overwrite", limit=limit)
    process.communicate(timeout=60)
    assert process.returncode == 6
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.skipif(
    not Path("/sys/kernel").is_dir(), reason="needs a folder that nobody can write, as Linux has"
)
def test_a_folder_that_cannot_be_written_is_found_before_computing(fake, image, capsys):
    assert main(["segment", str(image), "-o", "/sys/kernel/cord.nii.gz"]) == 6
    assert "the folder /sys/kernel cannot be written (" in capsys.readouterr().err
    assert fake.loads == []


def test_a_review_folder_that_cannot_be_made_is_found_before_computing(fake, image, capsys, tmp_path):
    (tmp_path / "qc").write_text("a file")
    assert main(["segment", str(image), "--qc", str(tmp_path / "qc")]) == 6
    assert "cannot be the folder of the review page (" in capsys.readouterr().err
    assert fake.loads == []


# ---- stopped


FILES = pytest.mark.parametrize("file", [1, 2, 3, 4], ids=["unfinished", "mask", "soft", "sidecar"])


@FILES
def test_a_process_that_is_killed_while_writing_leaves_nothing_that_is_seen(image, file):
    before = image.read_bytes()
    code, _ = stop_while_writing(signal.SIGKILL, "segment", image, "--mask", file=file)
    assert code == -signal.SIGKILL
    assert {name for name in names(image.parent) if not name.startswith(".")} == {image.name}
    assert image.read_bytes() == before


@pytest.mark.parametrize("renamed", [1, 2, 3], ids=["unfinished", "mask", "soft"])
@pytest.mark.parametrize("replacing", [False, True])
def test_a_kill_between_two_files_leaves_whole_ones_that_resume_takes_up(fake, image, renamed, replacing):
    if replacing:
        main(["segment", str(image), "--mask"])
    options = ["--overwrite"] if replacing else []
    stop_while_writing(signal.SIGKILL, "segment", image, "--mask", *options, renamed=renamed)
    for path in image.parent.glob("*seg.nii.gz"):
        nib.load(path).get_fdata()  # the old map or the new one, whole
    assert json.loads((image.parent / "t2_softseg.json").read_text())["Complete"] is False
    done = len(fake.predictions)
    assert main(["segment", str(image), "--mask", "--resume"]) == 0
    assert len(fake.predictions) == done + 1
    assert json.loads((image.parent / "t2_softseg.json").read_text())["Complete"] is True


@FILES
def test_after_a_kill_resume_makes_the_result_whole(fake, image, file):
    stop_while_writing(signal.SIGKILL, "segment", image, "--mask", file=file)
    assert main(["segment", str(image), "--mask", "--resume"]) == 0
    assert len(fake.predictions) == 1
    record = json.loads((image.parent / "t2_softseg.json").read_text())
    assert record["ModelSHA256"] == fake.sha256


@FILES
def test_a_kill_while_replacing_keeps_the_old_result(fake, image, file):
    main(["segment", str(image), "--mask"])
    before = {path: path.read_bytes() for path in image.parent.iterdir()}
    stop_while_writing(signal.SIGKILL, "segment", image, "--mask", "--overwrite", file=file)
    assert {path: path.read_bytes() for path in before} == before
    main(["segment", str(image), "--mask", "--resume"])
    assert len(fake.predictions) == 1


@FILES
def test_an_interrupted_process_says_so_and_leaves_nothing(image, file):
    code, errors = stop_while_writing(signal.SIGINT, "segment", image, "--mask", file=file)
    assert code == 130
    assert errors == "softcord: error: interrupted; no file is half-written\n"
    assert names(image.parent) == {image.name}


def test_an_interruption_between_two_files_leaves_nothing(image):
    code, _ = stop_while_writing(signal.SIGINT, "segment", image, "--mask", renamed=2)
    assert code == 130
    assert names(image.parent) == {image.name}


def test_an_interruption_while_computing_leaves_nothing(fake, tmp_path, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["softcord.engines"], "predict", interrupt)
    image = save_cord(tmp_path / "t2.nii.gz")
    assert main(["segment", str(image)]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert names(tmp_path) == {image.name}


def test_a_bug_is_a_traceback(fake, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr(sys.modules["softcord.engines"], "predict", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["segment", str(save_cord(tmp_path / "t2.nii.gz"))])
