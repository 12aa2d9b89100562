"""From a recipe to a release: get, split, soft labels, convert, plan, train, export, each done once."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softcord.checksum import file_sha256
from softcord.errors import InputError, OutputError

if TYPE_CHECKING:
    from softcord.train.nnunet.trainers import Epoch, TrainOptions

log = logging.getLogger(__name__)

STEPS = ("get", "split", "soft-labels", "convert", "plan", "run", "export")


class _Journal:
    """Which steps are done, from what; and the log.

    Parameters
    ----------
    folder : Path
        Of the whole; stamps are in `steps/`, the log is `log.txt`.
    say : callable
        Gets each line of the log, too.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        try:
            (folder / "steps").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot be made ({error.strerror}). Choose another folder."
            ) from error

    def do(self, step: str, inputs: object, act: Callable[[], Path]) -> Path:
        """Do a step, unless it was done from the same inputs and its result is still there."""
        from softcord.train.nnunet.layout import write_json

        digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        stamp = self.folder / "steps" / f"{STEPS.index(step) + 1}-{step}.json"
        before = _read(stamp)
        if before.get("inputs") == digest and Path(str(before.get("result"))).exists():
            self.note(f"{step}: done before, {before['result']}")
            return Path(before["result"])
        begun = time.monotonic()
        self.note(f"{step}: begun")
        result = act().resolve()
        seconds = round(time.monotonic() - begun, 1)
        write_json({"inputs": digest, "result": str(result), "seconds": seconds}, stamp)
        self.note(f"{step}: done in {seconds:.0f} s, {result}")
        return result

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Leave the reason in the log, whatever ends the run."""
        try:
            yield
        except BaseException as error:
            self.note(f"ended: {type(error).__name__} {error}".rstrip())
            raise

    def note(self, line: str) -> None:
        """Write a line."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{now} {line}\n")
        log.info("%s", line)
        self.say(line)


def train_all(
    recipe: Path,
    out: Path,
    *,
    name: str,
    options: "TrainOptions",
    topology: str = "contrast-agnostic",
    patch: tuple[int, int, int] | None = None,
    fold: int | str = 0,
    device: str = "auto",
    gpus: int = 1,
    threads: int | None = None,
    workers: int = 0,
    progress: bool = False,
    on_step: Callable[[str], None] | None = None,
    on_epoch: Callable[["Epoch"], None] | None = None,
) -> Path:
    """Do everything from a recipe to a release, or go on with it.

    A step is done again only if what it is made from has changed; one that was interrupted goes on where it
    was. Results are in `data`, `split`, `soft`, `raw`, `run` and `release` below `out`; `log.txt` says what
    was done when, and `steps` holds a stamp for each step. Soft labels are averaged over the contrasts of
    each person, see `softcord.dataset.make_soft_labels`; a training on hard labels makes none.

    Parameters
    ----------
    recipe : Path
        See `softcord.dataset.read_recipe`.
    out : Path
        Folder for everything.
    name : str
        Of the release.
    options : TrainOptions
    topology, patch
        See `softcord.train.nnunet.planning.PlanOptions`.
    fold, device, gpus, threads, workers, progress
        See `softcord.train.nnunet.training.train`.
    on_step : callable, optional
        Called with each line of the log.
    on_epoch : callable, optional
        Called after each epoch.

    Returns
    -------
    archive : Path
        The release.

    Raises
    ------
    SoftcordError
        What the steps raise; the same command goes on from there.
    """
    from softcord import dataset
    from softcord.train.nnunet.layout import RECORD, open_run, read_json, write_json
    from softcord.train.nnunet.planning import PlanOptions, plan
    from softcord.train.nnunet.release import release
    from softcord.train.nnunet.training import train

    options.check()
    plan_options = PlanOptions(topology, patch)
    plan_options.check()
    dataset.read_recipe(recipe)  # a mistake there is said before anything is fetched
    recipe_sha256 = file_sha256(recipe)
    data, split, soft = (out / part for part in ("data", "split", "soft"))
    raw, run, releases = (out / part for part in ("raw", "run", "release"))
    jobs = max(1, workers)

    def get() -> Path:
        got = dataset.get_datasets(recipe, data, jobs=jobs)
        for missing in got.missing:
            journal.note(f"get: not to be had: {missing.dataset} {missing.path}: {missing.reason}")
        return data

    def split_people() -> Path:
        dataset.split_subjects(recipe, data, split, overwrite=True)
        return split

    def soft_labels() -> Path:
        if options.labels != "hard":
            dataset.make_soft_labels(recipe, data, soft, jobs=jobs)
        soft.mkdir(exist_ok=True)
        return soft

    def convert() -> Path:
        averaged = soft if options.labels != "hard" else None
        made = dataset.convert(recipe, data, raw, split=split, soft=averaged, jobs=jobs, overwrite=True)
        if made.failed:
            case, error = made.failed[0]
            raise InputError(f"{len(made.failed)} cases cannot be converted, first {case}: {error}")
        return made.folder

    def plan_run(source: Path) -> Path:
        made = plan(source, run, plan_options, workers=jobs, progress=progress)
        record = read_json(run / RECORD, "Plan again.")
        write_json({**record, "recipe": {"name": recipe.name, "sha256": recipe_sha256}}, run / RECORD)
        return made.plans

    def train_run() -> Path:
        return train(
            run,
            options,
            fold=fold,
            device=device,
            gpus=gpus,
            threads=threads,
            workers=workers,
            progress=progress,
            on_epoch=on_epoch,
        )

    def export() -> Path:
        return release(run, releases, name=name, overwrite=True).archive

    journal = _Journal(out, on_step or (lambda _line: None))
    with journal.noting_failure():
        journal.note(f"softcord train all {recipe}")
        journal.do("get", [recipe_sha256], get)
        journal.do("split", [recipe_sha256, _states(data)], split_people)
        made_from = [recipe_sha256, _states(split), _states(data), options.labels]
        journal.do("soft-labels", made_from, soft_labels)
        source = journal.do("convert", made_from, convert)
        plans = journal.do("plan", [_states(source), asdict(plan_options)], lambda: plan_run(source))
        trained = journal.do("run", [file_sha256(plans), asdict(options), str(fold)], train_run)
        planned, _ = open_run(run)
        inputs = [file_sha256(trained), file_sha256(planned.plans), name]
        return journal.do("export", inputs, export)


def _states(folder: Path) -> dict[str, str]:
    """Checksums of the descriptions at the top of a folder: which data it holds, and in which state."""
    return {
        path.name: file_sha256(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix in (".json", ".tsv", ".yaml")
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
