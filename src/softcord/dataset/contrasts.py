"""Contrasts as BIDS names tell them: a suffix, and where that is not enough, entities."""

from collections.abc import Iterable, Mapping

from softcord.bids import format_name

# entities without which a suffix is no contrast: MT on and off, the part of a complex image
_TELLING = ("mt", "inv", "part")


def parse_contrast(name: str) -> tuple[dict[str, str], str]:
    """Entities and suffix of a contrast.

    Examples
    --------
    >>> parse_contrast("flip-1_mt-on_MTS")
    ({'flip': '1', 'mt': 'on'}, 'MTS')

    Raises
    ------
    ValueError
        If it is no such name.
    """
    *parts, suffix = name.split("_")
    pairs = [part.split("-") for part in parts]
    if not suffix.isalnum() or any(
        len(pair) != 2 or not all(word.isalnum() for word in pair) for pair in pairs
    ):
        raise ValueError(f"contrasts must be suffixes such as T2w or mt-on_MTS, got '{name}'.")
    return {key: value for key, value in pairs}, suffix  # noqa: C416  dict(pairs) has no types


def contrast_of(entities: Mapping[str, str], suffix: str) -> str:
    """Contrast of an image by its name.

    Examples
    --------
    >>> contrast_of({"sub": "01", "acq": "crop", "mt": "on"}, "MTS")
    'mt-on_MTS'
    """
    return format_name({key: entities[key] for key in _TELLING if key in entities}, suffix)


def match_contrast(entities: Mapping[str, str], suffix: str, wanted: Iterable[str]) -> str | None:
    """The wanted contrast that an image has: of several, the one that says most; None if it has none.

    Examples
    --------
    >>> match_contrast({"sub": "01", "rec": "average"}, "dwi", ["dwi", "rec-average_dwi"])
    'rec-average_dwi'
    """
    fitting = [
        (len(needed), name)
        for name in wanted
        for needed, last in [parse_contrast(name)]
        if last == suffix and needed.items() <= entities.items()
    ]
    return max(fitting)[1] if fitting else None
