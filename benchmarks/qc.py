"""How fast the review page is made, loaded and moved through.

    python benchmarks/qc.py [--entries 1000]

Makes entries of an image of 64 x 320 x 320 voxels; a folder of 1,000 entries, whose first and last ten are
compared; then opens that folder in Chromium (playwright, see tests/browser) and moves through it by key.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from softcord.qc import Origin, add_entry
from softcord.qc.folder import write_row
from softcord.qc.record import read_record

FLAGS = "--no-sandbox --disable-quic --no-first-run --disable-background-networking --disable-sync".split()

LOADED = "() => performance.now()"
MOVE = """async () => {
  const key = new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true });
  const start = performance.now();
  document.body.dispatchEvent(key);
  while (document.body.dataset.shown !== softcord.current) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=1000)
    n_entries = parser.parse_args().entries
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "qc"
        large = time_one_entry(folder)
        time_many(Path(name) / "many", n_entries)
        shutil.rmtree(folder / "index")
        fill(folder, large, n_entries)
        time_browser(folder, n_entries)


def time_one_entry(folder: Path) -> Path:
    """An image of the size that the limits are given for; a noisy one, which compresses badly."""
    image, soft = cord((64, 320, 320))
    add_entry(image, soft, folder, source="warm-up.nii.gz")
    seconds = []
    for n in range(5):
        start = time.perf_counter()
        path = add_entry(image, soft, folder, source=f"sub-{n}_T2w.nii.gz")
        seconds.append(time.perf_counter() - start)
    size = path.stat().st_size / 1e3
    viewer = (folder / "volumes" / path.name).stat().st_size / 1e3
    print(
        f"one entry of 64 x 320 x 320: {statistics.median(seconds):.2f} s (limit 1 s), "
        f"{size:.0f} kB (limit 300)"
    )
    print(f"  and {viewer:.0f} kB for the viewer, which is loaded on demand")
    return path


def time_many(folder: Path, n_entries: int) -> None:
    """Whether the last entries cost more than the first."""
    image, soft = cord((32, 32, 40))
    seconds = []
    for n in range(n_entries):
        start = time.perf_counter()
        add_entry(image, soft, folder, source=f"sub-{n:04d}_T2w.nii.gz", origin=Origin(result=f"{n}.nii.gz"))
        seconds.append(time.perf_counter() - start)
    first, last = statistics.median(seconds[:10]), statistics.median(seconds[-10:])
    print(
        f"{n_entries} small entries: {1e3 * first:.0f} ms each at first, {1e3 * last:.0f} ms at last "
        f"(ratio {last / first:.2f}); {sum(seconds):.1f} s in all"
    )


def fill(folder: Path, entry: Path, n_entries: int) -> None:
    """Many entries of full size, as copies under other names."""
    (folder / "index").mkdir()
    text = entry.read_text()
    head, _, tail = text.partition(",\n")
    for n in range(n_entries):
        key, subject = f"copy-{n}", f'"subject": "sub-{n:04d}"'
        line = head.replace(entry.stem, key).replace('"subject": ""', subject)
        (folder / "entries" / f"{key}.js").write_text(f"{line},\n{tail}")
        record = line.removeprefix('softcord.entry({"record": ')
        write_row(folder, read_record(f"softcord.add({record});\n"))


def time_browser(folder: Path, n_entries: int) -> None:
    """From the address to a page that can be used, and from key to picture."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        loads, shown = [], []
        for _ in range(3):
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.goto((folder / "index.html").as_uri(), wait_until="commit")
            page.wait_for_selector("body[data-ready]", state="attached", timeout=120_000)
            loads.append(page.evaluate(LOADED) / 1e3)
            page.wait_for_selector("body[data-shown]", state="attached", timeout=120_000)
            shown.append(page.evaluate(LOADED) / 1e3)
        moves = [page.evaluate(MOVE) for _ in range(100)]
        print(f"{browser.version}: {page.locator('#rows tr').count()} of {n_entries} rows")
        browser.close()
    print(
        f"  table after {statistics.median(loads):.2f} s, first picture after "
        f"{statistics.median(shown):.2f} s (limit 2 s)"
    )
    print(
        f"  move: median {statistics.median(moves):.0f} ms, "
        f"95 % {np.percentile(moves, 95):.0f} ms (limit 100 ms)"
    )


def cord(shape: tuple[int, int, int]) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """A winding cord in noise, and its shares."""
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    away = np.hypot(i - shape[0] / 2, j - shape[1] / 2 - 5 * np.sin(k / 60))
    share = np.clip(6 - away, 0, 1).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 25, shape)
    data = (300 + 300 * share + noise).astype(np.float32)
    return nib.Nifti1Image(data, np.eye(4)), nib.Nifti1Image(share, np.eye(4))


if __name__ == "__main__":
    main()
