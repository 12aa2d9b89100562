import pytest

pytest.importorskip("yaml", reason="needs PyYAML, which comes with softcord[synth]")

from softcord.errors import InputError
from softcord.train.config import (
    ImageSource,
    MapSource,
    MixConfig,
    NetworkConfig,
    ScheduleConfig,
    SynthConfig,
)
from softcord.train.reading import from_dict, read_config, to_dict

FULL = """
name: mine
version: "2"
seed: 7
network: {channels: [4, 8], fold: [2, 2, 1]}
mix: {phantoms: 1, maps: 0.5}
schedule: {steps: 10, learning_rate: 0.01}
maps:
  - files: heads/*.nii.gz
    cord: 512
    tissues: {WHITE: [512], CSF: [24, 4]}
  - {files: necks/*.nii.gz, fill_zero: true, cord_suffix: [_csf, _cord]}
images:
  - {table: images.tsv, exclude: [sub01, sub02]}
"""


@pytest.fixture
def written(tmp_path):
    """Write a configuration and return where it is."""

    def write(text: str | bytes):
        path = tmp_path / "run.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_everything_that_is_written_is_read(written):
    assert read_config(written(FULL)) == SynthConfig(
        name="mine",
        version="2",
        seed=7,
        network=NetworkConfig(channels=(4, 8), fold=(2, 2, 1)),
        mix=MixConfig(phantoms=1.0, maps=0.5),
        schedule=ScheduleConfig(steps=10, learning_rate=0.01),
        maps=[
            MapSource("heads/*.nii.gz", cord=512, tissues={"WHITE": [512], "CSF": [24, 4]}),
            MapSource("necks/*.nii.gz", fill_zero=True, cord_suffix=("_csf", "_cord")),
        ],
        images=[ImageSource("images.tsv", exclude=("sub01", "sub02"))],
    )


def test_what_is_not_written_has_its_default(written):
    assert read_config(written("name: mine")) == SynthConfig(name="mine")


def test_plain_values_and_back_are_the_same_configuration(written):
    config = read_config(written(FULL))
    plain = to_dict(config)
    assert from_dict(plain) == config
    assert to_dict(from_dict(plain)) == plain
    assert plain["network"] == {"channels": [4, 8], "fold": [2, 2, 1], "grey_powers": 0}
    assert plain["maps"][1]["cord_suffix"] == ["_csf", "_cord"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1", "key name is missing"),
        ("nmae: mine", "unknown key nmae; known are name, version"),
        ("name: mine\n1: 2", "unknown key 1;"),
        ("name: mine\nschedule: {stepps: 3}", "unknown key schedule.stepps; known are steps, batch"),
        ("name: mine\nmaps: [{cord: 2}]", r"key maps\[0\].files is missing"),
        ("name: mine\nmaps: [{files: a, label: 2}]", r"unknown key maps\[0\].label"),
        ("name: 3", "name must be text, got 3"),
        ("name: mine\nversion: 1", "version must be text, got 1"),
        ("name: mine\nseed: 1.5", "seed must be a whole number, got 1.5"),
        ("name: mine\nseed: true", "seed must be a whole number, got True"),
        ("name: mine\nseed:", "seed must be a whole number, got None"),
        ("name: mine\nmix: {maps: much}", "mix.maps must be a number, got 'much'"),
        ("name: mine\nmix: {maps: false}", "mix.maps must be a number, got False"),
        # YAML takes this for text; 0.001 and 1.0e-3 are numbers
        (
            "name: mine\nschedule: {learning_rate: 1e-3}",
            "schedule.learning_rate must be a number, got '1e-3'",
        ),
        ("name: mine\nmix: 3", "mix must be a mapping, got int"),
        ("name: mine\nnetwork: [1, 2]", "network must be a mapping, got list"),
        ("name: mine\nnetwork: {channels: 16}", "network.channels must be a list, got 16"),
        ("name: mine\nnetwork: {channels: [4, x]}", r"network.channels\[1\] must be a whole number, got 'x'"),
        ("name: mine\nnetwork: {fold: [2, 2]}", r"network.fold must be a list of 3, got \[2, 2\]"),
        ("name: mine\nmaps: heads", "maps must be a list, got 'heads'"),
        ("name: mine\nmaps: [heads]", r"maps\[0\] must be a mapping, got str"),
        ("name: mine\nmaps: [{files: a, fill_zero: 1}]", r"maps\[0\].fill_zero must be true or false, got 1"),
        ("name: mine\nmaps: [{files: a, tissues: 1}]", r"maps\[0\].tissues must be a mapping, got 1"),
        ("name: mine\nmaps: [{files: a, tissues: {CSF: 1}}]", r"maps\[0\].tissues.CSF must be a list, got 1"),
        (
            "name: mine\nmaps: [{files: a, tissues: {CSF: [x]}}]",
            r"maps\[0\].tissues.CSF\[0\] must be a whole number",
        ),
        ("name: mine\nmaps: [{files: a, cord_suffix: [x]}]", r"maps\[0\].cord_suffix must be a list of 2"),
        # values of the right type that cannot be
        ("name: mine\nschedule: {steps: 0}", "schedule.steps must be 1 or more, got 0"),
        ("name: mine\ngrid: {along: .nan}", "grid.along must be a number above 0, got nan"),
        ("name: mine\nmaps: [{files: a, tissues: {BONE: [1]}}]", r"maps\[0\].tissues must be among AIR"),
        ("name: mine\ngrid: {patch: [60, 64, 32]}", "grid.patch must be a multiple of"),
        # no mapping at all
        ("", "the file must be a mapping, got NoneType"),
        ("- name", "the file must be a mapping, got list"),
        ("name: [", "not valid YAML"),
        (b"name: \xff\xfe", "not text in UTF-8"),
        (b"\x89PNG\x00", "not (text in UTF-8|valid YAML)"),
    ],
)
def test_what_is_wrong_is_told_with_the_file_and_the_key(written, text, message):
    path = written(text)
    with pytest.raises(InputError, match=message) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.yaml: cannot be read \(No such file"):
        read_config(tmp_path / "none.yaml")


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read"):
        read_config(tmp_path)


def test_yaml_that_would_run_code_is_refused(written):
    with pytest.raises(InputError, match="not valid YAML"):
        read_config(written("name: !!python/object/apply:os.getcwd []"))
