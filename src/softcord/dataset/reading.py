"""Files that people write: recipes, and lists of people whose set is known."""

import json
from pathlib import Path
from typing import Any

from softcord.checksum import file_sha256
from softcord.dataset.recipe import SETS, Recipe
from softcord.errors import InputError, MissingExtraError
from softcord.plain import from_plain


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Parameters
    ----------
    path : path
        A YAML file.

    Returns
    -------
    recipe : Recipe

    Raises
    ------
    InputError
        The file cannot be read, is not YAML, or holds a key or a value that is not known; the message names
        the key.
    MissingExtraError
        If PyYAML is not installed.
    """
    return from_plain(Recipe, _shorthand(_read(Path(path))), str(path))


def read_frozen(path: str | Path, dataset: str = "") -> dict[str, tuple[str, ...]]:
    """Read lists of subjects, by set.

    Parameters
    ----------
    path : path
        YAML or JSON with the keys `test` and, if it knows them, `train` and `val`: lists of subjects; or
        the ``split.json`` of another split. Never written.
    dataset : str
        Which dataset of a ``split.json``.

    Returns
    -------
    sets : dict of str to tuple of str
        Subjects such as ``sub-01``, sorted.

    Raises
    ------
    InputError
        If the file cannot be read, is another, or has a subject in two sets.
    """
    content = _read(Path(path))
    if isinstance(content, dict) and "recipe_sha256" in content:
        content = {name: content.get(name, {}).get(dataset, []) for name in SETS}
    if not isinstance(content, dict) or not set(content) <= set(SETS) or not content:
        raise InputError(f"{path}: expected the keys test, train and val, each a list of subjects.")
    sets: dict[str, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    for name in SETS:
        subjects = content.get(name) or []
        if not isinstance(subjects, list) or not all(isinstance(subject, str) for subject in subjects):
            raise InputError(f"{path}: {name} must be a list of subjects such as sub-01.")
        sets[name] = tuple(sorted({_subject(subject) for subject in subjects}))
        for subject in sets[name]:
            if subject in seen:
                raise InputError(
                    f"{path}: {subject} is in {seen[subject]} and in {name}. A person belongs to one set: "
                    "remove one of the two."
                )
            seen[subject] = name
    return sets


def recipe_sha256(path: str | Path) -> str:
    """SHA-256 of the recipe's file, by which later steps know that it is still the same."""
    return file_sha256(path)


def _subject(name: str) -> str:
    return name if name.startswith("sub-") else f"sub-{name}"


def _read(path: Path) -> Any:  # noqa: ANN401  YAML holds values of any type
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check the name.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8.") from error
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}: not valid JSON: {error}") from error
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: reading YAML needs more packages. Run: pip install 'softcord[dataset]'"
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def _shorthand(content: object) -> object:
    """A single suffix may be written without a list."""
    datasets = content.get("datasets") if isinstance(content, dict) else None
    for source in datasets if isinstance(datasets, list) else []:
        for key in ("labels", "soft"):
            rule = source.get(key) if isinstance(source, dict) else None
            if isinstance(rule, dict) and isinstance(rule.get("suffix"), str):
                rule["suffix"] = [rule["suffix"]]
    return content
