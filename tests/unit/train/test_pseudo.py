"""Pseudo-labels: taken where the views of a model agree, and from them to a training."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[synth]")

from softcord.engines import Network
from softcord.errors import InputError
from softcord.train.config import ImageSource
from softcord.train.pseudo import UNKNOWN, agreed, label_images
from softcord.train.sources import load_sources

UNLABELLED = ImageSource("images.tsv", pseudo=True)


@pytest.fixture
def asking(mixed):
    return replace(mixed, images=[UNLABELLED])


class Bright:
    """An engine that takes what is bright for cord."""

    device = "cpu"

    def run(self, image):
        return ((image - 0.6) * 40).astype(np.float32)


@pytest.fixture
def network():
    return Network(engine=Bright(), multiple=(4, 4, 2), in_plane=0.75, along=1.5, coarse=2.0)


@pytest.fixture
def unlabelled(data):
    """An image without a mask: a bright rod in a dark field."""
    image = np.zeros((36, 40, 12), dtype=np.float32)
    image[14:22, 16:24] = 1
    path = data / "bids" / "sub-03" / "anat" / "T2w.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(image, np.diag([1.0, 1.0, 3.0, 1.0])), path)
    return image


def test_every_image_without_a_mask_gets_a_map_that_a_training_takes(
    asking, network, unlabelled, data, tmp_path
):
    said = []
    paths = label_images(asking, network, tmp_path, data=data, on_image=lambda *each: said.append(each))
    assert [path.name for path in paths] == ["T2w_pseudo.nii.gz"]
    assert said == [("T2w.nii.gz", pytest.approx(1.0, abs=0.3))]
    (image,) = load_sources(asking, data, tmp_path).images
    np.testing.assert_array_equal(image.image > 0.5, unlabelled > 0.5)
    known = image.weight > 0
    assert known.mean() > 0.7
    np.testing.assert_allclose(image.share[known] > 0.5, (unlabelled > 0.5)[known])
    assert not list(tmp_path.glob(".*"))  # nothing half-written is left


def test_a_configuration_that_asks_for_none_is_refused(mixed, network, data, tmp_path):
    with pytest.raises(InputError, match="pseudo: true"):
        label_images(mixed, network, tmp_path, data=data)


class Nothing:
    """An engine that sees no cord."""

    device = "cpu"

    def run(self, image):
        return np.full_like(image, -20)


def test_an_image_without_a_cord_gets_no_map_and_is_left_out(asking, unlabelled, network, data, tmp_path):
    blind = replace(network, engine=Nothing())
    assert label_images(asking, blind, tmp_path, data=data) == []
    with pytest.raises(InputError, match="holds no map"):
        load_sources(asking, data, tmp_path)


def test_where_views_differ_and_near_ends_within_the_view_nothing_is_known():
    soft = np.zeros((5, 5, 20), dtype=np.float32)
    soft[2, 2, 5:] = 1
    spread = np.zeros_like(soft)
    spread[2, 3] = 0.3
    labelled = agreed(soft, spread, (1.0, 1.0, 1.0))
    assert (labelled[2, 3] == UNKNOWN).all()
    assert (labelled[..., :10] == UNKNOWN).all()  # the cord begins at 5; 5 mm further nothing is certain
    assert (labelled[2, 2, 10:] == 1).all()  # to the end of the view
    assert (labelled[0, 0, 10:] == 0).all()


def test_where_no_cord_is_found_nothing_is_known():
    nothing = np.zeros((4, 4, 4), dtype=np.float32)
    assert (agreed(nothing, nothing, (1.0, 1.0, 1.0)) == UNKNOWN).all()
