"""Make soft labels of datasets and put each on the review page."""

from pathlib import Path

from softcord.dataset.averaging import Method
from softcord.dataset.raters import Raters
from softcord.dataset.softlabels import OnPerson, SoftLabels, SoftRow, flags_of, make_soft_labels
from softcord.nifti import load_image
from softcord.qc import Origin, add_entry, is_drawn


def make_and_review(
    recipe: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    qc: str | Path | None = None,
    method: Method = "centermass",
    raters: Raters = "mean",
    reference: str | None = None,
    jobs: int | None = None,
    on_person: OnPerson | None = None,
) -> SoftLabels:
    """Make soft labels, and add an entry per label to a review page.

    Parameters
    ----------
    recipe, data, out, method, raters, reference, jobs, on_person
        As for :func:`softcord.dataset.make_soft_labels`.
    qc : path, optional
        Folder of the review page, made when missing. Default: no page.

    Returns
    -------
    SoftLabels
    """

    def review(rows: tuple[SoftRow, ...], done: int, total: int) -> None:
        if qc is not None:
            for row in rows:
                _review(row, Path(out), Path(qc))
        if on_person:
            on_person(rows, done, total)

    return make_soft_labels(
        recipe,
        data,
        out,
        method=method,
        raters=raters,
        reference=reference,
        jobs=jobs,
        on_person=review,
    )


def _review(row: SoftRow, out: Path, qc: Path) -> None:
    """Add the entry of a soft label, unless the page has it as it is now."""
    path = out / row.output
    changed = path.stat().st_mtime_ns
    origin = Origin(result=str(path.absolute()), model="mean of labels", date=str(changed))
    if not is_drawn(qc, row.image, origin):
        add_entry(
            load_image(row.image),
            load_image(path),
            qc,
            subject=row.subject,
            source=row.image,
            flags=flags_of(row),
            origin=origin,
        )
