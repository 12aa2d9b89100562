"""What tests of datasets need."""

import pytest


@pytest.fixture(autouse=True)
def yaml():
    """PyYAML, without which no recipe can be read."""
    return pytest.importorskip("yaml", reason="needs PyYAML, which comes with softcord[dataset]")
