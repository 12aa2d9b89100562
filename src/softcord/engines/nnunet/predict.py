"""From grey levels to probabilities with an nnU-Net model, on the axes of softcord's volumes."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from softcord._typing import BoolArray, FloatArray, Zooms
from softcord.engines.nnunet.export import to_probabilities
from softcord.engines.nnunet.follow import follow_tiles
from softcord.engines.nnunet.network import NnunetNetwork
from softcord.engines.nnunet.preprocess import Box, Prepared, preprocess
from softcord.engines.nnunet.resampling import taps
from softcord.engines.nnunet.tiles import Blend, HalfArray, tile_grid, tile_weights
from softcord.orientation import restore

log = logging.getLogger(__name__)

_Scalar = TypeVar("_Scalar", bound=np.generic)

Mode = Literal["exact", "follow"]
FindCord = Callable[[], BoolArray]
OnTile = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class NnunetOptions:
    """How a volume is segmented.

    Attributes
    ----------
    mode : {"follow", "exact"}
        Compute the tiles that the cord passes through, or all of them.
    mirror : bool
        Average each tile over its mirrored copies.
    """

    mode: Mode = "follow"
    mirror: bool = False


@dataclass(frozen=True)
class NnunetPrediction:
    """What was found in a volume.

    Attributes
    ----------
    probabilities : (len(labels.names), I, J, K) array of float32 in [0, 1]
        On the grid of the input. With "follow" they are 0 where not all tiles were computed, which is more
        than 10 mm from the foreground.
    seconds : dict of str to float
        Time of each step: ``find``, ``prepare``, ``segment`` and ``export``.
    tiles, computed : int
        Of the grid, and those that were computed.
    """

    probabilities: FloatArray
    seconds: dict[str, float]
    tiles: int
    computed: int


def predict_nnunet(
    channels: Sequence[FloatArray],
    zooms: Zooms,
    ornt: npt.NDArray[np.float64],
    network: NnunetNetwork,
    options: NnunetOptions = NnunetOptions(),
    *,
    find_cord: FindCord | None = None,
    on_tile: OnTile | None = None,
) -> NnunetPrediction:
    """Segment a volume with an nnU-Net model.

    Parameters
    ----------
    channels : sequence of (I, J, K) arrays of float32
        Grey levels on RAS+ axes, one array for each channel of the model.
    zooms : (3,) tuple of float, mm
    ornt : (3, 2) array of float
        Orientation of the file's axes (`softcord.orientation.Canonical.ornt`), which the network sees if its
        model does not say on which axes it was trained.
    network : NnunetNetwork
    options : NnunetOptions
    find_cord : callable, optional
        Gives (I, J, K) array of bool, where the cord is likely to be: where "follow" starts, and what a model
        with margins is cropped to. Without it "follow" looks at all of the volume first.
    on_tile : callable, optional
        Called after each tile with the number of tiles done and to be done, as far as is known.

    Returns
    -------
    prediction : NnunetPrediction
    """
    start = time.perf_counter()
    ornt = ornt if network.ornt is None else network.ornt
    needed = find_cord is not None and (options.mode == "follow" or network.margins is not None)
    cord = find_cord() if find_cord is not None and needed else np.zeros(channels[0].shape, dtype=bool)
    box = _crop(cord, zooms, network)
    found = time.perf_counter()
    image = np.stack([to_reader(channel[box], ornt) for channel in channels])
    spacing = [zooms[int(ornt[axis, 0])] for axis in (2, 1, 0)]
    prepared = preprocess(image, spacing, network.plans)
    del image
    ready = time.perf_counter()
    tiling = _Tiling(prepared, network, mirror=options.mirror, on_tile=on_tile)
    if options.mode == "follow":
        seed = _on_grid(to_reader(cord[box], ornt), prepared, network.plans.transpose_forward)
        grid, shape, spacing_out = tiling.grid, prepared.data.shape[1:], network.plans.spacing
        logits, known, done = follow_tiles(
            grid, shape, spacing_out, network.labels, seed, tiling.keep, tiling.kept
        )
        computed = len(done)
    else:
        logits, known, computed = tiling.all(), None, len(tiling.grid)
    segmented = time.perf_counter()
    on_reader = to_probabilities(logits, prepared, network.plans, network.labels, known)
    probabilities = np.zeros((len(on_reader), *channels[0].shape), dtype=np.float32)
    for part, whole in zip(on_reader, probabilities, strict=True):
        whole[box] = from_reader(part, ornt)
    return NnunetPrediction(
        probabilities,
        {
            "find": found - start,
            "prepare": ready - found,
            "segment": segmented - ready,
            "export": time.perf_counter() - segmented,
        },
        tiles=len(tiling.grid),
        computed=computed,
    )


def to_reader(data: npt.NDArray[_Scalar], ornt: npt.NDArray[np.float64]) -> npt.NDArray[_Scalar]:
    """A RAS+ volume on the axes of nnU-Net's readers: those of `ornt`, in reverse. A view."""
    on_reader: npt.NDArray[_Scalar] = restore(data, ornt).transpose(2, 1, 0)
    return on_reader


def from_reader(data: npt.NDArray[_Scalar], ornt: npt.NDArray[np.float64]) -> npt.NDArray[_Scalar]:
    """The inverse of `to_reader`."""
    flips = tuple(slice(None, None, int(sense)) for sense in ornt[:, 1])
    canonical: npt.NDArray[_Scalar] = data.transpose(2, 1, 0)[flips].transpose(np.argsort(ornt[:, 0]))
    return canonical


def _crop(cord: BoolArray, zooms: Zooms, network: NnunetNetwork) -> Box:
    """The part of the volume that the network sees: for a model with margins, what is near the cord."""
    if network.margins is None:
        return (slice(None), slice(None), slice(None))
    if not cord.any():
        log.warning(
            "This model was trained on crops around the cord, but no cord was found to crop to: it sees the "
            "whole image."
        )
        return (slice(None), slice(None), slice(None))
    return network.margins.box(cord, zooms)


def _on_grid(mask: npt.NDArray[np.generic], prepared: Prepared, axes: Sequence[int]) -> BoolArray:
    """A mask on the reader's axes, on the padded grid of the network, by its nearest voxels."""
    mask = mask.transpose(axes)[prepared.box]
    seed = np.zeros(prepared.data.shape[1:], dtype=bool)
    places = [
        taps(n, part.stop - part.start, 0)[0][0] for n, part in zip(mask.shape, prepared.inside, strict=True)
    ]
    seed[prepared.inside] = mask[np.ix_(*places)]
    return seed


class _Tiling:
    """The tiles of one image, computed all at once or some at a time."""

    def __init__(
        self, prepared: Prepared, network: NnunetNetwork, *, mirror: bool, on_tile: OnTile | None
    ) -> None:
        self.grid = tile_grid(prepared.data.shape[1:], network.plans.patch)
        self._data = prepared.data
        self._network = network
        self._mirror = mirror
        self._weights = tile_weights(network.plans.patch)
        self._factor = self._weights.astype(np.float32)
        self._kept: list[dict[int, FloatArray]] = [{} for _ in range(len(network.folds))]
        self._on_tile = on_tile
        self._done = self._total = 0

    def all(self) -> HalfArray:
        """Logits from all tiles, none of which is kept."""
        self._expect(len(self.grid))
        return self._mean(lambda fold: ((tile, self._compute(tile, fold)) for tile in self.grid))

    def keep(self, numbers: Sequence[int]) -> None:
        """Compute some tiles and keep them."""
        self._expect(len(numbers))
        for fold, kept in enumerate(self._kept):
            for number in numbers:
                kept[number] = self._compute(self.grid[number], fold)

    def kept(self) -> HalfArray:
        """Logits from the tiles that were kept, in the order of the grid."""
        return self._mean(lambda fold: ((self.grid[n], part) for n, part in sorted(self._kept[fold].items())))

    def _mean(self, tiles: Callable[[int], Iterable[tuple[Box, FloatArray]]]) -> HalfArray:
        """The mean of the logits of all folds, in half precision as nnU-Net has it."""
        means = (self._blend(tiles(fold)) for fold in range(len(self._kept)))
        total = next(means)
        for mean in means:
            total += mean
        if len(self._kept) > 1:
            total /= np.float16(len(self._kept))
        return total

    def _blend(self, tiles: Iterable[tuple[Box, FloatArray]]) -> HalfArray:
        blend = Blend(self._network.labels.outputs, self._data.shape[1:], self._weights)
        for tile, part in tiles:
            blend.add(tile, part)
        return blend.mean()

    def _compute(self, tile: Box, fold: int) -> FloatArray:
        part = (slice(None), *tile)
        logits = self._network.tile_logits(self._data[part], fold, mirror=self._mirror)
        logits *= self._factor
        self._done += 1
        if self._on_tile:
            self._on_tile(self._done, self._total)
        return logits

    def _expect(self, tiles: int) -> None:
        self._total += tiles * len(self._kept)
