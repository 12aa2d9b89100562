"""Topologies of the network, the patches that they allow, and plans: nnU-Net's description of both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from softcord.errors import UsageError

CONFIGURATION = "3d_fullres"
PLANS_NAME = "softcordPlans"

# R-L, A-P, S-I: the order of axes in which patches are given. Arrays are read as (k, j, i) from files whose
# axes run along R-L, A-P, S-I, so this is the order after this transposition.
TRANSPOSE = (2, 1, 0)
_CONVOLUTION = {
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}


@dataclass(frozen=True, slots=True)
class Topology:
    """A plain U-Net; axes are R-L, A-P, S-I.

    Attributes
    ----------
    name : str
    features : tuple of int
        Channels of each stage, from the finest.
    strides : tuple of (3,) tuple of int
        Of the first convolution of each stage.
    patch : (3,) tuple of int
        Voxels, if none are asked for.
    """

    name: str
    features: tuple[int, ...]
    strides: tuple[tuple[int, int, int], ...]
    patch: tuple[int, int, int]

    @property
    def multiple(self) -> tuple[int, int, int]:
        """What a patch must be a multiple of, along each axis."""
        i, j, k = (math.prod(stride[axis] for stride in self.strides) for axis in range(3))
        return i, j, k

    def architecture(self) -> dict[str, Any]:
        """The key `architecture` of a configuration in plans."""
        n = len(self.features)
        kwargs = {
            "n_stages": n,
            "features_per_stage": list(self.features),
            "kernel_sizes": [[3, 3, 3]] * n,
            "strides": [list(stride) for stride in self.strides],
            "n_conv_per_stage": [2] * n,
            "n_conv_per_stage_decoder": [2] * (n - 1),
            **_CONVOLUTION,
        }
        return {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": kwargs,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }


_STRIDES = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
TOPOLOGIES = {
    topology.name: topology
    for topology in (
        Topology("contrast-agnostic", (32, 64, 128, 256, 320, 320), _STRIDES, (64, 192, 320)),
        Topology("contrast-agnostic-small", (8, 16, 32, 64, 80, 80), _STRIDES, (64, 192, 320)),
    )
}


def check_patch(patch: Sequence[int], multiple: Sequence[int]) -> tuple[int, int, int]:
    """The patch, if a network can be trained on it.

    Parameters
    ----------
    patch : (3,) sequence of int
        Voxels along R-L, A-P, S-I.
    multiple : (3,) sequence of int
        What the strides of the network ask for.

    Returns
    -------
    patch : (3,) tuple of int

    Raises
    ------
    UsageError
        It is no multiple, or so small that the deepest stage holds one voxel, which cannot be normalised. The
        message names the nearest patches that can be.
    """
    i, j, k = (int(size) for size in patch)
    fits = all(size > 0 and size % m == 0 for size, m in zip((i, j, k), multiple, strict=True))
    if fits and (i, j, k) != tuple(multiple):
        return i, j, k
    nearest = " or ".join(" ".join(map(str, each)) for each in nearest_patches((i, j, k), multiple))
    raise UsageError(
        f"A patch must be a multiple of {' '.join(map(str, multiple))} voxels along R-L, A-P and S-I, and "
        f"more than that along one of them; got {i} {j} {k}. Nearest that fit: {nearest}."
    )


def nearest_patches(patch: Sequence[int], multiple: Sequence[int]) -> list[tuple[int, int, int]]:
    """The patches around one that does not fit: sizes rounded to the nearest multiple, then up, then down.

    Examples
    --------
    >>> nearest_patches((60, 190, 320), (16, 32, 32))
    [(64, 192, 320), (48, 160, 320)]
    """

    def rounded(rule: Any) -> tuple[int, int, int]:
        i, j, k = (max(m, m * rule(size / m)) for size, m in zip(patch, multiple, strict=True))
        return i, j, k

    found = dict.fromkeys(rounded(rule) for rule in (round, math.ceil, math.floor))
    smallest = tuple(multiple)
    return [each for each in found if each != smallest] or [(multiple[0], multiple[1], 2 * multiple[2])]


def make_plans(
    topology: Topology,
    *,
    dataset_name: str,
    patch: tuple[int, int, int],
    spacing: Sequence[float],
    batch: int,
    median_shape: Sequence[float],
    median_spacing: Sequence[float],
    normalisation: Sequence[str],
    masked: Sequence[bool],
    intensities: dict[str, Any],
    reader: str = "SimpleITKIO",
) -> dict[str, Any]:
    """Plans as nnU-Net reads them, for files whose axes run along R-L, A-P and S-I.

    Parameters
    ----------
    topology : Topology
    dataset_name : str
        As ``"Dataset101_Cord"``.
    patch : (3,) tuple of int
        Voxels along R-L, A-P, S-I.
    spacing, median_spacing : (3,) sequence of float, mm
        Of the arrays that the network sees, and of the images, in the same order.
    batch : int
        Patches per step.
    median_shape : (3,) sequence of float
        Of the images at `spacing`.
    normalisation : sequence of str
        Names of nnU-Net's schemes, one per channel.
    masked : sequence of bool
        Whether a channel is normalised where it is not zero only.
    intensities : dict
        Of the foreground, per channel, from the fingerprint.
    reader : str
        nnU-Net's class that reads the files.

    Returns
    -------
    plans : dict
    """
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": f"{PLANS_NAME}_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": batch,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [float(n) for n in median_shape],
        "spacing": [float(mm) for mm in spacing],
        "normalization_schemes": list(normalisation),
        "use_mask_for_norm": [bool(m) for m in masked],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "architecture": topology.architecture(),
        "batch_dice": False,
    }
    return {
        "dataset_name": dataset_name,
        "plans_name": PLANS_NAME,
        "original_median_spacing_after_transp": [float(mm) for mm in median_spacing],
        "original_median_shape_after_transp": [round(float(n)) for n in median_shape],
        "image_reader_writer": reader,
        "transpose_forward": list(TRANSPOSE),
        "transpose_backward": [TRANSPOSE.index(axis) for axis in range(3)],
        "configurations": {CONFIGURATION: configuration},
        "experiment_planner_used": "softcord",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": intensities,
    }
