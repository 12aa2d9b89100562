"""The training configuration: what a training depends on. Values are checked when one is made."""

from dataclasses import dataclass, field
from math import inf

from softcord.phantoms.tissues import Tissue


def _check(name: str, value: object, rule: str, *, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {value}.")


@dataclass(frozen=True)
class NetworkConfig:
    """Channels of each level, voxels folded into channels along each axis, and powers of the grey level."""

    channels: tuple[int, ...] = (16, 32, 64, 128)
    fold: tuple[int, int, int] = (2, 2, 1)
    grey_powers: int = 0

    def __post_init__(self) -> None:
        fewest = min(self.channels, default=0)
        _check("channels", self.channels, "at least one number, each 1 or more", holds=fewest >= 1)
        _check("fold", self.fold, "1 or more along each axis", holds=min(self.fold) >= 1)
        _check("grey_powers", self.grey_powers, "0 or more", holds=self.grey_powers >= 0)

    @property
    def multiple(self) -> tuple[int, int, int]:
        """What the shape of an input must be a multiple of, along each axis."""
        i, j, k = (f * 2 ** (len(self.channels) - 1) for f in self.fold)
        return i, j, k


@dataclass(frozen=True)
class GridConfig:
    """The grids on which the network works.

    Attributes
    ----------
    in_plane, along : float, mm
        Wanted distance of samples across and along the cord, see `softcord.resample.working_grid`.
    coarse : float
        How many times larger both are when the cord is looked for in the whole volume.
    patch : (3,) tuple of int
        Samples of a training patch.
    ends_go_on : bool
        Beyond its first and last slice, a slab of fewer planes than `softcord.engines.network.SLAB` goes on
        as it ends, as it does when it is segmented; False: zeros.
    """

    in_plane: float = 0.75
    along: float = 1.5
    coarse: float = 2.0
    patch: tuple[int, int, int] = (64, 64, 32)
    ends_go_on: bool = False

    def __post_init__(self) -> None:
        for name in ("in_plane", "along", "coarse"):
            _check(name, getattr(self, name), "a number above 0", holds=0 < getattr(self, name) < inf)
        _check("patch", self.patch, "1 or more along each axis", holds=min(self.patch) >= 1)


@dataclass(frozen=True)
class MixConfig:
    """What samples are drawn.

    Attributes
    ----------
    phantoms, maps, images, nothing : float
        Shares of the kinds; they are scaled to a sum of 1. "nothing" is noise, ramps and bare objects, as of
        an empty coil or a test object.
    near_cord : float
        How often a label map or an image is looked at near its cord.
    coarse : float
        Share of samples on the coarse grid.
    keep_contrast : float
        How often an image keeps its contrast.
    without_cord : float
        Share of phantoms without a cord: an empty canal, or no spine at all.
    slabs : float
        Share of samples of which 1 to 10 slices are seen.
    clean : float
        Share of phantoms that are scanned without artefacts and with little noise: what the exact place of an
        edge can be learned from.
    edge_weight : float
        How much voxels at the edge of a drawn mask count: raters differ there, phantoms do not.
    pseudo_edge_weight : float
        The same for maps that a model has made: where they are wrong at the edge, training on them would keep
        it so.
    rim_mm : float, mm
        What looks like cord around the cords of phantoms, see `phantoms.anatomy.Anatomy`.
    """

    phantoms: float = 0.35
    maps: float = 0.2
    images: float = 0.45
    nothing: float = 0.0
    near_cord: float = 0.8
    coarse: float = 0.25
    keep_contrast: float = 0.25
    without_cord: float = 0.1
    slabs: float = 0.0
    clean: float = 0.0
    edge_weight: float = 1.0
    pseudo_edge_weight: float = 1.0
    rim_mm: float = 0.0

    def __post_init__(self) -> None:
        for name in ("phantoms", "maps", "images", "nothing", "rim_mm"):
            _check(name, getattr(self, name), "0 or more", holds=0 <= getattr(self, name) < inf)
        kinds = ("near_cord", "coarse", "keep_contrast", "without_cord", "slabs", "clean")
        for name in (*kinds, "edge_weight", "pseudo_edge_weight"):
            _check(name, getattr(self, name), "from 0 to 1", holds=0 <= getattr(self, name) <= 1)


@dataclass(frozen=True)
class ScheduleConfig:
    """How long and how fast.

    Attributes
    ----------
    steps, batch : int
    learning_rate, weight_decay : float
    warm_up : int
        Steps over which the learning rate rises; it then falls along a half cosine to 1 % of its height.
    ema : float
        Decay of the running average of the weights, which is what is exported.
    pool : int
        Samples held; every `renew_every` steps one of them is replaced.
    dice, entropy : float
        Weights of the soft Dice loss and of the cross-entropy.
    calibration : int
        Samples on which the logits are calibrated at the end.
    """

    steps: int = 12_000
    batch: int = 2
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warm_up: int = 300
    ema: float = 0.998
    pool: int = 500
    renew_every: int = 2
    dice: float = 1.0
    entropy: float = 4.0
    calibration: int = 300

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "pool", "renew_every"):
            _check(name, getattr(self, name), "1 or more", holds=getattr(self, name) >= 1)
        for name in ("weight_decay", "warm_up", "dice", "entropy", "calibration"):
            _check(name, getattr(self, name), "0 or more", holds=0 <= getattr(self, name) < inf)
        _check("learning_rate", self.learning_rate, "a number above 0", holds=0 < self.learning_rate < inf)
        _check("ema", self.ema, "from 0 to below 1", holds=0 <= self.ema < 1)
        _check("pool", self.pool, f"at least batch ({self.batch})", holds=self.pool >= self.batch)


@dataclass(frozen=True)
class MapSource:
    """Label maps of one kind.

    Attributes
    ----------
    files : str
        Pattern (glob) below the data folder.
    cord : int
        The label that is the cord.
    tissues : mapping of str to list of int
        Names of `softcord.phantoms.Tissue` and the labels that are that tissue.
    fill_zero : bool
        Label 0 is unlabelled tissue, not air.
    cord_suffix : (2,) tuple of str, optional
        The cord lies in a file of its own, whose name has the second part in place of the first; where that
        file is above 0, the label is `cord`.
    """

    files: str
    cord: int = 1
    tissues: dict[str, list[int]] = field(default_factory=dict)
    fill_zero: bool = False
    cord_suffix: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        for name in self.tissues:
            _check(
                "tissues", name, f"among {', '.join(Tissue.__members__)}", holds=name in Tissue.__members__
            )


@dataclass(frozen=True)
class ImageSource:
    """Real images with masks: a table of them, and which of its rows to take.

    Attributes
    ----------
    table : str
        Tab-separated file below the data folder with columns participant, split, image and cord_mask; the
        last two are paths in the folder `bids` beside the table.
    split : str
        Rows with this split are taken if they have a mask.
    exclude : tuple of str
        Participants, or names of image files, that are left out.
    pseudo : bool
        Take the rows without a mask instead, with maps that a model has made for them.
    """

    table: str
    split: str = "train"
    exclude: tuple[str, ...] = ()
    pseudo: bool = False


@dataclass(frozen=True)
class SynthConfig:
    """Everything that a training of the compact model depends on."""

    name: str
    version: str = "0"
    description: str = ""
    seed: int = 0
    network: NetworkConfig = NetworkConfig()
    grid: GridConfig = GridConfig()
    mix: MixConfig = MixConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    maps: list[MapSource] = field(default_factory=list)
    images: list[ImageSource] = field(default_factory=list)
    workers: int = 1
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("workers", 0), ("checkpoint_every", 1)):
            _check(name, getattr(self, name), f"{least} or more", holds=getattr(self, name) >= least)
        multiple = self.network.multiple
        times = [size / m for size, m in zip(self.grid.patch, multiple, strict=True)]
        fits = all(n == int(n) for n in times) and max(times) > 1  # one voxel cannot be normalised
        rule = f"a multiple of {multiple} for this network, and larger along an axis"
        _check("grid.patch", self.grid.patch, rule, holds=fits)
        mix, kinds = self.mix, "above 0 for phantoms, or for maps or images where some are named"
        usable = mix.phantoms + mix.maps * bool(self.maps) + mix.images * bool(self.images)
        _check("mix", (mix.phantoms, mix.maps, mix.images), kinds, holds=usable > 0)
