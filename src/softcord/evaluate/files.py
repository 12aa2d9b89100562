"""Compare many segmentations with their references: a table, and a summary."""

import csv
import io
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

import softcord
from softcord.bids import image_stem
from softcord.errors import InputError, OutputError, SoftcordError, UsageError
from softcord.evaluate.image import HALF, Evaluation, SliceError, evaluate
from softcord.evaluate.pairs import Pair, key_of, match_folders
from softcord.levels import level_name
from softcord.nifti import FileSet
from softcord.progress import track

_LOG = logging.getLogger(__name__)

Rows: TypeAlias = Literal["image", "level", "slice"]

SCORES = {
    "dice": ("Dice coefficient of the masks at the threshold; missing if both are empty", ""),
    "soft_dice": ("Dice coefficient of the values: twice the sum of the smaller over the sum of both", ""),
    "volume_error_percent": ("Error of the volume, the sum of the values", "%"),
    "assd_mm": ("Mean distance of the two surfaces, in both directions", "mm"),
    "hd95_mm": ("The larger of the 95th percentiles of the distances in the two directions", "mm"),
    "area_error_mm2": ("Mean error of the areas of slices", "mm2"),
    "area_error_percent": ("Mean relative error of the areas of slices", "%"),
    "area_absolute_error_mm2": ("Mean size of the errors of the areas of slices", "mm2"),
    "area_absolute_error_percent": ("Mean size of the relative errors of the areas of slices", "%"),
}
_NOTE = (
    "both_empty, prediction_empty or reference_empty; no_prediction if there is no file; else why it failed. "
    "Two empty segmentations have no Dice: they count in no mean"
)
_ABOUT = {
    "name": ("What both files are of", ""),
    "prediction": ("Segmentation", ""),
    "reference": ("Reference", ""),
    "levels": ("Vertebral level, 1 is C1", ""),
    "level_names": ("The same level by name", ""),
    "slice": ("Slice, 0 the lowest", ""),
    "n_slices": ("Slices in which the reference has cord", ""),
    "slices_missed": ("Slices with cord in the reference alone", ""),
    "slices_extra": ("Slices with cord in the segmentation alone", ""),
    "area_mm2": ("Area of the segmentation, corrected for its angle", "mm2"),
    "reference_area_mm2": ("Area of the reference, corrected for its angle", "mm2"),
    "note": (_NOTE, ""),
}
COLUMNS: dict[Rows, list[str]] = {
    "image": ["name", "prediction", "reference", *SCORES, "n_slices", "slices_missed", "slices_extra",
              "note"],
    "level": ["name", "prediction", "reference", "levels", "level_names", "n_slices",
              *(name for name in SCORES if name.startswith("area_")), "note"],
    "slice": ["name", "prediction", "reference", "slice", "levels", "level_names", "area_mm2",
              "reference_area_mm2", "area_error_mm2", "area_error_percent", "note"],
}  # fmt: skip


@dataclass(frozen=True)
class EvaluatedFile:
    """What became of one pair.

    Attributes
    ----------
    pair : Pair
    evaluation : Evaluation or None
    error : SoftcordError or None
        Why there is none; both are None if there is no prediction.
    """

    pair: Pair
    evaluation: Evaluation | None = None
    error: SoftcordError | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """One score over all images that have it.

    Attributes
    ----------
    n : int
    mean, sd, median, low, high : float
        Mean, standard deviation (of the sample), median, smallest and largest.
    """

    n: int
    mean: float
    sd: float
    median: float
    low: float
    high: float


def evaluate_files(
    prediction: str | Path,
    reference: str | Path,
    out: str | Path | None = None,
    *,
    rows: Rows = "image",
    threshold: float = HALF,
    levels: str | Path | None = None,
    discs: str | Path | None = None,
    within_reference: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    on_result: Callable[[EvaluatedFile], None] | None = None,
) -> list[EvaluatedFile]:
    """Compare two files, or all files of two folders that belong together.

    Parameters
    ----------
    prediction, reference : path
        Two files, or two folders whose files are matched by subject, session, other entities and contrast.
    out : path, optional
        Table: CSV if the name ends in .csv, else TSV. A JSON file beside it has the summary and explains the
        columns.
    rows : {"image", "level", "slice"}
        One row per image, per vertebral level, or per slice.
    threshold, within_reference
        As for `evaluate`.
    levels, discs : path, optional
        Vertebral levels; ``{name}`` stands for what the pair is of, ``{stem}`` for the reference's name
        without its ending, ``{folder}`` for its folder.
    overwrite : bool
        Replace a table that exists.
    progress : bool
        Show a bar on stderr.
    on_result : function, optional
        Called for each pair, in order.

    Returns
    -------
    results : list of EvaluatedFile
        One for each reference.

    Raises
    ------
    InputError
        If files and folders are mixed, or nothing matches.
    UsageError
        If options cannot be.
    OutputError
        If the table exists or cannot be written.
    """
    if rows not in COLUMNS:
        raise UsageError(f"rows must be one of {', '.join(COLUMNS)}; got {rows!r}.")
    if not 0 <= threshold < 1:
        raise UsageError(f"The threshold must be at least 0 and below 1, got {threshold:g}.")
    if rows == "level" and levels is None and discs is None:
        raise UsageError(
            "Vertebral levels are unknown: give a file of vertebrae or discs (--levels, --discs)."
        )
    out = Path(out) if out is not None else None
    _check_out(out, overwrite=overwrite)
    results = []
    for pair in track(_pairs(Path(prediction), Path(reference)), "Comparing", enabled=progress):
        result = EvaluatedFile(pair)
        if pair.prediction is not None:
            try:
                found = evaluate(
                    pair.prediction,
                    pair.reference,
                    threshold=threshold,
                    levels=_fill(levels, pair),
                    discs=_fill(discs, pair),
                    within_reference=within_reference,
                )
                result = EvaluatedFile(pair, found)
            except SoftcordError as error:
                result = EvaluatedFile(pair, error=error)
        results.append(result)
        if on_result:
            on_result(result)
    if out is not None:
        inputs = [path for r in results for path in (r.pair.prediction, r.pair.reference) if path]
        with FileSet(overwrite=True, inputs=inputs) as files:
            files.add_text(table_text(results, rows, is_csv=out.suffix.lower() == ".csv"), out)
            files.add_text(explanation(results, rows), out.with_suffix(".json"))
            files.commit()
    return results


def summarise(results: Sequence[EvaluatedFile]) -> dict[str, Summary]:
    """Every score over the images that have it.

    Parameters
    ----------
    results : sequence of EvaluatedFile

    Returns
    -------
    summaries : dict of str to Summary
        By name of the score; also `slices_missed`.
    """
    summaries = {}
    evaluations = [result.evaluation for result in results if result.evaluation is not None]
    columns = {name: [float(getattr(e, name)) for e in evaluations] for name in SCORES}
    columns["slices_missed"] = [float(e.n_missed) for e in evaluations]
    for name, column in columns.items():
        values = np.array([value for value in column if math.isfinite(value)])
        if values.size:
            sd = float(values.std(ddof=1)) if values.size > 1 else 0.0
            low, high = float(values.min()), float(values.max())
            summaries[name] = Summary(
                values.size, float(values.mean()), sd, float(np.median(values)), low, high
            )
    return summaries


def table_text(results: Sequence[EvaluatedFile], rows: Rows, *, is_csv: bool = False) -> str:
    """The table as text.

    Parameters
    ----------
    results : sequence of EvaluatedFile
    rows : {"image", "level", "slice"}
    is_csv : bool
        CSV with empty cells for what is missing; default TSV with "n/a".
    """
    stream = io.StringIO()
    names = COLUMNS[rows]
    writer = csv.writer(stream, delimiter="," if is_csv else "\t", lineterminator="\n")
    writer.writerow(names)
    for result in results:
        for record in _records(result, rows):
            writer.writerow([_as_text(record.get(name), "" if is_csv else "n/a") for name in names])
    return stream.getvalue()


def explanation(results: Sequence[EvaluatedFile], rows: Rows) -> str:
    """JSON with the columns of the table, and the summary."""
    facts: dict[str, object] = {}
    for name in COLUMNS[rows]:
        text, unit = {**_ABOUT, **SCORES}[name]
        facts[name] = {"Description": text, **({"Units": unit} if unit else {})}
    facts["GeneratedBy"] = [{"Name": "softcord", "Version": softcord.__version__}]
    facts["Summary"] = {
        name: {"n": s.n, "mean": s.mean, "sd": s.sd, "median": s.median, "min": s.low, "max": s.high}
        for name, s in summarise(results).items()
    }
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


def _pairs(prediction: Path, reference: Path) -> list[Pair]:
    if prediction.is_dir() != reference.is_dir():
        raise InputError(
            f"{prediction} and {reference}: one is a folder and the other is not. Give two of a kind."
        )
    if not prediction.is_dir():
        return [Pair(key_of(reference), prediction, reference)]
    pairs, unmatched = match_folders(prediction, reference)
    for path in unmatched:
        _LOG.warning("%s has no reference and is left out.", path)
    return pairs


def _check_out(out: Path | None, *, overwrite: bool) -> None:
    if out is None:
        return
    for path in (out, out.with_suffix(".json")):
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: exists already. Replace it (--overwrite) or name another.")


def _fill(label: str | Path | None, pair: Pair) -> str | Path | None:
    if label is None or "{" not in str(label):
        return label
    try:
        return str(label).format(
            name=pair.name, stem=image_stem(pair.reference), folder=pair.reference.parent
        )
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(
            f"{label}: {error} cannot be filled in; {{name}}, {{stem}} and {{folder}} can."
        ) from error


def _records(result: EvaluatedFile, rows: Rows) -> list[dict[str, object]]:
    pair, found = result.pair, result.evaluation
    base: dict[str, object] = {"name": pair.name, "reference": str(pair.reference)}
    base["prediction"] = str(pair.prediction) if pair.prediction else None
    if found is None:
        return [{**base, "note": str(result.error) if result.error else "no_prediction"}]
    if rows == "image":
        scores = {name: getattr(found, name) for name in SCORES}
        counts = {"n_slices": found.n_slices, "slices_missed": found.n_missed, "slices_extra": found.n_extra}
        return [{**base, **scores, **counts, "note": found.note or None}]
    if rows == "level":
        return [
            {**base, **_level_record(found, level, slices)} for level, slices in found.at_levels().items()
        ]
    return [{**base, **_slice_record(error)} for error in found.slices]


def _level_record(found: Evaluation, level: int, slices: tuple[SliceError, ...]) -> dict[str, object]:
    part = Evaluation(slices=slices)
    scores = {name: getattr(part, name) for name in SCORES if name.startswith("area_")}
    both = sum(math.isfinite(error.error_mm2) for error in slices)
    return {
        "levels": level, "level_names": level_name(level), "n_slices": both, **scores,
        "note": found.note or None,
    }  # fmt: skip


def _slice_record(error: SliceError) -> dict[str, object]:
    missing = {(True, False): "extra", (False, True): "missed"}
    has = math.isfinite(error.area_mm2), math.isfinite(error.reference_mm2)
    return {
        "slice": error.slice,
        "levels": error.level or None,
        "level_names": level_name(error.level) or None,
        "area_mm2": error.area_mm2,
        "reference_area_mm2": error.reference_mm2,
        "area_error_mm2": error.error_mm2,
        "area_error_percent": error.error_percent,
        "note": "partial" if error.is_partial else missing.get(has),
    }


def _as_text(value: object, missing: str) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return missing
    return f"{value:.6g}" if isinstance(value, float) else str(value)
