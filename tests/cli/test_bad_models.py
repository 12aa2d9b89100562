"""Every kind of bad model, what is said to it, and that docs/how-to/bad-models.md says the same.

Run as a script, this writes the table of that page anew.
"""

import contextlib
import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nnunet_models import plans, write_checkpoint, write_model, zip_folder
from pickled import Call, Name, Raw, pickled, storage, tensor, write_legacy, write_zip
from softcord.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "bad-models.md"
MARK = "<!-- models -->"
ZIP = Path("model.zip")
BIAS = np.zeros(2, np.float32)
RAN = "ran"
NO_BYTES = "0" * 64


@dataclass(frozen=True)
class Case:
    """A kind of bad model; `build` makes it in the working folder and returns the arguments of `install`."""

    what: str
    code: int
    build: Callable[[], list[str]]


def holding(name: str, content: bytes = b"x", **changes: object) -> Callable[[], list[str]]:
    """A whole model, zipped, with one more entry."""

    def build() -> list[str]:
        entry = zipfile.ZipInfo(name)
        for key, value in changes.items():
            setattr(entry, key, value)
        zip_folder(write_model(Path("m")), ZIP, top="m/")
        with zipfile.ZipFile(ZIP, "a") as archive:
            archive.writestr(entry, content)
        return [str(ZIP)]

    return build


def raw(content: bytes, name: str = "model.zip") -> Callable[[], list[str]]:
    def build() -> list[str]:
        Path(name).write_bytes(content)
        return [name]

    return build


def changed(change: Callable[[Path], object]) -> Callable[[], list[str]]:
    """A folder of a model, changed, then zipped."""

    def build() -> list[str]:
        change(write_model(Path("m")))
        return [str(zip_folder(Path("m"), ZIP, top="m/"))]

    return build


def running(module: str, name: str, *arguments: object) -> Callable[[], list[str]]:
    """A model whose checkpoint calls something."""
    call = Call(Name(module, name), arguments)
    return changed(lambda m: write_checkpoint(m / "fold_0" / "checkpoint_final.pth", more={"x": call}))


def checkpoint(content: object, write: Callable = write_zip) -> Callable[[], list[str]]:
    """A checkpoint alone."""
    return lambda: [str(write(Path("start.pth"), content, {"0": BIAS}))]


def good(*options: str) -> Callable[[], list[str]]:
    """A good model, with options."""
    return lambda: [str(zip_folder(write_model(Path("m")), ZIP)), *options]


def flipped() -> list[str]:
    content = bytearray(zip_folder(write_model(Path("m")), ZIP).read_bytes())
    content[200] ^= 1
    ZIP.write_bytes(content)
    return [str(ZIP)]


def flipped_weight() -> list[str]:
    path = write_checkpoint(Path("start.pth"), bare=True)
    content = bytearray(path.read_bytes())
    content[content.index(b"data/1") + 100] ^= 1
    path.write_bytes(content)
    return [str(path)]


def half() -> list[str]:
    whole = zip_folder(write_model(Path("m")), ZIP).read_bytes()
    return raw(whole[: len(whole) // 2])()


def overlapping() -> list[str]:
    """A zip whose list names one entry many times, each under a name of its own."""
    zip_folder(write_model(Path("m")), ZIP)
    with zipfile.ZipFile(ZIP, "a") as archive:
        archive.writestr("kernel", bytes(1 << 16))
        last = archive.infolist()[-1]
        for number in range(50):
            twin = zipfile.ZipInfo(f"copy{number}")
            for key in ("header_offset", "compress_size", "file_size", "CRC"):
                setattr(twin, key, getattr(last, key))
            archive.filelist.append(twin)
    return [str(ZIP)]


def two_models() -> list[str]:
    for name in ("first", "second"):
        write_model(Path("both") / name)
    return ["both"]


def other_model() -> list[str]:
    main(["models", "install", str(write_model(Path("first"))), "--name", "cord", "--quiet"])
    return [str(write_model(Path("second"), folds=("1",))), "--name", "cord"]


def store_is_a_file() -> list[str]:
    Path(os.environ["SOFTCORD_MODELS"]).write_text("")
    return [str(write_model(Path("m")))]


LAUGHS = Raw(b"X\x02\x00\x00\x00ha" + b"q\x01h\x01\x86" * 35)
UNFOLDING = {"network_weights": {"w": tensor(BIAS, "0")}, "init_args": {"plans": LAUGHS}}
FAR = Call(Name("torch._utils", "_rebuild_tensor_v2"), (storage(BIAS, "0"), 1, (2,), (1,), False, None))
SYSTEM = Call(Name("posix", "system"), (f"touch {RAN}",))

CASES = [
    Case("entry above the zip", 5, holding("../../evil")),
    Case("entry with an absolute name", 5, holding("/etc/evil")),
    Case("entry with a drive", 5, holding("C:/evil")),
    Case("entry with backslashes", 5, holding("m\\..\\evil")),
    Case("link", 5, holding("m/link", b"/etc/passwd", external_attr=0o120777 << 16)),
    Case("device", 5, holding("m/null", external_attr=0o020666 << 16)),
    Case("name that commands a terminal", 5, holding("m/\x1b[2J")),
    Case("one name twice", 5, holding("m/PLANS.json")),
    Case("bomb of one entry", 5, holding("m/zeros", bytes(64 << 20), compress_type=zipfile.ZIP_DEFLATED)),
    Case("bomb of overlapping entries", 5, overlapping),
    Case("empty file", 5, raw(b"")),
    Case("web page", 5, raw(b"<!DOCTYPE html><html>Please log in</html>")),
    Case("tar archive", 5, raw(b"\x1f\x8b\x08\x00" + bytes(40))),
    Case("something else", 5, raw(b"This is no zip.")),
    Case("zip cut short", 5, half),
    Case("zip with a changed byte", 5, flipped),
    Case("zip without a model", 5, lambda: [str(zip_folder(Path("none"), ZIP, more={"a.txt": b""}))]),
    Case("no plans.json", 5, changed(lambda m: (m / "plans.json").unlink())),
    Case("no checkpoint", 5, changed(lambda m: (m / "fold_0" / "checkpoint_final.pth").unlink())),
    Case("plans that are no JSON", 5, changed(lambda m: (m / "plans.json").write_text("{"))),
    Case("plans nested without end", 5, changed(lambda m: (m / "plans.json").write_text("[" * 100_000))),
    Case(
        "plans for slices",
        5,
        changed(lambda m: (m / "plans.json").write_text(json.dumps(plans(patch_size=[64, 64])))),
    ),
    Case(
        "fold of another configuration",
        5,
        changed(
            lambda m: write_checkpoint(
                m / "fold_1" / "checkpoint_final.pth", more={"init_args": {"configuration": "2d"}}
            )
        ),
    ),
    Case("two models", 5, two_models),
    Case("PyTorch Lightning, as releases before v3.0", 5, raw(b"PK\x03\x04", "best.ckpt")),
    Case("release of that kind", 5, lambda: ["v2.5"]),
    Case("checkpoint that runs a command", 5, running("posix", "system", f"touch {RAN}")),
    Case("checkpoint that evaluates code", 5, running("builtins", "eval", f"open('{RAN}', 'w')")),
    Case("checkpoint that starts a process", 5, running("subprocess", "Popen", ["touch", RAN])),
    Case("checkpoint that loads another file", 5, running("torch", "load", "other.pth")),
    Case("checkpoint that fetches an attribute", 5, running("builtins", "getattr", 1, "x")),
    Case("checkpoint with an unknown class", 5, running("monai.utils", "Config")),
    Case("checkpoint that makes an object", 5, checkpoint({"x": Raw(b"ccollections\nOrderedDict\n)\x81")})),
    Case("checkpoint that runs a command, old format", 5, checkpoint(SYSTEM, write_legacy)),
    Case("bare pickle that runs a command", 5, raw(pickled(SYSTEM), "start.pth")),
    Case("bare pickle", 5, raw(pickled({"a": 1}), "start.pth")),
    Case("checkpoint with a changed byte", 5, flipped_weight),
    Case("checkpoint that is text", 5, raw(b"version https://git-lfs.github.com/spec/v1", "start.pth")),
    Case("tensor beyond its numbers", 5, checkpoint({"w": FAR})),
    Case("plans in a checkpoint that unfold without end", 5, checkpoint(UNFOLDING)),
    Case("weights of another network", 5, checkpoint({"linear.weight": tensor(BIAS, "0")})),
    Case("file that is missing", 3, lambda: ["model.zip"]),
    Case("other checksum than was given", 5, good("--sha256", NO_BYTES)),
    Case("checksum that is none", 2, good("--sha256", "abc")),
    Case("URL without checksum", 2, lambda: ["https://example.org/model.zip"]),
    Case("URL that is not https", 2, lambda: ["http://example.org/model.zip", "--sha256", "record"]),
    Case("URL offline", 5, lambda: ["https://example.org/model.zip", "--sha256", NO_BYTES, "--offline"]),
    Case("name of the embedded model", 2, lambda: [str(write_model(Path("m"))), "--name", "softcord"]),
    Case("name of another model", 6, other_model),
    Case("folder of models that is none", 6, store_is_a_file),
]  # fmt: skip


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder that has a folder of models beside it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        work = folder / "work"
        work.mkdir()
        monkeypatch.chdir(work)
        monkeypatch.setenv("SOFTCORD_MODELS", str(folder / "models"))
        yield


def said(case: Case, folder: Path) -> tuple[int, str]:
    """Exit code, and the one line that is printed."""
    stderr = io.StringIO()
    with inside(folder), contextlib.redirect_stderr(stderr):
        arguments = case.build()
        code = main(["models", "install", *arguments])
    (line,) = stderr.getvalue().strip().splitlines()
    assert line.startswith("softcord: error: "), line
    line = line.removeprefix("softcord: error: ").replace(f"{folder / 'work'}/", "").replace(str(folder), "~")
    return code, re.sub(r"SHA-256 is [0-9a-f]{64}", "SHA-256 is 6c1f…", line).replace(NO_BYTES, "0000…")


def rows() -> dict[str, tuple[str, str]]:
    """Rows of the page's table by their first cell."""
    lines = PAGE.read_text(encoding="utf-8").partition(MARK)[2].splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")][2:]
    return {what.strip(): (code.strip(), text.strip().replace("\\|", "|")) for what, code, text in cells}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_bad_model_gets_the_exit_code_and_the_line_that_are_documented(case, tmp_path):
    code, line = said(case, tmp_path)
    assert code == case.code
    assert rows()[case.what] == (str(code), line)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_bad_model_runs_nothing_and_leaves_nothing(case, tmp_path):
    said(case, tmp_path)
    everything = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert not [name for name in everything if Path(name).name in (RAN, "evil", "zeros", "link")]
    installed = [name for name in everything if name.endswith("installed.json")]
    assert installed == (["models/cord/installed.json"] if case.build is other_model else [])
    assert not [name for name in everything if "/new-" in name or "download" in name]


def test_the_page_lists_these_models_and_no_others():
    assert list(rows()) == [case.what for case in CASES]


def write_page() -> None:
    """Write the table of the page from what softcord says now."""
    lines = ["| model | exit code | message |", "| --- | --- | --- |"]
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            code, line = said(case, Path(folder).resolve())
        escaped = line.replace("|", "\\|")
        lines.append(f"| {case.what} | {code} | {escaped} |")
    before, _, after = PAGE.read_text(encoding="utf-8").partition(MARK)
    rest = re.sub(r"\A\n*(\|.*\n)*", "", after)
    table = "\n".join(lines)
    PAGE.write_text(f"{before}{MARK}\n\n{table}\n{rest}", encoding="utf-8")


if __name__ == "__main__":
    write_page()
