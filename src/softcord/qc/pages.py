"""The HTML of the review page: what one entry and the index look like, and the record that joins them.

An entry carries its own record as JSON in its head, so that the index can be built from the entries alone.
"""

import html
import json
from dataclasses import asdict, dataclass
from urllib.parse import quote

from softcord.flags import Flag

NOTICE = "Research use only. Not a medical device; not for diagnosis or treatment."
_OPEN, _CLOSE = '<script type="application/json" id="softcord-entry">', "</script>"

_STYLE = """
body { background: #14161a; color: #e8e8e8; font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto;
       max-width: 1300px; padding: 0 1rem; }
a { color: #7cc7ff; } h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #333; overflow-wrap: anywhere; padding: .35rem .7rem; text-align: left;
         vertical-align: top; }
.number { text-align: right; }
.flag { background: #6b2a12; border-radius: .3rem; padding: 0 .4rem; white-space: nowrap; }
.fine { color: #86d993; }
.view { background: #000; display: inline-block; position: relative; }
.view img { display: block; max-width: 100%; }
.view img.overlay { left: 0; position: absolute; top: 0; width: 100%; }
#overlay:not(:checked) ~ section .overlay { display: none; }
footer { border-top: 1px solid #333; color: #aaa; margin-top: 2rem; padding-top: .5rem; }
"""


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
    """What the index knows of an entry.

    Attributes
    ----------
    subject, source : str
        Whose image it is, and the path it was read from.
    name : str
        File name of the image.
    flags : tuple of Flag
        Why the result may be wrong.
    volume_mm3, mean_area_mm2 : float
        Volume of the cord and its mean area per slice; 0 without cord.
    grid : str
        Shape and voxel size, as text.
    origin : Origin
        How the result was made.
    """

    subject: str
    source: str
    name: str
    flags: tuple[Flag, ...]
    volume_mm3: float
    mean_area_mm2: float
    grid: str
    origin: Origin = Origin()

    @property
    def badness(self) -> tuple[bool, int]:
        """Sorts results: one without cord is worst, then the more flags the worse."""
        return (any(flag.code == "no_cord" for flag in self.flags), len(self.flags))


def read_record(page: str) -> Record | None:
    """Take the record out of an entry's HTML; None if it is not an entry."""
    start = page.find(_OPEN)
    end = page.find(_CLOSE, start)
    if start < 0 or end < 0:
        return None
    try:
        fields = json.loads(page[start + len(_OPEN) : end])
        flags = tuple(Flag(**flag) for flag in fields["flags"])
        return Record(**{**fields, "flags": flags, "origin": Origin(**fields["origin"])})
    except (ValueError, TypeError, KeyError):
        return None


def entry_page(record: Record, views: dict[str, tuple[str, str]]) -> str:
    """HTML of one entry.

    Parameters
    ----------
    record : Record
        What is known of the result.
    views : dict of str to (str, str)
        Caption to the addresses of background and overlay.
    """
    origin = record.origin
    facts = {
        "Source": record.source,
        "Grid": record.grid,
        "Volume": f"{record.volume_mm3:.0f} mm³",
        "Mean area per axial slice": f"{record.mean_area_mm2:.1f} mm²",
        "Result": origin.result,
        "Volume of a series": str(origin.volumes),
        "Model": " ".join(filter(None, [origin.model, origin.version, origin.sha256])),
        "Date": origin.date,
    }
    rows = "".join(
        f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>\n" for name, value in facts.items() if value
    )
    pictures = "".join(_picture(caption, below, above) for caption, (below, above) in views.items())
    title = f"{record.subject} {record.name}".strip()
    body = (
        f'<p><a href="../index.html">All results</a></p>\n<h1>{html.escape(title)}</h1>\n'
        f"{_flag_list(record.flags)}\n<table>{rows}</table>\n"
        '<input type="checkbox" id="overlay" checked><label for="overlay"> show the segmentation '
        f"(colour: share of cord in the voxel; line: {origin.threshold:g})</label>\n{pictures}"
    )
    data = json.dumps(asdict(record)).replace("<", "\\u003c")
    return _page(title, body, head=_OPEN + data + _CLOSE)


def index_page(entries: list[tuple[str, Record]]) -> str:
    """HTML of the index: (file name, record) pairs in a table, worst first."""
    ordered = sorted(entries, key=lambda entry: (entry[1].subject, entry[1].name, entry[0]))
    ordered.sort(key=lambda entry: entry[1].badness, reverse=True)
    names = ("Subject", "Image", "What may be wrong")
    numbers = ("Flags", "Volume, mm³", "Mean area, mm²")
    heads = [f"<th>{name}</th>" for name in names] + [f'<th class="number">{name}</th>' for name in numbers]
    rows = "".join(_index_row(file, record) for file, record in ordered)
    flagged = sum(bool(record.flags) for _, record in entries)
    body = (
        "<h1>softcord: results to review</h1>\n"
        f"<p>{len(entries)} results, {flagged} with flags; worst first.</p>\n"
        f"<table><thead><tr>{''.join(heads)}</tr></thead>\n<tbody>\n{rows}</tbody></table>"
    )
    return _page("softcord: results to review", body)


def _index_row(file: str, record: Record) -> str:
    link = f'<a href="entries/{quote(file)}">{html.escape(record.name)}</a>'
    flags = " ".join(_flag(flag) for flag in record.flags)
    texts = (html.escape(record.subject), link, flags)
    numbers = (str(len(record.flags)), f"{record.volume_mm3:.0f}", f"{record.mean_area_mm2:.1f}")
    cells = [f"<td>{text}</td>" for text in texts] + [f'<td class="number">{n}</td>' for n in numbers]
    return f"<tr>{''.join(cells)}</tr>\n"


def _picture(caption: str, below: str, above: str) -> str:
    return (
        f'<section><h2>{caption}</h2><div class="view"><img src="{below}" alt="{caption}">'
        f'<img class="overlay" src="{above}" alt="segmentation"></div></section>\n'
    )


def _flag_list(flags: tuple[Flag, ...]) -> str:
    if not flags:
        return '<p class="fine">No flags.</p>'
    items = "".join(f"<li>{_flag(flag)} {html.escape(flag.reason)}</li>\n" for flag in flags)
    return f"<ul>{items}</ul>"


def _flag(flag: Flag) -> str:
    return f'<span class="flag" title="{html.escape(flag.reason)}">{html.escape(flag.code)}</span>'


def _page(title: str, body: str, head: str = "") -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{head}\n'
        f'<title>{html.escape(title)}</title><meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style></head>\n<body>{body}\n<footer>{NOTICE}</footer></body></html>\n"
    )
