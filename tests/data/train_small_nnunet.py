"""Train the small nnU-Net model of the tests, with nnU-Net itself, on phantoms.

    python tests/data/train_small_nnunet.py WORK_FOLDER

Takes about half an hour on one core, and writes the model into tests/data/small-nnunet. It is trained on
narrow phantoms first, then on wide ones, where there is more that is no cord. What the optimiser needs to go
on is left out of the checkpoint, and the trainer is named nnUNetTrainer, so that nnU-Net's own predictor
finds it without the class below.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

HERE = Path(__file__).resolve().parent
PLANS = "nnUNetPlans"
PATCH = [32, 40, 48]
AXES = np.diag([-1.0, 1.0, 1.0, 1.0])  # LAS, as the original's images


@dataclass(frozen=True)
class Stage:
    """One of the two trainings, the second of which starts from the first."""

    number: int
    cases: int
    shape: tuple[int, int, int]
    contrasts: tuple[str, ...]
    epochs: int
    rate: float

    @property
    def name(self) -> str:
        """Of its dataset."""
        return f"Dataset{self.number}_Phantoms"


STAGES = (
    Stage(901, cases=24, shape=(64, 64, 72), contrasts=("T1w", "T2w"), epochs=24, rate=1e-2),
    Stage(902, cases=20, shape=(96, 96, 80), contrasts=("T2w",), epochs=10, rate=5e-3),
)


def phantom(seed: int, shape=(64, 64, 72), **changes):
    """Image and share of one phantom on LAS axes, with a voxel of 1 mm."""
    from softcord.phantoms import AnatomyOptions, make_phantom

    anatomy = AnatomyOptions(pathology=False, ends=False, area_mm2=(50.0, 110.0))
    made = make_phantom(seed, shape=shape, **{"contrast": "T2w", "anatomy": anatomy, **changes})
    return np.ascontiguousarray(made.image[::-1] * 1000), np.ascontiguousarray(made.share[::-1])


def make_plans() -> dict:
    """The plans: three resolutions, 8 to 24 features."""
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    stages = 3
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [8, 16, 24],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": f"{PLANS}_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": PATCH,
        "median_image_size_in_voxels": [64.0, 64.0, 72.0],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "architecture": architecture,
        "batch_dice": False,
    }
    intensity = dict.fromkeys(
        ["max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"], 1.0
    )
    return {
        "dataset_name": STAGES[0].name,
        "plans_name": PLANS,
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [64, 64, 72],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [2, 1, 0],  # the patch is right-left, antero-posterior, along the cord
        "transpose_backward": [2, 1, 0],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensity},
    }


def make_dataset(raw: Path, stage: Stage) -> None:
    """Phantoms as a raw dataset of nnU-Net."""
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True, exist_ok=True)
    for case in range(stage.cases):
        seed = 1000 * (stage.number - 900) + case
        contrast = str(np.random.default_rng(seed).choice(stage.contrasts))
        image, share = phantom(seed, stage.shape, contrast=contrast)
        nib.save(
            nib.Nifti1Image(image.astype(np.float32), AXES), raw / "imagesTr" / f"case{case:02}_0000.nii.gz"
        )
        nib.save(
            nib.Nifti1Image((share > 0.5).astype(np.uint8), AXES), raw / "labelsTr" / f"case{case:02}.nii.gz"
        )
    description = {
        "channel_names": {"0": "acq"},
        "labels": {"background": 0, "sc": 1},
        "numTraining": stage.cases,
        "file_ending": ".nii.gz",
        "image_orientation": "RPI",  # in SCT's letters: nibabel's LAS
    }
    (raw / "dataset.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def train(work: Path, stage: Stage, start: Path | None) -> Path:
    """Preprocess and train; the checkpoint."""
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        preprocess_dataset,
    )
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  nnU-Net's augmentation draws from it
    extract_fingerprint_dataset(stage.number, num_processes=1, check_dataset_integrity=False)
    done = work / "preprocessed" / stage.name
    plans = {**make_plans(), "dataset_name": stage.name}
    (done / f"{PLANS}.json").write_text(json.dumps(plans), encoding="utf-8")
    shutil.copy(work / "raw" / stage.name / "dataset.json", done)
    preprocess_dataset(stage.number, PLANS, configurations=("3d_fullres",), num_processes=(1,))

    class Short(nnUNetTrainer):
        def __init__(self, plans, configuration, fold, dataset_json, device):
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs, self.initial_lr = stage.epochs, stage.rate
            self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 50, 2

        def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):  # noqa: N802
            rotation, _, size, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
            self.inference_allowed_mirroring_axes = (0,)  # a body has a left and a right side alike
            return rotation, False, size, (0,)

    dataset = json.loads((done / "dataset.json").read_text(encoding="utf-8"))
    trainer = Short(
        plans={**plans, "continue_training": False},
        configuration="3d_fullres",
        fold="all",
        dataset_json=dataset,
        device=torch.device("cpu"),
    )
    if start is not None:
        trainer.initialize()
        weights = torch.load(start, map_location="cpu", weights_only=False)["network_weights"]
        trainer.network.load_state_dict(weights)
    trainer.run_training()
    return Path(trainer.output_folder) / "checkpoint_final.pth"


def keep(checkpoint: Path, model: Path) -> None:
    """What inference needs, in nnU-Net's own layout."""
    import torch

    content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    content["init_args"]["plans"].pop("continue_training", None)
    for name in ("optimizer_state", "grad_scaler_state", "logging", "_best_ema"):
        content[name] = None
    content["trainer_name"] = "nnUNetTrainer"
    (model / "fold_all").mkdir(parents=True, exist_ok=True)
    torch.save(content, model / "fold_all" / "checkpoint_final.pth")
    for name, part in (("plans", make_plans()), ("dataset", content["init_args"]["dataset_json"])):
        (model / f"{name}.json").write_text(json.dumps(part, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Make the dataset, train, keep the model."""
    work = Path(sys.argv[1]).resolve()
    os.environ.update(
        nnUNet_raw=str(work / "raw"),
        nnUNet_preprocessed=str(work / "preprocessed"),
        nnUNet_results=str(work / "results"),
        nnUNet_n_proc_DA="0",
        nnUNet_def_n_proc="1",
        nnUNet_compile="f",
    )
    checkpoint = None
    for stage in STAGES:
        make_dataset(work / "raw" / stage.name, stage)
        checkpoint = train(work, stage, checkpoint)
    keep(checkpoint, HERE / "small-nnunet")


if __name__ == "__main__":
    main()
