"""Soft labels from all contrasts of each person."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import softcord
from softcord.bids import image_stem
from softcord.dataset.averaging import Member, Method, SoftLabel, average_contrasts
from softcord.dataset.cases import Case, find_cases
from softcord.dataset.casework import soft_name
from softcord.dataset.grids import read_image, read_label
from softcord.dataset.raters import Raters, merge_raters
from softcord.dataset.reading import read_recipe
from softcord.dataset.records import Stamp, stamp
from softcord.dataset.sampling import Shares
from softcord.dataset.states import folder_of, read_states
from softcord.dataset.workers import default_jobs, work_on
from softcord.errors import OutputError, SoftcordError, UsageError
from softcord.flags import Flag
from softcord.nifti import FileSet, image_like, load_image
from softcord.orientation import restore, to_canonical
from softcord.plain import from_plain

TABLE = "soft_labels.tsv"
_RECORDS = ".people"


@dataclass(frozen=True)
class FlagText:
    """A flag as it is kept on disk."""

    code: str
    reason: str


@dataclass(frozen=True)
class SoftRow:
    """One soft label: a row of ``soft_labels.tsv``.

    Attributes
    ----------
    case, dataset, subject, session, contrast : str
    image : str
        Path of the image.
    output : str
        The soft label, relative to the folder of results.
    n_raters, n_contrasts : int
    shift_mm, dice, area_mm2, mean_area_mm2 : float
        As in `softcord.dataset.averaging.SoftLabel`.
    flags : tuple of FlagText
    """

    case: str
    dataset: str
    subject: str
    session: str
    contrast: str
    image: str
    output: str
    n_raters: int
    n_contrasts: int
    shift_mm: float
    dice: float
    area_mm2: float
    mean_area_mm2: float
    flags: tuple[FlagText, ...] = ()


@dataclass(frozen=True)
class _Settings:
    method: Method
    raters: Raters
    reference: str
    version: str = softcord.__version__


@dataclass(frozen=True)
class _Record:
    """What was done for one person, in one session."""

    settings: _Settings
    rows: tuple[SoftRow, ...]
    inputs: tuple[Stamp, ...]
    outputs: tuple[Stamp, ...]


@dataclass(frozen=True)
class _Job:
    """A person in one session."""

    name: str
    cases: tuple[Case, ...]
    settings: _Settings
    out: Path

    @property
    def record(self) -> Path:
        return self.out / _RECORDS / f"{self.name}.json"

    def inputs(self) -> tuple[Stamp, ...]:
        return tuple(stamp(path, case.root) for case in self.cases for path in case.files)


@dataclass(frozen=True)
class SoftLabels:
    """What became of the soft labels of a recipe.

    Attributes
    ----------
    folder : Path
    rows : tuple of SoftRow
        One for each soft label.
    failed : tuple of (str, SoftcordError)
        People without, as ``dataset_sub-01_ses-1``, and why.
    n_before : int
        Soft labels that an earlier run had made.
    """

    folder: Path
    rows: tuple[SoftRow, ...]
    failed: tuple[tuple[str, SoftcordError], ...]
    n_before: int


OnPerson = Callable[[tuple[SoftRow, ...], int, int], None]
"""Called for each person with the soft labels, how many people are done, and of how many."""


def make_soft_labels(
    recipe: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    method: Method = "centermass",
    raters: Raters = "mean",
    reference: str | None = None,
    jobs: int | None = None,
    on_person: OnPerson | None = None,
) -> SoftLabels:
    """Make the soft label of every image: the mean over the contrasts of the person in that session.

    Labels of several raters of an image are merged first. See
    `softcord.dataset.averaging.average_contrasts` for the rest. A run that was ended goes on where it was.

    Parameters
    ----------
    recipe : path
        YAML file.
    data : path
        Folder of `softcord.dataset.get_datasets`.
    out : path
        Folder for the soft labels, each on the grid of its image, and ``soft_labels.tsv``.
    method : {"centermass", "rigid", "none"}
        How the images of a person are aligned.
    raters : {"mean", "majority", "staple"}
        How several labels of one image are merged.
    reference : str, optional
        Contrast onto which the others are aligned. Default: that of the recipe.
    jobs : int, optional
        Number of processes. Default: one per core, at most 8.
    on_person : callable, optional
        Called after each person, also those of an earlier run.

    Returns
    -------
    labels : SoftLabels

    Raises
    ------
    UsageError
        If `method` or `raters` is unknown.
    InputError
        If a dataset is not here.
    """
    for word, known in ((method, ("centermass", "rigid", "none")), (raters, ("mean", "majority", "staple"))):
        if word not in known:
            raise UsageError(f"expected one of {', '.join(known)}, got {word}.")
    plan, data, out = read_recipe(recipe), Path(data), Path(out)
    states = read_states(data, plan)
    settings = _Settings(method, raters, reference or plan.reference)
    groups: dict[str, list[Case]] = defaultdict(list)
    for source in plan.datasets:
        for case in find_cases(source, folder_of(data, states[source.name])):
            groups["_".join(filter(None, [*case.owner, case.session]))].append(case)
    try:
        (out / _RECORDS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot make the folder ({error.strerror}).") from error
    rows: list[SoftRow] = []
    failed: list[tuple[str, SoftcordError]] = []
    waiting: list[_Job] = []
    done = 0
    for job in (_Job(name, tuple(cases), settings, out) for name, cases in sorted(groups.items())):
        found = _done_before(job)
        if found is None:
            waiting.append(job)
            continue
        done += 1
        rows += found
        if on_person:
            on_person(found, done, len(groups))
    n_before = len(rows)
    for job, result in work_on(waiting, _label_person, jobs or default_jobs()):
        done += 1
        if isinstance(result, SoftcordError):
            failed.append((job.name, result))
        else:
            rows += result
        if on_person:
            on_person(() if isinstance(result, SoftcordError) else result, done, len(groups))
    rows.sort(key=lambda row: row.case)
    with FileSet(overwrite=True) as files:
        files.add_text(_table(rows), out / TABLE)
        files.commit()
    return SoftLabels(out, tuple(rows), tuple(sorted(failed, key=lambda one: one[0])), n_before)


def flags_of(row: SoftRow) -> tuple[Flag, ...]:
    """Why a soft label may be wrong."""
    return tuple(Flag(flag.code, flag.reason) for flag in row.flags)


def _label_person(job: _Job) -> tuple[SoftRow, ...]:
    """Write the soft labels of one person, then the record of them."""
    inputs = job.inputs()
    members = [_member(case, job.settings) for case in job.cases]
    made = average_contrasts(members, reference=job.settings.reference, method=job.settings.method)
    outputs = [job.out / soft_name(case) for case in job.cases]
    rows = tuple(
        _row(case, label, path.relative_to(job.out))
        for case, label, path in zip(job.cases, made, outputs, strict=True)
    )
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
    with FileSet(overwrite=True, inputs=[path for case in job.cases for path in case.files]) as files:
        for case, label, path, row in zip(job.cases, made, outputs, rows, strict=True):
            image = load_image(case.image)
            nothing = np.broadcast_to(np.uint8(0), image.shape[:3])
            ornt = to_canonical(nothing, image.affine).ornt
            files.add_image(image_like(restore(label.shares, ornt), image), path)
            files.add_text(_sidecar(case, job, row), path.with_name(f"{image_stem(path)}.json"))
        files.commit()
    record = _Record(job.settings, rows, inputs, tuple(stamp(path, job.out) for path in outputs))
    with FileSet(overwrite=True) as files:
        files.add_text(json.dumps(asdict(record), indent=1) + "\n", job.record)
        files.commit()
    return rows


def _member(case: Case, settings: _Settings) -> Member:
    volume = read_image(case.image)
    paths = case.labels or ((case.soft,) if case.soft else ())
    labels = [read_label(path, case.image, volume, trust=case.trust).shares for path in paths]
    merged = merge_raters(labels, settings.raters)
    covered = np.any(merged > 0, axis=(0, 1))
    image = volume.data if settings.method == "rigid" else None
    return Member(case.name, case.contrast, image, Shares(merged, volume.source_affine, np.asarray(covered)))


def _row(case: Case, made: SoftLabel, output: Path) -> SoftRow:
    return SoftRow(
        case=case.name,
        dataset=case.dataset,
        subject=case.subject,
        session=case.session,
        contrast=case.contrast,
        image=str(case.image),
        output=output.as_posix(),
        n_raters=max(1, len(case.labels)),
        n_contrasts=made.n_contrasts,
        shift_mm=made.shift_mm,
        dice=made.dice,
        area_mm2=made.area_mm2,
        mean_area_mm2=made.mean_area_mm2,
        flags=tuple(FlagText(flag.code, flag.reason) for flag in made.flags),
    )


def _done_before(job: _Job) -> tuple[SoftRow, ...] | None:
    """Rows of an earlier run, if nothing has changed since."""
    try:
        record = from_plain(_Record, json.loads(job.record.read_text(encoding="utf-8")), str(job.record))
        same = record.inputs == job.inputs() and record.settings == job.settings
        kept = all(stamp(job.out / known.path, job.out) == known for known in record.outputs)
    except (OSError, ValueError):  # InputError is a ValueError
        return None
    return record.rows if same and kept else None


def _sidecar(case: Case, job: _Job, row: SoftRow) -> str:
    labels = [path.relative_to(one.root).as_posix() for one in job.cases for path in one.labels]
    content = {
        "Description": "Share of each voxel that is cord: mean over the labels that cover it",
        "Units": "1",
        "GeneratedBy": [{"Name": "softcord", "Version": softcord.__version__}],
        "Sources": labels,
        "SpatialReference": case.image.relative_to(case.root).as_posix(),
        "Registration": job.settings.method,
        "ReferenceContrast": job.settings.reference,
        "Raters": job.settings.raters,
        "Contrasts": row.n_contrasts,
        "ShiftMm": round(row.shift_mm, 3),
        "Flags": [asdict(flag) for flag in row.flags],
    }
    return json.dumps(content, indent=2) + "\n"


def _table(rows: Sequence[SoftRow]) -> str:
    text = io.StringIO()
    columns = [name for name in SoftRow.__dataclass_fields__ if name not in ("image", "flags")]
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow([*columns, "flags"])
    for row in rows:
        values = [getattr(row, name) for name in columns]
        shown = [f"{value:.3f}" if isinstance(value, float) else value for value in values]
        writer.writerow([*shown, "; ".join(flag.reason for flag in row.flags)])
    return text.getvalue()
