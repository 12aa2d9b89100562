"""Headers of results are those of the input; what is doubtful in one is flagged."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcord.errors import GeometryError
from softcord.nifti import (
    header_flags,
    image_like,
    load_image,
    read_volume,
    save_image,
    spans_space,
    zooms_of,
)
from softcord.orientation import restore, to_canonical

SHAPE = (4, 5, 6)
ORIENTATIONS = ["".join(letters) for order in permutations(("RL", "AP", "SI")) for letters in product(*order)]

# what a result may not take over from its input, and what nibabel sets on its own
CHANGED = {"datatype", "bitpix", "vox_offset", "scl_slope", "scl_inter", "cal_min", "cal_max", "magic"}
CHANGED |= {"intent_code", "intent_name", "intent_p1", "intent_p2", "intent_p3"}


def affine_of(axcodes, zooms=(0.5, 0.8, 3.0), degrees=(0.0, 0.0, 0.0), origin=(-10.0, 20.0, 5.5)):
    """Affine whose axes run to `axcodes`, then rotated about x, y and z."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, letter in enumerate(axcodes):
        positive = "RAS".find(letter)
        affine[positive if positive >= 0 else "LPI".find(letter), axis] = 1 if positive >= 0 else -1
    turn = nib.eulerangles.euler2mat(*np.radians(degrees[::-1]))
    affine[:3, :3] = turn @ affine[:3, :3] * zooms
    affine[:3, 3] = origin
    return affine


def make_image(
    *, sform=None, qform=None, shape=SHAPE, kind=nib.Nifti1Image, endianness="<", unit="mm", **fields
):
    """Image with these forms only, and with any field of the header set."""
    header = kind.header_class(endianness=endianness)
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_xyzt_units(unit, "sec" if len(shape) == 4 else None)
    if qform is not None:
        header.set_qform(qform, 1)
    if sform is not None:
        header.set_sform(sform, 2)
        if qform is None:
            header.set_zooms([*zooms_of(sform), *[1.0] * (len(shape) - 3)])
    for name, value in fields.items():
        header[name] = value
    voxels = (np.arange(np.prod(shape)) % 50).reshape(shape).astype(np.int16)
    return kind(voxels, header.get_best_affine(), header)


def round_trip(image, folder, dtype=np.float32):
    """Input and result as files: saved, read, reoriented, restored, put on the grid, saved, read again."""
    image.to_filename(folder / "in.nii.gz")
    source = load_image(folder / "in.nii.gz")
    data, _ = read_volume(source)
    canonical = to_canonical(data, source.affine)
    result = image_like(restore(canonical.data / 64, canonical.ornt), source, dtype=dtype)
    save_image(result, folder / "out.nii.gz", overwrite=True)
    return source, nib.load(folder / "out.nii.gz")


def assert_same_grid(source, result):
    """Every field of the header has the same bytes, but for those that tell about the voxels."""
    assert type(result) is type(source)
    np.testing.assert_array_equal(result.affine, source.affine)
    written, original = result.header, source.header.as_byteswapped("<")
    for name in written.template_dtype.names:
        if name not in CHANGED:
            assert written[name].tobytes() == original[name].tobytes(), name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("grids")


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_a_result_comes_back_on_the_grid_of_its_input_in_every_orientation(folder, axcodes):
    affine = affine_of(axcodes)
    source, result = round_trip(make_image(sform=affine, qform=affine), folder)
    assert_same_grid(source, result)
    np.testing.assert_array_equal(result.get_fdata(dtype=np.float32) * 64, np.asanyarray(source.dataobj))


@given(
    axcodes=st.sampled_from(ORIENTATIONS),
    degrees=st.tuples(*[st.floats(-25, 25)] * 3),
    zooms=st.tuples(*[st.floats(0.3, 8.0)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    forms=st.sampled_from(["both", "disagree", "qform", "sform", "neither"]),
    codes=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    endianness=st.sampled_from("<>"),
)
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_a_result_comes_back_on_any_grid(
    folder, axcodes, degrees, zooms, origin, forms, codes, kind, endianness
):
    affine = affine_of(axcodes, zooms, degrees, origin)
    shifted = affine + np.pad(np.full((3, 1), 7.0), [(0, 1), (3, 0)])
    image = make_image(
        sform=affine if forms in ("both", "disagree", "sform") else None,
        qform={"both": affine, "qform": affine, "disagree": shifted}.get(forms),
        kind=kind,
        endianness=endianness,
    )
    header = image.header
    header["qform_code"] = codes[0] if header["qform_code"] else 0
    header["sform_code"] = codes[1] if header["sform_code"] else 0
    source, result = round_trip(image, folder)
    assert_same_grid(source, result)
    found = {flag.code for flag in header_flags(source)}
    assert found == {"disagree": {"qform_sform_disagree"}, "neither": {"no_spatial_code"}}.get(forms, set())


def test_the_rest_of_the_header_stays(folder):
    image = make_image(
        sform=affine_of("LAS"), descrip=b"TE=30", aux_file=b"aux", slice_code=3, dim_info=57, toffset=2.5
    )
    source, result = round_trip(image, folder)
    assert result.header["descrip"] == b"TE=30"
    assert_same_grid(source, result)


def test_a_3d_result_of_a_series_keeps_the_repetition_time_in_its_header(folder):
    image = make_image(sform=affine_of("LAS"), shape=(*SHAPE, 3))
    image.header["pixdim"][4] = 2.2
    source, result = round_trip(image, folder)
    assert result.shape == SHAPE
    assert source.header["pixdim"].tobytes() == result.header["pixdim"].tobytes()
    assert result.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_array_equal(result.affine, source.affine)


def test_a_result_of_every_volume_is_on_the_4d_grid(folder):
    source = make_image(sform=affine_of("LAS"), shape=(*SHAPE, 3))
    result = image_like(np.zeros((*SHAPE, 3), dtype=np.float32), source)
    save_image(result, folder / "each.nii.gz", overwrite=True)
    assert_same_grid(source, nib.load(folder / "each.nii.gz"))


@pytest.mark.parametrize(("dtype", "on_disk"), [(np.float32, "<f4"), (np.uint8, "u1")], ids=["soft", "mask"])
def test_voxels_have_the_type_asked_for_without_scaling(folder, dtype, on_disk):
    _, result = round_trip(make_image(sform=affine_of("LAS")), folder, dtype)
    assert result.get_data_dtype() == np.dtype(on_disk)
    assert (result.dataobj.slope, result.dataobj.inter) == (1, 0)
    assert (result.header["cal_min"], result.header["cal_max"]) == (0, 1)


def test_scaling_intent_and_extensions_of_the_input_are_not_those_of_the_result(folder):
    image = make_image(
        sform=affine_of("LAS"), cal_max=900, intent_code=5, intent_p1=12, intent_name=b"Zscore"
    )
    image.header.set_slope_inter(2, 10)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Name of the person"))
    _, result = round_trip(image, folder)
    assert len(result.header.extensions) == 0
    assert result.header.get_intent() == ("none", (), "")
    in_memory = image_like(np.zeros(SHAPE), image)
    assert len(in_memory.header.extensions) == 0
    assert len(image.header.extensions) == 1, "the input was changed"


def test_a_soft_map_is_not_copied():
    soft = np.zeros(SHAPE, dtype=np.float32)[::-1]
    assert np.shares_memory(image_like(soft, make_image(sform=np.eye(4))).dataobj, soft)


def test_a_result_of_another_shape_is_refused():
    with pytest.raises(GeometryError, match=r"the image: .*\(4, 5, 6\), got \(4, 5, 7\)"):
        image_like(np.zeros((4, 5, 7)), make_image(sform=np.eye(4)))


def flags_of(**options):
    return {flag.code: flag.reason for flag in header_flags(make_image(**options))}


def test_a_sound_header_has_no_flags():
    affine = affine_of("PIR", degrees=(10, -20, 5))
    assert flags_of(sform=affine, qform=affine) == {}


def test_forms_that_disagree_are_flagged_with_the_largest_distance():
    moved = np.eye(4)
    moved[:3, 3] = 3, 0, 4
    assert "5.0 mm" in flags_of(sform=np.eye(4), qform=moved)["qform_sform_disagree"]
    mirrored = np.diag([-1.0, 1, 1, 1])
    assert "6.0 mm" in flags_of(sform=np.eye(4), qform=mirrored)["qform_sform_disagree"]


def test_forms_that_differ_by_rounding_do_not_disagree():
    affine = affine_of("LAS", degrees=(12.34, -7.89, 3.21), origin=(123.456, -234.567, 345.678))
    assert flags_of(sform=affine, qform=affine, shape=(300, 300, 30)) == {}


def test_a_qform_that_is_no_rotation_is_flagged_beside_a_sound_sform():
    fields = {"qform_code": 1, "quatern_b": 1, "quatern_c": 1, "quatern_d": 1}
    assert "not a rotation" in flags_of(sform=np.eye(4), **fields)["qform_sform_disagree"]


def test_a_header_without_a_form_is_flagged():
    assert list(flags_of()) == ["no_spatial_code"]


def test_voxel_sizes_that_are_not_those_of_the_affine_are_flagged():
    reason = flags_of(sform=np.diag([1.0, 1, 3, 1]), pixdim=[1, 1, 1, 5, 1, 1, 1, 1])["pixdim_disagree"]
    assert "1 × 1 × 5 mm" in reason
    assert "1 × 1 × 3 mm" in reason


def test_sheared_axes_are_flagged_with_the_angle():
    sheared = np.eye(4)
    sheared[0, 2] = np.tan(np.radians(10))
    assert "10.0°" in flags_of(sform=sheared)["sheared_axes"]


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("mm", []), ("unknown", ["units_unknown"]), ("meter", ["units_not_mm"]), ("micron", ["units_not_mm"])],
)
def test_a_unit_other_than_the_millimetre_is_flagged(unit, expected):
    assert list(flags_of(sform=np.eye(4), unit=unit)) == expected


def test_an_affine_spans_space_unless_it_is_flat():
    assert spans_space(affine_of("LSA", zooms=(0.01, 5.0, 100.0), degrees=(20, 20, 20)))
    for flat in (np.diag([1.0, 0, 1, 1]), np.ones((4, 4)), np.full((4, 4), np.inf)):
        assert not spans_space(flat)


def test_zooms_are_the_lengths_of_the_axes():
    assert zooms_of(affine_of("SLA", (3.0, 0.5, 0.8), (10, 20, 5))) == pytest.approx((3.0, 0.5, 0.8))
