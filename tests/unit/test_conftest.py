"""The rule that nothing may be skipped where SOFTCORD_TESTS_MUST_NOT_SKIP is set."""

import os
import shutil
import subprocess
import sys

import pytest

SUITE = """
import pytest

def test_that_passes():
    pass

def test_that_skips_itself():
    pytest.skip("no such tool")

@pytest.mark.skipif(True, reason="no such system")
def test_that_is_skipped():
    pass

@pytest.mark.gpu
def test_that_needs_a_gpu():
    pytest.skip("no GPU")

@pytest.mark.xfail(reason="not yet", strict=True)
def test_that_fails_as_expected():
    raise AssertionError

def test_that_needs_real_images(shared):
    pass
"""


@pytest.fixture
def outcomes(tmp_path, root):
    """Run a small suite under the rules of this one, in a place without real images; count its outcomes."""
    folder = tmp_path / "repository" / "tests"
    folder.mkdir(parents=True)
    shutil.copy(root / "tests" / "conftest.py", folder)
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "test_absent.py").write_text("import pytest\npytest.importorskip('no_such_package')\n")

    def run(**environment: str) -> dict[str, int]:
        options = ["-o", "markers=gpu", "--continue-on-collection-errors", "-p", "no:cacheprovider"]
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *options, str(folder)],
            check=False,
            cwd=folder.parent,
            env={**os.environ, "SOFTCORD_TESTS_MUST_NOT_SKIP": "", "SOFTCORD_TEST_DATA": "", **environment},
            capture_output=True,
            text=True,
        )
        summary = result.stdout.splitlines()[-1].partition(" in ")[0]
        return {
            word.rstrip("s"): int(count) for count, word in (part.split() for part in summary.split(", "))
        }

    return run


def test_a_suite_may_skip_by_default(outcomes):
    assert outcomes() == {"passed": 1, "skipped": 5, "xfailed": 1}


def test_only_real_images_and_gpus_may_be_missing_where_nothing_may_be_skipped(outcomes):
    found = outcomes(SOFTCORD_TESTS_MUST_NOT_SKIP="1")
    assert found == {"failed": 1, "passed": 1, "skipped": 2, "xfailed": 1, "error": 2}


def test_the_folder_of_real_images_can_be_named(outcomes, tmp_path):
    (tmp_path / "images" / "data").mkdir(parents=True)
    found = outcomes(SOFTCORD_TEST_DATA=str(tmp_path / "images"))
    assert found == {"passed": 2, "skipped": 4, "xfailed": 1}
