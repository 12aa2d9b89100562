"""What the embedded model promises, on phantoms not trained on and, where there are any, on real images."""

import csv
from functools import lru_cache

import numpy as np
import pytest

from softcord import models, scores
from softcord.engines import Prediction, predict
from softcord.nifti import load_image, read_volume
from softcord.orientation import to_canonical
from softcord.phantoms import make_phantom


@lru_cache
def network():
    return models.load(threads=2).network


def segment(phantom) -> Prediction:
    return predict(phantom.image, phantom.zooms, network())


@pytest.mark.parametrize("contrast", ["T1w", "T2w", "T2star", "DWI"])
@pytest.mark.parametrize(
    ("shape", "zooms", "oversample"),
    [((100, 100, 60), (1.0, 1.0, 1.0), (2, 2, 1)), ((140, 140, 12), (0.7, 0.7, 5.0), (1, 1, 4))],
)
def test_the_cord_of_unseen_phantoms_is_found_in_every_slice(contrast, shape, zooms, oversample):
    phantom = make_phantom(90_001, shape=shape, zooms=zooms, contrast=contrast, oversample=oversample)
    soft = segment(phantom).soft
    assert scores.dice(soft > 0.5, phantom.share > 0.5) > 0.8
    assert (soft > 0.5).any(axis=(0, 1)).all()


def test_the_soft_sum_is_nearer_to_the_true_area_than_a_fifth():
    """Of one phantom; the mean over many, by resolution, is in docs/benchmarks.md."""
    phantom = make_phantom(90_002, shape=(90, 90, 60), zooms=(1.0, 1.0, 1.0), contrast="T2w")
    areas = segment(phantom).soft.sum(axis=(0, 1))
    inside = slice(8, -8)
    error = areas[inside] / phantom.areas_mm2[inside] - 1
    assert abs(error.mean()) < 0.2
    assert error.std() < 0.1


def test_a_tilted_and_curved_cord_is_followed_to_its_ends():
    phantom = make_phantom(90_003, shape=(80, 160, 160), zooms=(1.0, 1.0, 1.0), contrast="T2w", tilt_deg=25)
    soft = segment(phantom).soft
    covered = (phantom.share > 0.5).any(axis=(0, 1))
    assert (soft > 0.5).any(axis=(0, 1))[covered].mean() > 0.95
    assert scores.dice(soft > 0.5, phantom.share > 0.5) > 0.85


@pytest.mark.parametrize("seed", [90_004, 90_006])
def test_the_cord_is_as_large_where_the_coil_sees_little(seed):
    phantom = make_phantom(seed, shape=(90, 90, 60), zooms=(1.0, 1.0, 2.0), contrast="T2w")
    fall = np.clip(np.arange(60) / 12, 0.04, 1).astype(np.float32)
    even = segment(phantom).soft
    dark = predict(phantom.image * fall, phantom.zooms, network()).soft
    assert dark[..., 2:12].sum() == pytest.approx(even[..., 2:12].sum(), rel=0.02)


def test_noise_holds_no_cord():
    noise = np.random.default_rng(0).random((96, 96, 60)).astype(np.float32)
    assert predict(noise, (1.0, 1.0, 1.0), network()).soft.max() < 0.5


def test_real_images_it_was_trained_on_are_segmented(shared):
    """Only a guard against a broken pipeline: scores on images unseen in training are in the model card."""
    data = shared / "data"
    with (data / "images.tsv").open(encoding="utf-8") as table:
        rows = [
            row
            for row in csv.DictReader(table, delimiter="\t")
            if row["split"] == "train" and row["cord_mask"]
        ]
    dices = []
    for row in rows[:6]:
        image = load_image(data / "bids" / row["image"])
        reference, _ = read_volume(load_image(data / "bids" / row["cord_mask"]))
        canonical = to_canonical(read_volume(image)[0], image.affine)
        soft = predict(canonical.data, canonical.zooms, network()).soft
        mask = to_canonical(reference, image.affine).data > 0.5
        drawn = mask.any(axis=(0, 1))
        dices.append(scores.dice(soft[..., drawn] > 0.5, mask[..., drawn]))
    assert np.median(dices) > 0.88
    assert min(dices) > 0.8
