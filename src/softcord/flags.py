"""Why a result may be wrong."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """One reason to look at a result before using it.

    Attributes
    ----------
    code : str
        Short name in snake_case, the same in tables, sidecars and pages.
    reason : str
        One sentence for a person, with the numbers behind it.
    """

    code: str
    reason: str
