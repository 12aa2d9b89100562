import json

import nibabel as nib
import numpy as np
import pytest

from fakes import add_cord_entry, cord_data, cord_share, save_cord, save_nifti
from softcord.cli import main
from softcord.qc import read_rows
from softcord.qc.ratings import Journal, Rating
from softcord.qc.summary import agreements


@pytest.fixture
def image(tmp_path):
    return save_cord(tmp_path / "sub-01_ses-2_T2w.nii.gz")


def save_mask(path, data=None):
    return save_nifti((cord_share() > 0.5).astype(np.uint8) if data is None else data, path)


# ---- adding


def test_segmentations_of_other_tools_and_label_maps_are_added(image, tmp_path, capsys):
    mask = save_mask(tmp_path / "t2_seg.nii.gz", (255 * (cord_share() > 0.5)).astype(np.uint8))
    soft = save_nifti(cord_share(), tmp_path / "t2_soft.nii.gz")
    labels = save_mask(tmp_path / "t2_dseg.nii.gz", np.digitize(cord_share(), [0.3, 0.8]).astype(np.uint8))
    names = [str(path) for path in (mask, soft, labels)]
    assert main(["qc", str(image), *names, "--qc", str(tmp_path / "qc")]) == 0
    rows = {row.kind: row for row in read_rows(tmp_path / "qc")}
    assert set(rows) == {"mask", "soft", "labels"}
    assert rows["soft"].volume_mm3 == pytest.approx(np.pi * 25 * 60, rel=0.01)
    assert rows["soft"].mean_area_mm2 == pytest.approx(np.pi * 25, rel=0.01)
    assert {row.subject for row in rows.values()} == {"sub-01"}
    assert capsys.readouterr().out.count("added") == 3


def test_a_segmentation_with_its_axes_in_another_order_is_the_same(image, tmp_path):
    turned = nib.load(save_mask(tmp_path / "a_seg.nii.gz")).as_reoriented(
        np.array([[2, -1], [0, 1], [1, -1]])
    )
    nib.save(turned, tmp_path / "b_seg.nii.gz")
    for name in "ab":
        assert (
            main(["qc", str(image), str(tmp_path / f"{name}_seg.nii.gz"), "--qc", str(tmp_path / "qc")]) == 0
        )
    one, other = (row.key for row in read_rows(tmp_path / "qc"))
    pictures = [
        (tmp_path / "qc" / "entries" / f"{key}.js").read_text().partition(",\n")[2] for key in (one, other)
    ]
    assert pictures[0] == pictures[1]


def test_one_that_cannot_be_shown_does_not_stop_the_others(image, tmp_path, capsys):
    other = save_mask(tmp_path / "small.nii.gz", np.ones((5, 5, 5), dtype=np.uint8))
    mask = save_mask(tmp_path / "t2_seg.nii.gz")
    folder = tmp_path / "qc"
    assert main(["qc", str(image), str(other), str(tmp_path / "no.nii"), str(mask), "--qc", str(folder)]) == 7
    said = capsys.readouterr().err
    assert "small.nii.gz: must be on the grid of its image" in said
    assert "no.nii" in said
    assert len(read_rows(folder)) == 1
    assert main(["qc", str(image), str(other), "--qc", str(folder)]) == 3


def test_a_segmentation_that_is_shifted_is_refused(image, tmp_path, capsys):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[2, 3] = 4
    shifted = save_nifti(cord_share(), tmp_path / "t2_seg.nii.gz", affine=affine)
    assert main(["qc", str(image), str(shifted), "--qc", str(tmp_path / "qc")]) == 3
    assert "4.00 mm apart" in capsys.readouterr().err
    assert not (tmp_path / "qc").exists()


def test_levels_give_norms_by_level(image, tmp_path):
    mask = save_mask(tmp_path / "t2_seg.nii.gz")
    levels = np.zeros(cord_data().shape, dtype=np.uint8)
    levels[..., :15], levels[..., 15:] = 4, 3
    file = save_mask(tmp_path / "levels.nii.gz", levels)
    assert main(["qc", str(image), str(mask), "--qc", str(tmp_path / "qc"), "--levels", str(file)]) == 0
    (entry,) = (tmp_path / "qc" / "entries").iterdir()
    curve = json.loads(entry.read_text().removeprefix("softcord.entry(").removesuffix(");\n"))["curve"]
    assert curve["levels"] == [4] * 15 + [3] * 15


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("t2.nii.gz --qc qc", "an image, its segmentations and a folder are needed"),
        ("t2.nii.gz seg.nii.gz", "an image, its segmentations and a folder are needed"),
        ("open", "takes one folder"),
        ("open a b", "takes one folder"),
        ("summary", "takes a folder"),
        ("open qc --levels x.nii.gz", "--levels does not go with"),
        ("t2.nii.gz seg.nii.gz --qc qc --port 80", "--port does not go with"),
        ("summary qc --no-browser", "--no-browser does not go with"),
    ],
)
def test_what_does_not_fit_is_said(line, said, capsys):
    assert main(["qc", *line.split()]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("use", ["open", "summary"])
def test_a_folder_without_a_page_is_said(use, tmp_path, capsys):
    assert main(["qc", use, str(tmp_path)]) == 3
    assert "no review page" in capsys.readouterr().err


# ---- summary


@pytest.fixture
def rated(tmp_path):
    """Four entries, of which Ann rated all and Bob three; they differ on one."""
    folder = tmp_path / "qc"
    for n in range(4):
        add_cord_entry(folder, f"sub-0{n}_T2w.nii.gz")
    said = {"Ann": ["pass", "fail", "pass", "artifact"], "Bob": ["pass", "fail", "fail"]}
    for rater, verdicts in said.items():
        Journal(folder).append(
            Rating(row.key, rater, verdict, time="2026", source=row.source, comment=f"{rater} saw")
            for row, verdict in zip(read_rows(folder), verdicts, strict=False)
        )
    return folder


def test_the_summary_gives_agreement_and_what_to_leave_out(rated, tmp_path, capsys):
    out = tmp_path / "exclude.tsv"
    assert main(["qc", "summary", str(rated), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "4 results, 4 rated" in said
    assert "Ann and Bob: 3 in common, agree on 67 %, kappa 0.40" in said  # chance: (2 x 1 + 1 x 2) / 9
    assert "To leave out (any rater): 3 of 4" in said
    header, *lines = out.read_text().splitlines()
    assert header.split("\t") == ["file", "segmentation", "verdicts", "comment"]
    assert [line.split("\t")[0] for line in lines] == [f"/data/sub-0{n}_T2w.nii.gz" for n in (1, 2, 3)]
    assert main(["qc", "summary", str(rated), "-o", str(out)]) == 6


@pytest.mark.parametrize(("rule", "expected"), [("any", [1, 2, 3]), ("majority", [1, 3]), ("all", [1, 3])])
def test_who_must_have_said_so_can_be_chosen(rule, expected, rated, tmp_path):
    out = tmp_path / "qc_fail.yml"
    assert main(["qc", "summary", str(rated), "--exclude", rule, "-o", str(out), "-q"]) == 0
    assert out.read_text() == "FILES_SEG:\n" + "".join(f"- /data/sub-0{n}_T2w.nii.gz\n" for n in expected)


def test_files_that_raters_handed_back_count(rated, tmp_path, capsys):
    (tmp_path / "qc_fail.yml").write_text("FILES_SEG:\n- sub-00_T2w.nii.gz\n")
    key = read_rows(rated)[0].key
    (tmp_path / "eve.tsv").write_text(
        f'key\trater\trating\ttime\tcomment\n{key}\tEve\tfail\t2026\t"two\nlines"\n'
    )
    files = [str(tmp_path / name) for name in ("qc_fail.yml", "eve.tsv")]
    assert main(["qc", "summary", str(rated), *files]) == 0
    said = capsys.readouterr().out
    assert "sub-00_T2w.nii.gz (Ann: pass, Bob: pass, Eve: fail, qc_fail: fail)" in said


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{}"),
        ("a.json", '{"ratings": [1]}'),
        ("a.tsv", "key\trating\nx\tgreat\n"),
        ("other.yml", "FILES_SEG:\n- a\n"),
        ("qc_fail.yml", "FILES_SEG:\n- absent.nii.gz\n"),
        ("absent.tsv", None),
    ],
)
def test_a_file_that_holds_no_ratings_is_bad_input(name, text, rated, tmp_path, capsys):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert main(["qc", "summary", str(rated), str(tmp_path / name)]) == 3
    assert name in capsys.readouterr().err


def test_kappa_is_that_of_cohen():
    """20 both yes, 5 and 10 apart, 15 both no: 0.4, the usual worked example."""
    pairs = (
        [("pass", "pass")] * 20 + [("pass", "fail")] * 5 + [("fail", "pass")] * 10 + [("fail", "fail")] * 15
    )
    ratings = [
        Rating(str(n), who, said)
        for n, pair in enumerate(pairs)
        for who, said in zip("AB", pair, strict=True)
    ]
    (pair,) = agreements(ratings)
    assert (pair.n, pair.share, pair.kappa) == pytest.approx((50, 0.7, 0.4))
