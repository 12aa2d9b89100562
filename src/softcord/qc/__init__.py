"""The review page: one self-contained entry per result and an index, worst first.

Images in, HTML out. Matplotlib is imported only inside :mod:`softcord.qc.drawing`, when an entry is drawn.
"""

from softcord.qc.entry import add_entry, entry_path
from softcord.qc.index import write_index

__all__ = ["add_entry", "entry_path", "write_index"]
