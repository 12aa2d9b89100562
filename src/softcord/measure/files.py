"""Measure many masks, in parallel, into one table."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from softcord.bids import image_stem, parse_name
from softcord.errors import InputError, OutputError, SoftcordError, UsageError
from softcord.masks import Point
from softcord.measure import tables
from softcord.measure.image import Csa, csa
from softcord.measure.options import CsaOptions
from softcord.measure.tables import Format
from softcord.nifti import FileSet
from softcord.progress import track

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CsaFile:
    """What became of one mask.

    Attributes
    ----------
    input : Path
        The mask.
    csa : Csa or None
        Its measures.
    error : SoftcordError or None
        Why there are none.
    """

    input: Path
    csa: Csa | None
    error: SoftcordError | None


def csa_files(
    masks: Sequence[str | Path],
    out: str | Path | None,
    options: CsaOptions | None = None,
    *,
    levels: str | Path | None = None,
    discs: str | Path | Mapping[int, Point] | None = None,
    pmj: str | Path | Point | None = None,
    format: Format | None = None,  # noqa: A002  the word of the command line
    append: bool = False,
    overwrite: bool = False,
    jobs: int = 1,
    progress: bool = False,
    on_result: Callable[[CsaFile], None] | None = None,
) -> list[CsaFile]:
    """Measure masks and write one table; one that fails does not stop the others.

    Parameters
    ----------
    masks : sequence of paths
        Segmentations.
    out : path or None
        The table, or None to write none. A JSON file of the same name beside it explains the columns (not
        for SCT's format).
    options : CsaOptions, optional
        What to measure.
    levels, discs, pmj : path, optional
        As for `csa`, the same for all masks; or a path with ``{stem}`` in it, which stands for the name of
        the mask without its ending, ``{folder}`` for its folder, ``{sub}`` and so on for entities.
    format : {"tsv", "csv", "sct"}, optional
        Default: by the ending of `out`. SCT's format has SCT's definitions unless options say otherwise.
    append : bool
        Add to a table that exists and has the same columns.
    overwrite : bool
        Replace a table that exists.
    jobs : int
        Processes that measure at the same time.
    progress : bool
        Show a bar on stderr.
    on_result : function, optional
        Called for each mask, in order.

    Returns
    -------
    results : list of CsaFile
        One for each mask, in the same order. If all failed, no table is written.

    Raises
    ------
    UsageError
        Before anything is measured: if options contradict each other.
    OutputError
        If the table exists and is neither to be replaced nor appended to, or cannot be written.
    """
    paths = _checked(masks)
    out = Path(out) if out is not None else None
    format_ = tables.format_of(out or "", format)
    options = options or CsaOptions()
    if options.definition is None and format_ == "sct":
        options = replace(options, definition="sct")
    if jobs < 1:
        raise UsageError(f"jobs must be at least 1, got {jobs}.")
    if append and overwrite:
        raise UsageError("append adds to a table and overwrite replaces it: choose one.")
    options.check(has_levels=levels is not None or discs is not None, has_pmj=pmj is not None)
    before = _existing(out, format_, append=append, overwrite=overwrite) if out else ""
    work = partial(_measure, options=options, labels={"levels": levels, "discs": discs, "pmj": pmj})
    results = []
    n_jobs = min(jobs, len(paths))
    bar = track(paths, "Measuring", enabled=progress and len(paths) > 1)
    # new processes, not copies of this one: copying one that has threads is unsafe
    spawned = ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) if n_jobs > 1 else nullcontext()
    try:
        with spawned as pool:
            done = pool.map(work, paths) if pool is not None else map(work, paths)
            for _, result in zip(bar, done, strict=True):
                results.append(result)
                if on_result:
                    on_result(result)
    except BrokenProcessPool as error:
        raise SoftcordError(
            f"{paths[len(results)]}: the process that measured it was ended, perhaps for want of memory. "
            "Try fewer at a time (--jobs 1)."
        ) from error
    good = [result for result in results if result.csa is not None]
    if good and out is not None:
        _write(good, out, format_, before, append=append, inputs=paths)
    return results


def _checked(masks: Sequence[str | Path]) -> list[Path]:
    if isinstance(masks, str | Path):
        raise UsageError(f"masks must be a list of paths, got the one path {masks}. Give it as a list.")
    paths = [Path(path) for path in masks]
    twice = next((path for n, path in enumerate(paths) if path in paths[:n]), None)
    if twice is not None:
        raise UsageError(f"{twice}: given twice. Give each mask once.")
    return paths


def _measure(path: Path, *, options: CsaOptions, labels: Mapping[str, Any]) -> CsaFile:
    """One mask; runs in a process of its own if there are several."""
    try:
        filled: dict[str, Any] = {name: _fill(label, path) for name, label in labels.items()}
        return CsaFile(path, csa(path, options, **filled), None)
    except SoftcordError as error:
        return CsaFile(path, None, error)


def _fill(label: object, mask: Path) -> object:
    """Path of a label file for one mask."""
    if not isinstance(label, str | Path) or "{" not in str(label):
        return label
    stem = image_stem(mask)
    parsed = parse_name(stem)
    entities = parsed[0] if parsed else {}
    try:
        return str(label).format(stem=stem, folder=mask.parent, **entities)
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(
            f"{mask}: its name does not say what stands in {str(label)!r} ({error}). "
            "{stem}, {folder} and BIDS entities such as {sub} can be filled in."
        ) from error


def _existing(out: Path, format_: Format, *, append: bool, overwrite: bool) -> str:
    """What the table holds already; "" for a new one."""
    explanation = out.with_suffix(".json")
    if format_ != "sct" and explanation.exists() and not _is_dictionary(explanation):
        raise OutputError(
            f"{explanation}: exists and explains no table of softcord csa. Give the table another name."
        )
    if not out.exists():
        return ""
    if append:
        try:
            text = out.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise OutputError(f"{out}: cannot be read ({error}). Choose another table.") from error
        found = text.partition("\n")[0].rstrip("\r")
        wanted = _header(format_).rstrip("\n")
        if text and found != wanted:
            raise OutputError(
                f"{out}: has other columns than {format_} has in this version. Append to a table made "
                "in the same way, or write a new one."
            )
        return text if text.endswith("\n") or not text else text + "\n"
    if not overwrite:
        raise OutputError(f"{out}: exists already. Replace it (--overwrite) or add to it (--append).")
    return ""


def _is_dictionary(path: Path) -> bool:
    """Whether a JSON file explains the columns of a table that softcord wrote."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and "GeneratedBy" in facts and "area_mm2" in facts


def _header(format_: Format) -> str:
    if format_ == "sct":
        return tables.sct_header()
    return tables.tidy_text([], tables.columns(), format_=format_, header=True)


def table_text(results: Sequence[CsaFile], format_: Format, *, header: bool = True) -> str:
    """The table of some results."""
    lines = [_header(format_)] if header else []
    for result in results:
        if result.csa is None:
            continue
        if format_ == "sct":
            lines.append(tables.sct_text(result.csa, str(result.input)))
        else:
            rows = tables.records(result.csa, str(result.input))
            lines.append(tables.tidy_text(rows, tables.columns(), format_=format_, header=False))
    return "".join(lines)


def _write(
    results: Sequence[CsaFile],
    out: Path,
    format_: Format,
    before: str,
    *,
    append: bool,
    inputs: Sequence[Path],
) -> None:
    with FileSet(overwrite=True, inputs=inputs) as files:
        files.add_text(before + table_text(results, format_, header=not before), out)
        if format_ != "sct":
            files.add_text(tables.dictionary(), out.with_suffix(".json"))
        files.commit()
    _LOG.info("%s: %s %d masks", out, "added" if append and before else "wrote", len(results))
