"""Measure segmentations of the cord: masks in, tables of areas, diameters and angles out."""

from softcord.measure.files import CsaFile, csa_files, table_text
from softcord.measure.image import Csa, Row, csa
from softcord.measure.options import CsaOptions

__all__ = ["Csa", "CsaFile", "CsaOptions", "Row", "csa", "csa_files", "table_text"]
