"""What the review page knows of an entry, and how it is written down: JSON inside small scripts.

A page that is opened from a folder may load scripts but read no other file, so each entry is one script that
calls the page with what it holds. Its first line holds the record, which can be read without the pictures.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from softcord.flags import Flag

Kind: TypeAlias = Literal["soft", "mask", "labels"]

_CALL = 'softcord.entry({"record": '


@dataclass(frozen=True, slots=True)
class Origin:
    """How a result was made, and what of it is drawn.

    Attributes
    ----------
    result : str
        Path of the soft map.
    volumes : int or str
        Index of the volume of a series that was segmented, "mean", or "each": then the mean of all is shown.
    threshold : float
        Share of cord at which the line is drawn.
    model, version, sha256 : str
        Name, version and checksum of the model; empty if they are not known.
    date : str
        When it was made.
    """

    result: str = ""
    volumes: int | str = "mean"
    threshold: float = 0.5
    model: str = ""
    version: str = ""
    sha256: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the table.

    Attributes
    ----------
    key : str
        Name of the entry: the same for the same image, segmentation and volume.
    subject, source : str
        Whose image it is, and the path it was read from.
    name : str
        File name of the image.
    entities : dict of str to str
        Those of the BIDS name of the image; empty for another name.
    contrast : str
        Suffix of the BIDS name.
    kind : {"soft", "mask", "labels"}
        Shares of cord, zeros and ones, or several labels.
    flags : tuple of Flag
        Why the result may be wrong.
    volume_mm3, mean_area_mm2 : float
        Volume of the cord and its mean area across the cord; 0 without cord.
    confidence : float or None
        Share of the cord's volume that lies in voxels which are more than half cord; None unless `kind` is
        "soft".
    grid : str
        Shape and voxel size, as text.
    origin : Origin
        How the result was made.
    drawn : str
        When the entry was made, in UTC.
    """

    key: str
    subject: str
    source: str
    name: str
    kind: Kind
    flags: tuple[Flag, ...]
    volume_mm3: float
    mean_area_mm2: float
    grid: str
    entities: dict[str, str] = field(default_factory=dict)
    contrast: str = ""
    confidence: float | None = None
    origin: Origin = Origin()
    drawn: str = ""


def entry_script(record: Record, pictures: dict[str, Any]) -> str:
    """The script of an entry: its record on the first line, then what is drawn."""
    return f"{_CALL}{_json(asdict(record))},\n" + _json(pictures)[1:] + ");\n"


def row_script(record: Record) -> str:
    """The script that adds an entry to the table."""
    return f"softcord.add({_json(asdict(record))});\n"


def read_record(line: str) -> Record | None:
    """Take the record out of the first line of either script; None if there is none."""
    for start, end in ((_CALL, ",\n"), ("softcord.add(", ");\n")):
        if line.startswith(start) and line.endswith(end):
            return _record_of(line[len(start) : -len(end)])
    return None


def _record_of(text: str) -> Record | None:
    try:
        fields = json.loads(text)
        flags = tuple(Flag(**flag) for flag in fields["flags"])
        return Record(**{**fields, "flags": flags, "origin": Origin(**fields["origin"])})
    except (ValueError, TypeError, KeyError):
        return None


def _json(value: object) -> str:
    """JSON in ASCII, which is JavaScript as it stands, and without a way out of a script element."""
    return json.dumps(value).replace("<", "\\u003c")
