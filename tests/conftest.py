"""Fixtures for all tests, and the rule about skipped ones.

With SOFTCORD_TESTS_MUST_NOT_SKIP=1 a skipped test is a failure, so that a suite that silently tests less
cannot pass. Two kinds may still be skipped: tests that need the folder of real images, where it is absent,
and tests marked `gpu`, where there is none. The folder is the one that SOFTCORD_TEST_DATA names, else
`shared/` beside the repository.
"""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_SHARED = Path(os.environ.get("SOFTCORD_TEST_DATA") or ROOT.parent / "shared")
_NO_SHARED = "needs the folder of real images (SOFTCORD_TEST_DATA, or shared/ beside the repository)"


@pytest.fixture(autouse=True, scope="session")
def _models_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests from the models that somebody has installed."""
    os.environ["SOFTCORD_MODELS"] = str(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real images and reference tables; the test is skipped without it."""
    if not (_SHARED / "data").is_dir():
        pytest.skip(_NO_SHARED)
    return _SHARED


@pytest.fixture(scope="session")
def shared_bids() -> Path | None:
    """The dataset of real images; None without it, for a test that has phantoms to take instead."""
    folder = _SHARED / "data" / "bids"
    return folder if folder.is_dir() else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.get_closest_marker("gpu") is None:
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure where nothing may be skipped."""
    if os.environ.get("SOFTCORD_TESTS_MUST_NOT_SKIP") != "1" or not report.skipped:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if hasattr(report, "wasxfail") or _NO_SHARED in reason:
        return
    report.outcome = "failed"
    report.longrepr = f"{reason}\nSOFTCORD_TESTS_MUST_NOT_SKIP=1: no test may be skipped here."
