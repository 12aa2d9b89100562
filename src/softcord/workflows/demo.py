"""A phantom through all of softcord: image, segmentation, comparison with the truth, review page."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from softcord import softseg
from softcord._typing import FloatArray
from softcord.errors import OutputError, UsageError
from softcord.flags import Flag
from softcord.models import Model
from softcord.nifti import image_like, load_image, save_image, write_text
from softcord.phantoms import CONTRASTS, Phantom, make_phantom
from softcord.segment import FileOptions
from softcord.workflows.review import segment_and_review

NAME = "sub-phantom"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Where the demo's files are, and how near the result comes to the truth.

    Attributes
    ----------
    image, truth, soft, table, page : Path
        The phantom, its exact partial volumes, the soft map, areas per slice as CSV, the index of the
        review page.
    mean_area_mm2, true_mean_area_mm2 : float
        Mean over the slices of the phantom.
    seconds : dict of str to float
        Time of each step of the segmentation.
    flags : tuple of Flag
        What the segmentation says of itself.
    """

    image: Path
    truth: Path
    soft: Path
    table: Path
    page: Path
    mean_area_mm2: float
    true_mean_area_mm2: float
    seconds: dict[str, float]
    flags: tuple[Flag, ...]

    @property
    def area_error_percent(self) -> float:
        """Difference of the mean areas, relative to the truth."""
        return 100 * (self.mean_area_mm2 / self.true_mean_area_mm2 - 1)


def demo(
    folder: str | Path = "demo-out",
    *,
    seed: int = 0,
    contrast: str = "T2w",
    model: Model | str | Path = "softcord",
) -> DemoResult:
    """Make a phantom, segment it, compare it with its truth and write the review page.

    Parameters
    ----------
    folder : path
        Where to; made when missing. What an earlier demo wrote there is replaced.
    seed : int
        Which phantom, from 0.
    contrast : str
        One of `softcord.phantoms.CONTRASTS`.
    model : Model, str or path
        What segments.

    Returns
    -------
    DemoResult
        Where everything is.

    Raises
    ------
    UsageError
        If there is no such contrast, or the seed is below 0.
    OutputError
        If the folder cannot be written.
    """
    if contrast not in CONTRASTS:
        raise UsageError(f"contrast must be one of {', '.join(CONTRASTS)}, got {contrast!r}.")
    if seed < 0:
        raise UsageError(f"seed must be a whole number from 0, got {seed}.")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}). Choose another folder.") from error
    phantom = make_phantom(seed, contrast=contrast)
    image_path = folder / f"{NAME}_{contrast}.nii.gz"
    truth_path = folder / f"{NAME}_{contrast}_truth.nii.gz"
    _save_phantom(phantom, image_path, truth_path)
    (result,) = segment_and_review([image_path], FileOptions(overwrite=True), qc=folder / "qc", model=model)
    if result.error is not None:
        raise result.error
    soft = np.asarray(load_image(result.outputs.soft).dataobj)  # RAS+ as the phantom is
    areas_mm2 = softseg.slice_areas(soft, phantom.zooms)
    table = folder / f"{NAME}_areas.csv"
    write_text(_as_csv(areas_mm2, phantom), table, overwrite=True)
    return DemoResult(
        image=image_path,
        truth=truth_path,
        soft=result.outputs.soft,
        table=table,
        page=folder / "qc" / "index.html",
        mean_area_mm2=float(areas_mm2.mean()),
        true_mean_area_mm2=float(phantom.areas_mm2.mean()),
        seconds=result.seconds,
        flags=result.flags,
    )


def _save_phantom(phantom: Phantom, image_path: Path, truth_path: Path) -> None:
    """Write the image as a scanner would (16-bit integers) and its truth beside it."""
    scale = 4000 / max(float(phantom.image.max()), 1e-6)
    grey = np.round(phantom.image.clip(0) * scale).astype(np.int16)
    image = nib.Nifti1Image(grey, phantom.affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    image.set_sform(phantom.affine, code=1)  # type: ignore[no-untyped-call]
    image.set_qform(phantom.affine, code=1)  # type: ignore[no-untyped-call]
    save_image(image, image_path, overwrite=True)
    save_image(image_like(phantom.share, image), truth_path, overwrite=True)


def _as_csv(areas_mm2: FloatArray, phantom: Phantom) -> str:
    """Area of each slice, found and true."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["slice", "area_mm2", "true_area_mm2", "difference_mm2"])
    for k, (found, true) in enumerate(zip(areas_mm2, phantom.areas_mm2, strict=True)):
        writer.writerow([k, f"{found:.3f}", f"{true:.3f}", f"{found - true:.3f}"])
    return text.getvalue()
