"""The fake network, for tests that need a model and not its skill."""

import pytest

from fakes import FakeNetwork, install_fake_network


@pytest.fixture
def fake(monkeypatch) -> FakeNetwork:
    """A fake in the place of models and engines."""
    return install_fake_network(monkeypatch)
