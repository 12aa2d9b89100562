"""Measure segmentations of the cord: masks in, tables of areas, diameters and angles out."""

from softcord.measure.compare import Comparison, PairedArea, compare_csa, comparison_text, write_comparison
from softcord.measure.files import CsaFile, csa_files, table_text
from softcord.measure.image import Csa, csa
from softcord.measure.options import CsaOptions
from softcord.measure.rows import Row

__all__ = [
    "Comparison",
    "Csa",
    "CsaFile",
    "CsaOptions",
    "PairedArea",
    "Row",
    "compare_csa",
    "comparison_text",
    "csa",
    "csa_files",
    "table_text",
    "write_comparison",
]
