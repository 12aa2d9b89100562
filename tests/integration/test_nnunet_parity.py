"""The same numbers as nnU-Net's own predictor, on the same images."""

import shutil
import warnings

import numpy as np
import pytest

import random_nnunet as make
from softcord import models
from softcord.engines.nnunet import NnunetOptions, predict_nnunet
from softcord.engines.nnunet.predict import to_reader
from softcord.engines.nnunet.tiles import Blend

torch = pytest.importorskip("torch", reason="needs torch, of which this compares the results")
pytest.importorskip("nnunetv2", reason="needs nnU-Net, with whose predictor this compares")

RAS = np.array([[0.0, 1], [1, 1], [2, 1]])
CASES = {
    "plain": ({"spacing": (1.2, 0.8, 0.9)}, {}),
    "transposed": ({"spacing": (0.9, 0.9, 0.9), "transpose": (2, 0, 1), "residual": True}, {}),
    "mirrored": ({"spacing": (2.0, 2.1, 1.9), "transpose": (1, 2, 0)}, {"mirror": True}),
    "anisotropic": ({"spacing": (4.5, 0.8, 0.9)}, {"zooms": (1.0, 1.1, 4.0)}),
    "thin in plane": ({"spacing": (1.2, 1.1, 0.9), "residual": True}, {"zooms": (1.0, 1.1, 5.0)}),
    "inside": ({"spacing": (1.5, 1.5, 1.5), "transpose": (2, 1, 0), "inside_only": True}, {}),
    "folds": ({"spacing": (1.2, 0.8, 1.1)}, {"folds": ("0", "1")}),
    "classes": (
        {"spacing": (1.0, 1.3, 0.8)},
        {"labels": {"background": 0, "sc": 1, "lesion": 2}, "outputs": 3},
    ),
    "channels": ({"spacing": (0.9, 1.2, 1.0), "channels": 2}, {"channels": 2}),
    "regions": (
        {"spacing": (0.9, 1.2, 1.0)},
        {"labels": {"background": 0, "sc": [1, 2], "lesion": [2]}, "regions_class_order": [1, 2]},
    ),
    "old plans": ({"spacing": (1.0, 1.0, 1.2), "old": True, "scheme": "CTNormalization"}, {}),
    "torch resampling": ({"spacing": (1.3, 1.0, 0.8), "torch_resampling": True}, {}),
    "no resampling": ({"scheme": "RescaleTo01Normalization"}, {"zooms": (1.0, 1.0, 1.0)}),
}


def image_of(zooms, channels, seed=0):
    """Blobs in a dark frame, as on images that were stripped of their background."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    shape = (30, 44, 52) if zooms[2] < 3 else (30, 44, 13)
    image = np.stack([gaussian_filter(rng.standard_normal(shape), 1.5) for _ in range(channels)])
    image = np.round(300 + 2000 * image).clip(1).astype(np.float32)
    image[:, :3] = image[:, :, -4:] = image[..., :1] = 0
    return image


def away_from_rim(shape):
    """All voxels but those at most two samples from the frame of `image_of`.

    There the weights of a tile are so small that nnU-Net's sums of half precision hold few of the logits'
    digits: a difference in their last bit may move a single voxel by more than 0.001.
    """
    index = (slice(None), slice(3, -3), slice(3, -7), slice(6, -3))
    inside = np.zeros(shape, dtype=bool)
    inside[index] = True
    return inside


class SingleBlend(Blend):
    """Sums of tiles in single precision."""

    def __init__(self, outputs, shape, weights):
        super().__init__(outputs, shape, weights)
        self._sum, self._weight = self._sum.astype(np.float32), self._weight.astype(np.float32)
        self._weights = self._weights.astype(np.float32)


def sum_in_single_precision(monkeypatch):
    """Let both sum their tiles in single precision, with the same weights, and round nothing after that."""
    monkeypatch.setattr(torch, "half", torch.float32)
    monkeypatch.setattr("softcord.engines.nnunet.predict.Blend", SingleBlend)


def both(folder, name, *, single=False):
    """What nnU-Net's predictor and softcord differ by, and the share of voxels with the same label."""
    plans_options, options = CASES[name]
    channels, labels = options.get("channels", 1), options.get("labels")
    regions = {key: options[key] for key in ("regions_class_order",) if key in options}
    plans = make.make_plans(**plans_options)
    dataset = make.make_dataset(channels=channels, labels=labels, **regions)
    folds, mirror = options.get("folds", ("all",)), options.get("mirror", False)
    make.write_model(folder, plans, dataset, folds=folds, outputs=options.get("outputs", 2), seed=len(name))
    zooms = options.get("zooms", (1.0, 1.1, 1.2))
    image = image_of(zooms, channels)
    torch.set_num_threads(1)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # nnU-Net's own
        if single:  # not before the model is written, as torch would call its weights half precision
            sum_in_single_precision(patch)
        expected_labels, expected = make.predict_with_nnunet(
            folder, np.stack([to_reader(c, RAS) for c in image]), zooms[::-1], mirror=mirror, folds=folds
        )
        network = models.load(folder, device="cpu", threads=1).network
        made = predict_nnunet(image, zooms, RAS, network, NnunetOptions(mode="exact", mirror=mirror))
    assert made.computed == made.tiles > 2
    found = np.stack([to_reader(part, RAS) for part in made.probabilities])
    foreground = expected if network.labels.regions else expected[1:]
    assert foreground.std() > 0.1, "the model says the same everywhere, so this would prove nothing"
    same = network.labels.label_map(found) == expected_labels
    return np.abs(found - foreground), same.mean()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans format")
def test_probabilities_are_those_of_nnunet(tmp_path, name):
    difference, agreement = both(tmp_path / "model", name)
    assert difference.mean() <= 2e-5
    assert difference[away_from_rim(difference.shape)].max() <= 1e-3
    assert difference.max() <= 5e-3
    assert (difference > 1e-3).sum() <= 3
    assert agreement >= 0.9999


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans format")
def test_with_sums_in_single_precision_no_voxel_differs(tmp_path, name):
    """What the test above lets pass at the rim is half precision's alone: without it, none is left."""
    difference, agreement = both(tmp_path / "model", name, single=True)
    assert difference.max() <= 3e-4
    assert agreement >= 0.9999


@pytest.mark.filterwarnings("ignore")  # nnU-Net's own
def test_the_probabilities_of_a_trained_model_are_those_of_nnunet(root, tmp_path):
    from softcord.phantoms import AnatomyOptions, make_phantom

    folder = shutil.copytree(root / "tests/data/small-nnunet", tmp_path / "small")
    made = make_phantom(
        2,
        shape=(64, 60, 70),
        zooms=(1.1, 1.0, 1.3),
        contrast="T2w",
        anatomy=AnatomyOptions(pathology=False, ends=False, area_mm2=(50.0, 110.0)),
    )
    image = (made.image * 1000).round().astype(np.float32)
    torch.set_num_threads(1)
    model = models.load(folder, device="cpu", threads=1)
    ornt = model.network.ornt
    expected_labels, expected = make.predict_with_nnunet(
        folder, to_reader(image, ornt)[None], made.zooms[::-1], folds=("all",)
    )
    prediction = predict_nnunet([image], made.zooms, RAS, model.network, NnunetOptions(mode="exact"))
    found = to_reader(prediction.probabilities[0], ornt)
    assert (
        2
        * ((found > 0.5) & (to_reader(made.share, ornt) > 0.5)).sum()
        / ((found > 0.5).sum() + (made.share > 0.5).sum())
        >= 0.8
    )
    assert np.abs(found - expected[1]).max() <= 1e-3
    assert ((found > 0.5) == (expected_labels == 1)).mean() >= 0.9999


@pytest.mark.filterwarnings("ignore")  # nnU-Net's own
def test_each_class_of_several_gets_a_map_of_its_own(tmp_path):
    import json

    import nibabel as nib

    from softcord.cli import main

    dataset = make.make_dataset(channels=2, labels={"background": 0, "lesion": 1, "spinal_cord": 2})
    folder = make.write_model(tmp_path / "model", make.make_plans(channels=2), dataset, outputs=3)
    first, second = image_of((1.0, 1.0, 1.0), 2)
    paths = [tmp_path / "sub-01_T2w.nii.gz", tmp_path / "other.nii.gz"]
    for path, data in zip(paths, (first, second), strict=True):
        nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    arguments = [
        "segment",
        str(paths[0]),
        "--channel",
        str(paths[1]),
        "--model",
        str(folder),
        "--mode",
        "exact",
    ]
    assert main([*arguments, "-q"]) in (0, 4)
    names = ["sub-01_space-orig_label-SC_desc-T2w_probseg", "sub-01_space-orig_label-lesion_desc-T2w_probseg"]
    record = json.loads((tmp_path / f"{names[0]}.json").read_text())
    assert (record["Class"], record["OtherClasses"], record["Channels"]) == ("spinal_cord", ["lesion"], 2)
    assert set(record["Outputs"]) == {f"{names[0]}.nii.gz", f"{names[1]}.nii.gz", f"{names[0]}.json"}
    cord, lesion = (nib.load(tmp_path / f"{name}.nii.gz").get_fdata() for name in names)
    network = models.load(folder, device="cpu").network
    made = predict_nnunet([first, second], (1.0, 1.0, 1.0), RAS, network, NnunetOptions(mode="exact"))
    assert np.abs(lesion - made.probabilities[0]).max() < 1e-4
    assert np.abs(cord - made.probabilities[1]).max() < 1e-4
    assert main([*arguments, "-q", "--resume"]) in (0, 4)
