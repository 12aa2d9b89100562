"""Convert one case: image, hard label, soft label, record."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softcord.bids import format_name, image_stem, parse_name
from softcord.checksum import file_sha256
from softcord.dataset.cases import Case
from softcord.dataset.grids import (
    Label,
    Volume,
    check_not_empty,
    combine,
    read_image,
    read_label,
    training_image,
)
from softcord.dataset.recipe import Orientation
from softcord.dataset.records import CaseRecord, Stamp, stamp, write_record
from softcord.nifti import FileSet, zooms_of

THRESHOLD = 0.5  # share of cord from which the hard label says cord
RECORDS = ".cases"  # folder of records in the folder of results


@dataclass(frozen=True)
class Job:
    """A case to convert.

    Attributes
    ----------
    case : Case
    set : str
        train, val or test.
    soft : Path or None
        Soft label that takes the place of the labels.
    soft_root : Path
        Folder to which `soft` is relative in the record.
    orientation : {"LAS", "RAS"}
    folder : Path
        Of the nnU-Net dataset.
    """

    case: Case
    set: str
    soft: Path | None
    soft_root: Path
    orientation: Orientation
    folder: Path

    @property
    def outputs(self) -> tuple[Path, Path, Path]:
        """Image, hard label, soft label."""
        ending = "Ts" if self.set == "test" else "Tr"
        return (
            self.folder / f"images{ending}" / f"{self.case.name}_0000.nii.gz",
            self.folder / f"labels{ending}" / f"{self.case.name}.nii.gz",
            self.folder / f"soft{ending}" / f"{self.case.name}.nii.gz",
        )

    @property
    def record(self) -> Path:
        """Where the record of the case lies."""
        return self.folder / RECORDS / f"{self.case.name}.json"

    def inputs(self) -> tuple[Stamp, ...]:
        """Files that are read, as they are now."""
        found = [stamp(path, self.case.root) for path in (self.case.image, *self.case.labels)]
        if self.soft is not None:
            found.append(stamp(self.soft, self.soft_root))
        return tuple(found)


def convert_case(job: Job) -> CaseRecord:
    """Write image and labels of a case, then its record.

    Parameters
    ----------
    job : Job

    Returns
    -------
    record : CaseRecord

    Raises
    ------
    InputError
        If a file cannot be used.
    """
    case, inputs = job.case, job.inputs()
    volume = read_image(case.image)
    label = _label(job, volume)
    check_not_empty(label, job.soft or case.labels[0], THRESHOLD)
    hard = (label.shares >= THRESHOLD).astype(np.uint8)
    with FileSet(overwrite=True, inputs=[*case.files, *([job.soft] if job.soft else [])]) as files:
        for data, path in zip((volume.data, hard, label.shares), job.outputs, strict=True):
            files.add_image(training_image(data, volume.affine, job.orientation), path)
        files.commit()
    voxel = float(np.prod(zooms_of(volume.affine)))
    record = CaseRecord(
        case=case.name,
        set=job.set,
        dataset=case.dataset,
        subject=case.subject,
        session=case.session,
        contrast=case.contrast,
        pathology=case.pathology,
        site=case.site,
        image=inputs[0].path,
        labels=" ".join(one.path for one in inputs[1 : 1 + len(case.labels)]),
        soft=inputs[-1].path if job.soft is not None else "",
        image_sha256=file_sha256(case.image),
        labels_sha256=" ".join(file_sha256(path) for path in case.labels),
        soft_sha256=file_sha256(job.soft) if job.soft is not None else "",
        voxels_sha256=_voxels_sha256(volume.data),
        placed=label.placed,
        apart_mm=label.apart_mm,
        soft_mm3=float(label.shares.sum(dtype=np.float64)) * voxel,
        hard_mm3=float(hard.sum(dtype=np.float64)) * voxel,
        notes=" ".join([*volume.notes, *label.notes]),
        inputs=inputs,
        outputs=tuple(stamp(path, job.folder) for path in job.outputs),
    )
    write_record(record, job.record)
    return record


def _label(job: Job, volume: Volume) -> Label:
    paths = (job.soft,) if job.soft is not None else job.case.labels
    return combine([read_label(path, job.case.image, volume, trust=job.case.trust) for path in paths])


def soft_of(case: Case, folder: Path | None) -> tuple[Path | None, Path]:
    """Soft label of a case: made for it in `folder`, or of the dataset; and to what its name is relative."""
    if folder is not None:
        made = folder / soft_name(case)
        if made.is_file():
            return made, folder
    return case.soft, case.root


def soft_name(case: Case) -> Path:
    """Where the soft label that is made for a case lies, relative to the folder of all of them."""
    stem = image_stem(case.image)
    parsed = parse_name(stem)
    entities, suffix = parsed or ({}, "")
    described = f"{entities.pop('desc', '')}average{suffix}"
    name = format_name({"space": "orig", **entities, "label": "SC", "desc": described}, "probseg")
    parts = [part for part in (case.subject, case.session, case.image.parent.name) if part]
    return Path(case.dataset, *parts, f"{name}.nii.gz")


def _voxels_sha256(data: np.ndarray) -> str:
    digest = hashlib.sha256(repr(data.shape).encode())
    digest.update(np.ascontiguousarray(data, dtype="<f4").data)
    return digest.hexdigest()
