"""What a split holds, as Markdown for a release and as a table with one row per image."""

import csv
import io
import json
import logging
import statistics as numbers
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softcord.bids import image_stem
from softcord.dataset.cases import Case
from softcord.dataset.people import is_here
from softcord.dataset.recipe import SETS
from softcord.errors import SoftcordError
from softcord.nifti import load_image
from softcord.orientation import to_canonical

_LOG = logging.getLogger(__name__)

_COLUMNS = (
    "set dataset subject session contrast pathology site vendor image shape zooms_mm plane n_labels".split()
)
_ISOTROPIC = 1e-3  # mm between the largest and the smallest voxel size


@dataclass(frozen=True)
class _Facts:
    """What header and sidecar of an image say; along right, anterior, superior."""

    shape: tuple[int, ...]
    zooms: tuple[float, float, float]
    vendor: str

    @property
    def plane(self) -> str:
        """In which plane the slices were made, by the longest side of the voxel."""
        if max(self.zooms) - min(self.zooms) < _ISOTROPIC:
            return "isotropic"
        return ("sagittal", "coronal", "axial")[self.zooms.index(max(self.zooms))]


def statistics(title: str, rows: Sequence[tuple[Case, str]]) -> tuple[str, str]:
    """Statistics of a split.

    Parameters
    ----------
    title : str
        What the page is about.
    rows : sequence of (Case, str)
        Images with their sets.

    Returns
    -------
    page : str
        Markdown.
    table : str
        Tab-separated, one row per image. What is not known because the image is not here is empty.
    """
    rows = sorted(rows, key=lambda row: row[0].name)
    facts = [_facts(case) if is_here(case.image) else None for case, _ in rows]
    page = "\n\n".join(_page(title, rows, facts)) + "\n"
    return page, _table(rows, facts)


def _page(title: str, rows: Sequence[tuple[Case, str]], facts: Sequence[_Facts | None]) -> list[str]:
    parts = [f"# {title}", "Subjects and images of each set."]
    parts.append(_counts("dataset", rows, lambda case: case.dataset, total=True))
    for what in ("contrast", "pathology", "site"):
        parts += [f"## By {what}", _counts(what, rows, lambda case, what=what: getattr(case, what))]  # type: ignore[misc]
    known = {case.name: fact for (case, _), fact in zip(rows, facts, strict=True) if fact}
    if known:
        here = [row for row in rows if row[0].name in known]
        parts += [
            "## By vendor",
            _counts("vendor", here, lambda case: known[case.name].vendor or "not known"),
        ]
        parts += ["## Resolution", _resolutions(here, known)]
    if len(known) < len(rows):
        parts.append(
            f"Resolution and vendor leave out {len(rows) - len(known)} images that are not here or damaged."
        )
    return parts


def _counts(
    what: str, rows: Iterable[tuple[Case, str]], key: Callable[[Case], str], *, total: bool = False
) -> str:
    """Subjects and images of each set, by something."""
    images: Counter[tuple[str, str]] = Counter()
    subjects: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for case, name in rows:
        for group in (key(case), *(["all"] if total else [])):
            for part in (name, "all"):
                images[group, part] += 1
                subjects[group, part].add(case.owner)
    groups = sorted({group for group, _ in images} - ({"all"} if total else set()))
    head = [what, *(f"{name} subjects | {name} images" for name in (*SETS, "all"))]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * 8]
    for group in [*groups, *(["all"] if total else [])]:
        cells = [f"{len(subjects[group, name])} | {images[group, name]}" for name in (*SETS, "all")]
        lines.append(f"| {_cell(group)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _resolutions(rows: Sequence[tuple[Case, str]], facts: dict[str, _Facts]) -> str:
    """Range of voxel sizes by contrast and plane."""
    groups: dict[tuple[str, str], list[_Facts]] = defaultdict(list)
    for case, _ in rows:
        groups[case.contrast, facts[case.name].plane].append(facts[case.name])
    lines = [
        "Voxel size in mm towards right, anterior and superior: least, median, largest.\n",
        "| contrast | plane | images | R-L | A-P | S-I |",
        "|---|---|---:|---|---|---|",
    ]
    for (contrast, plane), found in sorted(groups.items()):
        sizes = [
            f"{min(zooms):.2f}, {numbers.median(zooms):.2f}, {max(zooms):.2f}"
            for zooms in zip(*(fact.zooms for fact in found), strict=True)
        ]
        lines.append(f"| {_cell(contrast)} | {plane} | {len(found)} | {' | '.join(sizes)} |")
    return "\n".join(lines)


def _table(rows: Sequence[tuple[Case, str]], facts: Sequence[_Facts | None]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(_COLUMNS)
    for (case, name), fact in zip(rows, facts, strict=True):
        grid = (
            ("", "", "")
            if fact is None
            else ("x".join(map(str, fact.shape)), "x".join(f"{zoom:.3g}" for zoom in fact.zooms), fact.plane)
        )
        image = case.image.relative_to(case.root).as_posix()
        vendor = fact.vendor if fact else case.vendor
        owner = [name, case.dataset, case.subject, case.session, case.contrast, case.pathology, case.site]
        writer.writerow([*owner, vendor, image, *grid, len(case.labels)])
    return text.getvalue()


def _facts(case: Case) -> _Facts | None:
    """What is known of an image; None if it cannot be read, which is no reason to have no split."""
    try:
        image = load_image(case.image)
    except SoftcordError as error:
        _LOG.warning("%s The statistics leave it out.", error)
        return None
    nothing = np.broadcast_to(np.uint8(0), image.shape[:3])  # only the header counts
    canonical = to_canonical(nothing, image.affine)
    return _Facts(canonical.data.shape, canonical.zooms, case.vendor or _vendor(case.image))


def _vendor(image: Path) -> str:
    """Manufacturer, from the sidecar of an image."""
    sidecar = image.with_name(f"{image_stem(image)}.json")
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    said = content.get("Manufacturer") if isinstance(content, dict) else None
    return said.strip() if isinstance(said, str) else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
