"""Soft labels reach the loss unrounded: after resampling, cropping, augmentation and deep supervision."""

import json

import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[train]")
pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")

import blosc2
import nibabel as nib
import numpy as np
import torch
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from softcord.train.nnunet.layout import nnunet_folders, open_run
from softcord.train.nnunet.targets import Beside, average_to
from softcord.train.nnunet.trainers import TrainOptions
from softcord.train.nnunet.training import make_trainer

OPTIONS = TrainOptions(labels="soft", epochs=1, iterations=1, validation_iterations=1)


def arrays(run, name):
    """Preprocessed image, label and soft label."""
    folder = run.preprocessed / "softcordPlans_3d_fullres"
    paths = (folder / f"{name}.b2nd", folder / f"{name}_seg.b2nd", run.soft / f"{name}.b2nd")
    return [blosc2.open(str(path), mode="r")[:] for path in paths]


def is_unrounded(values) -> bool:
    """Whether many values are neither 0 nor 1."""
    rim = values[(values > 0.01) & (values < 0.99)]
    return len(np.unique(np.round(rim, 4))) > 50


@pytest.fixture
def trainer(planned, tmp_path):
    """One that is ready; what it writes goes to a copy."""
    import shutil
    from dataclasses import replace

    shutil.copytree(planned.folder, tmp_path / "run")
    run = replace(planned, folder=tmp_path / "run")
    _, record = open_run(run.folder)
    with nnunet_folders(run):
        yield make_trainer(run, record, OPTIONS, 0, torch.device("cpu"))


def test_the_soft_label_lies_on_the_image_and_its_axes_are_rl_ap_si(planned):
    image, label, soft = arrays(planned, "cord_000")
    # 24 x 36 x 30 voxels of 1.5 x 1.2 x 2 mm, to 1.5 x 1.2 x 1.5 mm
    assert image.shape == label.shape == soft.shape == (1, 24, 36, 40)
    assert soft.dtype == np.float32
    inside = label >= 0
    overlap = 2 * np.sum((label == 1) & (soft >= 0.5) & inside) / (np.sum(label == 1) + np.sum(soft >= 0.5))
    assert overlap > 0.97


def test_resampling_keeps_values_unrounded_in_range_and_the_volume(planned, dataset):
    *_, soft = arrays(planned, "cord_000")
    assert is_unrounded(soft)
    assert soft.min() >= 0
    assert soft.max() <= 1
    image = nib.load(dataset / "softTr" / "cord_000.nii.gz")
    before_mm3 = float(np.sum(image.get_fdata())) * 1.5 * 1.2 * 2.0
    assert float(soft.sum()) * 1.5 * 1.2 * 1.5 == pytest.approx(before_mm3, rel=0.01)


def test_without_resampling_the_values_are_those_of_the_file(dataset, tmp_path):
    from softcord.train.nnunet.planning import PlanOptions, plan

    options = PlanOptions("contrast-agnostic-small", patch=(16, 32, 64), spacing=(1.5, 1.2, 2.0))
    run = plan(dataset, tmp_path / "run", options)
    *_, soft = arrays(run, "cord_001")
    stored = np.asarray(nib.load(dataset / "softTr" / "cord_001.nii.gz").dataobj)
    np.testing.assert_allclose(soft[0], stored, atol=1e-6)


def test_augmentation_moves_the_soft_label_as_it_moves_the_image(trainer):
    rotation, flat, _, mirror = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert not flat  # voxels are not, though the patch is
    assert mirror == (0,)
    scales = trainer._get_deep_supervision_scales()
    pipeline = trainer.get_training_transforms((16, 32, 64), rotation, scales, mirror, flat)
    spatial = next(t for t in pipeline.transforms if type(t).__name__ == "SpatialTransform")
    spatial.p_rotation = spatial.p_scaling = 1.0
    for transform in pipeline.transforms:
        if isinstance(transform, RandomTransform):
            transform.apply_probability = 0.0  # grey levels stay
    soft = torch.zeros(1, 30, 60, 70)
    soft[:, 8:20, 20:41, :] = torch.linspace(0, 1, 12).reshape(1, 12, 1, 1)
    rounded = (soft > 0.5).to(torch.int16)
    for seed in range(4):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  what batchgenerators draws from
        sample = pipeline(image=torch.cat([soft, soft]), segmentation=rounded.clone())
        assert sample["image"].shape == (1, 16, 32, 64)
        torch.testing.assert_close(sample["segmentation"][0], sample["image"].clamp(0, 1))
        assert is_unrounded(sample["segmentation"][0].numpy())
        assert "regression_target" not in sample


def test_grey_levels_are_augmented_and_the_soft_label_is_not(trainer):
    rotation, flat, _, _ = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    pipeline = trainer.get_training_transforms((16, 32, 64), rotation, None, (), flat)
    spatial = next(t for t in pipeline.transforms if type(t).__name__ == "SpatialTransform")
    spatial.p_rotation = spatial.p_scaling = 0.0
    for transform in pipeline.transforms:
        if isinstance(transform, RandomTransform):
            transform.apply_probability = 1.0
    soft = torch.rand(1, 16, 32, 64)
    sample = pipeline(
        image=torch.cat([torch.randn(1, 16, 32, 64), soft]), segmentation=(soft > 0.5).to(torch.int16)
    )
    torch.testing.assert_close(sample["segmentation"], soft)


def test_coarser_outputs_get_the_mean_of_the_voxels_they_stand_for():
    soft = torch.rand(1, 16, 32, 64)
    coarse = average_to(soft, [8, 16, 32])
    assert float(coarse[0, 0, 0, 0]) == pytest.approx(float(soft[0, :2, :2, :2].mean()), abs=1e-6)
    assert float(average_to(soft, [2, 2, 4]).mean()) == pytest.approx(float(soft.mean()), abs=1e-6)


def test_what_the_loss_sees_in_training_and_validation_is_soft(trainer, monkeypatch):
    seen = []

    def spy(loss):
        def forward(output, target):
            seen.append([t.clone() for t in target])
            return loss(output, target)

        return forward

    trainer.loss = spy(trainer.loss)
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    trainer.train_step(next(trainer.dataloader_train))
    trainer.validation_step(next(trainer.dataloader_val))
    assert len(seen) == 2
    for targets in seen:
        assert [tuple(t.shape[2:]) for t in targets[:2]] == [(16, 32, 64), (8, 16, 32)]
        assert all(t.dtype == torch.float32 and t.min() >= 0 and t.max() <= 1 for t in targets)
        assert is_unrounded(targets[0].numpy())
    validation = seen[1][0].numpy()  # not augmented: crops of the preprocessed soft label
    *_, soft = arrays(trainer_run(trainer), "cord_002")
    assert set(np.unique(validation)) - {np.float32(0)} <= set(np.unique(soft))


def trainer_run(trainer):
    from softcord.train.nnunet.layout import Run

    return Run(trainer.soft_folder.parents[1], "Dataset101_Cord", "softcordPlans", "3d_fullres")


def test_a_crop_beyond_the_image_is_padded_with_no_cord():
    from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd

    both = Beside(np.ones((1, 4, 4, 4), np.float32), np.full((1, 4, 4, 4), 0.25, np.float32))
    crop = crop_and_pad_nd(both, [[-1, 3], [0, 4], [2, 6]], 0)
    assert crop.shape == (2, 4, 4, 4)
    assert crop[1, 0].max() == 0
    assert crop[1, 1, 0, 0] == np.float32(0.25)


def test_soft_labels_on_another_grid_or_out_of_range_are_refused(tmp_path):
    from softcord.errors import InputError
    from softcord.train.nnunet.planning import PlanOptions, plan
    from trainingdata import write_dataset

    folder = write_dataset(tmp_path / "Dataset102_Bad", 2)
    path = folder / "softTr" / "cord_001.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(image.get_fdata().astype(np.float32) * 100, image.affine), path)
    options = PlanOptions("contrast-agnostic-small", patch=(16, 32, 64))
    with pytest.raises(InputError, match=r"cord_001.nii.gz: soft labels must be from 0 to 1, found 0 to 100"):
        plan(folder, tmp_path / "run", options)
    nib.save(nib.Nifti1Image(image.get_fdata().astype(np.float32)[1:], image.affine), path)
    with pytest.raises(InputError, match="must be on the grid of"):
        plan(folder, tmp_path / "run", options)
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 2
