"""Contrast-agnostic soft segmentation of the spinal cord on MRI.

The public names are loaded on first use, so that ``import softcord`` and ``softcord --help`` are quick:

>>> import softcord
>>> softcord.__version__.count(".")
2
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softcord import dataset as dataset
    from softcord import models as models
    from softcord.errors import InputError as InputError
    from softcord.errors import SoftcordError as SoftcordError
    from softcord.evaluate import Evaluation as Evaluation
    from softcord.evaluate import evaluate as evaluate
    from softcord.evaluate import evaluate_files as evaluate_files
    from softcord.flags import Flag as Flag
    from softcord.measure import Csa as Csa
    from softcord.measure import CsaOptions as CsaOptions
    from softcord.measure import compare_csa as compare_csa
    from softcord.measure import csa as csa
    from softcord.measure import csa_files as csa_files
    from softcord.segment import FileOptions as FileOptions
    from softcord.segment import FileResult as FileResult
    from softcord.segment import Segmentation as Segmentation
    from softcord.segment import segment as segment
    from softcord.segment import segment_files as segment_files

__version__ = "0.1.0"

# public name -> the module that defines it; the same list as above, which is for type checkers
_HOMES = {
    "Csa": "softcord.measure",
    "CsaOptions": "softcord.measure",
    "Evaluation": "softcord.evaluate",
    "FileOptions": "softcord.segment",
    "FileResult": "softcord.segment",
    "Flag": "softcord.flags",
    "InputError": "softcord.errors",
    "Segmentation": "softcord.segment",
    "SoftcordError": "softcord.errors",
    "compare_csa": "softcord.measure",
    "csa": "softcord.measure",
    "csa_files": "softcord.measure",
    "dataset": "softcord.dataset",
    "evaluate": "softcord.evaluate",
    "evaluate_files": "softcord.evaluate",
    "models": "softcord.models",
    "segment": "softcord.segment",
    "segment_files": "softcord.segment",
}

__all__ = [
    "Csa",
    "CsaOptions",
    "Evaluation",
    "FileOptions",
    "FileResult",
    "Flag",
    "InputError",
    "Segmentation",
    "SoftcordError",
    "__version__",
    "compare_csa",
    "csa",
    "csa_files",
    "dataset",
    "evaluate",
    "evaluate_files",
    "models",
    "segment",
    "segment_files",
]


def _load(name: str) -> object:
    """Public object called `name`: a member of its home, or the home itself (as `models` is)."""
    home = import_module(_HOMES[name])
    return getattr(home, name, home)


class _Package(ModuleType):
    """The package itself, in which a public function is not hidden by the module of the same name.

    Python binds a submodule in its package when it is first imported. So ``from softcord.segment import
    Segmentation`` would turn ``softcord.segment`` from the function into the module.
    """

    def __getattr__(self, name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'softcord' has no attribute '{name}'")
        value = _load(name)
        super().__setattr__(name, value)
        return value

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and name in _HOMES:
            value = getattr(value, name, value)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
