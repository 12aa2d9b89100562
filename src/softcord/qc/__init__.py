"""The review page: one self-contained entry per result and an index, worst first.

Images in, HTML out. Matplotlib is imported only inside :mod:`softcord.qc.drawing`, when an entry is drawn.
"""

from softcord.qc.entry import add_entry, entry_path, is_drawn
from softcord.qc.index import write_index
from softcord.qc.pages import Origin

__all__ = ["Origin", "add_entry", "entry_path", "is_drawn", "write_index"]
