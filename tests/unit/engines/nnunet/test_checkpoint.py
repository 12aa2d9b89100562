"""Checkpoints give the arrays that torch saved, and run nothing."""

import contextlib
import subprocess
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from pickled import (
    LEGACY_MAGIC,
    Call,
    Name,
    Persistent,
    Raw,
    ordered,
    pickled,
    storage,
    tensor,
    write_legacy,
    write_zip,
)
from softcord.engines.nnunet.checkpoint import read_checkpoint
from softcord.errors import ModelError

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
BIAS = np.array([1.5, -2.0])
STORAGES = {"0": KERNEL, "1": BIAS}
PLANS = {"plans_name": "nnUNetPlans", "configurations": {"3d_fullres": {"patch_size": [8, 8, 8]}}}


def content(more=()):
    """A checkpoint of nnU-Net, with one tensor that has two names."""
    kernel = tensor(KERNEL, "0", more=more)
    scalar = Call(Name("numpy.core.multiarray", "scalar"), (f8(), latin1("\x00" * 8)))
    return {
        "network_weights": ordered(
            {"conv.weight": kernel, "conv.bias": tensor(BIAS, "1", more=more), "twin": kernel}
        ),
        "optimizer_state": {"state": {0: {"momentum_buffer": tensor(KERNEL, "0", more=more)}}},
        "grad_scaler_state": None,
        "logging": {"ema_fg_dice": [scalar, 0.5]},
        "_best_ema": scalar,
        "current_epoch": 7,
        "init_args": {
            "plans": PLANS,
            "configuration": "3d_fullres",
            "fold": 0,
            "dataset_json": {"labels": {"background": 0, "sc": 1}},
            "device": Call(Name("torch", "device"), ("cuda", 0)),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 2),
    }


def f8(order="<"):
    """numpy's float64, as numpy 1 pickles it."""
    return Call(Name("numpy", "dtype"), ("f8", 0, 1), state=(3, order, None, None, None, -1, -1, 0))


def latin1(text):
    return Call(Name("_codecs", "encode"), (text, "latin1"))


def check(checkpoint):
    np.testing.assert_array_equal(checkpoint.weights["conv.weight"], KERNEL)
    np.testing.assert_array_equal(checkpoint.weights["conv.bias"], BIAS)
    assert list(checkpoint.weights) == ["conv.weight", "conv.bias", "twin"]
    assert np.shares_memory(checkpoint.weights["conv.weight"], checkpoint.weights["twin"])
    assert checkpoint.trainer == "nnUNetTrainer"
    assert checkpoint.configuration == "3d_fullres"
    assert checkpoint.mirror_axes == (0, 2)
    assert checkpoint.plans == PLANS
    assert checkpoint.dataset == {"labels": {"background": 0, "sc": 1}}
    assert checkpoint.epoch == 7


@pytest.mark.parametrize("order", ["little", "big"])
def test_the_zip_format_gives_what_was_saved(tmp_path, order):
    check(read_checkpoint(write_zip(tmp_path / "checkpoint_final.pth", content(), STORAGES, order=order)))


def test_the_format_before_it_gives_the_same(tmp_path):
    check(read_checkpoint(write_legacy(tmp_path / "checkpoint_final.pth", content(more=(None,)), STORAGES)))


def test_weights_alone_are_a_checkpoint_that_says_nothing_else(tmp_path):
    checkpoint = read_checkpoint(
        write_zip(tmp_path / "bare.pth", ordered({"w": tensor(BIAS, "1")}), {"1": BIAS})
    )
    np.testing.assert_array_equal(checkpoint.weights["w"], BIAS)
    assert checkpoint.trainer is checkpoint.configuration is checkpoint.plans is checkpoint.epoch is None


def test_weights_cannot_be_changed_by_accident(tmp_path):
    checkpoint = read_checkpoint(write_zip(tmp_path / "c.pth", content(), STORAGES))
    with pytest.raises(ValueError, match="read-only"):
        checkpoint.weights["conv.bias"][0] = 3


def test_the_state_of_the_optimizer_is_not_read(tmp_path):
    value = {"network_weights": {"w": tensor(BIAS, "1")}, "optimizer_state": tensor(KERNEL, "0")}
    path = write_zip(tmp_path / "c.pth", value, STORAGES)
    damaged = path.read_bytes().replace(KERNEL.tobytes(), KERNEL[::-1].tobytes())
    path.write_bytes(damaged)
    assert list(read_checkpoint(path).weights) == ["w"]


# ---- what torch itself writes


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="needs torch: pip install 'softcord[synth]'")


def saved_by_torch(torch, path, **options):
    """A checkpoint as nnU-Net saves it, and its weights as arrays."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3), torch.nn.BatchNorm3d(4))
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    network(torch.ones(1, 1, 4, 4, 4)).sum().backward()
    optimizer.step()
    network.add_module("again", network[0])
    weights = network.state_dict()
    value = {
        "network_weights": weights,
        "optimizer_state": optimizer.state_dict(),
        "logging": {"dice": [np.float64(0.5), np.float32(1), np.int64(1)], "lrs": np.ones(3), "names": {"a"}},
        "_best_ema": np.float64(0.5),
        "current_epoch": 3,
        "init_args": {
            "plans": PLANS, "configuration": "3d_fullres", "dataset_json": {}, "device": torch.device("cpu"),
            "fold": "all", "dtype": torch.float16, "shape": torch.Size([1, 2]), "folder": path.parent,
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": None,
    }  # fmt: skip
    torch.save(value, path, **options)
    return {name: value.numpy() for name, value in weights.items()}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_checkpoints_of_torch_are_read_as_torch_reads_them(torch, tmp_path, is_zip, protocol):
    options = {"_use_new_zipfile_serialization": is_zip, "pickle_protocol": protocol}
    expected = saved_by_torch(torch, tmp_path / "checkpoint_final.pth", **options)
    checkpoint = read_checkpoint(tmp_path / "checkpoint_final.pth")
    assert list(checkpoint.weights) == list(expected)
    for name, array in expected.items():
        assert checkpoint.weights[name].dtype == array.dtype
        np.testing.assert_array_equal(checkpoint.weights[name], array)
    assert np.shares_memory(checkpoint.weights["0.weight"], checkpoint.weights["again.weight"])
    assert checkpoint.plans == PLANS
    assert checkpoint.mirror_axes is None
    assert checkpoint.epoch == 3


def test_every_type_view_and_wrapping_of_a_tensor_is_read(torch, tmp_path):
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "parameter": torch.nn.Parameter(base.clone()),
        "transposed": base.T,
        "part": base[1:3, 2:5:2],
        "number": torch.tensor(5),
        "nothing": torch.zeros(0, 3),
        "half": base.half(),
        "double": base.double(),
        "bool": base > 3,
        "byte": base.to(torch.uint8),
        "unsigned": base.to(torch.uint16),
    }
    brain = base.to(torch.bfloat16) / 3
    torch.save({"network_weights": OrderedDict(tensors, brain=brain)}, tmp_path / "c.pth")
    weights = read_checkpoint(tmp_path / "c.pth").weights
    for name, value in tensors.items():
        assert weights[name].dtype == value.detach().numpy().dtype, name
        np.testing.assert_array_equal(weights[name], value.detach().numpy())
    np.testing.assert_array_equal(weights["brain"], brain.float().numpy())
    assert np.shares_memory(weights["transposed"], weights["part"])


def test_reading_imports_no_torch(tmp_path):
    path = write_zip(tmp_path / "c.pth", content(), STORAGES)
    program = "import sys; from pathlib import Path; from softcord.engines.nnunet import checkpoint as c; "
    program += f"c.read_checkpoint(Path({str(path)!r})); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---- hostile


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (Call(Name("posix", "system"), ("touch ran",)), "posix.system"),
        (Call(Name("builtins", "eval"), ("open('ran', 'w')",)), "builtins.eval"),
        (Call(Name("builtins", "getattr"), ()), "builtins.getattr"),
        (Call(Name("subprocess", "Popen"), (["touch", "ran"],)), "subprocess.Popen"),
        (Call(Name("torch", "load"), ("other.pth",)), "torch.load"),
        (Call(Name("numpy", "load"), ("other.npy",)), "numpy.load"),
        (Call(Name("torch.hub", "load"), ()), "torch.hub.load"),
        (
            Call(Name("torch._utils", "_rebuild_tensor_v2.__globals__"), ()),
            r"_rebuild_tensor_v2\.__globals__",
        ),
        (Call(Name("torch", "FloatStorage"), (1 << 40,)), "torch.FloatStorage"),
        (Call(Name("numpy", "ndarray"), ((1 << 40,),)), "numpy.ndarray"),
        (
            Raw(b"X\x05\x00\x00\x00posixX\x06\x00\x00\x00system\x93(X\x03\x00\x00\x00\x61\x61\x61tR"),
            "posix.system",
        ),
        (Raw(b"(iposix\nsystem\n"), "posix.system"),
        (Raw(b"(cposix\nsystem\nX\x01\x00\x00\x00ao"), "posix.system"),
        (Raw(b"ccollections\nOrderedDict\n)\x81"), "NEWOBJ"),
        (Raw(b"\x82\x01"), "EXT1"),
        (Call(Name("posix\x1b[31m", "system"), ()), r"posix\\x1b"),
        (Call(Name("a" * 500, "b"), ()), "aaa…"),
    ],
)
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_what_a_pickle_would_run_is_named_and_not_run(tmp_path, monkeypatch, call, named, is_zip):
    monkeypatch.chdir(tmp_path)
    value = {"network_weights": ordered({"w": tensor(BIAS, "1", more=() if is_zip else (None,))}), "x": call}
    path = (write_zip if is_zip else write_legacy)(tmp_path / "c.pth", value, {"1": BIAS})
    with pytest.raises(ModelError, match=named) as caught:
        read_checkpoint(path)
    assert "c.pth: refused" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400
    assert not (tmp_path / "ran").exists()


def test_the_files_before_the_description_run_nothing_either(tmp_path):
    path = tmp_path / "c.pth"
    path.write_bytes(
        pickled(LEGACY_MAGIC) + pickled(1001) + pickled(Call(Name("posix", "system"), ("touch ran",)))
    )
    with pytest.raises(ModelError, match=r"posix\.system"):
        read_checkpoint(path)


def view(offset, shape, strides, array=BIAS):
    return Call(
        Name("torch._utils", "_rebuild_tensor_v2"), (storage(array, "1"), offset, shape, strides, False, None)
    )


BELOW = Raw(b"(" * 5000)
DEEP = Raw(b")" + b"\x85" * 100_000)
DEEP_LIST = Raw(b"]" * 60 + b"a" * 59)
SELF = Raw(b"}q\x01X\x01\x00\x00\x00ah\x01s")
LAUGHS = Raw(b"X\x02\x00\x00\x00ha" + b"q\x01h\x01\x86" * 35)


@pytest.mark.parametrize(
    "value",
    [
        view(0, (3,), (1,)),
        view(1, (2,), (1,)),
        view(-1, (2,), (1,)),
        view(0, (2,), (-1,)),
        view(0, (1 << 40,), (0,)),
        view(0, (2, 2), (1,)),
        view(0, (1,) * 40, (1,) * 40),
        view(0, ("2",), (1,)),
        view(0, (True,), (1,)),
        view(0, 2, 1),
        view(0, (1 << 62, 1 << 62), (1, 1)),
        Call(Name("torch._utils", "_rebuild_tensor_v2"), (None, 0, (2,), (1,), False, None)),
        Call(Name("torch._utils", "_rebuild_tensor_v2"), ()),
        Call(
            Name("torch._utils", "_rebuild_tensor_v3"), (storage(BIAS, "1"), 0, (2,), (1,), False, None, "f8")
        ),
        tensor(BIAS, "../1"),
        tensor(BIAS, "absent"),
        Persistent(("module", Name("torch", "FloatStorage"), "a", "b")),
        Persistent(("storage", "FloatStorage", "1", "cpu", 2)),
        Persistent(("storage", Name("torch", "FloatStorage"), "1", "cpu", -2)),
        Persistent(("storage", Name("torch", "DoubleStorage"), "1", "cpu", 1 << 50)),
        Call(Name("collections", "OrderedDict"), ([["a", 1]],)),
        Call(Name("numpy.core.multiarray", "scalar"), (f8(), latin1("abc"))),
        Call(Name("numpy.core.multiarray", "scalar"), ("O", latin1("abcdefgh"))),
        Call(Name("_codecs", "encode"), ("abc", "rot13")),
        {(1, (2, 3)): 4},
        {1 << 61: 4},
        {1.5: 4},
        Raw(b"}(]Nu"),
        Raw(b"\x8f(]\x90"),
        Raw(b"}(Nu"),
        Raw(b"h\x07"),
        Raw(b"NNa"),
        Raw(b"R"),
        Raw(b"e"),
        Raw(b"N}b"),
        Raw(b"X\xff\xff\xff\x7fabc"),
        Raw(b"\x8e" + b"\xff" * 7 + b"\x7f"),
        Raw(b"\x96" + b"\xff" * 7 + b"\x7f"),
        Raw(b"X\x01\x00\x00\x00\xff"),
        Raw(b"NN"),
        Raw(b""),
        BELOW,
    ],
)
def test_damaged_values_are_model_errors_that_name_the_file(tmp_path, value):
    path = write_zip(
        tmp_path / "c.pth", {"network_weights": {"w": tensor(BIAS, "1"), "x": value}}, {"1": BIAS}
    )
    with pytest.raises(ModelError, match=r"c\.pth: "):
        read_checkpoint(path)


def test_a_pickle_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("softcord.engines.nnunet.unpickle._MOST_INSTRUCTIONS", 1000)
    with pytest.raises(ModelError, match="more parts"):
        read_checkpoint(write_zip(tmp_path / "c.pth", {"network_weights": DEEP}))


@pytest.mark.parametrize(
    "plans", [DEEP, DEEP_LIST, SELF, LAUGHS, [1], {"a": Name("torch", "Size")}, {"a": 1 << 80}]
)
def test_plans_that_no_json_could_hold_are_refused_soon(tmp_path, plans):
    value = {"network_weights": {"w": tensor(BIAS, "1")}, "init_args": {"plans": plans}}
    with pytest.raises(ModelError, match="its plans"):
        read_checkpoint(write_zip(tmp_path / "c.pth", value, {"1": BIAS}))


@pytest.mark.parametrize("axes", [LAUGHS, (0, 3), "xyz", (True,), 1 << 70])
def test_mirroring_along_anything_but_an_axis_is_refused(tmp_path, axes):
    value = {"network_weights": {"w": tensor(BIAS, "1")}, "inference_allowed_mirroring_axes": axes}
    with pytest.raises(ModelError, match="mirroring"):
        read_checkpoint(write_zip(tmp_path / "c.pth", value, {"1": BIAS}))


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_file_cut_anywhere_is_a_model_error(tmp_path, is_zip):
    if is_zip:
        whole = write_zip(tmp_path / "whole.pth", content(), STORAGES).read_bytes()
    else:
        whole = write_legacy(tmp_path / "whole.pth", content(more=(None,)), STORAGES).read_bytes()
    path = tmp_path / "c.pth"
    for end in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match=r"c\.pth: "):
            read_checkpoint(path)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_changed_byte_changes_numbers_or_is_a_model_error(tmp_path, is_zip):
    rng = np.random.default_rng(0)
    if is_zip:
        whole = write_zip(tmp_path / "whole.pth", content(), STORAGES).read_bytes()
    else:
        whole = write_legacy(tmp_path / "whole.pth", content(more=(None,)), STORAGES).read_bytes()
    path = tmp_path / "c.pth"
    for _ in range(600):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(changed)
        with contextlib.suppress(ModelError):
            read_checkpoint(path)


def test_a_zip_that_torch_did_not_write_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "c.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ModelError, match=r"data\.pkl"):
        read_checkpoint(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c/data.pkl", bytes(1 << 20))
    with pytest.raises(ModelError, match="compressed"):
        read_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("c/data.pkl", pickled({}))
        archive.writestr("c/constants.pkl", pickled(()))
    with pytest.raises(ModelError, match="TorchScript"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "raw", "named"),
    [
        ("c.pth", b"", "empty"),
        ("c.pth", b"hello, this is text", "something else"),
        ("c.pth", b"\x80\x04N.", "bare pickle"),
        ("model.ckpt", b"PK\x03\x04", r"Lightning.*v3\.0"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path, name, raw, named):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(ModelError, match=named):
        read_checkpoint(tmp_path / name)


def test_a_missing_file_and_a_folder_are_model_errors(tmp_path):
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([1], "a list"),
        ({}, "no weights"),
        ({"network_weights": {"w": 3}}, "int called w"),
        ({"state_dict": {"net.w": 3}}, "Lightning"),
        ({"network_weights": None}, "no weights"),
    ],
)
def test_content_of_another_kind_is_named(tmp_path, value, named):
    with pytest.raises(ModelError, match=named):
        read_checkpoint(write_zip(tmp_path / "c.pth", value))
