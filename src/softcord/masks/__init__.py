"""Segmentations and labels that somebody made: read, checked and placed on one grid, ready to be measured."""

from softcord.masks.labels import Labels, Point, find_levels, find_pmj
from softcord.masks.reading import Mask, check_same_grid, read_mask

__all__ = ["Labels", "Mask", "Point", "check_same_grid", "find_levels", "find_pmj", "read_mask"]
