import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from softcord.errors import GeometryError, InputError
from softcord.phantoms import Tissue
from softcord.train.config import ImageSource, MapSource, SynthConfig
from softcord.train.sources import chosen_rows, edge_of, load_sources, pseudo_path


@pytest.fixture
def folder(data, tmp_path):
    """A copy of the data that may be spoilt."""
    return shutil.copytree(data, tmp_path / "data")


def of_maps(*maps: MapSource) -> SynthConfig:
    return SynthConfig(name="mine", maps=list(maps))


def of_images(**values: object) -> SynthConfig:
    return SynthConfig(name="mine", images=[ImageSource(**{"table": "images.tsv", **values})])


def save(values: np.ndarray, path, affine=None) -> None:
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.0, 3.0, 1.0]) if affine is None else affine), path)


# ---- what is there


def test_phantoms_alone_need_no_data():
    sources = load_sources(SynthConfig(name="mine"), None)
    assert (sources.maps, sources.images) == ((), ())


def test_maps_and_images_are_read_in_the_order_of_their_names(mixed, data):
    sources = load_sources(mixed, data)
    assert len(sources.maps) == 3
    assert [image.name for image in sources.images] == ["T2w.nii.gz"]  # the other one is for tests
    first, second = sources.maps[:2]
    np.testing.assert_array_equal(first.share, second.share[::-1])


def test_a_label_map_knows_its_cord_and_its_tissues(mixed, data):
    label_map = load_sources(mixed, data).maps[0]
    assert label_map.labels.dtype == np.int16
    assert label_map.tissues == {14: Tissue.WHITE, 15: Tissue.WHITE, 12: Tissue.CSF}
    assert not label_map.fill_zero
    assert not (label_map.labels == 14).any()  # what surrounds the cord goes on below it
    cord = nib.load(data / "maps" / "whole" / "a.nii.gz").get_fdata() == 14
    assert (label_map.share[cord] > 0.4).mean() > 0.9
    assert label_map.share.sum() == pytest.approx(cord.sum(), rel=0.02)  # smoothing moves, and takes nothing
    assert 0 <= label_map.share.min() < label_map.share.max() <= 1


def test_a_cord_in_a_file_of_its_own_is_put_over_the_labels(mixed, data):
    label_map = load_sources(mixed, data).maps[2]
    cord = nib.load(data / "maps" / "apart" / "sub-01_cord.nii.gz").get_fdata() > 0
    assert (label_map.share[cord].mean() > 0.8) & (label_map.share[~cord].mean() < 0.05)
    assert not (label_map.labels == 2).any()  # what surrounds the cord goes on below it
    assert label_map.fill_zero


def test_slices_without_a_mask_are_not_drawn(mixed, data):
    image = load_sources(mixed, data).images[0]
    assert image.weight.any(axis=(0, 1)).tolist() == [False] * 2 + [True] * 10
    assert image.image.shape == image.share.shape
    assert set(np.unique(image.share)) == {0, 1}


def test_the_edge_of_a_mask_counts_as_much_as_the_mix_says(mixed, data):
    whole, less = (
        load_sources(replace(mixed, mix=replace(mixed.mix, edge_weight=weight)), data).images[0].weight
        for weight in (1.0, 0.25)
    )
    image = load_sources(mixed, data).images[0]
    edge = edge_of(image.share > 0.5) & (whole > 0)
    assert (less[edge] == 0.25).all()
    np.testing.assert_array_equal(less[~edge], whole[~edge])


def test_the_edge_of_a_mask_lies_within_slices_on_either_side():
    mask = np.zeros((9, 9, 3), dtype=bool)
    mask[3:6, 3:6, 1] = True
    edge = edge_of(mask)
    assert not edge[..., [0, 2]].any()
    assert not edge[4, 4, 1]
    assert edge[3, 3, 1]
    assert edge[2, 4, 1]
    assert not edge[2, 2, 1]  # touches by a corner only


def test_single_images_and_participants_can_be_left_out(mixed, data):
    for excluded in ("01", "T2w.nii.gz"):
        config = replace(mixed, images=[ImageSource("images.tsv", exclude=(excluded,))])
        with pytest.raises(InputError, match="no row"):
            load_sources(config, data)


def test_images_without_a_mask_need_maps(mixed, folder, tmp_path):
    data = folder
    config = replace(mixed, images=[ImageSource("images.tsv", pseudo=True)])
    with pytest.raises(InputError, match="--pseudo"):
        load_sources(config, data)
    (data / "bids" / "sub-03" / "anat").mkdir(parents=True, exist_ok=True)
    shutil.copy(data / "bids" / "sub-01" / "anat" / "T2w.nii.gz", data / "bids" / "sub-03" / "anat")
    with pytest.raises(InputError, match="holds no map"):
        load_sources(config, data, tmp_path)


def test_the_edge_of_a_map_of_a_model_counts_as_much_as_the_mix_says(mixed, folder, tmp_path):
    anat = folder / "bids" / "sub-03" / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "bids" / "sub-01" / "anat" / "T2w.nii.gz", anat)
    image = nib.load(anat / "T2w.nii.gz")
    share = np.zeros(image.shape, dtype=np.float32)
    share[4:8, 4:8] = 1
    share[:, :, -1] = -1  # not known
    config = replace(mixed, images=[ImageSource("images.tsv", pseudo=True)])
    row = chosen_rows(config.images[0], folder)[0]
    nib.save(nib.Nifti1Image(share, image.affine), pseudo_path(tmp_path, row["image"]))
    weights = {
        weight: load_sources(
            replace(config, mix=replace(mixed.mix, pseudo_edge_weight=weight)), folder, tmp_path
        ).images[0]
        for weight in (1.0, 0.25)
    }
    whole, less = weights[1.0].weight, weights[0.25].weight
    unknown = (whole == 0).all(axis=(0, 1))
    assert unknown.sum() == 1
    edge = edge_of(weights[1.0].share > 0.5) & (whole > 0)
    assert (less[edge] == 0.25).all()
    np.testing.assert_array_equal(less[~edge], whole[~edge])


@pytest.mark.parametrize("axes", ["LPS", "SRA", "PIR"])
def test_images_and_maps_of_any_orientation_are_brought_to_the_same_axes(folder, mixed, axes):
    expected = load_sources(mixed, folder)
    for path in folder.rglob("*.nii.gz"):
        image = nib.load(path)
        target = nib.orientations.axcodes2ornt(axes)
        turned = image.as_reoriented(
            nib.orientations.ornt_transform(nib.orientations.io_orientation(image.affine), target)
        )
        nib.save(nib.Nifti1Image(np.asanyarray(turned.dataobj), turned.affine), path)
    found = load_sources(mixed, folder)
    for before, after in zip((*expected.maps, *expected.images), (*found.maps, *found.images), strict=True):
        np.testing.assert_array_equal(before.share, after.share)
        assert before.zooms == pytest.approx(after.zooms)
    np.testing.assert_array_equal(expected.images[0].image, found.images[0].image)
    np.testing.assert_array_equal(expected.maps[0].labels, found.maps[0].labels)


def test_other_splits_can_be_asked_for_and_participants_left_out(data):
    assert len(load_sources(of_images(split="test"), data).images) == 1
    with pytest.raises(InputError, match="no row has split test and a mask"):
        load_sources(of_images(split="test", exclude=("02",)), data)


# ---- what is not


@pytest.mark.parametrize("config", [of_maps(MapSource("*.nii.gz")), of_images()])
def test_without_a_folder_of_data_the_option_is_named(config):
    with pytest.raises(InputError, match="--data"):
        load_sources(config, None)


def test_a_pattern_that_matches_nothing_is_named(data):
    with pytest.raises(InputError, match=r"maps.heads.\*\.nii: no such label maps.*--data"):
        load_sources(of_maps(MapSource("maps/heads/*.nii")), data)


@pytest.mark.parametrize("pattern", ["", "/absolute/*.nii.gz"])
def test_a_pattern_that_is_none_is_refused(data, pattern):
    with pytest.raises(InputError, match=r"Pattern .* of label maps cannot be used"):
        load_sources(of_maps(MapSource(pattern)), data)


def test_a_table_that_is_not_there_is_named(data):
    with pytest.raises(InputError, match=r"rows.tsv: cannot be read \(No such file.*--data"):
        load_sources(of_images(table="rows.tsv"), data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "column participant is missing"),
        (b"participant\tsplit\timage\n01\ttrain\ta\n", "column cord_mask is missing"),
        (b"participant,split,image,cord_mask\n", "column participant is missing"),
        (b"participant\tsplit\timage\tcord_mask\n", "no row has split train and a mask"),
        (b"participant\tsplit\timage\tcord_mask\n01\ttrain\n", "no row has split train and a mask"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
    ],
)
def test_a_table_that_says_too_little_is_named(folder, content, message):
    (folder / "images.tsv").write_bytes(content)
    with pytest.raises(InputError, match=rf"images.tsv: {message}"):
        load_sources(of_images(), folder)


def test_an_image_of_the_table_that_is_not_there_is_named(folder):
    (folder / "bids" / "sub-01" / "anat" / "T2w.nii.gz").unlink()
    with pytest.raises(InputError, match=r"sub-01.anat.T2w.nii.gz"):
        load_sources(of_images(), folder)


MASK = ("bids", "derivatives", "sub-01_mask.nii.gz")


def test_a_mask_of_another_shape_is_refused(folder):
    save(np.ones((3, 4, 5), dtype=np.uint8) * np.arange(5, dtype=np.uint8), folder.joinpath(*MASK))
    with pytest.raises(
        GeometryError, match=r"_mask.nii.gz: must be on the grid of .*T2w.nii.gz.*\(3, 4, 5\)"
    ):
        load_sources(of_images(), folder)


def test_a_mask_that_is_shifted_by_more_than_half_a_voxel_is_refused(folder):
    path = folder.joinpath(*MASK)
    image = nib.load(path)
    values, affine = np.asanyarray(image.dataobj), image.affine.copy()
    for shift, refused in ((0.4, False), (0.6, True)):
        moved = affine.copy()
        moved[1, 3] += shift
        save(values, path, moved)
        if not refused:
            assert load_sources(of_images(), folder)
            continue
        with pytest.raises(GeometryError, match=r"_mask.nii.gz: .*0.6 mm away"):
            load_sources(of_images(), folder)


def test_a_mask_without_a_voxel_that_is_mostly_cord_is_refused(folder):
    path = folder.joinpath(*MASK)
    image = nib.load(path)
    save((np.asanyarray(image.dataobj) * 0.5).astype(np.float32), path, image.affine)
    with pytest.raises(InputError, match=r"_mask.nii.gz: must hold voxels above 0.5, got 0.5"):
        load_sources(of_images(), folder)


@pytest.mark.parametrize("value", [-1, 40_000])
def test_an_image_that_is_no_label_map_is_refused(tmp_path, value):
    values = np.zeros((4, 4, 4), dtype=np.int32)
    values[0, 0, 0] = value
    save(values, tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"a.nii.gz: labels must lie from 0 to 32767, got"):
        load_sources(of_maps(MapSource("*.nii.gz")), tmp_path)


def test_a_label_map_without_its_cord_is_told_of_and_kept(mixed, data, caplog):
    source = replace(mixed.maps[0], cord=99)
    label_map = load_sources(of_maps(source), data).maps[0]
    assert not label_map.share.any()
    assert "a.nii.gz: no voxel has the cord's label 99" in caplog.text


def test_a_cord_file_is_found_by_its_name_alone(folder):
    apart = MapSource("maps/apart/*_csf.nii.gz", cord=2, cord_suffix=("_fluid", "_cord"))
    with pytest.raises(InputError, match=r"sub-01_csf.nii.gz: the name must hold '_fluid'"):
        load_sources(of_maps(apart), folder)
    (folder / "maps" / "apart" / "sub-01_cord.nii.gz").unlink()
    with pytest.raises(InputError, match=r"sub-01_cord.nii.gz"):
        load_sources(of_maps(replace(apart, cord_suffix=("_csf", "_cord"))), folder)


def test_a_cord_on_another_grid_than_its_map_is_refused(folder):
    save(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), folder / "maps" / "apart" / "sub-01_cord.nii.gz")
    apart = MapSource("maps/apart/*_csf.nii.gz", cord=2, cord_suffix=("_csf", "_cord"))
    with pytest.raises(GeometryError, match=r"sub-01_cord.nii.gz: must be on the grid of .*sub-01_csf"):
        load_sources(of_maps(apart), folder)
