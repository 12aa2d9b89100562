"""What was done for one case, kept in a small file of its own, so that a run that was ended goes on there."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from softcord.errors import InputError
from softcord.nifti import write_text
from softcord.plain import from_plain


@dataclass(frozen=True)
class Stamp:
    """A file as it was when it was read or written.

    Attributes
    ----------
    path : str
        Relative to the dataset, or to the folder of results.
    size : int, bytes
    modified_ns : int
        Time of the last change.
    """

    path: str
    size: int
    modified_ns: int


def stamp(path: Path, root: Path) -> Stamp:
    """How a file is now; a link counts as what it leads to."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}). If its content is missing, run softcord dataset get."
        ) from error
    return Stamp(path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class CaseRecord:
    """How a case was converted: one row of provenance.tsv.

    Attributes
    ----------
    case, set, dataset, subject, session, contrast, pathology, site : str
    image, labels, soft : str
        Files in the dataset; several labels are separated by spaces. `soft` is the soft label that was taken,
        if there was one.
    image_sha256, labels_sha256, soft_sha256 : str
    voxels_sha256 : str
        Of the image's values on canonical axes, as float32: the same for a copy with another header.
    placed : str
        Whether labels and image were on one grid ("same"), the voxels were taken as they are ("voxels"), or
        the label was resampled ("resampled").
    apart_mm : float, mm
        Largest distance between corners of the grids of label and image.
    soft_mm3, hard_mm3 : float, mm³
        Volume of the soft and of the hard label.
    notes : str
        What else was done.
    inputs, outputs : tuple of Stamp
        Not in the table.
    """

    case: str
    set: str
    dataset: str
    subject: str
    session: str
    contrast: str
    pathology: str
    site: str
    image: str
    labels: str
    soft: str
    image_sha256: str
    labels_sha256: str
    soft_sha256: str
    voxels_sha256: str
    placed: str
    apart_mm: float
    soft_mm3: float
    hard_mm3: float
    notes: str
    inputs: tuple[Stamp, ...] = ()
    outputs: tuple[Stamp, ...] = ()


def read_record(path: Path) -> CaseRecord | None:
    """Record of a case; None if there is none that can be read."""
    try:
        return from_plain(CaseRecord, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError):
        return None


def write_record(record: CaseRecord, path: Path) -> None:
    """Write the record of a case, after its results."""
    write_text(json.dumps(asdict(record), indent=1) + "\n", path, overwrite=True)


def is_done(record: CaseRecord | None, inputs: Sequence[Stamp], folder: Path) -> bool:
    """Whether a case was done from these inputs, and its results are still there."""
    if record is None or record.inputs != tuple(inputs):
        return False
    try:
        return all(stamp(folder / known.path, folder) == known for known in record.outputs)
    except InputError:
        return False


def provenance_table(records: Sequence[CaseRecord], commits: dict[str, str]) -> str:
    """Tab-separated text, one row per case."""
    columns = [field.name for field in fields(CaseRecord) if field.name not in ("inputs", "outputs")]
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow([*columns, "commit"])
    for record in sorted(records, key=lambda record: record.case):
        values = [getattr(record, column) for column in columns]
        shown = [f"{value:.3f}" if isinstance(value, float) else value for value in values]
        writer.writerow([*shown, commits.get(record.dataset, "")])
    return text.getvalue()
