"""Norms of healthy people, and how far a value is from them."""

import csv

import pytest

from softcord.errors import UsageError
from softcord.norms import DATASETS, METRICS, find_norm


def test_subject_means_at_c2_and_c3_are_the_published_ones():
    norm = find_norm("area_mm2", [2, 3])
    assert norm.mean == pytest.approx(72.1, abs=0.1)
    assert norm.sd == pytest.approx(6.9, abs=0.4)
    assert find_norm("area_mm2", [2, 3], sex="F").mean == pytest.approx(69.7, abs=0.1)
    assert find_norm("area_mm2", [2, 3], sex="M").mean == pytest.approx(74.4, abs=0.1)
    assert find_norm("diameter_ap_mm", [2, 3]).mean == pytest.approx(7.67, abs=0.05)
    assert find_norm("diameter_rl_mm", [2, 3]).mean == pytest.approx(11.95, abs=0.05)


def test_the_mean_is_at_the_middle_and_extremes_are_outside():
    norm = find_norm("area_mm2", [3])
    assert norm.z(norm.mean) == 0
    assert norm.percentile(norm.mean) == pytest.approx(50)
    assert norm.percentile(norm.mean - 1.96 * norm.sd) == pytest.approx(2.5, abs=0.01)
    assert not norm.is_outside(norm.mean)
    assert norm.is_outside(30.0)
    assert norm.is_outside(130.0)


def test_the_next_people_are_taken_where_there_are_none():
    assert find_norm("area_mm2", [15]).dataset == "whole-spine"
    assert find_norm("area_mm2", [15], sex="F").sex == "all"
    assert find_norm("area_mm2", [3], dataset="AOMIC").dataset == "AOMIC"
    assert find_norm("area_mm2", [24]) is None
    assert find_norm("area_mm2", []) is None


@pytest.mark.parametrize("wrong", [{"sex": "x"}, {"dataset": "mine"}])
def test_unknown_people_are_refused(wrong):
    with pytest.raises(UsageError):
        find_norm("area_mm2", [3], **wrong)


def test_the_table_is_that_of_the_slices(shared):
    rows = csv.DictReader((shared / "reference" / "norms" / "pam50_slice_norms.csv").read_text().splitlines())
    means = [
        float(r["mean"])
        for r in rows
        if (r["dataset"], r["sex"], r["metric"], r["level"]) == ("AOMIC", "F", "solidity", "2")
    ]
    assert find_norm("solidity", [2], sex="F", dataset="AOMIC").mean == pytest.approx(
        sum(means) / len(means), rel=1e-4
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_measure_has_norms_at_c2(metric, dataset):
    norm = find_norm(metric, [2], dataset=dataset)
    assert norm.low < norm.mean < norm.high
