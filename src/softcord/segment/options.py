"""What is asked of a run over files, and what became of each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from softcord.bids import Naming, Outputs, class_path
from softcord.engines.nnunet import Mode
from softcord.errors import SoftcordError, UsageError
from softcord.flags import Flag
from softcord.segment.image import Segmentation, Volumes, check_threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What to write, and where.

    Attributes
    ----------
    out : str or Path, optional
        File of the soft map (for one input) or folder. Default: beside each input.
    naming : {"bids", "sct"}
        Names of the outputs: BIDS derivatives for BIDS inputs, or SCT's suffixes for all.
    mask : bool
        Also write the binary mask.
    threshold : float in [0, 1), optional
        Share of cord that a voxel of the mask exceeds; asking for it asks for the mask. Default: 0.5.
    volumes : "mean", "each" or int
        Which volumes of a 4-D image.
    uncertainty : bool
        Also write the uncertainty map.
    mode : {"exact", "follow"}, optional
        Of an nnU-Net model: compute all tiles, or those that the cord passes through. Default: follow, if the
        model looks for the cord or something in it.
    mirror : bool
        Of an nnU-Net model: average over mirrored images.
    channels : sequence of path
        Further images that an nnU-Net model of several channels takes, in its order.
    classes : tuple of str
        Classes beside the cord, each of which gets a soft map; `segment_files` fills them in.
    overwrite : bool
        Replace outputs that exist.
    resume : bool
        Leave inputs alone whose outputs are complete and made by the same model in the same way; redo the
        others.
    """

    out: str | Path | None = None
    naming: Naming = "bids"
    mask: bool = False
    threshold: float | None = None
    volumes: Volumes = "mean"
    uncertainty: bool = False
    mode: Mode | None = None
    mirror: bool = False
    channels: Sequence[str | Path] = ()
    classes: tuple[str, ...] = ()
    overwrite: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.threshold is not None:
            check_threshold(self.threshold)
        if self.resume and self.overwrite:
            raise UsageError("resume keeps finished results and overwrite replaces them: choose one.")

    @property
    def cut(self) -> float | None:
        """Threshold of the mask; None if no mask is asked for."""
        if self.threshold is None:
            return 0.5 if self.mask else None
        return self.threshold


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one input.

    Attributes
    ----------
    input : Path
        The image.
    outputs : Outputs
        Where its results lie, or would.
    flags : tuple of Flag
        Why the result may be wrong.
    cord_found : bool
        False if the map is empty, or if there is none.
    volume_mm3, mean_area_mm2 : float
        As in :class:`Segmentation`.
    seconds : dict of str to float
        Time spent on each step, writing included.
    error : SoftcordError or None
        Why there is no result.
    skipped : bool
        True if a complete result was there already.
    record : dict
        Content of the sidecar: how the result was made. Empty if there is none.
    """

    input: Path
    outputs: Outputs
    flags: tuple[Flag, ...] = ()
    cord_found: bool = False
    volume_mm3: float = 0.0
    mean_area_mm2: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    error: SoftcordError | None = None
    skipped: bool = False
    record: dict[str, Any] = field(default_factory=dict)


OnResult = Callable[[FileResult, Segmentation | None], None]
"""Called after each input, with the arrays when it was segmented just now."""


def written(outputs: Outputs, options: FileOptions) -> list[Path]:
    """Files that a run leaves for one input, in the order in which they take their names."""
    mask = [outputs.mask] if options.cut is not None else []
    uncertainty = [outputs.uncertainty] if options.uncertainty else []
    classes = [class_path(outputs.soft, name) for name in options.classes]
    return [*mask, *uncertainty, *classes, outputs.soft, outputs.sidecar]
