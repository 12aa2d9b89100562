"""Who is the same person: by name, by table, or because two images are one file.

A split is only worth something if no person is on both sides of it. Names do not tell all: a folder may be a
link to another, a person may have been scanned for two studies under two names, and a file may have been
copied. So two images count as one person's if any of these says so.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from softcord.checksum import file_sha256
from softcord.dataset.cases import Case
from softcord.errors import InputError

# .../.git/annex/objects/Xm/5W/KEY/KEY, or the text of a file that is unlocked and not here
_ANNEX = re.compile(
    r"(?:^|/)annex/objects/(?:\S+/)?([A-Z0-9_]+)-(?:[a-z]\d+-)*(?:s(\d+))?[^/]*--([^/\s.]+)[^/\s]*$"
)
_POINTER_BYTES = 32768
_LISTED = 5  # leaks that a message names


def annex_content(path: Path) -> tuple[str, int | None] | None:
    """Checksum and size of a file of git-annex, whether or not its content is here; None for another file.

    Returns
    -------
    checksum : str
        As ``sha256:ab12…``.
    size : int or None, bytes
    """
    text = ""
    if path.is_symlink():
        text = str(path.readlink())
    elif path.is_file() and path.stat().st_size < _POINTER_BYTES:
        with path.open("rb") as file:
            start = file.read(_POINTER_BYTES)
        text = start.decode(errors="replace").strip() if start.startswith(b"/annex/objects/") else ""
    match = _ANNEX.search(text.replace(os.sep, "/"))
    if match is None:
        return None
    return f"{match[1].removesuffix('E').lower()}:{match[3]}", int(match[2]) if match[2] else None


def is_here(path: Path) -> bool:
    """Whether the content of a file is here, and not only its name in git-annex."""
    if not path.is_file():
        return False
    return path.is_symlink() or annex_content(path) is None


def identities(cases: Sequence[Case]) -> list[dict[str, str]]:
    """What tells that cases are of one person.

    Parameters
    ----------
    cases : sequence of Case

    Returns
    -------
    tokens : list of dict of str to str
        For each case: tokens, and what each means. Cases with a token in common are of one person.
    """
    contents = [annex_content(case.image) for case in cases]
    lengths = [_size(case.image, content) for case, content in zip(cases, contents, strict=True)]
    real: dict[int, set[str]] = defaultdict(set)
    for case, length in zip(cases, lengths, strict=True):
        if length is not None:
            real[length].add(os.path.realpath(case.image))
    tokens = []
    for case, content, length in zip(cases, contents, lengths, strict=True):
        found = {
            **{f"name {name}": "the same person by name or table" for name in case.names},
            f"subject {case.dataset}/{case.subject}": "the same subject",
            f"file {os.path.realpath(case.image)}": "the same file, by a link",
        }
        if content is not None:
            found[f"content {content[0]}"] = "files with the same content"
        if length is not None and len(real[length]) > 1 and is_here(case.image):
            found[f"content sha256:{file_sha256(case.image)}"] = "files with the same content"
        tokens.append(found)
    return tokens


def group_people(cases: Sequence[Case], tokens: Sequence[Mapping[str, str]]) -> list[list[int]]:
    """Indices of cases by person, in the order of names.

    Parameters
    ----------
    cases : sequence of Case
    tokens : sequence of dict
        From `identities`.
    """
    leader: dict[str, str] = {}

    def find(token: str) -> str:
        while leader.setdefault(token, token) != token:
            leader[token] = leader[leader[token]]
            token = leader[token]
        return token

    for own in tokens:
        first, *rest = own
        for token in rest:
            leader[find(token)] = find(first)
    groups: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(cases)), key=lambda index: (cases[index].name, str(cases[index].image))):
        groups[find(next(iter(tokens[index])))].append(index)
    return list(groups.values())


def check_leaks(
    cases: Sequence[Case], sets: Sequence[str], tokens: Sequence[Mapping[str, str]] | None = None
) -> None:
    """Raise InputError if a person is in two sets.

    Parameters
    ----------
    cases : sequence of Case
    sets : sequence of str
        The set of each case, such as ``train``.
    tokens : sequence of dict, optional
        From `identities`, if they are known already.

    Raises
    ------
    InputError
        Names the first few people, their images and sets, and why they are one person.
    """
    tokens = identities(cases) if tokens is None else tokens
    leaks = dict.fromkeys(_leaks(cases, sets, tokens))
    if leaks:
        shown = "; ".join(list(leaks)[:_LISTED])
        more = f"; and {len(leaks) - _LISTED} more" if len(leaks) > _LISTED else ""
        raise InputError(
            f"A person must be in one set only: {shown}{more}. Correct the lists of the split; or, if two "
            "datasets only happen to use one name, give one of them its own `people` in the recipe."
        )


def _leaks(cases: Sequence[Case], sets: Sequence[str], tokens: Sequence[Mapping[str, str]]) -> Iterator[str]:
    first: dict[str, int] = {}
    for index, own in enumerate(tokens):
        for token, meaning in own.items():
            other = first.setdefault(token, index)
            if sets[other] != sets[index]:
                one, two = (f"{_say(cases[n])} in {sets[n]}" for n in (other, index))
                yield f"{one} and {two} ({meaning})"
                break


def _say(case: Case) -> str:
    return f"{case.dataset}/{case.image.relative_to(case.root).as_posix()}"


def _size(path: Path, content: tuple[str, int | None] | None) -> int | None:
    if content is not None and content[1] is not None:
        return content[1]
    return path.stat().st_size if path.is_file() else None
