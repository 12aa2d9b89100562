import base64
import io
import re

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

from fakes import cord_data, cord_share
from softcord.errors import GeometryError, OutputError
from softcord.flags import Flag
from softcord.qc import Origin, add_entry, entry_path, is_drawn, write_index
from softcord.qc.pages import NOTICE, Record, entry_page, index_page, read_record
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


def pictures(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [matplotlib.image.imread(io.BytesIO(base64.b64decode(data))) for data in found]


def add(folder, name="sub-01_T2w.nii.gz", **options):
    image, soft = images()
    return add_entry(image, soft, folder, source=folder.parent / name, **options)


def test_an_entry_is_one_file_with_two_views_that_needs_no_other(tmp_path):
    page = add(tmp_path / "qc").read_text()
    shapes = [picture.shape[:2] for picture in pictures(page)]
    assert len(shapes) == 4
    assert (shapes[0], shapes[2]) == (shapes[1], shapes[3])
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert {address for address in addresses if not address.startswith("data:")} == {"../index.html"}
    assert "@import" not in page


def test_the_overlay_is_coloured_on_the_cord_and_clear_elsewhere(tmp_path):
    _, overlay, *_ = pictures(add(tmp_path / "qc").read_text())
    tile = overlay[:TILE_PIXELS, :TILE_PIXELS]
    middle = TILE_PIXELS // 2
    red, _, blue, alpha = tile[middle, middle]
    assert red > 0.9 > blue + 0.5
    assert 0.3 < alpha < 0.5
    assert tile[5, 5, 3] == 0
    is_line = (tile[..., 2] > 0.8) & (tile[..., 3] > 0.5)
    radius = np.sqrt(np.sum((np.argwhere(is_line) - middle) ** 2, axis=1)) * 40 / TILE_PIXELS
    assert np.allclose(radius, 5, atol=0.6)  # the outline is the edge of the cylinder


def test_the_page_says_research_use_only_and_every_flag_with_its_reason(tmp_path):
    page = add(tmp_path / "qc", flags=[GAPS, JUMP]).read_text()
    assert NOTICE in page
    assert NOTICE in (tmp_path / "qc" / "index.html").read_text()
    assert all(flag.code in page and flag.reason in page for flag in (GAPS, JUMP))
    assert "No flags." not in page


def test_a_page_without_flags_says_so(tmp_path):
    assert "No flags." in add(tmp_path / "qc").read_text()


def test_the_same_pictures_come_out_of_any_orientation(tmp_path):
    pages = []
    for number, ornt in enumerate([None, [[2, -1], [0, 1], [1, -1]]]):
        image, soft = images(ornt)
        pages.append(add_entry(image, soft, tmp_path / str(number), source="t2.nii.gz").read_text())
    first, second = map(pictures, pages)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_series_is_shown_by_its_mean(tmp_path):
    image, _ = images()
    series = nib.Nifti1Image(np.stack([cord_data(), 3 * cord_data()], axis=-1), image.affine)
    maps = nib.Nifti1Image(np.stack([cord_share(), 0 * cord_share()], axis=-1), image.affine)
    page = add_entry(series, maps, tmp_path, source="dwi.nii.gz").read_text()
    assert read_record(page).volume_mm3 == pytest.approx(np.pi * 25 * 60 / 2, rel=0.01)
    assert read_record(page).mean_area_mm2 == pytest.approx(np.pi * 25, rel=0.01)


def test_the_volume_that_was_segmented_is_the_one_that_is_shown(tmp_path):
    image, soft = images()
    dark = cord_data()
    dark[12:] = 0
    series = nib.Nifti1Image(np.stack([dark, cord_data(), dark], axis=-1), image.affine)
    shown = [
        pictures(add_entry(series, soft, tmp_path, source="dwi.nii.gz", origin=Origin(volumes=n)).read_text())
        for n in (0, 1, 2)
    ]
    alone = pictures(add_entry(image, soft, tmp_path, source="t2.nii.gz").read_text())
    assert np.array_equal(shown[1][0], alone[0])
    assert not np.array_equal(shown[0][0], alone[0])
    assert len(order(tmp_path)) == 4  # no volume replaces another


def test_the_line_is_drawn_at_the_threshold(tmp_path):
    radii = []
    image, _ = images()
    ramp = np.clip(2 - np.hypot(*np.indices((24, 24)) - 11.5) / 5, 0, 1).astype(
        np.float32
    )  # 1 to 0: 5 to 10 mm
    soft = nib.Nifti1Image(np.repeat(ramp[:, :, None], 30, axis=2), image.affine)
    for threshold in (0.3, 0.5, 0.7):
        origin = Origin(threshold=threshold)
        page = add_entry(image, soft, tmp_path, source="t2.nii.gz", origin=origin).read_text()
        assert f"line: {threshold})" in page
        tile = pictures(page)[1][:TILE_PIXELS, :TILE_PIXELS]
        line = np.argwhere((tile[..., 2] > 0.8) & (tile[..., 3] > 0.5))
        radii.append(np.sqrt(np.sum((line - TILE_PIXELS // 2) ** 2, axis=1)).mean() * 40 / TILE_PIXELS)
    assert np.allclose(radii, [8.5, 7.5, 6.5], atol=0.4)


def test_the_entry_says_how_the_result_was_made_and_is_known_by_it(tmp_path):
    origin = Origin("/out/t2_softseg.nii.gz", 2, 0.3, "softcord", "1.2", "ab" * 32, "2026-01-02T03:04:05")
    image, soft = images()
    series = nib.Nifti1Image(np.stack([cord_data()] * 3, axis=-1), image.affine)
    page = add_entry(series, soft, tmp_path, source="t2.nii.gz", origin=origin).read_text()
    assert all(text in page for text in (origin.result, "softcord 1.2 " + "ab" * 32, origin.date))
    assert read_record(page).origin == origin
    assert is_drawn(tmp_path, "t2.nii.gz", origin)
    assert not is_drawn(tmp_path, "t2.nii.gz", Origin(volumes=2))
    assert not is_drawn(tmp_path, "t1.nii.gz", origin)


def test_a_name_outside_utf_8_can_be_shown(tmp_path):
    name = "scan\udcff.nii.gz"
    page = add(tmp_path / "qc", name).read_text()
    assert "scan\\udcff.nii.gz" in page
    assert "scan\\udcff.nii.gz" in (tmp_path / "qc" / "index.html").read_text()


def test_an_empty_segmentation_has_an_entry(tmp_path):
    image, soft = images()
    empty = nib.Nifti1Image(np.zeros_like(soft.get_fdata(dtype=np.float32)), soft.affine)
    page = add_entry(image, empty, tmp_path, source="t2.nii.gz", flags=[NO_CORD]).read_text()
    record = read_record(page)
    assert (record.volume_mm3, record.mean_area_mm2) == (0, 0)
    assert len(pictures(page)) == 4


def test_image_and_segmentation_on_two_grids_are_refused(tmp_path):
    image, soft = images()
    cut = nib.Nifti1Image(soft.get_fdata()[:-1], soft.affine)
    with pytest.raises(GeometryError, match=r"t2.nii.gz: .* one grid"):
        add_entry(image, cut, tmp_path, source="t2.nii.gz")


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the review folder"):
        add(tmp_path / "file" / "qc")


# ---- index


def order(folder) -> list[str]:
    return re.findall(r'<a href="entries/[^"]*">([^<]*)</a>', (folder / "index.html").read_text())


def test_the_index_lists_the_worst_first(tmp_path):
    folder = tmp_path / "qc"
    add(folder, "fine_a.nii.gz")
    add(folder, "fine_b.nii.gz")
    add(folder, "one.nii.gz", flags=[GAPS])
    add(folder, "two.nii.gz", flags=[GAPS, JUMP])
    add(folder, "none.nii.gz", flags=[NO_CORD])
    assert order(folder) == ["none.nii.gz", "two.nii.gz", "one.nii.gz", "fine_a.nii.gz", "fine_b.nii.gz"]


def test_an_entry_made_again_is_replaced(tmp_path):
    folder = tmp_path / "qc"
    first = add(folder, flags=[GAPS], subject="old")
    second = add(folder, flags=[], subject="new")
    assert first == second == entry_path(folder, tmp_path / "sub-01_T2w.nii.gz")
    assert order(folder) == ["sub-01_T2w.nii.gz"]
    index = (folder / "index.html").read_text()
    assert "gaps" not in index
    assert "old</td>" not in index


def test_images_of_the_same_name_in_two_folders_have_two_entries(tmp_path):
    assert entry_path("qc", tmp_path / "a" / "t2.nii.gz") != entry_path("qc", tmp_path / "b" / "t2.nii.gz")


def test_two_links_to_one_file_as_in_a_datalad_dataset_have_two_entries(tmp_path):
    (tmp_path / "stored").write_text("")
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).symlink_to(tmp_path / "stored")
    assert entry_path("qc", tmp_path / "a.nii.gz").name.startswith("a_")
    digests = [entry_path("qc", tmp_path / name).stem[2:] for name in ("a.nii.gz", "b.nii.gz")]
    assert len(set(digests)) == 2


def test_an_entry_that_is_deleted_leaves_the_index(tmp_path):
    folder = tmp_path / "qc"
    add(folder, "a.nii.gz").unlink()
    add(folder, "b.nii.gz")
    assert order(folder) == ["b.nii.gz"]


def test_links_of_the_index_lead_to_the_entries(tmp_path):
    folder = tmp_path / "qc"
    path = add(folder, "scan 100% #1.nii.gz")
    (link,) = re.findall(r'href="([^"]*)"', (folder / "index.html").read_text())
    assert folder / link == path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>other</html>",
        b"\xff\xfe",
        b'<script type="application/json" id="softcord-entry">{</script>',
    ],
)
def test_a_file_that_is_no_entry_is_said_and_does_not_break_the_index(content, tmp_path, caplog):
    folder = tmp_path / "qc"
    (folder / "entries").mkdir(parents=True)
    (folder / "entries" / "other.html").write_bytes(content)
    add(folder, "a.nii.gz")
    assert order(folder) == ["a.nii.gz"]
    assert "other.html is not an entry" in caplog.text


def test_a_very_long_record_is_read_whole(tmp_path):
    folder = tmp_path / "qc"
    add(folder, flags=[Flag("gaps", f"Gap {n}.") for n in range(5000)])
    write_index(folder)
    assert '<td class="number">5000</td>' in (folder / "index.html").read_text()


HOSTILE = '</script><script>alert("1")</script>'


def test_names_and_reasons_cannot_carry_code_into_the_pages():
    record = Record(HOSTILE, HOSTILE, HOSTILE, (Flag("gaps", HOSTILE),), 1.0, 1.0, HOSTILE)
    page = entry_page(record, {"Axial": ("data:,", "data:,")})
    assert "<script>alert" not in page
    assert "<script>alert" not in index_page([(HOSTILE + ".html", record)])
    assert read_record(page) == record
