"""Pseudo-labels: what a model says of images that nobody drew on, where its views of them agree."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np

from softcord._typing import FloatArray, Zooms
from softcord.engines import Network, PredictOptions, predict
from softcord.errors import InputError, OutputError
from softcord.nifti import load_image, read_volume
from softcord.orientation import to_canonical
from softcord.train.config import SynthConfig
from softcord.train.sources import chosen_rows, pseudo_path

log = logging.getLogger(__name__)

AGREE = 0.1  # standard deviation of the share over the views up to which it is taken
UNKNOWN = -1.0
END_MM = 5.0  # along the cord: cord that ends within the view is not known to end there


def label_images(
    config: SynthConfig,
    network: Network,
    out: Path,
    *,
    data: Path,
    on_image: Callable[[str, float], None] | None = None,
) -> list[Path]:
    """Make maps for all images without masks that a configuration names.

    Each image is seen six times: as it is, mirrored, and with its grey scale bent. Where the share moves by
    more than `AGREE` (its standard deviation), the map is `UNKNOWN`, and so it is within 5 mm of where the
    cord begins and ends.

    Parameters
    ----------
    config : SynthConfig
        Those of its `images` that ask for pseudo-labels.
    network : Network
    out : Path
        Folder for the maps; made if it is missing.
    data : Path
        The folder below which the table lies.
    on_image : callable, optional
        Called with each image's name and the share of its cord that is known.

    Returns
    -------
    paths : list of Path
        One map for each image in which a cord was found; the others get none, and a training leaves them out.

    Raises
    ------
    InputError
        The configuration asks for no pseudo-labels, or an image cannot be read.
    OutputError
        A map cannot be written.
    """
    sources = [source for source in config.images if source.pseudo]
    if not sources:
        raise InputError("The configuration names no images without masks (images: pseudo: true).")
    paths = []
    for source in sources:
        root = (data / source.table).parent / "bids"
        for row in chosen_rows(source, data):
            path = pseudo_path(out, row["image"])
            known = _label(root / row["image"], network, path)
            if known:
                paths.append(path)
            if on_image is not None:
                on_image(Path(row["image"]).name, known)
    return paths


def _label(image_path: Path, network: Network, path: Path) -> float:
    """Write the map of one image (RAS+); returns the share of its cord that is known, 0 if none is."""
    image = load_image(image_path)
    data, _ = read_volume(image)
    canonical = to_canonical(data, image.affine)
    voxels = np.ascontiguousarray(canonical.data)
    options = PredictOptions(uncertainty=True, follow_edges=False)  # the views differ in grey levels
    prediction = predict(voxels, canonical.zooms, network, options)
    spread = cast("FloatArray", prediction.uncertainty)  # it was asked for
    labelled = agreed(prediction.soft, spread, canonical.zooms)
    cord = prediction.soft > 0.5
    if not (labelled[cord] >= 0).any():
        log.warning("%s: no cord on which the views agree", image_path)
        return 0.0
    temporary = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = nib.Nifti1Image(labelled, canonical.affine)  # type: ignore[no-untyped-call]
        nib.save(content, temporary)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}). Choose another folder.") from error
    return float((labelled[cord] >= 0).mean())


def agreed(soft: FloatArray, spread: FloatArray, zooms: Zooms) -> FloatArray:
    """The shares where the views agree, `UNKNOWN` elsewhere.

    Parameters
    ----------
    soft, spread : (I, J, K) array of float32
        The share, and its standard deviation over views.
    zooms : (3,) tuple of float, mm

    Returns
    -------
    labelled : (I, J, K) array of float32
    """
    labelled = np.where(spread <= AGREE, soft, np.float32(UNKNOWN)).astype(np.float32)
    planes = np.flatnonzero((soft > 0.5).any(axis=(0, 1)))
    if not planes.size:
        return np.full_like(labelled, UNKNOWN)
    labelled[..., list(_near_ends(planes, soft.shape[2], zooms[2]))] = UNKNOWN
    return labelled


def _near_ends(planes: np.ndarray, count: int, zoom: float) -> Iterator[int]:
    """Planes beyond the first and last one that hold cord, and those within `END_MM` of an end in view."""
    reach = round(END_MM / zoom)
    first = planes[0] + (reach if planes[0] > 0 else 0)
    last = planes[-1] - (reach if planes[-1] < count - 1 else 0)
    return (plane for plane in range(count) if not first <= plane <= last)
