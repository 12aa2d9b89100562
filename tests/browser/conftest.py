"""The browser of the system, driven by playwright; tests skip with the reason where there is none."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes import add_cord_entry as add
from softcord.flags import Flag
from softcord.qc import Origin

FLAGS = (
    "--no-sandbox --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader"
).split()


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """A running browser without a window."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium. On Debian: apt-get install chromium")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright (pip install playwright)"
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Opens an address in a new browser profile, or one that is given, and fails on any error of the page."""
    contexts, problems = [], []

    def open_(address, context=None):
        if context is None:
            context = chromium.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
        page.goto(Path(address).as_uri() if isinstance(address, Path) else address)
        page.wait_for_selector("body[data-ready]", state="attached")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def folder(tmp_path) -> Path:
    """A review folder with three entries: the second has flags, the third is of another contrast."""
    add(tmp_path / "qc", "sub-01_T2w.nii.gz", subject="sub-01")
    add(tmp_path / "qc", "sub-02_T2w.nii.gz", subject="sub-02", flags=[Flag("gaps", "1 gap of 4 mm.")])
    origin = Origin(result="/data/sub-03_seg.nii.gz", model="softcord", version="1.0")
    add(tmp_path / "qc", "sub-03_ses-1_T1w.nii.gz", subject="sub-03", origin=origin)
    return tmp_path / "qc"
