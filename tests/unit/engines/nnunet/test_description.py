"""Plans, labels and margins: what is understood, and what is refused by name."""

import numpy as np
import pytest

import random_nnunet as make
from softcord.engines.nnunet.labels import read_labels
from softcord.engines.nnunet.margins import read_margins
from softcord.engines.nnunet.network import Folds, NnunetNetwork
from softcord.engines.nnunet.plans import read_plans
from softcord.errors import ModelError
from softcord.segment.nnunet import choose_mode, main_class, other_classes


def test_the_old_format_says_the_same_as_the_new_one():
    old, new = make.make_plans(old=True), make.make_plans()
    new["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["kernel_sizes"] = [[3, 3, 3]] * 3
    features = new["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    features["features_per_stage"] = [4, 8, 12]
    assert read_plans(old) == read_plans(new)


def test_a_configuration_inherits():
    plans = make.make_plans()
    plans["configurations"]["small"] = {"inherits_from": "3d_fullres", "spacing": [2.0, 2.0, 2.0]}
    read = read_plans(plans, "small")
    assert read.spacing == (2, 2, 2)
    assert read.patch == read_plans(plans).patch


def change(plans, path, value):
    *keys, last = path.split("/")
    for key in keys:
        plans = plans[key]
    plans[last] = value


ARCHITECTURE = "configurations/3d_fullres/architecture"


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (f"{ARCHITECTURE}/network_class_name", "a.b.Primus", "Primus"),
        (f"{ARCHITECTURE}/arch_kwargs/norm_op", "torch.nn.BatchNorm3d", "BatchNorm3d"),
        (f"{ARCHITECTURE}/arch_kwargs/conv_op", "torch.nn.Conv2d", "Conv2d"),
        (f"{ARCHITECTURE}/arch_kwargs/nonlin", "torch.nn.GELU", "GELU"),
        (f"{ARCHITECTURE}/arch_kwargs/nonlin_first", True, "nonlin_first"),
        (f"{ARCHITECTURE}/arch_kwargs/strides", [[1, 1, 1], [2, 2, 2]], "expected 3 entries"),
        ("configurations/3d_fullres/preprocessor_name", "MyPreprocessor", "MyPreprocessor"),
        ("configurations/3d_fullres/normalization_schemes", ["Mine"], "Mine"),
        ("configurations/3d_fullres/resampling_fn_data", "my_resampling", "my_resampling"),
        ("configurations/3d_fullres/resampling_fn_data_kwargs", {"order": 2}, "order: 2"),
        (f"{ARCHITECTURE}/arch_kwargs/n_stages", 10**12, "stages"),
        (f"{ARCHITECTURE}/arch_kwargs/n_stages", float("inf"), "OverflowError"),
        ("configurations/3d_fullres/previous_stage", "3d_lowres", "cascade"),
        ("configurations/3d_fullres/patch_size", [16, 30, 24], "not a multiple"),
        ("configurations/3d_fullres/patch_size", [32, 24], "2-D"),
        ("label_manager", "MyLabels", "MyLabels"),
        ("transpose_backward", [1, 0, 2], "does not undo"),
        ("configurations", {"2d": {}}, "it has: 2d"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(path, value, named):
    plans = make.make_plans()
    change(plans, path, value)
    with pytest.raises(ModelError, match=named):
        read_plans(plans)


def test_configurations_that_inherit_without_end_are_refused():
    plans = make.make_plans()
    plans["configurations"] |= {str(n): {"inherits_from": str(n + 1)} for n in range(5000)}
    with pytest.raises(ModelError, match="damaged"):
        read_plans(plans, "0")


def test_labels_are_ordered_by_their_value_and_do_not_know_what_is_ignored():
    labels = read_labels(
        make.make_dataset(
            labels={"lesion": 2, "background": 0, "ignore": 3, "sc": 1}, image_orientation="RPI"
        )
    )
    assert (labels.names, labels.outputs, labels.regions) == (("sc", "lesion"), 3, False)
    logits = np.array([[0.0, 1, 5], [2, 0, 5], [1, 3, 0]])
    assert labels.label_map(labels.probabilities(logits)).tolist() == [1, 2, 0]  # a tie is background


def test_regions_overlap_and_write_over_one_another():
    labels = read_labels(
        make.make_dataset(labels={"background": 0, "sc": [1, 2], "lesion": [2]}, regions_class_order=[1, 2])
    )
    assert (labels.names, labels.outputs, labels.regions) == (("sc", "lesion"), 2, True)
    found = labels.label_map(labels.probabilities(np.array([[3.0, 3, -3], [-3, 3, -3]])))
    assert found.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    "labels",
    [{"sc": 1}, {"background": 0}, {"background": 1, "sc": 0}, {"background": 0, "sc": float("inf")}],
)
def test_labels_that_cannot_be_are_refused(labels):
    with pytest.raises(ModelError, match=r"label|dataset\.json"):
        read_labels(make.make_dataset(labels=labels))


@pytest.mark.parametrize(
    ("more", "reader", "axis_0_runs"),
    [
        ({"image_orientation": "RPI"}, "SimpleITKIO", -1),
        ({"image_orientation": "LPI"}, "SimpleITKIO", 1),
        ({"softcord": {"orientation": "LAS"}, "image_orientation": "LPI"}, "SimpleITKIO", -1),
        ({}, "NibabelIOWithReorient", 1),
        ({}, "SimpleITKIO", None),
    ],
)
def test_the_orientation_is_read_in_the_letters_of_whom_wrote_it(more, reader, axis_0_runs):
    plans = make.make_plans()
    plans["image_reader_writer"] = reader
    network = NnunetNetwork(read_plans(plans), read_labels(make.make_dataset(**more)), Folds([], None))
    assert (None if network.ornt is None else network.ornt[0, 1]) == axis_0_runs


def test_an_orientation_that_is_none_is_refused():
    labels = read_labels(make.make_dataset(image_orientation="RRI"))
    with pytest.raises(ModelError, match="no orientation"):
        NnunetNetwork(read_plans(make.make_plans()), labels, Folds([], None))


def test_margins_are_on_their_own_side():
    faces = {"left": 1, "right": 2, "posterior": 3, "anterior": 4, "inferior": 6, "superior": 8.0}
    margins = read_margins({"version": 1, "padding_mm": {f"pad_{face}": mm for face, mm in faces.items()}})
    cord = np.zeros((20, 20, 40), dtype=bool)
    cord[10, 10, 20] = True
    assert margins.box(cord, (1.0, 1.0, 2.0)) == (slice(9, 13), slice(7, 15), slice(17, 25))


@pytest.mark.parametrize(
    "wrong", [{}, {"superior": "far"}, {"superior": -1}, {"superior": 1, "a_superior": 2}]
)
def test_margins_that_are_missing_or_no_lengths_are_refused(wrong):
    others = dict.fromkeys(("left", "right", "posterior", "anterior", "inferior"), 5)
    with pytest.raises(ModelError, match="for superior"):
        read_margins({**others, **wrong})


def test_models_of_the_cord_are_followed_and_others_are_not():
    assert choose_mode(("sc",), None) == choose_mode(("tumour", "lesion"), None) == "follow"
    assert choose_mode(("tumour",), None) == choose_mode(("sc",), "exact") == "exact"
    assert choose_mode((), None) is None
    assert main_class(("lesion", "spinal_cord")) == 1
    assert other_classes(("lesion", "spinal_cord")) == ("lesion",)
