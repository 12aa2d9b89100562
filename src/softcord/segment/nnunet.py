"""One volume through an nnU-Net model: which classes are written, and how it is run."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from softcord import engines
from softcord._typing import BoolArray, FloatArray
from softcord.engines.nnunet import Mode, NnunetNetwork, NnunetOptions, predict_nnunet
from softcord.errors import UsageError
from softcord.models import Model
from softcord.orientation import Canonical
from softcord.progress import Bar

_OF_THE_CORD = re.compile(r"^(sc|gm|wm)$|cord|spin|lesion|canal|rootlet", re.IGNORECASE)
_CORD = re.compile(r"^sc$|cord", re.IGNORECASE)
_LIKELY = 0.3  # share of cord from which the compact network's map says where to start


class ClassMaps(NamedTuple):
    """What an nnU-Net model found in one volume, on canonical axes.

    Attributes
    ----------
    soft : (I, J, K) array of float32
        Of the class that is the cord, or of the first.
    others : dict of str to (I, J, K) array of float32
        Of the other classes.
    seconds : dict of str to float
    tiles, computed : int
    """

    soft: FloatArray
    others: dict[str, FloatArray]
    seconds: dict[str, float]
    tiles: int
    computed: int


def choose_mode(classes: Sequence[str], mode: Mode | None) -> Mode | None:
    """How a model is run: as asked, else `follow` if it looks for the cord or something in or on it.

    Parameters
    ----------
    classes : sequence of str
        Of the model; empty for one that is no nnU-Net model.
    mode : {"exact", "follow"}, optional

    Returns
    -------
    mode : {"exact", "follow"} or None
        None for a model that is no nnU-Net model.
    """
    if not classes:
        return None
    return mode or ("follow" if any(_OF_THE_CORD.search(name) for name in classes) else "exact")


def main_class(classes: Sequence[str]) -> int:
    """Number of the class that is the cord by its name; else the first."""
    return next((number for number, name in enumerate(classes) if _CORD.search(name)), 0)


def other_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of the classes that get a file of their own."""
    return tuple(name for number, name in enumerate(classes) if number != main_class(classes))


def check_options(model: Model, *, mode: Mode | None, mirror: bool, uncertainty: bool, channels: int) -> None:
    """Refuse what a model does not know.

    Raises
    ------
    UsageError
    """
    if not isinstance(model.network, NnunetNetwork):
        if mode is not None or mirror or channels > 1:
            raise UsageError(
                f"{model.info.name}: modes, mirroring and further channels are for nnU-Net models, and this "
                "is none. Leave them out."
            )
        return
    if uncertainty:
        raise UsageError(
            f"{model.info.name}: uncertainty is not known for nnU-Net models. Leave it out; mirroring "
            "(--mirror) makes the soft map itself the mean of several looks."
        )
    wanted = network_channels(model.network)
    if channels != len(wanted):
        raise UsageError(
            f"{model.info.name}: this model takes {len(wanted)} channels ({', '.join(wanted)}), and "
            f"{channels} came. Give the image and, in this order, the others (--channel)."
        )


def network_channels(network: NnunetNetwork) -> tuple[str, ...]:
    """Names of the images that a model takes."""
    return network.labels.channels


def segment_channels(
    channels: Sequence[FloatArray],
    canonical: Canonical,
    model: Model,
    network: NnunetNetwork,
    *,
    mode: Mode | None,
    mirror: bool,
    progress: bool,
) -> ClassMaps:
    """Run an nnU-Net model on one volume."""

    def find_cord() -> BoolArray:
        if model.guide is None:
            return np.zeros(channels[0].shape, dtype=bool)
        found: BoolArray = engines.predict(channels[0], canonical.zooms, model.guide).soft > _LIKELY
        return found

    names = network.labels.names
    chosen = choose_mode(names, mode) or "exact"
    with Bar(1, "Computing tiles", enabled=progress) as bar:
        made = predict_nnunet(
            channels,
            canonical.zooms,
            canonical.ornt,
            network,
            NnunetOptions(mode=chosen, mirror=mirror),
            find_cord=find_cord,
            on_tile=bar.reach,
        )
    main = main_class(names)
    soft = made.probabilities[main]
    return ClassMaps(
        network.calibrated(soft) if len(names) == 1 else soft,
        {name: made.probabilities[number] for number, name in enumerate(names) if number != main},
        made.seconds,
        made.tiles,
        made.computed,
    )
