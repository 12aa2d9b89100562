import json
import re
import sys

import nibabel as nib
import numpy as np
import pytest

from fakes import BRIGHT, cord_data, save_cord, save_cordless, save_nifti
from softcord.bids import output_paths
from softcord.cli import main
from softcord.qc import Origin, entry_path, read_rows

MAP = "sub-01_space-orig_label-SC_desc-T2w_probseg"


@pytest.fixture
def image(fake, tmp_path):
    return save_cord(tmp_path / "sub-01_T2w.nii.gz")


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def written(folder, *images) -> set[str]:
    return names(folder) - {image.name for image in images}


def segment(*arguments) -> int:
    return main(["segment", *map(str, arguments)])


# ---- what is written, and where


def test_a_bids_image_gets_a_soft_map_and_a_sidecar_beside_it(image, tmp_path):
    assert segment(image) == 0
    assert written(tmp_path, image) == {f"{MAP}.nii.gz", f"{MAP}.json"}
    soft = nib.load(tmp_path / f"{MAP}.nii.gz")
    assert np.allclose(soft.get_fdata(), nib.load(image).get_fdata() / BRIGHT, atol=1e-6)
    assert soft.get_data_dtype() == np.float32


def test_the_result_keeps_affine_codes_and_units_of_the_image(image, tmp_path):
    segment(image, "--mask")
    header = nib.load(image).header
    for name in (f"{MAP}.nii.gz", f"{MAP.replace('probseg', 'mask')}.nii.gz"):
        result = nib.load(tmp_path / name)
        assert np.array_equal(result.affine, nib.load(image).affine)
        for field in ("qform_code", "sform_code", "xyzt_units", "pixdim"):
            assert np.array_equal(result.header[field], header[field])


def test_an_image_outside_bids_and_sct_naming_get_the_suffixes_of_sct(image, tmp_path):
    assert segment(image, "--naming", "sct", "--mask", "--uncertainty") == 0
    assert written(tmp_path, image) == {
        "sub-01_T2w_softseg.nii.gz",
        "sub-01_T2w_softseg.json",
        "sub-01_T2w_seg.nii.gz",
        "sub-01_T2w_uncertainty.nii.gz",
    }


def test_out_names_the_soft_map_and_the_mask_lies_beside_it(image, tmp_path):
    (tmp_path / "out").mkdir()
    assert segment(image, "-o", tmp_path / "out" / "cord.nii", "--mask") == 0
    assert names(tmp_path / "out") == {"cord.nii", "cord_mask.nii", "cord.json"}


@pytest.mark.parametrize("exists", [True, False])
def test_out_may_be_a_folder_that_exists_or_ends_in_a_slash(image, tmp_path, exists):
    folder = tmp_path / "out"
    if exists:
        folder.mkdir()
    assert segment(image, "-o", folder if exists else f"{folder}/") == 0
    assert names(folder) == {f"{MAP}.nii.gz", f"{MAP}.json"}


def test_a_threshold_asks_for_the_mask_and_cuts_it(image, tmp_path):
    assert segment(image, "-o", tmp_path / "cord.nii.gz", "--threshold", "0.2") == 0
    soft = np.asarray(nib.load(tmp_path / "cord.nii.gz").dataobj)
    mask = nib.load(tmp_path / "cord_mask.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(mask.dataobj), soft > np.float32(0.2))
    assert json.loads((tmp_path / "cord.json").read_text())["Threshold"] == 0.2


def test_the_sidecar_says_how_the_map_was_made(image, tmp_path):
    segment(image, "--threads", "2")
    record = json.loads((tmp_path / f"{MAP}.json").read_text())
    assert record["GeneratedBy"][0]["Name"] == "softcord"
    assert record["ModelSHA256"] == "f" * 64
    assert (record["Threads"], record["Threshold"], record["VolumesMode"]) == (2, None, "mean")
    assert set(record["Seconds"]) == {"read", "find", "segment", "judge", "write"}
    assert record["CordFound"] is True
    assert record["CordVolumeMM3"] == pytest.approx(np.pi * 25 * 60, rel=0.01)


def test_a_series_gives_one_map_of_its_mean_a_series_of_maps_or_one_of_a_volume(fake, tmp_path):
    data = np.stack([cord_data(), cord_data() // 2], axis=-1)
    image = save_nifti(data, tmp_path / "dwi.nii.gz", affine=np.diag([1.0, 1, 2, 1]))
    peaks = {}
    for volumes in ("mean", "each", "1"):
        assert segment(image, "--volumes", volumes, "-o", tmp_path / f"{volumes}.nii.gz") == 0
        result = nib.load(tmp_path / f"{volumes}.nii.gz")
        peaks[volumes] = result.get_fdata().max(axis=(0, 1, 2)).round(3).tolist()
    assert peaks == {"mean": 0.75, "each": [1.0, 0.5], "1": 0.5}


def test_the_input_is_not_touched(image):
    before, time = image.read_bytes(), image.stat().st_mtime_ns
    segment(image, "--mask", "--qc", image.parent / "qc")
    assert image.read_bytes() == before
    assert image.stat().st_mtime_ns == time


# ---- many images


def test_the_model_is_loaded_once_for_many_images(fake, tmp_path):
    images = [save_cord(tmp_path / f"sub-0{n}_T2w.nii.gz") for n in range(4)]
    assert segment(*images, "--device", "cpu") == 0
    assert fake.loads == [{"name": "softcord", "device": "cpu", "threads": None}]
    assert len(fake.predictions) == 4


def test_no_model_is_loaded_when_no_image_can_be_used(fake, tmp_path):
    assert segment(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz") == 7
    assert fake.loads == []


def test_a_clash_of_names_stops_the_run_before_anything_is_written(fake, tmp_path):
    images = [save_cord(tmp_path / folder / "t2.nii.gz") for folder in ("a", "b")]
    assert segment(*images, "-o", f"{tmp_path / 'out'}/") == 2
    assert not (tmp_path / "out").exists()
    assert fake.loads == []


def test_the_same_image_twice_is_a_clash(image):
    assert segment(image, image) == 2


def test_results_that_exist_are_found_before_computing_and_the_others_are_made(fake, tmp_path):
    images = [save_cord(tmp_path / f"{name}.nii.gz") for name in "abc"]
    (tmp_path / "b_softseg.nii.gz").write_text("old")
    assert segment(*images) == 7
    assert (tmp_path / "b_softseg.nii.gz").read_text() == "old"
    assert len(fake.predictions) == 2


def test_one_image_without_cord_among_many_counts_as_failed_and_has_its_map(fake, tmp_path, capsys):
    good, empty = save_cord(tmp_path / "good.nii.gz"), save_cordless(tmp_path / "empty.nii.gz")
    assert segment(good, empty) == 7
    assert not nib.load(tmp_path / "empty_softseg.nii.gz").get_fdata().any()
    flags = json.loads((tmp_path / "empty_softseg.json").read_text())["Flags"]
    assert [flag["code"] for flag in flags] == ["no_cord"]
    assert f"1 of 2 images failed (exit code of each): {empty} (4)" in capsys.readouterr().err


def test_an_unknown_model_ends_a_run_over_many_at_once(fake, tmp_path, capsys):
    images = [save_cord(tmp_path / f"{name}.nii.gz") for name in "abc"]
    assert segment(*images, "--model", "other") == 5
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert written(tmp_path, *images) == set()


# ---- overwrite and resume


def test_overwrite_replaces_every_result(image, tmp_path):
    segment(image, "--mask")
    stale = {path: path.write_bytes(b"stale") for path in tmp_path.iterdir() if path != image}
    assert segment(image, "--mask", "--overwrite") == 0
    assert len(stale) == 3
    assert all(path.read_bytes() != b"stale" for path in stale)


def test_resume_leaves_finished_results_alone(fake, image, tmp_path, capsys):
    segment(image)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    first = capsys.readouterr().out
    assert segment(image, "--resume") == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert len(fake.predictions) == 1
    assert len(fake.loads) == 1
    measures = first.partition(", flags")[0]
    assert capsys.readouterr().out.startswith(f"{measures}, flags: none, done before -> ")


def edit_record(folder, **fields):
    path = folder / f"{MAP}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


CHANGES = {
    "the map is missing": lambda folder, fake: (folder / f"{MAP}.nii.gz").unlink(),
    "it is not complete": lambda folder, fake: edit_record(folder, Complete=False),
    "the model is another": lambda folder, fake: setattr(fake, "sha256", "0" * 64),
    "the image is another": lambda folder, fake: save_cord(folder / "sub-01_T2w.nii.gz", radius_mm=4.0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_resume_makes_a_result_anew_if(change, fake, image, tmp_path):
    segment(image)
    CHANGES[change](tmp_path, fake)
    assert segment(image, "--resume") == 0
    assert len(fake.predictions) == 2
    assert written(tmp_path, image) == {f"{MAP}.nii.gz", f"{MAP}.json"}


def test_resume_makes_a_result_anew_if_its_sidecar_is_damaged_and_says_so(fake, image, tmp_path, capsys):
    segment(image)
    edit_record(tmp_path, Flags=3)
    assert segment(image, "--resume") == 0
    assert len(fake.predictions) == 2
    assert "not the sidecar of a finished result" in capsys.readouterr().err


OTHERS = '{"GeneratedBy": [{"Name": "other"}], "Outputs": []}'


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", OTHERS], ids=["none", "empty", "list", "dict", "other"]
)
def test_resume_never_replaces_a_map_that_is_not_known_as_a_result_of_softcord(
    content, fake, image, tmp_path, capsys
):
    (tmp_path / f"{MAP}.nii.gz").write_text("made by hand")
    if content is not None:
        (tmp_path / f"{MAP}.json").write_text(content)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert segment(image, "--resume") == 6
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert "is not a result of softcord" in capsys.readouterr().err
    assert fake.predictions == []


def test_resume_never_replaces_a_mask_that_softcord_did_not_make(fake, tmp_path):
    image = save_cord(tmp_path / "t2.nii.gz")
    segment(image)
    (tmp_path / "t2_seg.nii.gz").write_text("made by hand")
    assert segment(image, "--mask", "--resume") == 6
    assert (tmp_path / "t2_seg.nii.gz").read_text() == "made by hand"
    assert segment(image, "--resume") == 0


def test_resume_does_not_take_the_map_of_another_image_for_that_of_this_one(fake, tmp_path):
    first, second = save_cord(tmp_path / "a.nii.gz"), save_cord(tmp_path / "b.nii.gz", radius_mm=4.0)
    out = tmp_path / "cord.nii.gz"
    segment(first, "-o", out, "--uncertainty")
    segment(second, "-o", out, "--overwrite")
    assert not (tmp_path / "cord_uncertainty.nii.gz").exists()
    assert segment(second, "-o", out, "--uncertainty", "--resume") == 0
    assert len(fake.predictions) == 3


def test_overwrite_removes_what_belonged_to_the_old_result_and_nothing_else(image, tmp_path):
    segment(image, "--mask", "--uncertainty", "--naming", "sct")
    (tmp_path / "sub-01_T2w_notes.txt").write_text("mine")
    assert segment(image, "--overwrite", "--naming", "sct") == 0
    assert written(tmp_path, image) == {
        "sub-01_T2w_softseg.nii.gz",
        "sub-01_T2w_softseg.json",
        "sub-01_T2w_notes.txt",
    }


def test_overwrite_keeps_a_mask_that_softcord_did_not_make(fake, tmp_path):
    image = save_cord(tmp_path / "t2.nii.gz")
    (tmp_path / "t2_seg.nii.gz").write_text("made by hand")
    segment(image)
    segment(image, "--overwrite")
    assert (tmp_path / "t2_seg.nii.gz").read_text() == "made by hand"


def test_the_sidecar_of_an_image_is_never_replaced(fake, tmp_path, capsys):
    image = save_cord(tmp_path / "scan.nii.gz")
    (tmp_path / "scan.json").write_text('{"EchoTime": 0.1}')
    assert segment(image, "-o", tmp_path / "scan.nii", "--overwrite") == 2
    assert (tmp_path / "scan.json").read_text() == '{"EchoTime": 0.1}'
    assert "this describes the image" in capsys.readouterr().err
    assert not (tmp_path / "scan.nii").exists()


@pytest.mark.parametrize(
    "options", [["--mask"], ["--threshold", "0.3"], ["--uncertainty"], ["--volumes", "0"]]
)
def test_resume_makes_a_result_anew_if_more_is_asked_for_than_is_there(options, fake, image):
    segment(image)
    assert segment(image, "--resume", *options) == 0
    assert len(fake.predictions) == 2
    assert segment(image, "--resume", *options) == 0
    assert len(fake.predictions) == 2


def test_resume_goes_on_where_a_run_over_many_ended(fake, tmp_path):
    images = [save_cord(tmp_path / f"{name}.nii.gz") for name in "abcd"]
    segment(*images[:2], "-o", f"{tmp_path / 'out'}/")
    assert segment(*images, "-o", f"{tmp_path / 'out'}/", "--resume") == 0
    assert len(fake.predictions) == 4


@pytest.mark.parametrize("naming", ["bids", "sct"])
def test_resume_leaves_results_out_that_a_pattern_finds(naming, fake, tmp_path, capsys):
    for n in (1, 2):
        save_cord(tmp_path / f"sub-0{n}_T2w.nii.gz")
    options = ["--mask", "--uncertainty", "--naming", naming, "--resume"]
    assert segment(*sorted(tmp_path.glob("*.nii.gz")), *options) == 0
    assert len(list(tmp_path.glob("*.nii.gz"))) == 8
    assert segment(*sorted(tmp_path.glob("*.nii.gz")), *options) == 0
    assert len(fake.predictions) == 2
    assert capsys.readouterr().err.count("is a result of softcord, no image, and is left out.") == 6


def test_resume_knows_the_maps_of_o_whatever_their_names(fake, tmp_path):
    image = save_cord(tmp_path / "a.nii.gz")
    segment(image, "-o", tmp_path / "b.nii.gz")
    assert segment(*sorted(tmp_path.glob("*.nii.gz")), "--resume") == 0
    assert len(fake.predictions) == 2
    assert names(tmp_path) == {"a.nii.gz", "b.nii.gz", "b.json", "a_softseg.nii.gz", "a_softseg.json"}


def test_an_image_too_large_for_the_memory_is_bad_input_and_the_others_go_on(
    fake, tmp_path, monkeypatch, capsys
):
    images = [save_cord(tmp_path / f"{name}.nii.gz") for name in "abc"]

    def predict(data, *others):
        if len(fake.predictions) == 1:
            fake.predictions.append(data.shape)
            raise MemoryError
        return fake.predict(data, *others)

    monkeypatch.setattr(sys.modules["softcord.engines"], "predict", predict)
    assert segment(*images) == 7
    said = capsys.readouterr().err
    assert f"{images[1]}: too large for the memory that is free (24 x 24 x 30 voxels)" in said
    assert f"{images[1]} (3)" in said
    assert len(list(tmp_path.glob("*_softseg.nii.gz"))) == 2


def test_resume_repeats_the_exit_code_of_an_image_without_cord(fake, tmp_path):
    image = save_cordless(tmp_path / "t2.nii.gz")
    assert segment(image) == 4
    assert segment(image, "--resume") == 4
    assert len(fake.predictions) == 1


# ---- what is said


def test_a_result_is_one_line_on_stdout(image, capsys, tmp_path):
    segment(image)
    said = capsys.readouterr()
    assert said.err == ""
    (line,) = said.out.splitlines()
    pattern = r"sub-01_T2w.nii.gz: volume 47\d\d mm3, mean area 78.\d mm2, flags: none, \d+.\d s -> (.*)"
    assert re.fullmatch(pattern, line)[1] == f"{tmp_path / MAP}.nii.gz"


def flagged(tmp_path):
    data = cord_data()
    data[:, :, 14:16] = 0
    return save_nifti(data, tmp_path / "t2.nii.gz")


def test_flags_are_in_the_line_and_their_reasons_are_said_with_v(fake, tmp_path, capsys):
    image = flagged(tmp_path)
    segment(image)
    assert "flags: several_pieces" in capsys.readouterr().out
    segment(image, "--overwrite", "-v")
    assert "softcord: info: t2.nii.gz: several_pieces: The cord is in 2 pieces" in capsys.readouterr().err


def test_flags_change_the_exit_code_only_if_strict(fake, tmp_path, image):
    assert segment(flagged(tmp_path)) == 0
    assert segment(flagged(tmp_path), "--overwrite", "--strict") == 8
    assert segment(image, "--strict") == 0


def test_an_error_goes_before_strict(fake, tmp_path):
    assert segment(save_cordless(tmp_path / "t1.nii.gz"), "--strict") == 4


def test_quiet_says_nothing_but_errors(image, capsys, tmp_path):
    assert segment(image, "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert segment(tmp_path / "absent.nii.gz", "-q") == 3
    assert capsys.readouterr().err != ""


@pytest.fixture
def terminal(monkeypatch, capsys):
    """What capsys puts in the place of stdout and stderr passes for a terminal."""
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda stream: True)


def test_on_a_terminal_the_line_that_opens_the_result_is_last(fake, terminal, capsys, tmp_path):
    image = save_cord(tmp_path / "my scan.nii.gz")
    segment(image)
    lines = capsys.readouterr().out.splitlines()
    result = tmp_path / "my scan_softseg.nii.gz"
    assert lines[-2].split()[0] == "fsleyes"
    assert f"'{image}' '{result}'" in lines[-2]
    assert lines[-1] == f"  itksnap -g '{image}' -o '{result}'"


def test_a_progress_bar_is_drawn_on_a_terminal_for_many_images(fake, terminal, capsys, tmp_path):
    images = [save_cord(tmp_path / f"{name}.nii.gz") for name in "abc"]
    segment(*images)
    assert "Segmenting [" in capsys.readouterr().err


def test_a_progress_bar_is_drawn_on_a_terminal_for_the_volumes_of_one_image(fake, terminal, capsys, tmp_path):
    image = save_nifti(np.stack([cord_data()] * 3, axis=-1), tmp_path / "dwi.nii.gz")
    segment(image, "--volumes", "each")
    assert "Segmenting volumes [" in capsys.readouterr().err
    segment(image, "--overwrite")
    assert "Segmenting" not in capsys.readouterr().err


@pytest.mark.parametrize("options", [["-q"], []], ids=["quiet", "no terminal"])
def test_no_progress_bar_is_drawn_when(options, fake, capsys, tmp_path, request):
    if options:
        request.getfixturevalue("terminal")
    images = [save_cord(tmp_path / f"{name}.nii.gz") for name in "abc"]
    segment(*images, *options)
    assert capsys.readouterr().err == ""


# ---- usage


@pytest.mark.parametrize(
    "options",
    [
        ["--volumes", "some"],
        ["--volumes", "-1"],
        ["--threads", "0"],
        ["--threads", "many"],
        ["--device", "tpu"],
        ["--naming", "x"],
    ],
    ids=" ".join,
)
def test_a_value_that_cannot_be_is_a_usage_error_in_one_line(options, image, capsys):
    assert segment(image, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"softcord: error: argument {options[0]}: ")
    assert line.endswith("See: softcord segment --help")


def test_without_an_image_it_is_a_usage_error(capsys):
    assert segment() == 2
    assert "IMAGE" in capsys.readouterr().err


def test_options_may_not_be_abbreviated(image, capsys):
    assert segment(image, "--over") == 2
    message = "unrecognized arguments: --over. See: softcord segment --help"
    assert capsys.readouterr().err == f"softcord: error: {message}\n"


def test_spaces_in_a_name_are_said_as_they_are(fake, tmp_path, capsys):
    segment(tmp_path / "two  spaces.nii.gz")
    assert "two  spaces.nii.gz: no such file" in capsys.readouterr().err


# ---- review page


def test_qc_adds_an_entry_for_each_result_and_none_for_a_failure(fake, tmp_path):
    images = [save_cord(tmp_path / f"sub-0{n}_T2w.nii.gz") for n in (1, 2)]
    segment(*images, tmp_path / "absent.nii.gz", "--qc", tmp_path / "qc")
    assert len(names(tmp_path / "qc" / "entries")) == 2
    assert {record.subject for record in read_rows(tmp_path / "qc")} == {"sub-01", "sub-02"}


def test_qc_subject_is_shown_on_the_page(image, tmp_path):
    segment(image, "--qc", tmp_path / "qc", "--qc-subject", "volunteer 7")
    assert [record.subject for record in read_rows(tmp_path / "qc")] == ["volunteer 7"]


def test_resume_adds_a_missing_entry_and_keeps_one_that_is_there(fake, image, tmp_path):
    segment(image)
    segment(image, "--resume", "--qc", tmp_path / "qc")
    (entry,) = (tmp_path / "qc" / "entries").iterdir()
    before = entry.stat().st_mtime_ns
    segment(image, "--resume", "--qc", tmp_path / "qc")
    assert entry.stat().st_mtime_ns == before
    assert len(fake.predictions) == 1


@pytest.mark.parametrize(
    "options", [["--model", "other"], ["-o", "cord.png"], ["--volumes", "3"]], ids=" ".join
)
def test_a_run_that_makes_no_entry_leaves_no_review_folder(options, image, tmp_path):
    assert segment(image, "--qc", tmp_path / "new" / "qc", *options) != 0
    assert names(tmp_path) == {image.name}


def test_resume_draws_an_entry_anew_that_shows_another_result(fake, image, tmp_path):
    segment(image, "--qc", tmp_path / "qc")
    (entry,) = (tmp_path / "qc" / "entries").iterdir()
    segment(image, "--threshold", "0.3", "--overwrite")
    segment(image, "--resume", "--qc", tmp_path / "qc")
    assert list((tmp_path / "qc" / "entries").iterdir()) == [entry]
    assert [record.origin.threshold for record in read_rows(tmp_path / "qc")] == [0.3]


@pytest.mark.skipif(sys.platform != "linux", reason="names outside UTF-8 are refused elsewhere")
def test_a_name_outside_utf_8_has_a_result_and_an_entry(fake, tmp_path):
    image = save_cord(tmp_path / "scan\udcff.nii.gz")
    assert segment(image, "--qc", tmp_path / "qc") == 0
    assert [record.name for record in read_rows(tmp_path / "qc")] == ["scan\udcff.nii.gz"]


def test_a_review_folder_that_was_there_stays(image, tmp_path):
    (tmp_path / "qc").mkdir()
    assert segment(image, "--qc", tmp_path / "qc", "-o", "cord.png") == 2
    assert (tmp_path / "qc").is_dir()


def test_an_image_without_cord_has_an_entry(fake, tmp_path):
    assert segment(save_cordless(tmp_path / "t2.nii.gz"), "--qc", tmp_path / "qc") == 4
    (record,) = read_rows(tmp_path / "qc")
    assert [flag.code for flag in record.flags] == ["no_cord"]


def test_an_entry_that_cannot_be_written_fails_its_image_and_not_the_others(fake, tmp_path, capsys):
    images = [save_cord(tmp_path / f"sub-0{n}_T2w.nii.gz") for n in (1, 2)]
    entry_of_first = entry_path(tmp_path / "qc", images[0], Origin(str(output_paths(images[0]).soft)))
    entry_of_first.mkdir(parents=True)
    assert segment(*images, "--qc", tmp_path / "qc") == 7
    assert f"1 of 2 images failed (exit code of each): {images[0]} (6)" in capsys.readouterr().err
    assert len(list(tmp_path.glob("*probseg.nii.gz"))) == 2
