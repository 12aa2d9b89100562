"""Which images with which labels a dataset holds, by their names alone.

Names are enough, so that a git-annex dataset can be looked through before any of its files is here. The order
of what is found is that of names, not that of the disk.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from softcord.bids import image_stem, parse_name
from softcord.dataset.contrasts import contrast_of, match_contrast
from softcord.dataset.participants import check_column, pathology_of, read_participants
from softcord.dataset.recipe import LabelRule, Source
from softcord.errors import InputError

_LOG = logging.getLogger(__name__)
_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Case:
    """An image with its labels, and whose it is.

    Attributes
    ----------
    dataset, subject, session : str
        As ``canproco``, ``sub-01``, ``ses-M0`` (empty without sessions).
    contrast, site, pathology, vendor : str
        `vendor` is empty if participants.tsv does not say it.
    names : tuple of str
        What the person is called: by subject name, and by participants.tsv if the recipe says where. Cases
        with a name in common are of one person.
    root : Path
        Folder of the dataset.
    image : Path
    labels : tuple of Path
        One of each rater, at least one unless there is `soft`.
    soft : Path or None
        Soft label that the dataset has.
    trust : str
        As in `Source`.
    """

    dataset: str
    subject: str
    session: str
    contrast: str
    site: str
    pathology: str
    vendor: str
    names: tuple[str, ...]
    root: Path
    image: Path
    labels: tuple[Path, ...]
    soft: Path | None
    trust: str = "affine"

    @property
    def name(self) -> str:
        """Unique among all datasets of a recipe."""
        return f"{self.dataset}_{image_stem(self.image)}"

    @property
    def owner(self) -> tuple[str, str]:
        """Dataset and subject: what a split gives a set to."""
        return self.dataset, self.subject

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the case needs."""
        return (self.image, *self.labels, *([self.soft] if self.soft else []))


def find_cases(source: Source, root: Path) -> list[Case]:
    """Images of a dataset that a recipe wants and that have a label, whether or not their content is here.

    Parameters
    ----------
    source : Source
        What the recipe says.
    root : Path
        Folder of the dataset.

    Returns
    -------
    cases : list of Case
        By name.

    Raises
    ------
    InputError
        If the dataset has no such image, if none has a label, or if a column that the recipe names is empty.
    """
    rows = read_participants(root)
    for column, key in ((source.site_column, "site_column"), (source.person_column, "person_column")):
        if column:
            check_column(root, rows, column, key)
    images = [*_images(source, root)]
    cases = [
        case for image, contrast in images if (case := _case(source, root, image, contrast, rows)) is not None
    ]
    _check_found(source, root, images, cases)
    return sorted(cases, key=lambda case: case.name)


def _case(
    source: Source, root: Path, image: Path, contrast: str, rows: dict[str, dict[str, str]]
) -> Case | None:
    """The case of an image; None without a label."""
    labels = _labels(source.labels, source, root, image)
    soft = _labels(source.soft, source, root, image) if source.soft else []
    if not labels and not soft:
        return None
    parsed = parse_name(image_stem(image))
    entities = parsed[0] if parsed else {}
    subject = f"sub-{entities['sub']}"
    row = rows.get(subject, {})
    pathology = pathology_of(subject, row, source.pathology)
    if source.pathology.only and pathology not in source.pathology.only:
        return None
    return Case(
        dataset=source.name,
        subject=subject,
        session=f"ses-{entities['ses']}" if "ses" in entities else "",
        contrast=contrast,
        site=row.get(source.site_column, "n/a") if source.site_column else source.name,
        pathology=pathology,
        vendor=row.get(source.vendor_column, ""),
        names=tuple(f"{source.people}:{name}" for name in (subject, row.get(source.person_column)) if name),
        root=root,
        image=image,
        labels=tuple(labels),
        soft=soft[0] if soft else None,
        trust=source.trust,
    )


def _images(source: Source, root: Path) -> Iterator[tuple[Path, str]]:
    """Images that the recipe wants, with their contrasts."""
    top = root / source.images
    used: set[str] = set()
    for path in _files(top):
        parsed = parse_name(image_stem(path))
        if parsed is None:
            continue
        entities, suffix = parsed
        names = (path.relative_to(top).as_posix(), path.name, f"sub-{entities['sub']}")
        if source.include and not _matches(names, source.include, used):
            continue
        if _matches(names, source.exclude, used):
            continue
        if source.contrasts:
            contrast = match_contrast(entities, suffix, source.contrasts)
        else:
            contrast = contrast_of(entities, suffix)
        if contrast is not None:
            yield path, contrast
    for pattern in (*source.include, *source.exclude):
        if pattern not in used:
            _LOG.warning("%s: the pattern '%s' fits no image of %s.", source.name, pattern, root)


def _files(top: Path) -> Iterator[Path]:
    """NIfTI files of all subjects, by name; a folder or file may be a link, also one to nothing."""
    for subject in sorted(top.glob("sub-*")):
        for pattern in ("*/*", "ses-*/*/*"):
            for path in sorted(subject.glob(pattern)):
                if path.name.endswith(_ENDINGS) and not path.is_dir():
                    yield path


def _matches(names: Sequence[str], patterns: Sequence[str], used: set[str]) -> bool:
    fitting = [pattern for pattern in patterns if any(fnmatchcase(name, pattern) for name in names)]
    used.update(fitting)
    return bool(fitting)


def _labels(rule: LabelRule, source: Source, root: Path, image: Path) -> list[Path]:
    """Labels of an image that exist, be it as links to content that is not here."""
    return [path for suffix in rule.suffix if (path := _label(rule, suffix, source, root, image)) is not None]


def _label(rule: LabelRule, suffix: str, source: Source, root: Path, image: Path) -> Path | None:
    folder = root / rule.folder / image.parent.relative_to(root / source.images)
    for ending in _ENDINGS:
        path = folder / f"{image_stem(image)}_{suffix}{ending}"
        if path.exists() or path.is_symlink():
            return path
    return None


def _check_found(source: Source, root: Path, images: list[tuple[Path, str]], cases: list[Case]) -> None:
    """Refuse a dataset of which nothing can be used, and say what was looked for."""
    if not images:
        wanted = ", ".join(source.contrasts) or "any contrast"
        raise InputError(
            f"{source.name}: {root / source.images} has no image sub-*/…/*.nii.gz of {wanted} that include "
            "and exclude leave. Check the recipe against the names of the files."
        )
    if not cases:
        image, rule = images[0][0], source.labels
        label = Path(rule.folder) / image.parent.relative_to(root / source.images)
        raise InputError(
            f"{source.name}: no image has a label that the recipe wants; of {image.name}, it would be "
            f"{label}/{image_stem(image)}_{rule.suffix[0]}.nii.gz in {root}. Check labels and pathology."
        )
    found = {contrast for _, contrast in images}
    for contrast in source.contrasts:
        if contrast not in found:
            _LOG.warning("%s: no image has the contrast %s.", source.name, contrast)
