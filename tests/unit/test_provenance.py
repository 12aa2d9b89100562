import hashlib
import json
import os
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
import pytest

import softcord
from softcord.flags import Flag
from softcord.provenance import sidecar


@dataclass(frozen=True)
class Model:
    name: str = "compact"
    version: str = "1.2"
    sha256: str = "ab" * 32


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "raw" / "sub-01" / "anat" / "sub-01_T2w.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"any bytes")
    return path


def make(source, output, **options):
    return sidecar(
        source, output, **{"model": Model(), "device": "cpu", "seconds": {}, "flags": (), **options}
    )


def test_it_says_what_made_the_map(source):
    made = make(source, source.with_name("out.nii.gz"), threads=2, threshold=0.4, volumes="each")
    assert made["GeneratedBy"] == [{"Name": "softcord", "Version": softcord.__version__}]
    assert (made["ModelName"], made["ModelVersion"], made["ModelSHA256"]) == ("compact", "1.2", "ab" * 32)
    assert (made["Device"], made["Threads"], made["Threshold"], made["VolumesMode"]) == (
        "cpu",
        2,
        0.4,
        "each",
    )
    assert made["Manual"] is False


def test_what_was_not_asked_for_is_null(source):
    made = make(source, source.with_name("out.nii.gz"))
    assert made["Threads"] is None
    assert made["Threshold"] is None


def test_it_survives_json(source):
    flags = (Flag(code="gaps", reason="2 gaps along the cord."),)
    made = make(source, source.with_name("out.nii.gz"), flags=flags, seconds={"read": np.float64(0.12345)})
    assert json.loads(json.dumps(made)) == made
    assert made["Flags"] == [{"code": "gaps", "reason": "2 gaps along the cord."}]
    assert made["Seconds"] == {"read": 0.123}


def test_the_source_is_known_by_its_bytes(source):
    made = make(source, source.with_name("out.nii.gz"))
    assert made["SourceSHA256"] == hashlib.sha256(b"any bytes").hexdigest()


def test_a_source_in_the_same_bids_dataset_is_a_bids_uri(tmp_path, source):
    (tmp_path / "raw" / "dataset_description.json").write_text("{}")
    made = make(source, source.with_name("out.nii.gz"))
    assert made["Sources"] == ["bids::sub-01/anat/sub-01_T2w.nii.gz"]
    assert made["SpatialReference"] == "bids::sub-01/anat/sub-01_T2w.nii.gz"


def test_a_source_in_another_bids_dataset_is_a_relative_path(tmp_path, source):
    (tmp_path / "raw" / "dataset_description.json").write_text("{}")
    made = make(source, tmp_path / "derivatives" / "out.nii.gz")
    assert made["Sources"] == ["../raw/sub-01/anat/sub-01_T2w.nii.gz"]


def test_a_source_outside_bids_is_a_path_from_the_output(tmp_path, source):
    made = make(source, tmp_path / "results" / "out.nii.gz")
    assert made["Sources"] == ["../raw/sub-01/anat/sub-01_T2w.nii.gz"]
    assert made["SpatialReference"] == made["Sources"][0]


def test_the_reference_leads_from_the_output_to_the_source(tmp_path, source, monkeypatch):
    monkeypatch.chdir(source.parent)
    output = tmp_path / "a" / "b" / "out.nii.gz"
    made = make(source.name, output)
    assert os.path.normpath(output.parent / made["Sources"][0]) == str(source)


def test_a_source_that_is_a_link_as_in_a_datalad_dataset_keeps_its_name(tmp_path, source):
    (tmp_path / "raw" / "dataset_description.json").write_text("{}")
    stored = tmp_path / "raw" / ".git" / "annex" / "objects" / "MD5E-s9.nii.gz"
    stored.parent.mkdir(parents=True)
    source.rename(stored)
    source.symlink_to(stored)
    made = make(source, source.with_name("out.nii.gz"))
    assert made["Sources"] == ["bids::sub-01/anat/sub-01_T2w.nii.gz"]


def test_it_says_when_and_with_which_engine(source):
    made = make(source, source.with_name("out.nii.gz"), engine="openvino")
    assert made["Engine"] == "openvino"
    age = datetime.now(timezone.utc) - datetime.fromisoformat(made["Date"])
    assert abs(age.total_seconds()) < 60
