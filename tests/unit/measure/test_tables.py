"""Tables: softcord's columns and their dictionary, and SCT's to the letter."""

import csv
import json

import nibabel as nib
import pytest

from softcord.errors import OutputError, UsageError
from softcord.measure import CsaOptions, csa_files
from softcord.measure.tables import columns, compress, sct_header


@pytest.fixture
def masks(cord, discs, tmp_path):
    """Two masks in a folder, with discs beside them."""
    paths = [tmp_path / f"sub-0{n}_ses-a_space-orig_label-SC_desc-T2w_probseg.nii.gz" for n in (1, 2)]
    for path in paths:
        nib.save(cord, path)
        nib.save(discs, tmp_path / f"{path.name.split('_')[0]}_discs.nii.gz")
    return paths


def read(path, delimiter="\t"):
    return list(csv.DictReader(path.read_text().splitlines(), delimiter=delimiter))


def test_the_table_has_entities_units_and_a_dictionary(masks, tmp_path):
    out = tmp_path / "csa.tsv"
    csa_files(masks, out, CsaOptions(rows="slice"))
    rows = read(out)
    assert len(rows) == 80
    assert (rows[0]["sub"], rows[-1]["sub"], rows[0]["ses"], rows[0]["run"]) == ("01", "02", "a", "n/a")
    assert [row["slices"] for row in rows[:3]] == ["0", "1", "2"]
    assert float(rows[5]["area_low_mm2"]) <= float(rows[5]["area_mm2"]) <= float(rows[5]["area_high_mm2"])
    assert rows[0]["levels"] == "n/a"
    explained = json.loads((tmp_path / "csa.json").read_text())
    assert set(rows[0]) <= set(explained)
    assert explained["area_mm2"]["Units"] == "mm2"
    assert all(explained[name]["Description"] not in ("", name) for name in rows[0])


def test_csv_by_the_ending_has_empty_cells(masks, tmp_path):
    csa_files(masks[:1], tmp_path / "csa.csv")
    row = read(tmp_path / "csa.csv", ",")[0]
    assert (row["run"], row["slices"], row["n_slices"]) == ("", "0:39", "40")


def test_labels_are_found_by_the_name_of_each_mask(masks, tmp_path):
    out = tmp_path / "csa.tsv"
    results = csa_files(
        masks, out, CsaOptions(rows="level", norms="spine-generic"), discs="{folder}/sub-{sub}_discs.nii.gz"
    )
    assert [result.error for result in results] == [None, None]
    rows = read(out)
    assert [row["level_names"] for row in rows[:3]] == ["C5", "C4", "C3"]
    assert abs(float(rows[2]["area_z"])) < 2
    assert rows[2]["norm_people"].startswith("spine-generic all n=")
    failed = csa_files(masks[:1], None, CsaOptions(rows="level"), discs="{run}_discs.nii.gz")
    assert "does not say what stands in" in str(failed[0].error)


def test_sct_format_is_read_like_that_of_sct(masks, shared, tmp_path):
    out = tmp_path / "csa.csv"
    csa_files(masks[:1], out, CsaOptions(rows="slice"), format="sct")
    theirs = (shared / "reference" / "sct" / "t2_perslice.csv").read_text().splitlines()
    ours = out.read_text().splitlines()
    assert ours[0] == theirs[0]
    assert sct_header() == theirs[0] + "\n"
    pattern = [cell.startswith('"') for cell in theirs[1].split(",")]
    assert [cell.startswith('"') for cell in ours[1].split(",")] == pattern
    row = read(out, ",")[3]
    assert (row["Slice (I->S)"], row["VertLevel"], row["STD(area)"]) == ("3", "", "0.0")
    assert not (tmp_path / "csa.json").exists()


def test_sct_format_takes_definitions_of_sct_unless_told_otherwise(masks, tmp_path):
    for definition, expected in ((None, "sct"), ("softcord", "softcord")):
        results = csa_files(masks[:1], None, CsaOptions(definition=definition), format="sct")
        assert results[0].csa.options.definition == expected


@pytest.mark.parametrize("name", ["csa.tsv", "csa.csv"])
def test_rows_are_appended_to_a_table_with_the_same_columns(masks, tmp_path, name):
    out = tmp_path / name
    csa_files(masks[:1], out, append=True)
    csa_files(masks[1:], out, append=True)
    both = tmp_path / f"both-{name}"
    csa_files(masks, both)
    assert out.read_text() == both.read_text()


def test_other_columns_are_not_appended_to(masks, tmp_path):
    out = tmp_path / "csa.csv"
    csa_files(masks[:1], out, format="sct")
    before = out.read_bytes()
    with pytest.raises(OutputError, match="has other columns"):
        csa_files(masks[1:], out, append=True)
    assert out.read_bytes() == before


def test_a_table_that_exists_is_kept_unless_it_is_to_be_replaced(masks, tmp_path):
    out = tmp_path / "csa.tsv"
    csa_files(masks[:1], out)
    with pytest.raises(OutputError, match="exists already"):
        csa_files(masks, out)
    csa_files(masks, out, overwrite=True)
    assert len(read(out)) == 2


def test_the_sidecar_of_a_mask_is_never_replaced_by_a_dictionary(masks, tmp_path):
    sidecar = masks[0].with_name("sub-01_ses-a_space-orig_label-SC_desc-T2w_probseg.json")
    sidecar.write_text('{"ModelName": "softcord"}')
    with pytest.raises(OutputError, match="explains no table"):
        csa_files(masks, sidecar.with_suffix(".tsv"), overwrite=True)
    assert sidecar.read_text() == '{"ModelName": "softcord"}'


def test_one_bad_mask_does_not_stop_the_others(masks, tmp_path):
    missing = tmp_path / "none.nii.gz"
    results = csa_files([masks[0], missing, masks[1]], tmp_path / "csa.tsv")
    assert [result.error is None for result in results] == [True, False, True]
    assert len(read(tmp_path / "csa.tsv")) == 2


def test_if_all_fail_no_table_is_written(tmp_path):
    csa_files([tmp_path / "none.nii.gz"], tmp_path / "csa.tsv")
    assert list(tmp_path.iterdir()) == []


def test_processes_side_by_side_give_the_same_table(masks, tmp_path):
    one, two = tmp_path / "one.tsv", tmp_path / "two.tsv"
    csa_files([*masks, tmp_path / "none.nii.gz"], one, jobs=1)
    results = csa_files([*masks, tmp_path / "none.nii.gz"], two, jobs=2)
    assert one.read_text() == two.read_text()
    assert results[2].error.exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jobs": 0}, "jobs must be"),
        ({"append": True, "overwrite": True}, "choose one"),
        ({"options": CsaOptions(rows="level")}, "levels are unknown"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(masks, tmp_path, arguments, message):
    with pytest.raises(UsageError, match=message):
        csa_files(masks, tmp_path / "csa.tsv", **arguments)
    with pytest.raises(UsageError, match="must be a list"):
        csa_files(str(masks[0]), tmp_path / "csa.tsv")
    with pytest.raises(UsageError, match="given twice"):
        csa_files([masks[0], masks[0]], tmp_path / "csa.tsv")


def test_ranges_are_written_as_sct_writes_them():
    assert compress([7, 1, 2, 3]) == "1:3;7"


def test_columns_are_all_different():
    assert len(set(columns())) == len(columns())
