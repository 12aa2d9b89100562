"""Segment the spinal cord: one image in memory, or files to files.

Read, reorient, run the network, judge the result, bring it back on the image's own grid. The network is
:mod:`softcord.engines`' business, reading and writing :mod:`softcord.nifti`'s; this joins them.
"""

from softcord.segment.files import segment_files
from softcord.segment.image import Segmentation, Volumes, segment
from softcord.segment.options import FileOptions, FileResult, OnResult

__all__ = ["FileOptions", "FileResult", "OnResult", "Segmentation", "Volumes", "segment", "segment_files"]
