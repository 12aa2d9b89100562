"""The compact network: a small 3-D U-Net that works at half resolution.

The volume is folded at the entry (neighbouring voxels become channels) and unfolded at the exit, so that no
convolution runs at full resolution: a full-resolution layer with eight channels costs as much as everything
below it.

The edge is as sharp as the image all the same: the last layer says for each voxel how its logit depends on
its own grey level (a polynomial whose coefficients come from the features), so that half-way between the grey
levels of cord and fluid lies half the share, whichever of the two is brighter.
"""

import torch
from torch import nn
from torch.nn import functional

GREY_MIDDLE = 0.5  # of the scaled grey levels; powers are taken of the distance from it
GREY_GAIN = 8.0  # so that coefficients near 1 make sharp edges


class _Norm(nn.InstanceNorm3d):
    """Instance normalisation that leaves the channels last on the CPU.

    There, torch's own turns the memory round before and after itself, which takes a third of a training step.
    Groups of one channel are the same and need no turning.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        return functional.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


class _Block(nn.Sequential):
    """Two convolutions, each with instance normalisation and leaky rectifier."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv3d(channels_in, channels_out, 3, padding=1, bias=False),
            _Norm(channels_out, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
            nn.Conv3d(channels_out, channels_out, 3, padding=1, bias=False),
            _Norm(channels_out, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        )


class CompactUNet(nn.Module):
    """A U-Net on folded voxels.

    Parameters
    ----------
    channels : tuple of int
        Channels of each level, from the finest.
    fold : (3,) tuple of int
        Voxels along each axis that are folded into channels.
    grey_powers : int
        Degree of the polynomial in the grey level; 0: the logit comes from the features alone.
    """

    def __init__(self, channels: tuple[int, ...], fold: tuple[int, int, int], grey_powers: int = 0) -> None:
        super().__init__()
        self.channels, self.fold, self.grey_powers = tuple(channels), tuple(fold), grey_powers
        folded = fold[0] * fold[1] * fold[2]
        inputs = (folded, *channels[:-1])
        self.down = nn.ModuleList(_Block(i, o) for i, o in zip(inputs, channels, strict=True))
        self.up = nn.ModuleList(
            _Block(fine + coarse, fine)
            for fine, coarse in zip(channels[-2::-1], channels[:0:-1], strict=True)
        )
        self.head = nn.Conv3d(channels[0], folded * (1 + grey_powers), 1)

    @property
    def multiple(self) -> tuple[int, int, int]:
        """What the shape of an input must be a multiple of, along each axis."""
        i, j, k = (f * 2 ** (len(self.channels) - 1) for f in self.fold)
        return i, j, k

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, 1, I, J, K) of scaled grey levels (N, 1, I, J, K)."""
        a, b, c = self.fold
        n, _, i, j, k = image.shape
        x = image.reshape(n, i // a, a, j // b, b, k // c, c).permute(0, 2, 4, 6, 1, 3, 5)
        x = x.reshape(n, a * b * c, i // a, j // b, k // c)
        grey = GREY_GAIN * (x - GREY_MIDDLE)
        skips: list[torch.Tensor] = []
        for depth, block in enumerate(self.down):
            x = block(functional.max_pool3d(x, 2) if depth else x)
            skips.append(x)
        x = skips.pop()
        for block in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([skips.pop(), x], dim=1))
        x, *coefficients = self.head(x).chunk(1 + self.grey_powers, dim=1)
        for power, coefficient in enumerate(coefficients):
            x = x + coefficient * grey * (grey / GREY_GAIN) ** power
        x = x.reshape(n, a, b, c, i // a, j // b, k // c)
        return x.permute(0, 4, 1, 5, 2, 6, 3).reshape(n, 1, i, j, k)


def grown(weights: dict[str, torch.Tensor], network: CompactUNet) -> dict[str, torch.Tensor]:
    """Weights of a smaller network, for a larger one that computes the same before it is trained on.

    Parameters
    ----------
    weights : mapping of str to tensor
        Of a network of as many levels and the same fold, with no more channels in any level and no more
        powers of the grey level.
    network : CompactUNet
        The larger one; its own random weights become those of the channels that are new.

    Returns
    -------
    weights : mapping of str to tensor
        What is new is not listened to yet: its weights towards what was there are zero.

    Raises
    ------
    ValueError
        If the smaller network does not fit into the larger one.
    """
    target = network.state_dict()
    if set(weights) != set(target):
        raise ValueError("the weights are of a network with another number of levels")
    narrow = [weights[f"down.{depth}.0.weight"].shape[0] for depth in range(len(network.channels))]
    wide = list(network.channels)
    joined = {  # inputs of the first convolution on the way up: those of the finer level, then the coarser's
        f"up.{n}.0.weight": ((narrow[-2 - n], narrow[-1 - n]), (wide[-2 - n], wide[-1 - n]))
        for n in range(len(wide) - 1)
    }
    result = {}
    for name, values in weights.items():
        new = target[name].clone()
        n_out = values.shape[0]
        if any(old > now for old, now in zip(values.shape, new.shape, strict=True)):
            raise ValueError(f"{name} has the shape {tuple(values.shape)}, at most {tuple(new.shape)} fits")
        if values.ndim == 1:
            new[:n_out] = values
        else:
            parts = joined.get(name, ((values.shape[1],), (new.shape[1],)))
            old_at = new_at = 0
            new[:n_out] = 0
            for old, now in zip(*parts, strict=True):
                new[:n_out, new_at : new_at + old] = values[:, old_at : old_at + old]
                old_at, new_at = old_at + old, new_at + now
        if name.startswith("head."):
            new[n_out:] = 0
        result[name] = new
    return result
