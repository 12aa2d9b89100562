"""softcord.train is the only door to torch, and stays shut unless a model is trained."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TRAINING = {"torch", "onnx", "tensorboard", "yaml", "nnunetv2", "batchgenerators", "batchgeneratorsv2"}


def imported(path: Path) -> set[str]:
    """Modules that a file imports anywhere, also inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.fixture
def modules(root):
    """Every module of the package with what it imports."""
    folder = root / "src" / "softcord"
    return {path.relative_to(folder).as_posix(): imported(path) for path in folder.rglob("*.py")}


def test_no_module_outside_of_train_imports_torch_or_what_comes_with_it(modules):
    users = {
        name
        for name, imports in modules.items()
        if {module.partition(".")[0] for module in imports} & TRAINING
    }
    assert "train/network.py" in users
    others = {"dataset/reading.py", "engines/nnunet/graph.py"}  # YAML; ONNX
    assert {name for name in users if not name.startswith("train/")} <= others


def test_the_command_line_and_workflows_are_the_only_ways_into_train(modules):
    users = {
        name
        for name, imports in modules.items()
        if any(module.startswith("softcord.train") for module in imports)
    }
    assert {name for name in users if not name.startswith("train/")} <= {
        "cli/train.py",
        "cli/train_nnunet.py",
        "workflows/finetune.py",
        "workflows/train_all.py",
    }


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        ("softcord.train", set()),
        ("softcord.train.config", set()),
        ("softcord.train.pool", set()),  # workers draw samples, and need no second torch in memory
        ("softcord.train.reading", {"yaml"}),
    ],
)
def test_what_needs_no_torch_loads_none(module, needs):
    if needs:
        pytest.importorskip("yaml", reason="needs PyYAML, which comes with softcord[synth]")
    report = "print('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    code = f"import sys, {module}; {report}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.rpartition("loaded:")[2].split()) & TRAINING == needs
