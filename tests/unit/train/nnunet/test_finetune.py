"""Fine-tuning: weights and plans are taken from a model; what does not fit is refused with the reason."""

import json
import shutil
import zipfile
from dataclasses import asdict, replace

import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[train]")
pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")

import numpy as np
import torch

from softcord.errors import InputError, ModelError, UsageError
from softcord.train.nnunet.finetune import GENTLE, finetune
from softcord.train.nnunet.layout import read_json
from softcord.train.nnunet.release import release
from softcord.train.nnunet.source import read_source
from softcord.train.nnunet.trainers import TrainOptions
from trainingdata import write_dataset

STILL = TrainOptions(epochs=1, iterations=1, validation_iterations=1, learning_rate=1e-12)
"""One step that changes next to nothing, so that weights can be compared with what they were."""


@pytest.fixture
def model(trained, tmp_path):
    """A copy of the trained model, to be damaged."""
    shutil.copytree(trained.model, tmp_path / "model")
    return tmp_path / "model"


def weights(path):
    return torch.load(path, weights_only=False)["network_weights"]


def test_all_weights_are_taken_if_the_labels_agree(dataset, trained, tmp_path):
    result = finetune(dataset, trained.model, tmp_path / "run", STILL, device="cpu")
    assert result.head_taken
    before, after = weights(trained.fold(0) / "checkpoint_final.pth"), weights(result.checkpoint)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=1e-4, msg=name)
    record = read_json(result.run.folder / "run.json", "")
    assert record["from"]["model"] == str(trained.model)


def test_the_plans_are_those_of_the_model(dataset, trained, tmp_path):
    result = finetune(dataset, trained.model, tmp_path / "run", STILL, device="cpu")
    mine, theirs = read_json(result.run.plans, ""), read_json(trained.plans, "")
    assert mine == {**theirs, "dataset_name": "Dataset101_Cord"}


@pytest.mark.parametrize("kind", ["archive", "folder above"])
def test_other_labels_leave_the_last_layers_random(kind, trained, tmp_path):
    labels = {"background": 0, "lesion": 1, "cord": 2}
    folder = write_dataset(tmp_path / "Dataset201_Lesions", 2, soft=False, labels=labels)
    archive = release(trained.folder, tmp_path, name="cord", day="20250131").archive
    source = archive if kind == "archive" else trained.model.parent
    result = finetune(folder, source, tmp_path / "run", STILL, device="cpu", scratch=True)
    assert not result.head_taken
    before, after = weights(trained.fold(0) / "checkpoint_final.pth"), weights(result.checkpoint)
    body = "encoder.stages.0.0.convs.0.conv.weight"
    torch.testing.assert_close(after[body], before[body], atol=1e-6, rtol=1e-4)
    assert after["decoder.seg_layers.4.weight"].shape[0] == 3
    scratch = weights(result.scratch.fold(0) / "checkpoint_final.pth")
    assert not np.allclose(scratch[body], before[body], atol=1e-3)
    assert json.loads((result.run.fold(0) / "options.json").read_text())["labels"] == "hard"


def test_another_legal_patch_can_be_had(dataset, trained, tmp_path):
    result = finetune(
        dataset, trained.model, tmp_path / "run", STILL, device="cpu", patch=(32, 32, 64), batch=1
    )
    settings = read_json(result.run.plans, "")["configurations"]["3d_fullres"]
    assert settings["patch_size"] == [32, 32, 64]
    assert settings["batch_size"] == 1


def test_it_is_shorter_and_slower_than_a_training():
    assert GENTLE.epochs < TrainOptions().epochs
    assert GENTLE.learning_rate < TrainOptions().learning_rate


# ---- what does not fit


def refuse(kind, dataset, model, tmp_path, **how) -> str:
    with pytest.raises(kind) as caught:
        finetune(dataset, model, tmp_path / "run", STILL, device="cpu", **how)
    assert not (tmp_path / "run").exists()
    return str(caught.value)


def test_a_wrong_patch_is_refused_with_the_nearest(dataset, model, tmp_path):
    message = refuse(UsageError, dataset, model, tmp_path, patch=(20, 32, 64))
    assert message == (
        "A patch must be a multiple of 16 32 32 voxels along R-L, A-P and S-I, and more than that along one "
        "of them; got 20 32 64. Nearest that fit: 16 32 64 or 32 32 64."
    )


def test_a_wrong_orientation_is_refused_with_the_right_one(model, tmp_path):
    folder = write_dataset(tmp_path / "Dataset202_Turned", 2, axcodes="RAS")
    message = refuse(InputError, folder, model, tmp_path)
    assert "the axes of all images must run to LAS" in message
    assert "(SCT calls it RPI); found RAS (2)" in message


def test_orientations_that_differ_are_refused(model, tmp_path):
    folder = write_dataset(tmp_path / "Dataset203_Mixed", 2, axcodes=["LAS", "PIR"])
    assert "all images must have one orientation; found LAS (1), PIR (1)" in refuse(
        InputError, folder, model, tmp_path
    )


def test_the_orientation_of_a_release_of_others_is_read_in_the_letters_of_sct(model, tmp_path):
    path = model / "dataset.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["softcord"]
    path.write_text(json.dumps({**content, "image_orientation": "LPI"}), encoding="utf-8")
    assert read_source(model).orientation == "RAS"


def test_another_number_of_channels_is_refused(model, tmp_path):
    folder = write_dataset(tmp_path / "Dataset204_Two", 2, channels=2)
    message = refuse(InputError, folder, model, tmp_path)
    assert f"{folder}: images have 2 channel(s), those of {model} have 1." in message


def test_missing_plans_are_refused(dataset, model, tmp_path):
    (model / "plans.json").unlink()
    message = refuse(ModelError, dataset, model, tmp_path)
    assert message.startswith(
        f"{model}: holds no plans.json, without which the topology of the network is not known"
    )


def test_an_archive_without_plans_is_refused(dataset, model, tmp_path):
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.write(model / "fold_0" / "checkpoint_final.pth", "top/fold_0/checkpoint_final.pth")
    assert "holds no plans.json" in refuse(ModelError, dataset, archive, tmp_path)


def test_a_2d_configuration_is_refused(dataset, model, tmp_path):
    path = model / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content["init_args"]["configuration"] = "2d"
    torch.save(content, path)
    plans = json.loads((model / "plans.json").read_text(encoding="utf-8"))
    flat = json.loads(json.dumps(plans["configurations"]["3d_fullres"]))
    flat["patch_size"], flat["spacing"] = [32, 64], [1.2, 1.5]
    plans["configurations"]["2d"] = flat
    (model / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    message = refuse(ModelError, dataset, model, tmp_path)
    assert message == (
        f"{model}: its configuration is 2d, which works on 2-D slices. Fine-tuning needs a 3-D model, such "
        "as 3d_fullres."
    )


def test_missing_weights_are_refused(dataset, model, tmp_path):
    shutil.rmtree(model / "fold_0")
    assert "holds no fold_*/checkpoint_final.pth" in refuse(ModelError, dataset, model, tmp_path)


def test_weights_of_another_network_are_refused(dataset, model, tmp_path):
    plans = json.loads((model / "plans.json").read_text(encoding="utf-8"))
    kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [4, 16, 32, 64, 80, 80]
    (model / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"weights do not fit the plans: .* must have shape \(4, 1, 3, 3, 3\)"
    ):
        finetune(dataset, model, tmp_path / "run", STILL, device="cpu")


def test_an_unknown_model_is_refused(dataset, tmp_path):
    assert "neither an installed model, nor a folder, nor an archive" in refuse(
        ModelError, dataset, "no-such-model", tmp_path
    )


def test_plans_of_the_format_before_2024_are_understood(dataset, model, tmp_path):
    plans = json.loads((model / "plans.json").read_text(encoding="utf-8"))
    settings = plans["configurations"]["3d_fullres"]
    kwargs = settings.pop("architecture")["arch_kwargs"]
    plans["configurations"]["3d_fullres"] = {
        **settings,
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 8,
        "unet_max_num_features": 80,
        "n_conv_per_stage_encoder": kwargs["n_conv_per_stage"],
        "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
        "num_pool_per_axis": [4, 5, 5],
        "pool_op_kernel_sizes": kwargs["strides"],
        "conv_kernel_sizes": kwargs["kernel_sizes"],
    }
    (model / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    source = read_source(model)
    assert source.multiple == (16, 32, 32)
    result = finetune(dataset, model, tmp_path / "run", replace(STILL), device="cpu")
    assert result.checkpoint.is_file()
    assert asdict(STILL)["epochs"] == 1
