"""Train the small nnU-Net model of the tests, with nnU-Net itself, on phantoms.

    python tests/data/train_small_nnunet.py WORK_FOLDER [--tiny] [--output FOLDER]

Takes about half an hour on one core, and writes the model into tests/data/small-nnunet. It is trained on
narrow phantoms first, then on wide ones, where there is more that is no cord. What the optimiser needs to go
on is left out of the checkpoint, and the trainer is named nnUNetTrainer, so that nnU-Net's own predictor
finds it without the class below.

`--tiny` goes the same way in half a minute, with two phantoms and two iterations in each training, for trying
the script itself: its model finds nothing, and is written into the work folder.
"""

import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import random_nnunet  # noqa: E402  lies beside this folder

PLANS = "nnUNetPlans"
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
    iterations: int = 50  # of an epoch

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

    anatomy = AnatomyOptions(pathology=False, ends=False, area_mm2=(50.0, 110.0), rim_mm=0.0)
    made = make_phantom(seed, shape=shape, **{"contrast": "T2w", "anatomy": anatomy, **changes})
    return np.ascontiguousarray(made.image[::-1] * 1000), np.ascontiguousarray(made.share[::-1])


def make_plans() -> dict:
    """The plans: three resolutions, 8 to 24 features."""
    network = random_nnunet.architecture(
        features=(8, 16, 24), strides=[[1, 1, 1], [2, 2, 2], [2, 2, 2]], first_kernel=(3, 3, 3)
    )
    plans = random_nnunet.make_plans(
        patch=(32, 40, 48),
        transpose=(2, 1, 0),  # the patch is right-left, antero-posterior, along the cord
        network=network,
        median_shape=STAGES[0].shape,
    )
    unused = {"0": dict.fromkeys(random_nnunet.INTENSITY, 1.0)}
    return {**plans, "dataset_name": STAGES[0].name, "foreground_intensity_properties_per_channel": unused}


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
            self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = stage.iterations, 2

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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for what is needed in between; kept")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--output", type=Path, help="default: small-nnunet, here or, with --tiny, in WORK")
    args = parser.parse_args()
    work = args.work.resolve()
    output = args.output or (work if args.tiny else HERE) / "small-nnunet"
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
        stage = replace(stage, cases=2, epochs=1, iterations=2) if args.tiny else stage
        make_dataset(work / "raw" / stage.name, stage)
        checkpoint = train(work, stage, checkpoint)
    keep(checkpoint, output)


if __name__ == "__main__":
    main()
