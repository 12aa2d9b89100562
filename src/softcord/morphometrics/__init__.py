"""Shape of the cord in each slice, from numbers alone: areas, diameters, angles and how sure they are.

`measure_slices` is the whole of it; every definition is in docs/conventions.md.
"""

from softcord.morphometrics.interval import Source, area_interval
from softcord.morphometrics.pieces import Pieces, choose_pieces
from softcord.morphometrics.slices import METRICS, Definition, SliceMeasures, measure_slices

__all__ = [
    "METRICS",
    "Definition",
    "Pieces",
    "SliceMeasures",
    "Source",
    "area_interval",
    "choose_pieces",
    "measure_slices",
]
