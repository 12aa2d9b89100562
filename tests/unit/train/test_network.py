import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[synth]")

import torch

from softcord.train.config import NetworkConfig
from softcord.train.network import CompactUNet


def network(channels=(3, 4, 5), fold=(2, 2, 1)) -> CompactUNet:
    torch.manual_seed(0)
    return CompactUNet(channels, fold).eval()


@pytest.mark.parametrize(
    ("channels", "fold", "multiple"),
    [((4,), (1, 1, 1), (1, 1, 1)), ((4, 4), (2, 2, 1), (4, 4, 2)), ((4, 4, 4, 4), (2, 2, 1), (16, 16, 8))],
)
def test_the_multiple_is_what_folding_and_halving_need(channels, fold, multiple):
    assert network(channels, fold).multiple == multiple
    assert NetworkConfig(channels, fold).multiple == multiple


@pytest.mark.parametrize("times", [(1, 2, 1), (2, 1, 3)])
@pytest.mark.parametrize("fold", [(1, 1, 1), (2, 2, 1), (2, 1, 3)])
def test_any_multiple_of_it_goes_in_and_logits_of_the_same_shape_come_out(fold, times):
    compact = network(fold=fold)
    shape = [m * t for m, t in zip(compact.multiple, times, strict=True)]
    with torch.no_grad():
        logits = compact(torch.randn(2, 1, *shape))
    assert logits.shape == (2, 1, *shape)
    assert torch.isfinite(logits).all()


def test_a_shape_that_is_no_multiple_is_an_error():
    with pytest.raises(RuntimeError):
        network()(torch.randn(1, 1, 16, 16, 9))


def test_samples_of_a_batch_do_not_see_one_another():
    compact, images = network(), torch.randn(3, 1, 8, 8, 8)
    with torch.no_grad():
        together = compact(images)
        alone = torch.cat([compact(image[None]) for image in images])
    torch.testing.assert_close(together, alone)


def test_folding_and_unfolding_put_every_voxel_back_in_its_place():
    """Without layers between, what was folded comes back: the head passes its input channels on."""
    compact = network(channels=(12,), fold=(2, 2, 3))
    compact.down[0] = torch.nn.Identity()
    with torch.no_grad():
        compact.head.weight.copy_(torch.eye(12).reshape(12, 12, 1, 1, 1))
        compact.head.bias.zero_()
    image = torch.randn(2, 1, 4, 6, 9)
    torch.testing.assert_close(compact(image), image)


def test_the_field_of_view_is_wider_than_the_folded_voxel():
    compact = network()
    image = torch.randn(1, 1, 16, 16, 16, requires_grad=True)
    compact(image)[0, 0, 8, 8, 8].backward()
    seen = image.grad[0, 0].abs() > 0
    assert seen.any(dim=0).any(dim=0).sum() >= 8


def test_no_channels_are_moved_behind_one_another_on_the_way():
    network = CompactUNet((4, 8), (2, 2, 1)).to(memory_format=torch.channels_last_3d)
    image = torch.rand(2, 1, 16, 16, 8).contiguous(memory_format=torch.channels_last_3d)
    kept = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.InstanceNorm3d):
            layer.register_forward_hook(
                lambda _, __, out: kept.append(out.is_contiguous(memory_format=torch.channels_last_3d))
            )
    network(image)
    assert kept == [True] * 6


def test_the_normalisation_and_its_gradients_are_those_of_torch():
    ours = next(m for m in CompactUNet((4, 8), (2, 2, 1)).modules() if isinstance(m, torch.nn.InstanceNorm3d))
    torchs = torch.nn.InstanceNorm3d(4, affine=True)
    results = []
    for layer in (ours, torchs):
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([0.5, 1.0, 2.0, -1.0]))
            layer.bias.copy_(torch.tensor([0.0, 1.0, -3.0, 0.2]))
        x = (torch.arange(2 * 4 * 4 * 4 * 2.0).reshape(2, 4, 4, 4, 2) % 7).sin().requires_grad_()
        result = layer(x)
        result.square().sum().backward()
        results.append((result, x.grad, layer.weight.grad, layer.bias.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_brightness_hardly_matters():
    """Instance normalisation takes out the scale of the image after the first convolution."""
    compact, image = network(), torch.rand(1, 1, 16, 16, 8)
    with torch.no_grad():
        torch.testing.assert_close(compact(image), compact(3 * image), rtol=0.05, atol=0.05)
