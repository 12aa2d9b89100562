"""What softcord raises, and the exit status that each error means on the command line.

The tree::

    SoftcordError (1)
    ├── UsageError (2)          also a ValueError: an option or argument that cannot be
    ├── InputError (3)          also a ValueError: a file or array that cannot be used
    │   └── GeometryError (3)   two grids, or a grid and its numbers, that do not match
    ├── ModelError (5)          a model that is not installed, damaged or refused
    ├── MissingExtraError (5)   also an ImportError: an optional dependency that is not installed
    └── OutputError (6)         also an OSError: a result that cannot be written

A message is one line: what must hold, what came, in which file, and what to do. Anything else that
is raised is a bug of softcord. That no cord was found is not an error but a flag
(`softcord.flags`).
"""

from typing import ClassVar


class SoftcordError(Exception):
    """Base of every error that softcord raises on purpose.

    Attributes
    ----------
    exit_code : int
        Exit status of the command line for this kind of error.
    """

    exit_code: ClassVar[int] = 1


class UsageError(SoftcordError, ValueError):
    """An option or an argument that cannot be used, or that contradicts another one."""

    exit_code: ClassVar[int] = 2


class InputError(SoftcordError, ValueError):
    """A file or an array that is missing, damaged or of the wrong kind."""

    exit_code: ClassVar[int] = 3


class GeometryError(InputError):
    """Two grids that must match and do not, or a grid that does not fit its array."""


class ModelError(SoftcordError):
    """A model that is unknown, not installed, damaged or refused."""

    exit_code: ClassVar[int] = 5


class MissingExtraError(SoftcordError, ImportError):
    """An optional dependency that is needed here and not installed."""

    exit_code: ClassVar[int] = 5


class OutputError(SoftcordError, OSError):
    """A result that cannot be written: it exists, or its folder is missing, read-only or full."""

    exit_code: ClassVar[int] = 6
