"""The tree of errors: what can be caught as what, and the exit status of each."""

import pytest

from softcord import errors
from softcord.errors import (
    GeometryError,
    InputError,
    MissingExtraError,
    ModelError,
    OutputError,
    SoftcordError,
    UsageError,
)

EXIT_CODES = {
    SoftcordError: 1,
    UsageError: 2,
    InputError: 3,
    GeometryError: 3,
    ModelError: 5,
    MissingExtraError: 5,
    OutputError: 6,
}


@pytest.mark.parametrize(("error", "exit_code"), EXIT_CODES.items(), ids=str)
def test_each_error_has_its_exit_status(error, exit_code):
    assert error("why").exit_code == exit_code


def test_every_error_of_the_module_is_a_softcord_error_with_a_tested_exit_status():
    defined = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert defined == set(EXIT_CODES)
    assert all(issubclass(error, SoftcordError) for error in defined)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (UsageError, ValueError),
        (InputError, ValueError),
        (GeometryError, InputError),
        (MissingExtraError, ImportError),
        (OutputError, OSError),
    ],
    ids=lambda value: value.__name__,
)
def test_an_error_can_be_caught_as_the_builtin_that_it_resembles(error, builtin):
    with pytest.raises(builtin, match="why"):
        raise error("why")
