"""What is loaded when, and that the floors of the package hold."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HEAVY = {"torch", "pandas", "matplotlib", "onnx", "openvino", "yaml", "SimpleITK"}
LINT = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a new process has loaded after running the code."""
    report = "; import sys; print('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return set(run.stdout.rpartition("loaded:")[2].split())


@pytest.mark.parametrize(
    "code", ["import softcord", "import softcord.segment", "import softcord; softcord.segment"]
)
def test_segmenting_loads_nothing_heavy(code):
    assert loaded_after(code) & HEAVY == set()


@pytest.mark.parametrize("code", ["import softcord", "import softcord.cli"])
def test_the_package_and_its_command_line_load_no_arrays_before_they_are_used(code):
    assert loaded_after(code) & {*HEAVY, "numpy", "scipy", "nibabel", "onnxruntime"} == set()


@pytest.mark.parametrize("arguments", [["--help"], ["segment", "--help"], ["--version"]])
def test_help_loads_no_arrays(arguments):
    code = f"""
import contextlib, io
from softcord.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main({arguments})
pass"""
    assert loaded_after(code) & {*HEAVY, "numpy", "scipy", "nibabel", "onnxruntime"} == set()


# ---- floors


@pytest.fixture
def copy(root, tmp_path):
    """A copy of the package and its contracts, to plant imports in."""
    shutil.copytree(root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package in `folder`/src, wherever this one is installed."""
    code = f"import sys; sys.path.insert(0, {str(folder / 'src')!r}); {LINT}"
    command = [sys.executable, "-c", code, "--no-cache", "--no-logo"]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


def test_the_floors_hold(copy):
    run = lint_imports(copy)
    assert run.returncode == 0, run.stdout + run.stderr


FLOORS = "every module has a floor"


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("errors.py", "import softcord.nifti", FLOORS),
        ("orientation.py", "import softcord.segment", FLOORS),
        ("bids.py", "import softcord.provenance", FLOORS),  # a neighbour on the same floor
        ("stray.py", "", FLOORS),  # a module without a floor
        ("segment/__init__.py", "import torch", "only in softcord.train"),
        ("engines/__init__.py", "def late():\n    import torch.nn", "only in softcord.train"),
        ("models/__init__.py", "import onnxruntime", "only in softcord.engines"),
        ("nifti/__init__.py", "import matplotlib.pyplot", "matplotlib only in"),
        ("flags.py", "import nibabel", "numbers only"),
        ("errors.py", "import pandas", "numbers only"),
        ("phantoms/__init__.py", "import softcord.orientation", "numbers only"),  # which knows nibabel
    ],
)
def test_a_planted_import_breaks_its_contract(copy, module, line, broken):
    path = copy / "src" / "softcord" / module
    path.write_text(
        (path.read_text(encoding="utf-8") if path.exists() else "") + f"\n{line}\n", encoding="utf-8"
    )
    run = lint_imports(copy)
    assert run.returncode != 0
    verdicts = [row for row in run.stdout.splitlines() if broken in row]
    assert any("BROKEN" in row for row in verdicts), run.stdout + run.stderr


def test_the_contract_on_numbers_covers_all_of_the_lowest_floors(root):
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contracts = {contract["id"]: contract for contract in settings["contracts"]}
    lowest = " | ".join(contracts["floors"]["layers"][-3:]).split(" | ")
    existing = {f"softcord.{name}" for name in lowest if not name.startswith("(")}
    assert set(contracts["numbers-only"]["source_modules"]) == existing
