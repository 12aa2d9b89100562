"""The archive of a release: laid out as others expect it, loaded by nnU-Net itself, safe, its origin told."""

import json
import zipfile
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[train]")
pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")

import blosc2
import nibabel as nib
import numpy as np
import onnxruntime
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunet_predictions import predict_with_nnunet
from softcord.checksum import file_sha256
from softcord.engines.nnunet.network import rescale
from softcord.errors import InputError, OutputError, UsageError
from softcord.segment import segment
from softcord.train.nnunet.layout import write_json
from softcord.train.nnunet.release import DRIFT, release
from softcord.train.nnunet.validate import load_network

TOP = "model_cord_20250131"
MODEL = f"{TOP}/nnUNetTrainer__softcordPlans__3d_fullres"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def released(trained, tmp_path_factory):
    """A release, with the network as ONNX."""
    out = tmp_path_factory.mktemp("release")
    return release(trained.folder, out, name="cord", day="20250131", onnx=True)


@pytest.fixture(scope="module")
def unpacked(released, tmp_path_factory):
    """Its content."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(released.archive) as content:
        content.extractall(folder)
    return folder


def test_the_layout_is_that_of_releases_of_the_contrast_agnostic_model(released):
    """One folder of the day; in it the folder of nnU-Net, by whose name the Spinal Cord Toolbox finds it."""
    assert released.archive.name == "model_cord_20250131_nnunet_compatible.zip"
    assert released.sha256 == file_sha256(released.archive)
    with zipfile.ZipFile(released.archive) as content:
        assert sorted(content.namelist()) == [
            f"{TOP}/model_card.md",
            f"{MODEL}/dataset.json",
            f"{MODEL}/fold_0/checkpoint_final.pth",
            f"{MODEL}/plans.json",
            f"{TOP}/provenance.json",
        ]


def test_the_orientation_is_said_in_the_letters_of_sct(unpacked):
    content = json.loads((unpacked / MODEL / "dataset.json").read_text(encoding="utf-8"))
    assert content["image_orientation"] == "RPI"  # which nibabel calls LAS
    assert content["softcord"]["orientation"] == "LAS"
    assert content["channel_names"] == {"0": "acq"}


def test_nnunet_itself_loads_the_release_and_predicts_what_was_trained(unpacked, trained, dataset, capsys):
    predictor = nnUNetPredictor(use_mirroring=False, device=CPU, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(unpacked / MODEL), (0,))
    assert predictor.trainer_name == "nnUNetTrainer"
    assert predictor.allowed_mirroring_axes == (0,)
    path = dataset / "imagesTr" / "cord_002_0000.nii.gz"
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    image, properties = SimpleITKIO().read_images([str(path)])
    label, probabilities = predictor.predict_single_npy_array(image, properties, None, None, True)
    soft = segment(path, model=unpacked / MODEL, mode="exact").soft
    assert json.loads((unpacked / MODEL / "dataset.json").read_text())["softcord"].get("calibration") is None
    difference = np.abs(soft.get_fdata() - probabilities[1].transpose(2, 1, 0))
    # The deepest layer of this patch has two voxels, and their normalisation, by a standard deviation of down
    # to 0.0003, makes up to 300 times more of the last digits in which any two libraries differ: torch itself
    # is up to 0.001 from its own result in float64. The test below has a network that is not so.
    assert difference.max() < 0.03
    assert difference.mean() < 1e-3
    assert label.shape == image.shape[1:] == nib.load(path).shape[::-1]
    # the network of the run, over the arrays of the run, by hand: this image is one tile
    data = blosc2.open(str(trained.preprocessed / "softcordPlans_3d_fullres" / "cord_002.b2nd"), mode="r")[:]
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).float()
    own = load_network(trained, trained.fold(0) / "checkpoint_final.pth", CPU)
    predictor.network.load_state_dict(own.state_dict())
    predictor.list_of_parameters = [own.state_dict()]
    again = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).float()
    torch.testing.assert_close(logits, again)
    assert np.ptp(probabilities[1]) > 0


@pytest.mark.parametrize("case", ["cord_000", "cord_001", "cord_002"])
def test_the_release_of_a_model_that_finds_the_cord_says_the_same_in_both(tuned, dataset, tmp_path, case):
    """Both sum tiles in half precision; what is left is one of its last digits, here and there."""
    archive = release(tuned.folder, tmp_path, name="cord", day="20250131").archive
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path)
    model = next((tmp_path / TOP).glob("nnUNetTrainer*"))
    calibration = json.loads((model / "dataset.json").read_text())["softcord"].get("calibration", {})
    path = dataset / "imagesTr" / f"{case}_0000.nii.gz"
    expected = rescale(predict_with_nnunet(model, path), calibration.get("scale", 1.0), 0.0)
    soft = segment(path, model=model, mode="exact").soft.get_fdata()
    assert (expected > 0.5).sum() > 100
    assert np.abs(soft - expected).max() < 1e-3
    assert np.abs(soft - expected).mean() < 1e-5


def test_the_checkpoint_runs_nothing_when_it_is_loaded_and_holds_no_optimiser(unpacked, trained):
    path = unpacked / MODEL / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True)
    assert content["trainer_name"] == "nnUNetTrainer"
    assert content["optimizer_state"] is None
    assert content["init_args"]["configuration"] == "3d_fullres"
    assert path.stat().st_size < 0.6 * (trained.fold(0) / "checkpoint_final.pth").stat().st_size


def test_the_optimiser_is_kept_on_request(trained, tmp_path):
    made = release(trained.folder, tmp_path, name="cord", day="20250131", optimiser=True)
    with zipfile.ZipFile(made.archive) as content:
        content.extract(f"{MODEL}/fold_0/checkpoint_final.pth", tmp_path)
    kept = torch.load(tmp_path / MODEL / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert kept["optimizer_state"]["state"]


def test_it_is_told_where_the_model_came_from(unpacked, trained, dataset):
    content = json.loads((unpacked / TOP / "provenance.json").read_text(encoding="utf-8"))
    assert content["dataset"]["cases"] == 3
    assert content["sha256"]["splits_final.json"] == file_sha256(trained.preprocessed / "splits_final.json")
    assert content["sha256"]["dataset.json"] == file_sha256(dataset / "dataset.json")
    assert content["versions"].keys() >= {"softcord", "torch", "nnunetv2", "python"}
    fold = content["folds"]["0"]
    assert fold["options"]["labels"] == "soft"
    assert fold["checkpoint_sha256"] == file_sha256(trained.fold(0) / "checkpoint_final.pth")
    assert fold["validation"][0]["case"] == "cord_002"
    assert str(trained.folder) not in json.dumps(content)  # nor where it lay


def test_the_model_card_says_what_and_how_good(unpacked):
    card = (unpacked / TOP / "model_card.md").read_text(encoding="utf-8")
    assert card.startswith("# cord, 20250131\n")
    assert "| Labels | background (0), sc (1) |" in card
    assert "| Trained on | soft labels, loss dice-ce |" in card
    assert "| Patch, voxels | 16 × 32 × 64 |" in card
    assert "| 0 | sc | 1 | 0." in card
    assert "Research use only" in card


def test_the_onnx_network_computes_what_the_trained_one_does(released, trained):
    (path,) = released.onnx
    session = onnxruntime.InferenceSession(path)
    network = load_network(trained, trained.fold(0) / "checkpoint_final.pth", CPU)
    for shape in ((16, 32, 64), (32, 32, 64)):
        sample = torch.randn(1, 1, *shape)
        with torch.no_grad():
            expected = network(sample).numpy()
        (found,) = session.run(["logits"], {"image": sample.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_equal_content_makes_an_equal_archive(released, trained, tmp_path):
    assert release(trained.folder, tmp_path, name="cord", day="20250131").sha256 == released.sha256


def test_a_release_is_not_replaced_unless_asked_for(released, trained):
    out = released.archive.parent
    with pytest.raises(OutputError, match="exists already"):
        release(trained.folder, out, name="cord", day="20250131")
    release(trained.folder, out, name="cord", day="20250131", overwrite=True)
    assert not list(out.glob("*.tmp"))


def test_what_is_not_trained_or_not_accepted_is_not_released(planned, trained, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no fold is trained to its end"):
        release(planned.folder, tmp_path, name="cord")
    with pytest.raises(InputError, match="fold 3 is not trained to its end"):
        release(trained.folder, tmp_path, name="cord", folds=["3"])
    with pytest.raises(UsageError, match="a name of letters"):
        release(trained.folder, tmp_path, name="my cord")
    drifted = replace(trained, folder=trained.folder)
    write_json({"accepted": False, "reason": "The mean area changes by +9 %."}, drifted.folder / DRIFT)
    try:
        with pytest.raises(UsageError, match=r"changes by \+9 %. To pack it still: --accept-drift"):
            release(drifted.folder, tmp_path, name="cord")
        release(drifted.folder, tmp_path, name="cord", accept_drift=True)
    finally:
        (drifted.folder / DRIFT).unlink()
