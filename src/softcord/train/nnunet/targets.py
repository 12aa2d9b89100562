"""Soft labels on their way to the loss: read beside the image, augmented with it, never rounded."""

from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from torch.nn import functional


class Beside:
    """An image and a soft label as one array with one more channel, read from disk when it is cropped.

    Parameters
    ----------
    image : (C, I, J, K) array
    soft : (1, I, J, K) array
    """

    def __init__(self, image: Any, soft: Any) -> None:
        self.image, self.soft = image, soft
        self.shape = (image.shape[0] + 1, *image.shape[1:])
        self.ndim = len(self.shape)
        self.dtype = image.dtype

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        """A crop; channels are not chosen from."""
        inside = (slice(None), *index[1:])
        return np.concatenate([self.image[inside], self.soft[inside]]).astype(self.dtype, copy=False)


class SoftDataset(nnUNetDatasetBlosc2):
    """nnU-Net's preprocessed cases, each image with its soft label as last channel.

    Parameters
    ----------
    folder : path
        Of the arrays.
    identifiers : list of str
    soft : Path
        Folder of the soft labels.
    """

    def __init__(self, folder: str, identifiers: list[str] | None, *, soft: Path) -> None:
        super().__init__(folder, identifiers)
        self.soft = soft

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Image and soft label, label, nothing, properties."""
        data, seg, before, properties = super().load_case(identifier)
        path = str(self.soft / f"{identifier}.b2nd")
        soft = blosc2.open(urlpath=path, mode="r", dparams={"nthreads": 1}, **self.mmap_kwargs)
        return Beside(data, soft), seg, before, properties


class SplitSoft(BasicTransform):
    """Make the last channel of the image the target of a regression, which is interpolated as images are."""

    def apply(self, data_dict: dict[str, Any], **_parameters: object) -> dict[str, Any]:
        """Split one sample."""
        both = data_dict["image"]
        return {**data_dict, "image": both[:-1], "regression_target": both[-1:].clone()}


class SoftTarget(BasicTransform):
    """Put the soft label in place of the label, averaged for each output of the network.

    Parameters
    ----------
    scales : sequence of (3,) sequence of float, optional
        Size of each output, relative to the finest. Default: only the finest.
    """

    def __init__(self, scales: list[list[float]] | None) -> None:
        super().__init__()
        self.scales = scales

    def apply(self, data_dict: dict[str, Any], **_parameters: object) -> dict[str, Any]:
        """Replace the label of one sample."""
        soft = data_dict.pop("regression_target").clamp_(0, 1)
        if self.scales is None:
            return {**data_dict, "segmentation": soft}
        sizes = [[round(n * s) for n, s in zip(soft.shape[1:], scale, strict=True)] for scale in self.scales]
        return {**data_dict, "segmentation": [average_to(soft, size) for size in sizes]}


def average_to(soft: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Soft label (1, I, J, K) on a coarser grid: the mean of the voxels that make up each."""
    return soft if list(soft.shape[1:]) == size else functional.adaptive_avg_pool3d(soft[None], size)[0]


def with_soft_target(transforms: ComposeTransforms, scales: list[list[float]] | None) -> ComposeTransforms:
    """nnU-Net's transforms of a sample (made without deep supervision), for samples with a soft label."""
    return ComposeTransforms([SplitSoft(), *transforms.transforms, SoftTarget(scales)])
