"""The review page: one small file per result, a table of all, and what people said of them.

Images in, a folder out that any browser opens without a server. Arrays to pictures (`views`, `pictures`,
`curve`), pictures to a folder (`entry`, `folder`), ratings (`ratings`, `summary`), and a small server for
those who want ratings saved at once (`server`).
"""

from softcord.qc.entry import add_entry, entry_key, entry_path, is_drawn
from softcord.qc.folder import prepare, read_rows
from softcord.qc.record import Origin, Record

__all__ = ["Origin", "Record", "add_entry", "entry_key", "entry_path", "is_drawn", "prepare", "read_rows"]
