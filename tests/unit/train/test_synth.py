import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[synth]")
pytest.importorskip("tensorboard", reason="needs tensorboard, which comes with softcord[synth]")

import torch
import yaml

from softcord import models
from softcord.errors import InputError, OutputError, UsageError
from softcord.phantoms import make_phantom
from softcord.train import synth
from softcord.train.config import ScheduleConfig, SynthConfig
from softcord.train.pool import Task
from softcord.train.reading import read_config, to_dict
from softcord.train.samples import Sample
from softcord.train.synth import CHECKPOINT, load_average, losses_of, train_network, train_synth


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in the same order each time, and no waiting for threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def often(monkeypatch):
    """Reports at every step."""
    monkeypatch.setattr(synth, "LOG_EVERY", 1)


@pytest.fixture
def write(tmp_path):
    """Write a configuration to a file."""

    def write(config: SynthConfig):
        path = tmp_path / f"{config.name}.yaml"
        path.write_text(yaml.safe_dump(to_dict(config)), encoding="utf-8")
        return path

    return write


def stop_at(wanted: int):
    """A listener that stops the training as Ctrl-C does."""

    def on_step(step: int, steps: int, loss: float) -> None:
        if step == wanted:
            raise KeyboardInterrupt

    return on_step


# ---- a run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of six steps that nobody interrupted: its folder and configuration file."""
    folder = tmp_path_factory.mktemp("finished")
    content = """
name: tiny
seed: 3
workers: 0
checkpoint_every: 4
network: {channels: [3, 4], fold: [2, 2, 1]}
grid: {patch: [16, 16, 8]}
mix: {phantoms: 1, maps: 0, images: 0, near_cord: 0.8, coarse: 0.3}
schedule: {steps: 6, batch: 2, warm_up: 2, pool: 5, renew_every: 2, ema: 0.5, calibration: 3}
"""
    (folder / "run.yaml").write_text(content, encoding="utf-8")
    reports = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synth, "LOG_EVERY", 2)
        model = train_synth(
            folder / "run.yaml",
            folder / "run",
            device="cpu",
            threads=1,
            on_step=lambda *report: reports.append(report),
        )
    return folder / "run.yaml", folder / "run", model, reports


def state(out) -> dict[str, object]:
    return torch.load(out / CHECKPOINT, weights_only=True)


def flatten(value: object, name: str = "") -> dict[str, object]:
    """Every number and tensor of nested containers, by name."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{name}.{key}").items()}
    if isinstance(value, (list, tuple)):
        return {k: v for key, item in enumerate(value) for k, v in flatten(item, f"{name}.{key}").items()}
    return {name: value}


def assert_same_state(first: object, second: object) -> None:
    first, second = flatten(first), flatten(second)
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[name]), name
        else:
            assert value == second[name], name


def test_a_run_leaves_its_configuration_a_checkpoint_logs_and_the_model(finished):
    path, out, model, _ = finished
    assert sorted(entry.name for entry in out.iterdir()) == [
        CHECKPOINT,
        "config.yaml",
        "model",
        "tensorboard",
    ]
    assert read_config(out / "config.yaml") == read_config(path)
    assert model == out / "model"
    assert any(entry.stat().st_size > 0 for entry in (out / "tensorboard").iterdir())
    assert state(out)["step"] == 6


def test_the_model_of_a_run_segments(finished):
    _, _, model, _ = finished
    loaded = models.load(model, device="cpu", threads=1)
    phantom = make_phantom(0, shape=(20, 20, 6), zooms=(1.0, 1.0, 3.0))
    image = np.clip(phantom.image, 0, 1.5)
    shares = loaded.network.shares(image)
    assert shares.shape == image.shape
    assert 0 <= shares.min() < shares.max() <= 1
    assert loaded.info.config["schedule"]["steps"] == 6


def test_the_exported_weights_are_the_averaged_ones(finished):
    path, out, _, _ = finished
    network = load_average(out, read_config(path))
    assert not network.training
    stored = state(out)
    assert_same_state(network.state_dict(), stored["average"])
    assert not torch.equal(stored["average"]["head.weight"], stored["network"]["head.weight"])


def test_listeners_hear_of_step_and_loss_now_and_then(finished):
    reports = finished[3]
    assert [(step, steps) for step, steps, _ in reports] == [(2, 6), (4, 6), (6, 6)]
    assert all(0 < loss < 100 for _, _, loss in reports)


@pytest.mark.parametrize("newest", [1, 2, 3, 4, 5])
def test_an_interrupted_run_that_is_resumed_ends_as_one_that_was_not(
    finished, write, tmp_path, often, newest
):
    path, uninterrupted, _, _ = finished
    out = tmp_path / "run"
    early = write(replace(read_config(path), checkpoint_every=newest))
    with pytest.raises(KeyboardInterrupt):
        train_synth(early, out, device="cpu", on_step=stop_at(newest + 1))
    assert state(out)["step"] == newest
    assert not (out / "model").exists()
    train_synth(path, out, device="cpu")
    assert_same_state(state(out), state(uninterrupted))
    graph = "model/network.onnx"
    assert (out / graph).read_bytes() == (uninterrupted / graph).read_bytes()


def test_a_run_that_is_interrupted_before_its_first_checkpoint_starts_anew(finished, tmp_path, often):
    path, uninterrupted, _, _ = finished
    with pytest.raises(KeyboardInterrupt):
        train_synth(path, tmp_path / "run", device="cpu", on_step=stop_at(2))
    assert not (tmp_path / "run" / CHECKPOINT).exists()
    train_synth(path, tmp_path / "run", device="cpu")
    assert_same_state(state(tmp_path / "run"), state(uninterrupted))


def test_a_finished_run_is_exported_again_without_training(finished, monkeypatch):
    path, out, model, _ = finished
    before = (model / "network.onnx").read_bytes()
    (model / "network.onnx").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(synth, "SamplePool", refuse)
    assert train_synth(path, out, device="cpu") == model
    assert (model / "network.onnx").read_bytes() == before


def test_another_seed_gives_other_weights(finished, tiny, write, tmp_path):
    _, out, _, _ = finished
    config = replace(read_config(finished[0]), seed=4)
    train_synth(write(config), tmp_path / "run", device="cpu")
    other = state(tmp_path / "run")["network"]["head.weight"]
    assert not torch.equal(other, state(out)["network"]["head.weight"])


def test_the_network_learns(tiny, tmp_path, monkeypatch, often):
    """A bright ball is easily told from its dark surroundings."""
    x = np.linspace(-1, 1, 16)
    ball = (np.sqrt(x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, ::2] ** 2) < 0.6).astype(
        np.float16
    )

    def draw(task, sources, number):
        moved = np.roll(ball, number % 5, axis=0)
        return Sample(moved, moved, np.ones_like(moved))

    monkeypatch.setattr("softcord.train.pool.draw_numbered", draw)
    schedule = ScheduleConfig(
        steps=200, batch=2, warm_up=3, pool=5, renew_every=1, ema=0.9, learning_rate=0.02
    )
    network = train_network(
        Task(replace(tiny, schedule=schedule), None), tmp_path, device=torch.device("cpu")
    )
    with torch.no_grad():
        shares = torch.sigmoid(network(torch.from_numpy(ball.astype(np.float32))[None, None]))[0, 0].numpy()
    assert np.abs(shares - ball).mean() < 0.1
    assert shares[ball > 0].mean() > 0.7


# ---- what is refused


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 9}, "seed"),
        ({"name": "other"}, "name"),
        ({"schedule": ScheduleConfig(steps=7, pool=5)}, "schedule"),
    ],
)
def test_a_folder_that_holds_a_run_of_another_configuration_is_refused(
    finished, write, tmp_path, changes, named
):
    path, out, _, _ = finished
    other = write(replace(read_config(path), **changes))
    with pytest.raises(InputError, match=rf"holds a run with other values of {named}. Choose another"):
        train_synth(other, out, device="cpu")
    assert read_config(out / "config.yaml") == read_config(path)


def test_workers_and_checkpoints_may_change_during_a_run(finished, write):
    path, out, model, _ = finished
    config = replace(read_config(path), workers=3, checkpoint_every=1)
    assert train_synth(write(config), out, device="cpu") == model


def test_a_run_whose_configuration_is_damaged_is_named(finished, tmp_path):
    path = finished[0]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("name: [", encoding="utf-8")
    with pytest.raises(InputError, match=r"run.config.yaml: not valid YAML"):
        train_synth(path, tmp_path / "run")


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 cut short"])
def test_a_damaged_checkpoint_is_named(finished, tmp_path, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CHECKPOINT).write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint.pt: no checkpoint, or a damaged one. Remove it"):
        train_synth(finished[0], tmp_path / "run", device="cpu")


def test_a_folder_that_cannot_be_made_is_an_output_error(finished, tmp_path):
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match=r"taken.run: cannot be written"):
        train_synth(finished[0], tmp_path / "taken" / "run")


def test_a_full_disk_is_an_output_error_and_leaves_the_checkpoint_before(
    finished, tmp_path, often, monkeypatch
):
    path, out = finished[0], tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_synth(path, out, device="cpu", on_step=stop_at(5))

    def fail(content: object, file) -> None:
        file.write_bytes(b"half of it")
        raise RuntimeError("PytorchStreamWriter failed writing file data/3")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OutputError, match=r"checkpoint.pt: cannot be written .*failed writing"):
        train_synth(path, out, device="cpu")
    assert state(out)["step"] == 4
    assert not list(out.glob("*.tmp"))


def test_a_device_that_is_not_there_is_a_usage_error(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cpu"):
        train_synth(finished[0], tmp_path / "run", device="cuda")
    assert synth._device("auto") == torch.device("cpu")


# ---- the pieces


def test_the_learning_rate_rises_and_falls_to_a_hundredth():
    schedule = ScheduleConfig(steps=1000, warm_up=100, learning_rate=0.01)
    rates = np.array([synth._learning_rate(schedule, step) for step in range(1000)])
    assert (np.diff(rates[:100]) > 0).all()
    assert (np.diff(rates[100:]) < 0).all()
    assert rates.max() == pytest.approx(0.01)
    assert rates[550] == pytest.approx(0.01 * 0.505, rel=0.01)
    assert rates[-1] == pytest.approx(0.0001, rel=0.01)


def test_without_a_warm_up_the_learning_rate_starts_at_its_height():
    assert synth._learning_rate(ScheduleConfig(warm_up=0, learning_rate=0.01), 0) == pytest.approx(0.01)


def random_batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares between nothing and all, and weights of 1."""
    share = torch.rand(2, 1, 6, 6, 6, generator=torch.Generator().manual_seed(seed)) * 0.98 + 0.01
    return share, torch.ones_like(share)


@pytest.mark.parametrize("dice", [0.0, 1.0])
def test_the_loss_is_smallest_at_the_share_itself(dice):
    share, weight = random_batch()
    logits = torch.logit(share).requires_grad_()
    best, _ = losses_of(logits, share, weight, dice)
    best.backward()
    assert logits.grad.abs().max() < 1e-6
    for seed in range(5):
        other = torch.logit(share) + 0.3 * (random_batch(seed + 1)[0] - 0.5)
        assert losses_of(other, share, weight, dice)[0] > best


def test_voxels_that_nobody_knows_do_not_count():
    share, weight = random_batch()
    weight[:, :, :3] = 0
    logits = torch.zeros_like(share).requires_grad_()
    loss, parts = losses_of(logits, share, weight, 1.0)
    loss.backward()
    assert (logits.grad[:, :, :3] == 0).all()
    assert (logits.grad[:, :, 3:] != 0).any()
    changed, elsewhere = logits.detach().clone(), share.clone()
    changed[:, :, :3], elsewhere[:, :, :3] = 5.0, 0.3
    assert losses_of(changed, elsewhere, weight, 1.0)[1] == parts


def test_a_sample_without_cord_counts_in_the_cross_entropy_alone():
    share, weight = random_batch()
    empty = torch.zeros_like(share)
    logits = torch.full_like(share, -2.0)
    loss, parts = losses_of(logits, empty, weight, 1.0)
    assert parts["soft Dice"] == 1
    assert loss == pytest.approx(4 * parts["cross-entropy"])
    assert parts["cross-entropy"] == pytest.approx(np.log1p(np.exp(-2.0)), rel=1e-5)
    share[0] = 0  # and does not dilute the Dice of the one that has some
    _, both = losses_of(logits, share, weight, 1.0)
    _, alone = losses_of(logits[1:], share[1:], weight[1:], 1.0)
    assert both["soft Dice"] == pytest.approx(alone["soft Dice"])


def test_a_batch_of_which_nothing_is_known_has_no_loss():
    share, weight = random_batch()
    loss, _ = losses_of(torch.zeros_like(share), share, 0 * weight, 1.0)
    assert loss == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_a_gpu_can_be_resumed_and_exported(finished, tmp_path, often):
    path, out = finished[0], tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_synth(path, out, device="cuda", on_step=stop_at(5))
    model = train_synth(path, out, device="cuda")
    assert state(out)["step"] == 6
    assert models.load(model, device="cpu", threads=1).info.name == "tiny"


# ---- starting from another run


def test_a_run_can_start_from_the_weights_of_another_and_says_so(tiny, write, tmp_path):
    first = train_synth(write(tiny), tmp_path / "first").parent
    still = replace(tiny, name="still", schedule=replace(tiny.schedule, steps=1, learning_rate=1e-12))
    model = train_synth(write(still), tmp_path / "second", before=first)
    weights, earlier = (
        load_average(run, tiny).state_dict() for run in (tmp_path / "second", tmp_path / "first")
    )
    for key, value in earlier.items():
        torch.testing.assert_close(weights[key], value, atol=1e-6, rtol=0)
    content = json.loads((model / "model.json").read_text())
    assert content["training_before"] == [json.loads(json.dumps(to_dict(tiny)))]
    again = train_synth(write(still), tmp_path / "second")
    assert json.loads((again / "model.json").read_text()) == content


def test_a_run_can_start_from_a_model_and_knows_all_that_came_before(tiny, write, tmp_path):
    first = train_synth(write(tiny), tmp_path / "first")
    second = replace(tiny, name="second", schedule=replace(tiny.schedule, steps=1, learning_rate=1e-12))
    model = train_synth(write(second), tmp_path / "second", before=first)
    weights, earlier = (
        load_average(run, tiny).state_dict() for run in (tmp_path / "second", tmp_path / "first")
    )
    for key, value in earlier.items():
        torch.testing.assert_close(weights[key], value, atol=1e-6, rtol=0)
    third = train_synth(write(replace(second, name="third")), tmp_path / "third", before=model)
    content = json.loads((third / "model.json").read_text())
    assert [config["name"] for config in content["training_before"]] == ["tiny", "second"]


def test_a_network_that_knows_grey_levels_starts_where_one_without_has_ended(tiny, write, tmp_path):
    first = train_synth(write(tiny), tmp_path / "first").parent
    network = replace(tiny.network, grey_powers=2)
    more = replace(tiny, network=network, schedule=replace(tiny.schedule, steps=1, learning_rate=1e-12))
    second = train_synth(write(more), tmp_path / "second", before=first).parent
    image = torch.rand(1, 1, 16, 16, 8)
    with torch.no_grad():
        torch.testing.assert_close(load_average(second, more)(image), load_average(first, tiny)(image))
    with pytest.raises(InputError, match="grey_powers=2"):
        train_synth(write(tiny), tmp_path / "back", before=second)


def test_a_wider_network_starts_where_a_narrower_one_has_ended(tiny, write, tmp_path):
    first = train_synth(write(tiny), tmp_path / "first").parent
    network = replace(tiny.network, channels=tuple(n + 3 for n in tiny.network.channels))
    schedule = replace(tiny.schedule, steps=1, learning_rate=1e-12)
    wider = replace(tiny, name="wider", network=network, schedule=schedule)
    second = train_synth(write(wider), tmp_path / "second", before=first).parent
    image = torch.rand(1, 1, 16, 16, 8)
    with torch.no_grad():
        torch.testing.assert_close(load_average(second, wider)(image), load_average(first, tiny)(image))


def test_a_start_that_does_not_fit_is_refused(tiny, write, tmp_path):
    with pytest.raises(InputError, match="neither a checkpoint nor a model"):
        train_synth(write(tiny), tmp_path / "run", before=tmp_path / "nowhere")
    first = train_synth(write(tiny), tmp_path / "first").parent
    network = replace(tiny.network, channels=tuple(n - 1 for n in tiny.network.channels))
    other = replace(tiny, name="other", network=network)
    with pytest.raises(InputError, match="channels"):
        train_synth(write(other), tmp_path / "second", before=first)
