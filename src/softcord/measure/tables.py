"""Tables of morphometrics as text: softcord's own, with units in the names, and SCT's to the letter."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

import softcord
from softcord import norms
from softcord.bids import image_stem, parse_name
from softcord.levels import level_name
from softcord.measure.image import Csa
from softcord.measure.rows import Row
from softcord.morphometrics import METRICS

Format: TypeAlias = Literal["tsv", "csv", "sct"]

ENTITIES = ("sub", "ses", "task", "acq", "rec", "dir", "run", "desc")
_UNITS = ("mm2", "mm", "deg")
_NO_SD = {"area_low_mm2", "area_high_mm2", "length_mm"}

_EXPLAINED: dict[str, tuple[str, str]] = {
    "file": ("Mask that was measured", ""),
    **{key: (f"BIDS entity {key} of the file's name", "") for key in ENTITIES},
    "slices": ("Slices of this row, 0 the lowest of the volume whatever its orientation (or of PAM50)", ""),
    "n_slices": ("Number of slices that the means are over: with cord, and no partly filled ends", ""),
    "levels": ("Vertebral levels, 1 is C1 and 8 is T1; missing where unknown", ""),
    "level_names": ("The same levels by name", ""),
    "distance_pmj_mm": ("Distance from the pontomedullary junction along the centreline", "mm"),
    "area_mm2": ("Cross-sectional area: sum of the shares of cord times the area of a pixel", "mm2"),
    "area_low_mm2": ("Lower end of the 95 % interval of the area", "mm2"),
    "area_high_mm2": ("Upper end of the 95 % interval of the area", "mm2"),
    "angle_ap_deg": ("Rotation of the cord about the antero-posterior axis; to the left is positive", "deg"),
    "angle_rl_deg": ("Rotation of the cord about the right-left axis; to the front is positive", "deg"),
    "diameter_ap_mm": ("Mean length from front to back in a band of 3 mm through the centroid", "mm"),
    "diameter_ap_ellipse_mm": ("Front-to-back axis of the ellipse with the same second moments", "mm"),
    "diameter_rl_mm": ("Right-to-left axis of the ellipse with the same second moments", "mm"),
    "length_anterior_mm": ("Part of diameter_ap_mm before the centroid", "mm"),
    "length_posterior_mm": ("Part of diameter_ap_mm behind the centroid", "mm"),
    "eccentricity": ("Eccentricity of the ellipse: 0 for a circle", "1"),
    "orientation_deg": ("Angle between the long axis and the right-left axis, seen from below", "deg"),
    "solidity": ("Area over the area of its convex hull", "1"),
    "length_mm": ("Length of the cord in the slices, along the cord", "mm"),
    "interval": ("Whose errors the interval holds: of a mask as it is, or of softcord's network", ""),
    "definition": ("Whose definitions: softcord's or SCT's", ""),
    "norm_people": ("Healthy people that values are compared with, their sex and least number", ""),
    "n_pieces": ("Pieces of the cord that were measured; more than one have gaps in between", ""),
    "n_stray": ("Pieces beside the cord that were left out", ""),
    "stray_mm3": ("Their volume", "mm3"),
    "flags": ("Why numbers may be wrong: codes", ""),
    "flag_reasons": ("The same in sentences", ""),
}


def columns() -> list[str]:
    """Names of the columns of softcord's own table."""
    measures = []
    for name in METRICS:
        measures += [name] if name in _NO_SD else [name, _with(name, "sd")]
    compared = [_with(name, kind, unit=False) for name in norms.METRICS for kind in ("z", "percentile")]
    about = ["n_pieces", "n_stray", "stray_mm3", "flags", "flag_reasons"]
    head = ["file", *ENTITIES, "slices", "n_slices", "levels", "level_names", "distance_pmj_mm"]
    return [*head, *measures, "interval", "definition", *compared, "norm_people", *about]


def records(result: Csa, name: str) -> list[dict[str, object]]:
    """Rows of softcord's own table; None where there is no value.

    Parameters
    ----------
    result : Csa
    name : str
        What the column `file` says.
    """
    parsed = parse_name(image_stem(name))
    entities = parsed[0] if parsed else {}
    pieces = result.measures.pieces
    rows = []
    for row in result.rows:
        record: dict[str, object] = {"file": name, **{key: entities.get(key) for key in ENTITIES}}
        record["slices"] = compress(row.slices)
        record["n_slices"] = row.n_used
        record["levels"] = compress(row.levels) or None
        record["level_names"] = ";".join(level_name(level) for level in row.levels) or None
        record["distance_pmj_mm"] = _finite(row.distance_pmj_mm)
        for metric in METRICS:
            record[metric] = _finite(row.values[metric])
            if metric not in _NO_SD:
                record[_with(metric, "sd")] = _finite(row.deviations[metric])
        record["interval"], record["definition"] = result.interval, result.options.definition
        for metric in norms.METRICS:
            norm, value = row.norms.get(metric), row.values[metric]
            known = norm is not None and math.isfinite(value)
            record[_with(metric, "z", unit=False)] = norm.z(value) if norm and known else None
            record[_with(metric, "percentile", unit=False)] = (
                norm.percentile(value) if norm and known else None
            )
        people = row.norms.get("area_mm2")
        record["norm_people"] = f"{people.dataset} {people.sex} n={people.n}" if people else None
        record |= {"n_pieces": pieces.n_pieces, "n_stray": pieces.n_stray, "stray_mm3": pieces.stray_mm3}
        record["flags"] = ";".join(dict.fromkeys(flag.code for flag in result.flags)) or None
        record["flag_reasons"] = " ".join(flag.reason for flag in result.flags) or None
        rows.append(record)
    return rows


def tidy_text(
    rows: Iterable[dict[str, object]], names: Sequence[str], *, format_: Format, header: bool
) -> str:
    """Lines of a TSV or CSV table.

    Parameters
    ----------
    rows : iterable of dict
        None is "n/a" in TSV, as BIDS wants it, and empty in CSV.
    names : sequence of str
        The columns.
    format_ : {"tsv", "csv"}
    header : bool
        Whether to begin with the names.
    """
    stream = io.StringIO()
    missing = "n/a" if format_ == "tsv" else ""
    writer = csv.writer(stream, delimiter="\t" if format_ == "tsv" else ",", lineterminator="\n")
    if header:
        writer.writerow(names)
    for row in rows:
        writer.writerow([_as_text(row.get(name), missing) for name in names])
    return stream.getvalue()


def dictionary(names: Sequence[str] | None = None) -> str:
    """JSON that explains the columns of softcord's own table, as BIDS has it."""
    entries: dict[str, object] = {}
    for name in names or columns():
        text, unit = _explain(name)
        entries[name] = {"Description": text, **({"Units": unit} if unit else {})}
    entries["GeneratedBy"] = [{"Name": "softcord", "Version": softcord.__version__}]
    entries["Norms"] = norms.CAUTION
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


_SCT = {
    "area": "area_mm2",
    "angle_AP": "angle_ap_deg",
    "angle_RL": "angle_rl_deg",
    "diameter_AP": "diameter_ap_mm",
    "diameter_AP_ellipse": "diameter_ap_ellipse_mm",
    "diameter_RL": "diameter_rl_mm",
    "length_anterior": "length_anterior_mm",
    "length_posterior": "length_posterior_mm",
    "eccentricity": "eccentricity",
    "orientation": "orientation_deg",
    "solidity": "solidity",
}


def sct_header() -> str:
    """First line of SCT's table."""
    head = ["Timestamp", "SCT Version", "Filename", "Slice (I->S)", "VertLevel", "DistancePMJ"]
    pairs = [f"{kind}({name})" for name in _SCT for kind in ("MEAN", "STD")]
    return ",".join([*head, *pairs, "SUM(length)"]) + "\n"


def sct_text(result: Csa, name: str) -> str:
    """Lines of SCT's table: strings in quotes, all digits of numbers, missing values as empty strings."""
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    # SCT writes the time of the place, without a zone
    time = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    for row in result.rows:
        cells: list[object] = [time, f"softcord {softcord.__version__}", name]
        cells += [compress(row.slices), compress(row.levels), _sct_distance(row)]
        for metric in _SCT.values():
            cells += [_number(row.values[metric]), _number(row.deviations[metric])]
        writer.writerow([*cells, _number(row.values["length_mm"])])
    return stream.getvalue()


def compress(numbers: Iterable[int]) -> str:
    """Whole numbers as ranges, as SCT writes them.

    Examples
    --------
    >>> compress([0, 1, 2, 3]), compress([1, 2, 5]), compress([])
    ('0:3', '1:2;5', '')
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ";".join(str(low) if low == high else f"{low}:{high}" for low, high in runs)


def format_of(path: str | Path, asked: Format | None) -> Format:
    """Format of a table: the one asked for, else that of the name: CSV for .csv, TSV for others."""
    if asked is not None:
        return asked
    return "csv" if Path(path).suffix.lower() == ".csv" else "tsv"


def _with(metric: str, word: str, *, unit: bool = True) -> str:
    """Name of a column about a measure: `area_mm2` and `sd` give `area_sd_mm2`."""
    base, _, last = metric.rpartition("_")
    if last not in _UNITS:
        return f"{metric}_{word}"
    return f"{base}_{word}_{last}" if unit else f"{base}_{word}"


def _explain(name: str) -> tuple[str, str]:
    if name in _EXPLAINED:
        return _EXPLAINED[name]
    for metric in METRICS:
        if name == _with(metric, "sd"):
            return f"Standard deviation of {metric} over the slices", _EXPLAINED[metric][1]
        if name == _with(metric, "z", unit=False):
            return f"Distance of {metric} from the mean of healthy people, in standard deviations", "1"
        if name == _with(metric, "percentile", unit=False):
            return f"Share of healthy people with a smaller {metric}, if normally distributed", "%"
    return name, ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else ""


def _sct_distance(row: Row) -> str:
    """Distance with two decimals, as SCT has it in slices, or as it was asked for."""
    if not math.isfinite(row.distance_pmj_mm):
        return ""
    return f"{round(row.distance_pmj_mm, 2):g}"


def _as_text(value: object, missing: str) -> str:
    if value is None:
        return missing
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
