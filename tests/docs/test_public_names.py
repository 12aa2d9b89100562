"""Every public name can be had, is documented, and its examples run."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import softcord

PUBLIC = sorted(set(softcord.__all__) - {"__version__"})
EXTRAS = {
    "batchgeneratorsv2",
    "blosc2",
    "nnunetv2",
    "onnx",
    "openvino",
    "torch",
    "yaml",
}  # what a module may need and the default install lacks
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(softcord.__path__, "softcord.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_had_and_says_what_it_is(name):
    value = getattr(softcord, name)
    assert inspect.getdoc(value)


def test_the_public_names_are_listed_alike_for_python_for_type_checkers_and_for_loading(root):
    tree = ast.parse((root / "src" / "softcord" / "__init__.py").read_text(encoding="utf-8"))
    blocks = [
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    typed = {
        alias.asname: node.module
        for node in blocks[0].body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    modules = {name: home for name, home in typed.items() if home == "softcord"}
    homes = {name: f"softcord.{name}" if name in modules else home for name, home in typed.items()}
    assert homes == softcord._HOMES
    assert set(softcord.__all__) == {*homes, "__version__"}


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'softcord' has no attribute 'segmnet'"):
        _ = softcord.segmnet


def test_public_names_are_offered_before_they_are_loaded():
    code = "import softcord; assert set(softcord.__all__) <= set(dir(softcord))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "code",
    [
        "import softcord; softcord.segment; from softcord.segment import Segmentation",
        "from softcord.segment import Segmentation; import softcord",
        "import softcord.segment, softcord.segment.files",
        "import importlib, softcord; importlib.import_module('softcord.segment')",
    ],
)
def test_segment_is_the_function_whatever_was_imported_first(code):
    check = "; import inspect, softcord; assert inspect.isfunction(softcord.segment), softcord.segment"
    subprocess.run([sys.executable, "-c", code + check], check=True)


@pytest.mark.parametrize("name", [*PUBLIC, "__version__"])
def test_a_public_name_stands_in_the_documentation(root, name):
    assert f"`softcord.{name}`" in (root / "docs" / "index.md").read_text(encoding="utf-8")


def functions_of(value: object) -> list[object]:
    """A function itself, or the public functions and methods of a class or module."""
    if inspect.isfunction(value):
        return [value]
    if isinstance(value, ModuleType):
        return [getattr(value, name) for name in value.__all__ if inspect.isfunction(getattr(value, name))]
    return [
        member
        for name, member in vars(value).items()
        if inspect.isfunction(member) and not name.startswith("_")
    ]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_docstring_of_a_public_function_describes_every_parameter(name):
    for function in functions_of(getattr(softcord, name)):
        described = inspect.getdoc(function) or ""
        missing = [
            parameter
            for parameter in inspect.signature(function).parameters
            if parameter != "self" and parameter not in described
        ]
        assert missing == [], function


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is_for_and_its_examples_run(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        pytest.skip(f"needs {error.name}, which is not installed")
    assert module.__doc__
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0
