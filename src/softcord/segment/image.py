"""Segment one image in memory."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, cast

import numpy as np

from softcord import engines, models, softseg
from softcord._typing import FloatArray
from softcord.engines.nnunet import Mode, NnunetNetwork
from softcord.errors import GeometryError, InputError, UsageError
from softcord.flags import Flag, check_segmentation
from softcord.models import Model, ModelInfo
from softcord.nifti import (
    Image,
    check_image,
    header_flags,
    image_like,
    load_image,
    read_volume,
    read_volumes,
)
from softcord.orientation import Canonical, restore, to_canonical
from softcord.progress import Bar
from softcord.segment.nnunet import (
    ClassMaps,
    check_options,
    choose_mode,
    main_class,
    other_classes,
    segment_channels,
)

Volumes: TypeAlias = int | Literal["mean", "each"]
"""Which volumes of a 4-D image: their mean, each on its own, or one by index."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The cord of one image, on the image's own grid.

    Attributes
    ----------
    soft : nibabel image, (I, J, K) or (I, J, K, T), float32 in [0, 1]
        Share of each voxel that is cord. 4-D only for ``volumes="each"``.
    uncertainty : nibabel image or None
        Standard deviation of the soft values under test-time augmentation, on the same grid.
    flags : tuple of Flag
        Why the result may be wrong; empty when nothing was found.
    seconds : dict of str to float
        Time spent on each step.
    model : ModelInfo
        What made it.
    device : str
        Where the network ran, "cpu" or "cuda".
    source : Path or None
        File that the image came from.
    cord_found : bool
        False if the map is empty.
    volume_mm3 : float
        Sum of the soft values times the voxel's volume; the mean over volumes of a 4-D map.
    mean_area_mm2 : float
        Mean area of the axial slices with cord (5 mm² or more), over all volumes; not corrected for tilt.
    engine : str
        Library that ran the network.
    classes : dict of str to nibabel image
        Soft maps of the classes beside the cord that an nnU-Net model found, by name.
    details : dict
        How an nnU-Net model was run: its mode, whether it was mirrored, tiles of the grid and computed ones.
    """

    soft: Image
    uncertainty: Image | None
    flags: tuple[Flag, ...]
    seconds: dict[str, float]
    model: ModelInfo
    device: str
    source: Path | None
    cord_found: bool
    volume_mm3: float
    mean_area_mm2: float
    engine: str = "onnxruntime"
    classes: dict[str, Image] = field(default_factory=dict)
    details: dict[str, object] = field(default_factory=dict)

    def mask(self, threshold: float = 0.5) -> Image:
        """Voxels with more than `threshold` of cord, as an image of 0 and 1.

        Parameters
        ----------
        threshold : float in [0, 1)
            Share of cord that a voxel of the mask exceeds.

        Returns
        -------
        nibabel image, uint8
            On the grid of `soft`.

        Raises
        ------
        UsageError
            If `threshold` is not in [0, 1).
        """
        check_threshold(threshold)
        inside = softseg.threshold(np.asanyarray(self.soft.dataobj), threshold)
        return image_like(inside, self.soft, dtype=np.uint8)


def check_threshold(threshold: float) -> None:
    """Raise UsageError unless `threshold` is in [0, 1)."""
    if not 0 <= threshold < 1:
        raise UsageError(f"The threshold must be at least 0 and below 1, got {threshold:g}.")


def segment(
    image: Image | str | Path,
    *,
    model: Model | str | Path = "softcord",
    device: str = "auto",
    threads: int | None = None,
    volumes: Volumes = "mean",
    uncertainty: bool = False,
    mode: Mode | None = None,
    mirror: bool = False,
    channels: Sequence[Image | str | Path] = (),
    progress: bool = False,
) -> Segmentation:
    """Soft segmentation of the spinal cord.

    Parameters
    ----------
    image : nibabel image or path, (I, J, K) or (I, J, K, T)
        MRI of any contrast, in any orientation.
    model : Model, str or path, optional
        A loaded model, a name, or where one lies. Load it once (`softcord.models.load`) for many images.
    device : {"auto", "cpu", "cuda"}
        Where to run the network, if the model is not loaded yet.
    threads : int, optional
        CPU threads, if the model is not loaded yet. Default: all cores.
    volumes : "mean", "each" or int
        Which volumes of a 4-D image.
    uncertainty : bool
        Also return how much the result moves under test-time augmentation; takes several times longer.
    mode : {"exact", "follow"}, optional
        Of an nnU-Net model: compute all tiles, or those that the cord passes through. Default: follow, if the
        model looks for the cord or something in it.
    mirror : bool
        Of an nnU-Net model: average over mirrored images, along the axes that its training allows.
    channels : sequence of nibabel images or paths
        Further images, on the same grid, that an nnU-Net model of several channels takes, in its order.
    progress : bool
        Show a progress bar over the volumes of a 4-D image, if each is segmented, or over the tiles of an
        nnU-Net model.

    Returns
    -------
    Segmentation
        The soft map on the image's grid, with its flags.

    Raises
    ------
    InputError
        If the image cannot be used.
    ModelError
        If the model cannot be loaded.

    Examples
    --------
    >>> import softcord  # doctest: +SKIP
    >>> result = softcord.segment("sub-01_T2w.nii.gz")  # doctest: +SKIP
    >>> result.soft.to_filename("cord.nii.gz")  # doctest: +SKIP
    """
    if isinstance(image, str | Path):
        image = load_image(image)
    elif not hasattr(image, "dataobj"):
        raise InputError(
            f"image must be a nibabel image or the path of one, got {type(image).__name__}. "
            "An array needs its affine: nibabel.Nifti1Image(array, affine)."
        )
    else:
        check_image(image)
    if isinstance(model, str | Path):
        model = models.load(model, device=device, threads=threads)
    check_options(model, mode=mode, mirror=mirror, uncertainty=uncertainty, channels=1 + len(channels))
    others = [_read_channel(channel, image, volumes) for channel in channels]
    total = _n_volumes(image) if volumes == "each" else 1
    parts = []
    with Bar(total, "Segmenting volumes", enabled=progress and total > 1) as bar:
        for volume in _read(image, volumes):
            if isinstance(model.network, NnunetNetwork):
                network, bars = model.network, progress and total == 1
                run = _NnunetRun(model, network, mode, mirror, bars)
                parts.append(_segment_nnunet(volume, others, run))
            else:
                parts.append(_segment_volume(volume, model, uncertainty=uncertainty))
            bar.advance()
    if all(part.constant for part in parts):
        raise InputError(
            f"{image.get_filename() or 'the image'}: every volume is constant, so there is nothing to see."
        )
    each = volumes == "each" and len(image.shape) == 4
    name = image.get_filename()
    moved = [part.uncertainty for part in parts if part.uncertainty is not None]
    return Segmentation(
        soft=image_like(_joined([part.soft for part in parts], each=each), image),
        uncertainty=image_like(_joined(moved, each=each), image) if moved else None,
        flags=(*header_flags(image), *_joined_flags(parts)),
        seconds=_summed([part.seconds for part in parts]),
        model=model.info,
        device=model.device,
        source=Path(name) if name else None,
        cord_found=any(part.cord_found for part in parts),
        volume_mm3=float(np.mean([part.volume_mm3 for part in parts])),
        mean_area_mm2=softseg.mean_area(np.concatenate([part.areas_mm2 for part in parts])),
        engine=_engine_name(model),
        classes={
            name: image_like(_joined([part.classes[name] for part in parts], each=each), image)
            for name in parts[0].classes
        },
        details=_details(model, parts, mode=mode, mirror=mirror, channels=channels),
    )


@dataclass(frozen=True, slots=True)
class _Volume:
    """One volume to segment, on the canonical axes."""

    name: str
    data: FloatArray
    canonical: Canonical
    flags: tuple[Flag, ...]
    read_s: float


@dataclass(frozen=True, slots=True)
class _Part:
    """The segmentation of one volume, its arrays on the image's own axes."""

    name: str
    soft: FloatArray
    uncertainty: FloatArray | None
    flags: tuple[Flag, ...]
    volume_mm3: float
    areas_mm2: FloatArray
    seconds: dict[str, float]
    classes: dict[str, FloatArray] = field(default_factory=dict)
    tiles: tuple[int, int] = (0, 0)

    @property
    def cord_found(self) -> bool:
        return all(flag.code != "no_cord" for flag in self.flags)

    @property
    def constant(self) -> bool:
        return any(flag.code == "constant_volume" for flag in self.flags)


def _read(image: Image, volumes: Volumes) -> Iterator[_Volume]:
    """Read the volumes that are wanted, one at a time."""
    start = time.perf_counter()
    chosen: Iterable[tuple[int | str, tuple[FloatArray, tuple[Flag, ...]]]]
    if volumes != "each":
        chosen = [(volumes, read_volume(image, volume=volumes))]
    elif _n_volumes(image) == 1:  # if it is constant, there is nothing else to see
        chosen = [(0, read_volume(image))]
    else:
        chosen = enumerate(read_volumes(image))
    for name, (data, flags) in chosen:
        canonical = to_canonical(data, image.affine)
        voxels = cast("FloatArray", canonical.data)
        yield _Volume(str(name), voxels, canonical, flags, time.perf_counter() - start)
        start = time.perf_counter()


def _n_volumes(image: Image) -> int:
    return int(image.shape[3]) if len(image.shape) == 4 else 1


def _segment_volume(volume: _Volume, model: Model, *, uncertainty: bool) -> _Part:
    canonical, zooms = volume.canonical, volume.canonical.zooms
    if any(flag.code == "constant_volume" for flag in volume.flags):
        nothing = np.zeros_like(volume.data)
        prediction = engines.Prediction(nothing, nothing if uncertainty else None, {})
    else:
        options = engines.PredictOptions(uncertainty=uncertainty)
        prediction = engines.predict(volume.data, zooms, model.compact, options)
    start = time.perf_counter()
    flags = (*volume.flags, *check_segmentation(prediction.soft, zooms, image=volume.data))
    areas_mm2 = softseg.slice_areas(prediction.soft, zooms)
    seconds = {"read": volume.read_s, **prediction.seconds, "judge": time.perf_counter() - start}
    return _Part(
        name=volume.name,
        soft=restore(prediction.soft, canonical.ornt),
        uncertainty=None
        if prediction.uncertainty is None
        else restore(prediction.uncertainty, canonical.ornt),
        flags=flags,
        volume_mm3=float(areas_mm2.sum() * zooms[2]),
        areas_mm2=areas_mm2,
        seconds=seconds,
    )


class _NnunetRun(NamedTuple):
    """A model and how it is run."""

    model: Model
    network: NnunetNetwork
    mode: Mode | None
    mirror: bool
    progress: bool


def _segment_nnunet(volume: _Volume, others: list[FloatArray], run: _NnunetRun) -> _Part:
    canonical, zooms = volume.canonical, volume.canonical.zooms
    if any(flag.code == "constant_volume" for flag in volume.flags):
        names = other_classes(run.network.labels.names)
        nothing = {name: np.zeros_like(volume.data) for name in names}
        maps = ClassMaps(np.zeros_like(volume.data), nothing, {}, 0, 0)
    else:
        maps = segment_channels(
            [volume.data, *others],
            canonical,
            run.model,
            run.network,
            mode=run.mode,
            mirror=run.mirror,
            progress=run.progress,
        )
    start = time.perf_counter()
    flags = (*volume.flags, *check_segmentation(maps.soft, zooms, image=volume.data))
    areas_mm2 = softseg.slice_areas(maps.soft, zooms)
    return _Part(
        name=volume.name,
        soft=restore(maps.soft, canonical.ornt),
        uncertainty=None,
        flags=flags,
        volume_mm3=float(areas_mm2.sum() * zooms[2]),
        areas_mm2=areas_mm2,
        seconds={"read": volume.read_s, **maps.seconds, "judge": time.perf_counter() - start},
        classes={name: restore(part, canonical.ornt) for name, part in maps.others.items()},
        tiles=(maps.tiles, maps.computed),
    )


def _read_channel(channel: Image | str | Path, image: Image, volumes: Volumes) -> FloatArray:
    """A further channel, on canonical axes."""
    other = load_image(channel) if isinstance(channel, str | Path) else channel
    name = other.get_filename() or "a further channel"
    if other.shape[:3] != image.shape[:3] or not np.allclose(other.affine, image.affine, atol=1e-3):
        raise GeometryError(
            f"{name}: all channels must lie on the grid of the first image, and this one does not. "
            "Register and resample it to that grid."
        )
    data, _ = read_volume(other, volume="mean" if volumes == "each" else volumes)
    return cast("FloatArray", to_canonical(data, other.affine).data)


def _engine_name(model: Model) -> str:
    if isinstance(model.network, NnunetNetwork):
        return model.network.engine_name
    return engines.choose_engine() if model.device == "cpu" else "onnxruntime"


def _details(
    model: Model, parts: list[_Part], *, mode: Mode | None, mirror: bool, channels: Sequence[object]
) -> dict[str, object]:
    """What the sidecar says of the run of an nnU-Net model."""
    if not isinstance(model.network, NnunetNetwork):
        return {}
    names = model.network.labels.names
    return {
        "Mode": choose_mode(names, mode),
        "Mirror": mirror,
        "Folds": len(model.network.folds),
        "TilesOfGrid": sum(part.tiles[0] for part in parts),
        "TilesComputed": sum(part.tiles[1] for part in parts),
        "Class": names[main_class(names)],
        "OtherClasses": list(other_classes(names)),
        "Channels": 1 + len(channels),
        "Orientation": "of the model" if model.network.ornt is not None else "of the file",
    }


def _joined_flags(parts: list[_Part]) -> list[Flag]:
    """Flags of all volumes; those of one among several say which."""
    if len(parts) == 1:
        return list(parts[0].flags)
    return [
        replace(flag, reason=f"Volume {part.name}: {flag.reason}") for part in parts for flag in part.flags
    ]


def _joined(arrays: list[FloatArray], *, each: bool) -> FloatArray:
    """One array from those of the volumes: 4-D when each was asked for."""
    return np.stack(arrays, axis=-1) if each else arrays[0]


def _summed(steps: list[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for step in steps:
        for name, spent in step.items():
            total[name] = total.get(name, 0.0) + spent
    return total
