"""The review page in a real browser, opened from a folder without a server."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image as Picture

from fakes import add_cord_entry as add
from fakes import wait_until
from softcord.flags import Flag
from softcord.qc import Origin, read_rows
from softcord.qc.ratings import read_ratings


def rows(page) -> list[str]:
    """Subjects in the order of the table."""
    return page.eval_on_selector_all("#rows tr", "rows => rows.map(row => row.children[2].textContent)")


def current(page) -> str:
    """Subject of the entry whose pictures are shown."""
    wait_until(page, "document.body.dataset.shown === softcord.current")
    return page.evaluate("softcord.shown.record.subject")


def pixels(page, selector) -> np.ndarray:
    """What a canvas holds, (H, W, 4)."""
    address = page.eval_on_selector(selector, "canvas => canvas.toDataURL()")
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGBA"))


def coloured(picture: np.ndarray) -> int:
    """Number of pixels that are not grey."""
    colours = picture[..., :3].astype(int)
    return int(np.count_nonzero(colours.max(axis=-1) - colours.min(axis=-1) > 40))


# ---- load and move


def test_the_page_opens_from_a_folder_with_the_worst_first(folder, open_page):
    page = open_page(folder / "index.html")
    assert rows(page) == ["sub-02", "sub-01", "sub-03"]
    assert current(page) == "sub-02"
    assert "1 gap of 4 mm." in page.inner_text("#flags")
    assert "Research use only" in page.inner_text("footer")
    assert "3 results, 0 rated" in page.inner_text("#counts")


def test_the_page_asks_for_nothing_outside_its_folder(folder, open_page):
    page = open_page(folder / "index.html")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    current(page)
    outside = [url for url in asked if not url.startswith((folder.as_uri(), "data:", "blob:"))]
    assert outside == []
    assert len(asked) > 3


def test_arrows_move_and_the_picture_is_that_of_the_row(folder, open_page):
    page = open_page(folder / "index.html")
    seen = [current(page)]
    for key in ("ArrowDown", "j", "ArrowDown", "ArrowUp", "k"):
        page.keyboard.press(key)
        seen.append(current(page))
    assert seen == ["sub-02", "sub-01", "sub-03", "sub-03", "sub-01", "sub-02"]
    for _ in range(2):  # faster than pictures load
        page.keyboard.press("ArrowDown")
    assert current(page) == "sub-03"
    assert page.inner_text("tr.current td:nth-child(3)") == "sub-03"


def test_the_overlay_is_toggled_and_drawn_as_outline_or_filled(folder, open_page):
    page = open_page(folder / "index.html")
    current(page)
    outline = coloured(pixels(page, "#axial .over"))
    page.keyboard.press("ArrowRight")
    off = coloured(pixels(page, "#axial .over"))
    page.keyboard.press("o")
    again = coloured(pixels(page, "#axial .over"))
    page.keyboard.press("l")
    filled = coloured(pixels(page, "#axial .over"))
    assert off == 0
    assert 0 < outline == again < filled / 2


def test_filled_shares_are_a_scale_of_colours_and_the_outline_is_the_edge(folder, open_page):
    page = open_page(folder / "index.html")
    current(page)
    tile = pixels(page, "#axial .over")[:160, :160]
    line = (tile[..., 2] > 200) & (tile[..., 0] < 50) & (tile[..., 3] > 200)
    where = np.argwhere(line[30:130, 30:130]) + 30 - 79.5  # without the letters
    assert np.allclose(np.hypot(*where.T) * 40 / 160, 5, atol=0.6)  # the cylinder's radius is 5 mm
    page.select_option("#style", "fill")
    inside = pixels(page, "#axial .over")[80, 80]
    assert inside[0] > 200 > 100 > inside[2]  # yellow for a whole voxel


def test_search_filters_and_sorting(folder, open_page):
    page = open_page(folder / "index.html")
    page.keyboard.press("/")
    page.keyboard.type("ses-1 t1w")
    assert rows(page) == ["sub-03"]
    page.keyboard.press("Escape")
    page.fill("#search", "")
    page.select_option("#by-flag", "gaps")
    assert rows(page) == ["sub-02"]
    page.select_option("#by-flag", "")
    page.select_option("#by-contrast", "T2w")
    assert rows(page) == ["sub-02", "sub-01"]
    page.select_option("#by-contrast", "")
    page.click("#heads th:nth-child(3) button")
    assert rows(page) == ["sub-01", "sub-02", "sub-03"]
    page.click("#heads th:nth-child(3) button")
    assert rows(page) == ["sub-03", "sub-02", "sub-01"]
    page.click("#worst")
    assert rows(page)[0] == "sub-02"


def test_the_help_sheet(folder, open_page):
    page = open_page(folder / "index.html")
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("f")  # no key of the page works below it
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys")
    assert "0 rated" in page.inner_text("#counts")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(scheme, folder, open_page):
    page = open_page(folder / "index.html")
    page.emulate_media(color_scheme=scheme)
    colours = "e => [getComputedStyle(document.body).backgroundColor, getComputedStyle(e).color]"
    for selector in ("#title", "#counts", "footer", "#rows td"):
        back, text = (luminance(colour) for colour in page.eval_on_selector(selector, colours))
        contrast = (max(back, text) + 0.05) / (min(back, text) + 0.05)
        assert contrast > 4.5, selector
        assert (back < 0.2) == (scheme == "dark")


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.1 of `rgb(r, g, b)`."""
    values = np.array([float(part) for part in colour[4:-1].split(",")]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


# ---- ratings


def rate_three(page) -> None:
    """Pass, fail with a rank and a comment, artifact; by Ann."""
    page.fill("#rater", "Ann")
    page.press("#rater", "Enter")
    page.keyboard.press("f")
    page.keyboard.press("n")
    current(page)
    for key in ("f", "f", "7", "c"):
        page.keyboard.press(key)
    page.keyboard.type('cut "low"\tat <b>T2</b>')
    page.keyboard.press("Enter")
    page.keyboard.press("n")
    current(page)
    for _ in range(3):
        page.keyboard.press("f")


def told(page) -> dict[str, list[object]]:
    """Rating, rank and comment by subject."""
    return page.evaluate(
        "Object.fromEntries([...softcord.entries.values()].map(e => [e.subject, "
        "[softcord.mine(e.key).rating, softcord.mine(e.key).rank, softcord.mine(e.key).comment]]))"
    )


TOLD = {
    "sub-01": ["fail", 7, 'cut "low" at <b>T2</b>'],
    "sub-02": ["pass", None, ""],
    "sub-03": ["artifact", None, ""],
}


@pytest.fixture
def rated(folder, open_page):
    """A page on which Ann has rated all."""
    page = open_page(folder / "index.html")
    rate_three(page)
    TOLD["sub-01"][2] = page.input_value("#comment") or page.evaluate(
        "[...softcord.ratings.values()].find(r => r.comment).comment"
    )
    return page


def test_ratings_are_still_there_after_a_reload_and_in_a_new_tab(rated, folder, open_page):
    assert "3 results, 3 rated" in rated.inner_text("#counts")
    before = told(rated)
    assert {subject: said[:2] for subject, said in before.items()} == {
        "sub-01": ["fail", 7],
        "sub-02": ["pass", None],
        "sub-03": ["artifact", None],
    }
    assert '"low"' in before["sub-01"][2]
    rated.reload()
    rated.wait_for_selector("body[data-ready]", state="attached")
    assert told(rated) == before
    assert told(open_page(folder / "index.html", rated.context)) == before


def test_two_tabs_do_not_overwrite_one_another(folder, open_page):
    one = open_page(folder / "index.html")
    two = open_page(folder / "index.html", one.context)
    current(one)
    current(two)
    one.keyboard.press("f")
    two.keyboard.press("ArrowDown")
    current(two)
    two.keyboard.press("f")
    wait_until(one, "document.getElementById('counts').textContent.includes('2 rated')")
    one.reload()
    one.wait_for_selector("body[data-ready]", state="attached")
    assert "2 rated" in one.inner_text("#counts")


def saved(page, kind, folder):
    """A file that the page saves."""
    page.click("#files summary")
    with page.expect_download() as download:
        page.click(f'[data-save="{kind}"]')
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_ratings_are_saved_in_the_form_of_sct(rated, folder, tmp_path):
    fail, artifact = (saved(rated, kind, tmp_path) for kind in ("fail", "artifact"))
    assert (fail.name, artifact.name) == ("qc_fail.yml", "qc_artifact.yml")
    assert fail.read_text() == "FILES_SEG:\n- /data/sub-01_T2w.nii.gz\n"
    assert artifact.read_text() == "FILES_SEG:\n- /data/sub-03_ses-1_T1w.nii.gz\n"
    (read,) = read_ratings(fail, read_rows(folder))
    assert (read.rating, read.source) == ("fail", "/data/sub-01_T2w.nii.gz")


@pytest.mark.parametrize("kind", ["tsv", "json"])
def test_what_is_saved_is_read_by_another_browser_and_by_python(kind, rated, folder, open_page, tmp_path):
    path = saved(rated, kind, tmp_path)
    other = open_page(folder / "index.html")
    assert "0 rated" in other.inner_text("#counts")
    other.fill("#rater", "Ann")
    other.press("#rater", "Enter")
    other.set_input_files("#load", path)
    wait_until(other, "document.getElementById('saved').textContent.startsWith('3 ratings loaded')")
    assert told(other) == told(rated)
    read = {rating.source: rating for rating in read_ratings(path, read_rows(folder))}
    assert read["/data/sub-01_T2w.nii.gz"].comment == told(rated)["sub-01"][2]
    assert read["/data/sub-01_T2w.nii.gz"].rank == 7
    assert {rating.rater for rating in read.values()} == {"Ann"}
    assert all(rating.time.endswith("Z") for rating in read.values())


def test_a_yaml_of_sct_is_loaded_by_path_or_by_name_and_what_is_unknown_is_said(folder, open_page, tmp_path):
    path = tmp_path / "qc_fail.yml"
    path.write_text(
        "FILES_SEG:\n- /elsewhere/sub-01_T2w.nii.gz\n- '/data/sub-02_T2w.nii.gz'\n- /data/none.nii\n"
    )
    page = open_page(folder / "index.html")
    page.set_input_files("#load", path)
    wait_until(page, "document.getElementById('saved').textContent.startsWith('2 ratings loaded, 1')")
    assert {subject: said[0] for subject, said in told(page).items()} == {
        "sub-01": "fail",
        "sub-02": "fail",
        "sub-03": "",
    }


def test_a_file_that_holds_no_ratings_is_said_and_changes_nothing(rated, tmp_path):
    path = tmp_path / "other.json"
    path.write_text("{}")
    before = told(rated)
    rated.set_input_files("#load", path)
    rated.wait_for_selector("#saved.bad")
    assert "holds no ratings" in rated.inner_text("#saved")
    assert told(rated) == before


# ---- viewer


def canvas(page) -> np.ndarray:
    page.wait_for_timeout(500)
    return np.asarray(Picture.open(io.BytesIO(page.locator("#gl").screenshot())).convert("RGB"))


def bright(picture: np.ndarray) -> int:
    return int(np.count_nonzero(picture[6:-6, 6:-6].max(axis=-1) > 150))


def test_the_viewer_draws_the_volume_and_the_segmentation(folder, open_page):
    page = open_page(folder / "index.html")
    current(page)
    page.keyboard.press("v")
    page.wait_for_selector("#viewer[data-key]")
    page.evaluate("softcord.nv.setCrosshairWidth(0)")
    both = canvas(page)
    page.evaluate("softcord.nv.setOpacity(1, 0)")
    image_only = canvas(page)
    page.evaluate("softcord.nv.setOpacity(0, 0)")
    nothing = canvas(page)
    assert coloured(both) > 1000 > 10 >= coloured(image_only)
    assert bright(image_only) > 3 * bright(nothing) + 1000
    page.keyboard.press("v")
    assert not page.is_visible("#viewer")


def test_the_viewer_scrolls_through_slices(folder, open_page):
    page = open_page(folder / "index.html")
    current(page)
    page.keyboard.press("v")
    page.wait_for_selector("#viewer[data-key]")
    before = page.evaluate("JSON.stringify([...softcord.nv.scene.crosshairPos])")
    box = page.locator("#gl").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.wheel(0, 100)
    wait_until(
        page,
        f"JSON.stringify([...softcord.nv.scene.crosshairPos]) !== '{before}'",
    )


# ---- many, and hostile


def test_a_thousand_entries_load_and_move(folder, open_page):
    entry = next((folder / "entries").glob("sub-01*.js"))
    row = (folder / "index" / "0.js").read_text()
    for number in range(3, 1000):
        key = f"many-{number}"
        (folder / "entries" / f"{key}.js").write_text(
            entry.read_text().replace(entry.stem, key).replace('"sub-01"', f'"sub-{number}"', 1)
        )
        text = row.replace(entry.stem, key).replace('"sub-01"', f'"sub-{number}"', 1)
        (folder / "index" / f"{number}.js").write_text(text)
    for number in range(8):  # as many as writers have packed, and two blocks that they have not
        texts = [(folder / "index" / f"{100 * number + n}.js").read_text() for n in range(100)]
        (folder / "index" / f"pack-{number}.js").write_text("".join(texts))
    page = open_page(folder / "index.html")
    assert len(rows(page)) == 1000
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    assert current(page) == page.evaluate("softcord.entries.get(softcord.order[20]).subject")


def test_rows_that_were_removed_do_not_hide_those_behind_them(folder, open_page):
    (folder / "index" / "1.js").unlink()
    assert rows(open_page(folder / "index.html")) == ["sub-01", "sub-03"]


def test_an_entry_whose_file_is_gone_is_said(folder, open_page):
    next((folder / "entries").glob("sub-02*.js")).unlink()
    page = open_page(folder / "index.html")
    page.wait_for_selector("#problem:not([hidden])")
    assert "removed" in page.inner_text("#problem")
    page.keyboard.press("ArrowDown")
    assert current(page) == "sub-01"
    assert not page.is_visible("#problem")


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\n\"'`\u2028../../"


def test_hostile_names_are_shown_as_text(tmp_path, open_page):
    origin = Origin(result=f"/data/{HOSTILE}.nii.gz", model=HOSTILE)
    add(
        tmp_path / "qc",
        f"sub-{HOSTILE}_T2w.nii.gz",
        subject=HOSTILE,
        origin=origin,
        flags=[Flag(HOSTILE, HOSTILE)],
    )
    page = open_page(tmp_path / "qc" / "index.html")
    wait_until(page, "document.body.dataset.shown")
    assert "<script>alert(1)</script>" in page.inner_text("#title")
    assert "<img src=x onerror=alert(2)>" in page.inner_text("#rows")
    assert "<img src=x onerror=alert(2)>" in page.inner_text("#flags")
    page.keyboard.press("c")
    page.keyboard.type("<img src=x onerror=alert(3)>")
    page.keyboard.press("Enter")
    page.keyboard.press("f")
    page.keyboard.press("f")
    page.reload()
    wait_until(page, "document.body.dataset.shown")
    assert page.input_value("#comment") == "<img src=x onerror=alert(3)>"
    (read,) = read_ratings(saved(page, "fail", tmp_path), read_rows(tmp_path / "qc"))
    assert read.source == f"/data/sub-{HOSTILE}_T2w.nii.gz"
    assert json.loads(saved(page, "json", tmp_path).read_text())["ratings"][0]["source"] == read.source
    assert page.locator("img, #rows script").count() == 0  # open_page fails if any code ran
