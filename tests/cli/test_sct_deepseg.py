import json
import shlex

import nibabel as nib
import numpy as np
import pytest

from fakes import BRIGHT, save_cord, save_cordless
from softcord.cli import main
from softcord.qc import read_rows


@pytest.fixture
def image(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save_cord(tmp_path / "t2.nii.gz")


def sct_deepseg(line: str) -> int:
    """Run what follows `sct_deepseg` in a command line."""
    return main(["sct-deepseg", *shlex.split(line)])


def written(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {
        "t2.nii.gz"
    }


def load(path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


RESULTS = {"out.nii.gz", "out_softseg.nii.gz", "out_softseg.json"}


@pytest.mark.parametrize(
    "task", ["-task seg_sc_contrast_agnostic", "-task seg_sc_lesion_t2w_sci", "spinalcord"]
)
def test_the_command_lines_of_the_original_write_the_mask_to_o_and_the_soft_map_beside_it(
    task, image, tmp_path
):
    assert sct_deepseg(f"{task} -i t2.nii.gz -o out.nii.gz") == 0
    assert written(tmp_path) == RESULTS
    share = load(image) / BRIGHT
    mask = nib.load(tmp_path / "out.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(load(tmp_path / "out.nii.gz"), share > 0.5)
    assert np.allclose(load(tmp_path / "out_softseg.nii.gz"), share, atol=1e-6)
    assert np.array_equal(mask.affine, nib.load(image).affine)


def test_the_review_page_of_the_original_command_line_is_made(image, tmp_path):
    line = "-task seg_sc_lesion_t2w_sci -i t2.nii.gz -o out.nii.gz -qc qc -qc-subject volunteer"
    assert sct_deepseg(line) == 0
    assert written(tmp_path) > RESULTS
    assert [record.subject for record in read_rows(tmp_path / "qc")] == ["volunteer"]


@pytest.mark.parametrize(
    "line",
    [
        "-install-task seg_sc_contrast_agnostic",
        "spinalcord -install",
        "-task seg_sc_contrast_agnostic -install",
    ],
)
def test_installing_answers_that_nothing_is_needed_and_where_official_models_are(line, fake, capsys):
    assert sct_deepseg(line) == 0
    said = capsys.readouterr().out
    assert "nothing has to be installed" in said
    assert "https://github.com/sct-pipeline/contrast-agnostic-softseg-spinalcord/releases" in said
    assert fake.loads == []


def test_the_lesion_task_warns_that_lesions_are_not_segmented(image, capsys):
    sct_deepseg("-task seg_sc_lesion_t2w_sci -i t2.nii.gz")
    assert "no lesions" in capsys.readouterr().err
    sct_deepseg("-task seg_sc_contrast_agnostic -i t2.nii.gz -o other.nii.gz")
    assert capsys.readouterr().err == ""


def test_the_default_place_is_beside_the_image(image, tmp_path):
    sct_deepseg("spinalcord -i t2.nii.gz")
    assert written(tmp_path) == {"t2_seg.nii.gz", "t2_softseg.nii.gz", "t2_softseg.json"}
    assert set(np.unique(load(tmp_path / "t2_seg.nii.gz"))) == {0, 1}


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("cord", {"cord.nii.gz", "cord_softseg.nii.gz", "cord_softseg.json"}),
        ("n.nii.gz", {"n.nii.gz", "n_softseg.nii.gz", "n_softseg.json"}),
        ("cord.nii", {"cord.nii", "cord_softseg.nii", "cord_softseg.json"}),
        ("t2_seg.nii.gz", {"t2_seg.nii.gz", "t2_softseg.nii.gz", "t2_softseg.json"}),
        ("new/cord.nii.gz", {"new/cord.nii.gz", "new/cord_softseg.nii.gz", "new/cord_softseg.json"}),
        ("new/", {"new/t2_seg.nii.gz", "new/t2_softseg.nii.gz", "new/t2_softseg.json"}),
    ],
)
def test_o_may_be(out, expected, image, tmp_path):
    assert sct_deepseg(f"spinalcord -i t2.nii.gz -o {out}") == 0
    assert written(tmp_path) == expected


def test_several_images_each_have_their_own_mask(image, tmp_path):
    save_cord(tmp_path / "t1.nii.gz", radius_mm=4.0)
    assert sct_deepseg("spinalcord -i t2.nii.gz t1.nii.gz") == 0
    assert load("t2_seg.nii.gz").sum() > load("t1_seg.nii.gz").sum() > 0


def test_several_images_and_one_file_are_a_usage_error(image, tmp_path, capsys):
    save_cord(tmp_path / "t1.nii.gz")
    assert sct_deepseg("spinalcord -i t2.nii.gz t1.nii.gz -o out.nii.gz") == 2
    assert "Name a folder, as in out.nii.gz/" in capsys.readouterr().err
    assert written(tmp_path) == {"t1.nii.gz"}


def test_thr_cuts_the_mask(image, tmp_path):
    sct_deepseg("spinalcord -i t2.nii.gz -o out.nii.gz -thr 0.2")
    assert np.array_equal(load("out.nii.gz"), load("out_softseg.nii.gz") > np.float32(0.2))
    assert json.loads((tmp_path / "out_softseg.json").read_text())["Threshold"] == 0.2


@pytest.mark.parametrize(("o", "name"), [("-o out.nii.gz", "out"), ("", "t2_seg")])
def test_thr_0_puts_the_soft_map_where_the_mask_would_be(o, name, image, tmp_path):
    assert sct_deepseg(f"spinalcord -i t2.nii.gz {o} -thr 0") == 0
    assert written(tmp_path) == {f"{name}.nii.gz", f"{name}.json"}
    assert np.allclose(load(f"{name}.nii.gz"), load(image) / BRIGHT, atol=1e-6)


def test_the_sidecar_of_the_image_is_never_replaced(image, tmp_path, capsys):
    (tmp_path / "t2.json").write_text("{}")
    assert sct_deepseg("spinalcord -i t2.nii.gz -o t2.nii -thr 0") == 2
    assert (tmp_path / "t2.json").read_text() == "{}"
    assert "this describes the image t2.nii.gz" in capsys.readouterr().err


def test_files_that_exist_are_replaced_with_a_warning(image, tmp_path, capsys):
    (tmp_path / "t2_seg.nii.gz").write_text("old")
    assert sct_deepseg("spinalcord -i t2.nii.gz") == 0
    assert load("t2_seg.nii.gz").any()
    assert (
        capsys.readouterr().err
        == "softcord: warning: t2_seg.nii.gz exists and is replaced, as sct_deepseg does\n"
    )


def test_the_image_itself_is_never_replaced(image, capsys):
    before = image.read_bytes()
    assert sct_deepseg("spinalcord -i t2.nii.gz -o t2.nii.gz") == 2
    assert image.read_bytes() == before
    assert "never replaced" in capsys.readouterr().err


def test_what_is_ignored_is_said(image, capsys):
    line = "spinalcord -i t2.nii.gz -qc-dataset study -qc-plane Axial -largest 1 -r 0"
    assert sct_deepseg(line) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in warnings] == ["-qc-dataset", "-qc-plane", "-largest", "-r"]


def test_v_says_nothing_the_result_or_all(image, capsys):
    said = []
    for level in "012":
        sct_deepseg(f"spinalcord -i t2.nii.gz -o out{level}.nii.gz -v {level}")
        said.append(capsys.readouterr())
    assert said[0] == ("", "")
    assert said[1].out.rstrip().endswith(" -> out1.nii.gz")
    assert said[1].err == ""
    assert "info" in said[2].err


@pytest.mark.parametrize(
    "line",
    ["-task graymatter -i t2.nii.gz", "graymatter -i t2.nii.gz", "-install-task graymatter", "-i t2.nii.gz"],
)
def test_a_task_that_is_unknown_or_missing_is_a_usage_error_that_names_the_known_ones(
    line, image, tmp_path, capsys
):
    assert sct_deepseg(line) == 2
    assert (
        "Known tasks: spinalcord, seg_sc_contrast_agnostic, seg_sc_lesion_t2w_sci." in capsys.readouterr().err
    )
    assert written(tmp_path) == set()


@pytest.mark.parametrize(
    "line",
    [
        "spinalcord -task seg_sc_contrast_agnostic -i t2.nii.gz",
        "spinalcord",
        "spinalcord -i t2.nii.gz -fill-holes 1",
        "spinalcord -i t2.nii.gz -v 3",
        "spinalcord -i t2.nii.gz -thr 1.5",
    ],
)
def test_what_cannot_be_is_a_usage_error_in_one_line(line, image, tmp_path, capsys):
    assert sct_deepseg(line) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert written(tmp_path) == set()


@pytest.mark.parametrize(("name", "code"), [("absent.nii.gz", 3), ("empty.nii.gz", 4)])
def test_exit_codes_are_those_of_segment(name, code, image, tmp_path):
    save_cordless(tmp_path / "empty.nii.gz")
    assert sct_deepseg(f"spinalcord -i {name}") == code
