import base64
import io
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture

from fakes import cord_data, cord_share
from softcord.errors import GeometryError, OutputError
from softcord.flags import Flag
from softcord.measure import csa
from softcord.qc import Origin, add_entry, entry_path, folder, is_drawn, read_rows
from softcord.qc.curve import area_curve
from softcord.qc.folder import read_entry
from softcord.qc.record import Record, entry_script, read_record, row_script
from softcord.qc.views import (
    TILE_PIXELS,
    View,
    axial_mosaic,
    cord_centres,
    sagittal_view,
    shown_slices,
)

ZOOMS = (1.0, 1.0, 2.0)
GAPS, JUMP, NO_CORD = (
    Flag("gaps", "1 gap of 4 mm."),
    Flag("area_jump", "20 % at 3."),
    Flag("no_cord", "None."),
)


def images(ornt=None):
    """An image of a cord and its segmentation."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    pair = nib.Nifti1Image(cord_data(), affine), nib.Nifti1Image(cord_share(), affine)
    return pair if ornt is None else tuple(image.as_reoriented(np.array(ornt)) for image in pair)


def slanted(slope=0.5):
    """A cord whose centre moves by `slope` voxels per slice along i and stays at j = 20."""
    i, j, k = np.meshgrid(np.arange(48), np.arange(40), np.arange(30), indexing="ij")
    return ((i - 10 - slope * k) ** 2 + (j - 20) ** 2 <= 16).astype(np.float32)


# ---- views


def test_the_centre_of_a_slanted_cord_is_found_in_every_slice():
    centres = cord_centres(slanted())
    assert np.allclose(centres[:, 0], 10 + 0.5 * np.arange(30), atol=0.3)
    assert np.allclose(centres[:, 1], 20, atol=1e-6)


def test_centres_are_joined_across_gaps_and_held_beyond_the_ends():
    soft = slanted()
    whole = cord_centres(soft)
    soft[:, :, [0, 1, 12, 13, 29]] = 0
    centres = cord_centres(soft)
    assert np.allclose(centres[12:14], whole[12:14], atol=0.3)
    assert np.array_equal(centres[0], centres[2])
    assert np.array_equal(centres[29], centres[28])


def test_without_cord_the_middle_is_shown():
    assert np.array_equal(cord_centres(np.zeros((11, 21, 3))), [[5, 10]] * 3)


@pytest.mark.parametrize(("n_slices", "expected"), [(5, 5), (24, 24), (100, 24)])
def test_slices_are_spread_over_the_cord_from_top_to_bottom(n_slices, expected):
    soft = np.zeros((4, 4, 120), dtype=np.float32)
    soft[1:3, 1:3, 10 : 10 + n_slices] = 1
    slices = shown_slices(soft)
    assert len(slices) == len(set(slices)) == expected
    assert (slices[0], slices[-1]) == (9 + n_slices, 10)
    assert slices == sorted(slices, reverse=True)


def test_without_cord_slices_are_spread_over_the_image():
    slices = shown_slices(np.zeros((4, 4, 120), dtype=np.float32))
    assert (slices[0], slices[-1], len(slices)) == (119, 0, 24)


def tiles(view: View) -> list[np.ndarray]:
    rows, columns = (size // TILE_PIXELS for size in view.soft.shape)
    return [
        view.soft[row * TILE_PIXELS :, column * TILE_PIXELS :][:TILE_PIXELS, :TILE_PIXELS]
        for row in range(rows)
        for column in range(columns)
    ]


def test_every_tile_of_the_mosaic_is_centred_on_the_cord():
    soft = slanted()
    for tile in tiles(axial_mosaic(soft, soft, ZOOMS))[:24]:
        rows, columns = np.nonzero(tile > 0.5)
        assert np.allclose([rows.mean(), columns.mean()], (TILE_PIXELS - 1) / 2, atol=1.5)


def test_a_tile_shows_40_mm_whatever_the_voxel_size():
    for zooms in [(1.0, 1.0, 2.0), (0.5, 0.5, 5.0), (0.5, 1.0, 1.0)]:
        share = cord_share(shape=(96, 48, 8), zooms=zooms)
        tile = tiles(axial_mosaic(share, share, zooms))[0]
        area_mm2 = tile.sum() * (40 / TILE_PIXELS) ** 2
        assert area_mm2 == pytest.approx(np.pi * 25, rel=0.02)


def test_in_a_tile_right_is_on_the_left_and_anterior_on_top():
    soft = np.zeros((40, 40, 2), dtype=np.float32)
    soft[18:23, 18:23] = 1
    data = soft.copy()
    data[25, 20] = 1  # to the right of the cord
    data[20, 25] = 1  # in front of it
    view = axial_mosaic(data, soft, ZOOMS)
    grey = view.grey[:TILE_PIXELS, :TILE_PIXELS]
    middle = TILE_PIXELS // 2
    away = 20  # pixels, which are 5 mm
    assert grey[middle, middle - away] > 0.7 > grey[middle, middle + away] == 0
    assert grey[middle - away, middle] > 0.7 > grey[middle + away, middle] == 0


def test_tiles_bear_the_number_of_their_slice():
    soft = slanted()
    labels = [label.text for label in axial_mosaic(soft, soft, ZOOMS).labels]
    assert labels[:24] == [str(k) for k in shown_slices(soft)]
    assert labels[24:] == ["R", "L", "A", "P"]


def test_the_sagittal_view_follows_a_slanted_cord():
    soft = slanted()
    view = sagittal_view(soft, soft, ZOOMS)
    rows = view.soft.max(axis=1)
    assert rows.min() > 0.99  # the cord is cut through its middle in every slice, which no plane does
    plane = soft[25]
    assert plane.max(axis=0).min() == 0


def test_the_sagittal_view_has_square_pixels_and_superior_on_top():
    soft = np.zeros((20, 60, 40), dtype=np.float32)
    soft[8:12, 10:14, 30:] = 1  # posterior and superior
    view = sagittal_view(soft, soft, (1.0, 1.0, 3.0))
    assert view.soft.shape[0] / view.soft.shape[1] == pytest.approx(40 * 3 / 60, rel=0.02)
    rows, columns = np.nonzero(view.soft > 0.5)
    assert rows.max() < 0.3 * view.soft.shape[0]
    assert columns.min() > 0.7 * view.soft.shape[1]


def test_the_grey_window_is_set_around_the_cord():
    soft = cord_share(shape=(60, 60, 8))
    data = 100 + 100 * soft
    data[:5] = 1e6  # something bright far away
    grey = axial_mosaic(data, soft, (1.0, 1.0, 2.0)).grey
    inside = tiles(axial_mosaic(soft, soft, (1.0, 1.0, 2.0)))[0] > 0.99
    assert grey[:TILE_PIXELS, :TILE_PIXELS][inside].min() > 0.9


@pytest.mark.parametrize("shape", [(1, 30, 30), (30, 1, 30), (30, 30, 1), (3, 2, 2)])
def test_thin_volumes_can_be_shown(shape):
    data = np.random.default_rng(0).random(shape, dtype=np.float32)
    for view in (axial_mosaic(data, data, ZOOMS), sagittal_view(data, data, ZOOMS)):
        assert np.isfinite(view.grey).all()
        assert view.grey.shape == view.soft.shape


# ---- entries


def content(entry: Path) -> dict:
    """What an entry hands to the page."""
    return json.loads(entry.read_text().removeprefix("softcord.entry(").removesuffix(");\n"))


def picture(address: str) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def add(folder, name="sub-01_T2w.nii.gz", **options):
    image, soft = images()
    return add_entry(image, soft, folder, source=folder.parent / name, **options)


def test_an_entry_is_one_file_with_two_views_and_the_areas(tmp_path):
    entry = content(add(tmp_path / "qc"))
    for name in ("axial", "sagittal"):
        view = entry[name]
        assert picture(view["grey"]).shape == picture(view["share"]).shape == (view["height"], view["width"])
    assert np.allclose(entry["curve"]["areas"], np.pi * 25, rtol=0.01)


def test_the_shares_that_the_page_gets_are_those_of_the_segmentation(tmp_path):
    tile = picture(content(add(tmp_path / "qc"))["axial"]["share"])[:TILE_PIXELS, :TILE_PIXELS]
    area_mm2 = tile.sum() / 255 * (40 / TILE_PIXELS) ** 2
    assert area_mm2 == pytest.approx(np.pi * 25, rel=0.02)
    assert tile.max() == 255
    assert tile[5, 5] == 0


def test_the_same_pictures_come_out_of_any_orientation(tmp_path):
    entries = []
    for number, ornt in enumerate([None, [[2, -1], [0, 1], [1, -1]]]):
        image, soft = images(ornt)
        entries.append(content(add_entry(image, soft, tmp_path / str(number), source="t2.nii.gz")))
    assert entries[0]["axial"] == entries[1]["axial"]
    assert entries[0]["sagittal"] == entries[1]["sagittal"]


def test_a_series_is_shown_by_its_mean(tmp_path):
    image, _ = images()
    series = nib.Nifti1Image(np.stack([cord_data(), 3 * cord_data()], axis=-1), image.affine)
    maps = nib.Nifti1Image(np.stack([cord_share(), 0 * cord_share()], axis=-1), image.affine)
    record = read_entry(add_entry(series, maps, tmp_path, source="dwi.nii.gz"))
    assert record.volume_mm3 == pytest.approx(np.pi * 25 * 60 / 2, rel=0.01)
    assert record.mean_area_mm2 == pytest.approx(np.pi * 25, rel=0.01)


def test_the_volume_that_was_segmented_is_the_one_that_is_shown(tmp_path):
    image, soft = images()
    dark = cord_data()
    dark[12:] = 0
    series = nib.Nifti1Image(np.stack([dark, cord_data(), dark], axis=-1), image.affine)
    shown = [
        content(add_entry(series, soft, tmp_path, source="dwi.nii.gz", origin=Origin(volumes=n)))
        for n in (0, 1, 2)
    ]
    alone = content(add_entry(image, soft, tmp_path, source="t2.nii.gz"))
    assert shown[1]["axial"]["grey"] == alone["axial"]["grey"] != shown[0]["axial"]["grey"]
    assert len(read_rows(tmp_path)) == 4  # no volume replaces another


def test_labels_are_shown_as_they_are(tmp_path):
    image, soft = images()
    labels = np.zeros(soft.shape, dtype=np.uint8)
    labels[8:16, 8:16, :15] = 3
    labels[8:16, 8:16, 15:] = 7
    over = nib.Nifti1Image(labels, image.affine)
    entry = content(add_entry(image, over, tmp_path, source="t2.nii.gz"))
    assert entry["labels"] == ["3", "7"]
    assert set(np.unique(picture(entry["axial"]["share"]))) == {0, 1, 2}
    assert set(np.unique(picture(entry["sagittal"]["share"]))) == {0, 1, 2}
    assert entry["record"]["kind"] == "labels"


def test_the_entry_says_how_the_result_was_made_and_is_known_by_it(tmp_path):
    origin = Origin("/out/t2_softseg.nii.gz", 2, 0.3, "softcord", "1.2", "ab" * 32, "2026-01-02T03:04:05")
    image, soft = images()
    series = nib.Nifti1Image(np.stack([cord_data()] * 3, axis=-1), image.affine)
    entry = add_entry(series, soft, tmp_path, source="t2.nii.gz", origin=origin)
    assert read_entry(entry).origin == origin
    assert is_drawn(tmp_path, "t2.nii.gz", origin)
    assert not is_drawn(tmp_path, "t2.nii.gz", Origin(volumes=2))
    assert not is_drawn(tmp_path, "t1.nii.gz", origin)


def test_two_segmentations_of_one_image_have_two_entries(tmp_path):
    for result in ("a_seg.nii.gz", "b_seg.nii.gz", "a_seg.nii.gz"):
        add(tmp_path / "qc", origin=Origin(result=result))
    assert [record.origin.result for record in read_rows(tmp_path / "qc")] == ["a_seg.nii.gz", "b_seg.nii.gz"]


def test_bids_entities_and_contrast_are_read_from_the_name(tmp_path):
    record = read_entry(add(tmp_path / "qc", "sub-01_ses-2_acq-crop_T2star.nii.gz"))
    assert (record.entities, record.contrast) == ({"sub": "01", "ses": "2", "acq": "crop"}, "T2star")


def test_confidence_is_the_share_of_volume_in_voxels_that_are_mostly_cord(tmp_path):
    image, _ = images()
    values = np.zeros(image.shape, dtype=np.float32)
    values[10:12, 10:12, 5:10] = 0.75
    values[12:14, 10:12, 5:10] = 0.25
    soft = nib.Nifti1Image(values, image.affine)
    assert read_entry(add_entry(image, soft, tmp_path, source="a.nii")).confidence == pytest.approx(0.75)
    mask = nib.Nifti1Image((values > 0.5).astype(np.uint8), image.affine)
    assert read_entry(add_entry(image, mask, tmp_path, source="b.nii")).confidence is None


def test_an_empty_segmentation_has_an_entry(tmp_path):
    image, soft = images()
    empty = nib.Nifti1Image(np.zeros_like(soft.get_fdata(dtype=np.float32)), soft.affine)
    entry = add_entry(image, empty, tmp_path, source="t2.nii.gz", flags=[NO_CORD])
    record = read_entry(entry)
    assert (record.volume_mm3, record.mean_area_mm2) == (0, 0)
    assert content(entry)["curve"] is None


def test_image_and_segmentation_on_two_grids_are_refused(tmp_path):
    image, soft = images()
    cut = nib.Nifti1Image(soft.get_fdata()[:-1], soft.affine)
    with pytest.raises(GeometryError, match=r"t2.nii.gz: .* one grid"):
        add_entry(image, cut, tmp_path, source="t2.nii.gz")


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the review folder"):
        add(tmp_path / "file" / "qc")


def test_a_small_entry_of_a_large_image(tmp_path):
    """The limit is 300 kB for 64 x 320 x 320 voxels of an image with ordinary noise."""
    share = cord_share(shape=(64, 320, 320), zooms=(1.0, 1.0, 1.0))
    noise = np.random.default_rng(0).normal(0, 20, share.shape)
    data = (300 + 300 * share + noise).astype(np.int16)
    affine = np.eye(4)
    image, soft = nib.Nifti1Image(data, affine), nib.Nifti1Image(share, affine)
    entry = add_entry(image, soft, tmp_path, source="t2.nii.gz")
    assert entry.stat().st_size < 300_000


# ---- areas along the cord


def test_the_curve_is_that_of_softcord_csa():
    soft = slanted(0.4)
    curve = area_curve(soft, ZOOMS)
    measured = csa(nib.Nifti1Image(soft, np.diag([1.0, 1.0, 2.0, 1.0]))).measures
    assert np.allclose(curve.areas_mm2, measured.values["area_mm2"], rtol=1e-3)


def test_what_is_odd_along_the_cord_is_marked_where_it_is():
    soft = cord_share(shape=(24, 24, 40), zooms=(1.0, 1.0, 2.0))
    soft[:, :, 20] = 0
    soft[:12, :, 30] = 0
    marks = area_curve(soft, ZOOMS).marks
    assert marks["gaps"] == [20]
    assert {30, 31} <= set(marks["area_jump"])


def test_the_range_of_healthy_people_is_that_of_the_level_where_it_is_known():
    soft = cord_share()
    unknown, known = area_curve(soft, ZOOMS), area_curve(soft, ZOOMS, np.full(30, 3))
    assert known.low[0] > unknown.low[0]
    assert known.high[0] < unknown.high[0]
    assert (known.low[0], known.high[0]) == pytest.approx((55.97, 94.374), abs=0.01)


# ---- the folder


def test_an_entry_made_again_is_replaced(tmp_path):
    first = add(tmp_path / "qc", flags=[GAPS], subject="old")
    second = add(tmp_path / "qc", flags=[], subject="new")
    assert first == second == entry_path(tmp_path / "qc", tmp_path / "sub-01_T2w.nii.gz")
    (record,) = read_rows(tmp_path / "qc")
    assert (record.subject, record.flags) == ("new", ())


def test_images_of_the_same_name_in_two_folders_have_two_entries(tmp_path):
    assert entry_path("qc", tmp_path / "a" / "t2.nii.gz") != entry_path("qc", tmp_path / "b" / "t2.nii.gz")


def test_two_links_to_one_file_as_in_a_datalad_dataset_have_two_entries(tmp_path):
    (tmp_path / "stored").write_text("")
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).symlink_to(tmp_path / "stored")
    assert entry_path("qc", tmp_path / "a.nii.gz").name.startswith("a_")
    digests = [entry_path("qc", tmp_path / name).stem[2:] for name in ("a.nii.gz", "b.nii.gz")]
    assert len(set(digests)) == 2


def test_an_entry_that_is_deleted_is_no_longer_listed_and_comes_back(tmp_path):
    folder = tmp_path / "qc"
    add(folder, "a.nii.gz").unlink()
    add(folder, "b.nii.gz")
    assert [record.name for record in read_rows(folder)] == ["b.nii.gz"]
    add(folder, "a.nii.gz")
    assert [record.name for record in read_rows(folder)] == ["a.nii.gz", "b.nii.gz"]


def test_a_page_that_was_altered_is_made_whole_and_its_name_is_kept(tmp_path):
    folder = tmp_path / "qc"
    add(folder)
    name = (folder / "report.js").read_text()
    (folder / "page" / "page.js").write_text("old")
    add(folder)
    assert "softcord.loadRows" in (folder / "page" / "page.js").read_text()
    assert (folder / "report.js").read_text() == name


def record_named(name: str) -> Record:
    return Record(f"{name}_0", "sub-01", f"/data/{name}.nii.gz", f"{name}.nii.gz", "soft", (), 1.0, 1.0, "")


def write_many(path: Path, writer: int) -> None:
    """A process that shares the folder with others, and one entry with all of them."""
    folder.prepare(path)
    for number in range(5):
        for name in (f"own-{writer}-{number}", "shared"):
            record = record_named(name)
            (path / "entries" / f"{record.key}.js").write_text(entry_script(record, {"x": 1}))
            folder.write_row(path, record)


def test_twenty_processes_write_to_one_folder_and_nothing_is_lost(tmp_path):
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    writers = [context.Process(target=write_many, args=(tmp_path / "qc", n)) for n in range(20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 20
    expected = {f"own-{writer}-{number}_0" for writer in range(20) for number in range(5)} | {"shared_0"}
    rows = read_rows(tmp_path / "qc")
    assert {record.key for record in rows} == expected
    assert len(rows) == len(expected)
    files = {path.stem for path in (tmp_path / "qc" / "index").iterdir()}
    assert files == {str(n) for n in range(200)} | {"pack-0"}  # no hole: the page finds all of them
    assert (tmp_path / "qc" / "index" / "pack-0.js").read_text().count("softcord.add(") == 100
    assert list((tmp_path / "qc").rglob("*.tmp")) == []


def test_a_new_row_reads_few_files_however_many_there_are(tmp_path, monkeypatch):
    folder.prepare(tmp_path)
    for number in range(1000):
        (tmp_path / "index" / f"{number}.js").write_text("")
    asked = []
    row_path = folder.row_path
    monkeypatch.setattr(folder, "row_path", lambda *where: asked.append(where) or row_path(*where))
    assert folder.write_row(tmp_path, record_named("new")).name == "1000.js"
    assert len(asked) < 30


def test_the_last_of_two_rows_of_an_entry_counts(tmp_path):
    folder.prepare(tmp_path)
    for drawn in ("2026-01-02", "2026-01-01"):
        (tmp_path / "entries" / "a_0.js").write_text("")
        folder.write_row(tmp_path, replace(record_named("a"), drawn=drawn))
    assert [record.drawn for record in read_rows(tmp_path)] == ["2026-01-02"]


def test_a_block_of_rows_with_a_hole_is_not_packed(tmp_path):
    folder.prepare(tmp_path)
    for number in range(100):
        folder.write_row(tmp_path, record_named(str(number)))
    (tmp_path / "index" / "7.js").write_text("softcord.add(")
    folder.write_row(tmp_path, record_named("last"))
    assert not (tmp_path / "index" / "pack-0.js").exists()


def test_a_folder_on_a_disk_without_hard_links_can_be_used(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    add(tmp_path / "qc", "a.nii.gz")
    add(tmp_path / "qc", "b.nii.gz")
    assert len(read_rows(tmp_path / "qc")) == 2


HOSTILE = '</script><script>alert("1")</script>\n\u2028"\'`${x}\t../../etc'


def test_names_and_reasons_cannot_carry_code_into_the_scripts():
    record = Record("k", HOSTILE, HOSTILE, HOSTILE, "soft", (Flag("gaps", HOSTILE),), 1.0, 1.0, HOSTILE)
    for script in (entry_script(record, {"x": HOSTILE}), row_script(record)):
        assert "<" not in script
        assert script.isascii()
        assert read_record(script.splitlines(keepends=True)[0]) == record


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>.nii.gz",
        "a'\"b.nii.gz",
        "a\nb.nii.gz",
        "..%2f..%2fx.nii.gz",
        "scan\udcff.nii.gz",
    ],
)
def test_a_hostile_name_writes_nothing_outside_the_folder(name, tmp_path):
    entry = add(tmp_path / "deep" / "qc", f"../{name}", subject="../../x")
    assert entry.parent == tmp_path / "deep" / "qc" / "entries"
    assert entry.stem.replace("-", "").replace("_", "").isalnum()
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"qc"}
