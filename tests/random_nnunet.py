"""Folders of nnU-Net models with random weights, as nnU-Net itself would have written them."""

import json
from pathlib import Path

PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
RESIDUAL = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
STRIDES = [[1, 1, 1], [2, 2, 2], [1, 2, 2]]
INTENSITY = {
    "max": 900.0, "mean": 300.0, "median": 280.0, "min": 1.0,
    "percentile_00_5": 20.0, "percentile_99_5": 800.0, "std": 150.0,
}  # fmt: skip


def architecture(*, residual=False, features=(4, 8, 12), strides=STRIDES, first_kernel=(1, 3, 3)):
    """The entry of plans in the format of nnU-Net 2.3.1 and later."""
    n = len(strides)
    return {
        "network_class_name": RESIDUAL if residual else PLAIN,
        "arch_kwargs": {
            "n_stages": n,
            "features_per_stage": list(features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [list(first_kernel)] + [[3, 3, 3]] * (n - 1),
            "strides": strides,
            "n_blocks_per_stage" if residual else "n_conv_per_stage": [1, 2, 2] if residual else [2] * n,
            "n_conv_per_stage_decoder": [2] * (n - 1),
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


def old_architecture():
    """Entries of plans before 2.3.1 in the place of `architecture`."""
    return {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 12,
        "n_conv_per_stage_encoder": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "num_pool_per_axis": [1, 2, 2],
        "pool_op_kernel_sizes": STRIDES,
        "conv_kernel_sizes": [[3, 3, 3]] * 3,
    }


def make_plans(
    *,
    patch=(16, 32, 24),
    spacing=(1.0, 1.0, 1.0),
    transpose=(0, 1, 2),
    channels=1,
    scheme="ZScoreNormalization",
    inside_only=False,
    residual=False,
    old=False,
    torch_resampling=False,
    network=None,
    median_shape=None,
):
    """The content of plans.json; `network` is what `architecture` gives."""
    median_shape = list(median_shape or patch)
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    function = "resample_data_or_seg_to_shape"
    if torch_resampling:
        resampling = {"is_seg": False, "force_separate_z": None}
        function = "resample_torch_fornnunet"
    linear = {**resampling, "order": 1} if "order" in resampling else resampling
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [float(n) for n in median_shape],
        "spacing": list(spacing),
        "normalization_schemes": [scheme] * channels,
        "use_mask_for_norm": [inside_only] * channels,
        "resampling_fn_data": function,
        "resampling_fn_seg": function,
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**linear, "is_seg": True},
        "resampling_fn_probabilities": function,
        "resampling_fn_probabilities_kwargs": linear,
        "batch_dice": False,
    }
    network = network or architecture(residual=residual)
    configuration |= old_architecture() if old else {"architecture": network}
    return {
        "dataset_name": "Dataset900_Random",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(spacing),
        "original_median_shape_after_transp": median_shape,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose),
        "transpose_backward": [list(transpose).index(i) for i in range(3)],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(c): INTENSITY for c in range(channels)},
    }


def make_dataset(*, channels=1, labels=None, **more):
    """The content of dataset.json."""
    return {
        "channel_names": {str(c): f"acq{c}" for c in range(channels)},
        "labels": labels or {"background": 0, "sc": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
        **more,
    }


def write_model(folder: Path, plans, dataset, *, seed=0, folds=("all",), outputs=2, mirror=(0, 1, 2)):
    """Write a model whose norms and biases are random, too."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    configuration = PlansManager(plans).get_configuration("3d_fullres")
    for number, fold in enumerate(folds):
        torch.manual_seed(seed + number)
        network = get_network_from_plans(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
            len(dataset["channel_names"]),
            outputs,
            allow_init=True,
            deep_supervision=True,
        )
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        place = folder / f"fold_{fold}"
        place.mkdir(parents=True)
        content = {
            "network_weights": network.state_dict(),
            "optimizer_state": None,
            "grad_scaler_state": None,
            "logging": None,
            "_best_ema": None,
            "current_epoch": 1,
            "init_args": {
                "plans": plans,
                "configuration": "3d_fullres",
                "fold": fold,
                "dataset_json": dataset,
                "device": torch.device("cpu"),
            },
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": mirror,
        }
        torch.save(content, place / "checkpoint_final.pth")
    for name, part in (("plans", plans), ("dataset", dataset)):
        (folder / f"{name}.json").write_text(json.dumps(part), encoding="utf-8")
    return folder


def predict_with_nnunet(folder: Path, image, spacing, *, mirror=False, folds=None):
    """What nnU-Net's own predictor makes of an image on its reader's axes.

    Parameters
    ----------
    image : (C, I, J, K) array of float32
    spacing : sequence of float

    Returns
    -------
    labels : (I, J, K) array
    probabilities : (outputs, I, J, K) array of float32
    """
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_mirroring=mirror,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(folder), folds, "checkpoint_final.pth")
    return predictor.predict_single_npy_array(
        image, {"spacing": list(spacing)}, None, None, save_or_return_probabilities=True
    )
