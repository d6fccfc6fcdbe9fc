"""Builds a zoo: items with parents, made by recipes, in order, resumable, as Ray tasks.

An item's result depends on its own settings and seed and on its parents alone, so the zoo is the same
whatever the number of workers and however often the build was interrupted. What is done is what can be
listed: a model's folder together with its record in `.records/`, written last.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from provray.testbed.folders import (
    Record,
    Relation,
    Split,
    folder_bytes,
    record_from,
    write_json,
    write_truth,
)

#: Part of every item's key: raise it when recipes change what they make.
RECIPES_VERSION = 1


@dataclass(frozen=True)
class Item:
    """One model to be made.

    `model` is its path below the folder of its split and names it in the zoo. `recipe` is a function of
    `recipes.RECIPES`, `settings` its arguments. `parent` and `others` are the models whose folders it
    reads; it descends from `parent` alone unless `lineage` names others. `method` and `data` are told in
    the truth. `seconds` is a guess at its cost, used only to start long chains first.
    """

    model: str
    split: Split
    relation: Relation
    recipe: str
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    others: tuple[str, ...] = ()
    seconds: float = 5.0
    lineage: tuple[str, ...] | None = None
    method: str = ""
    data: str = ""

    @property
    def parents(self) -> tuple[str, ...]:
        """The models this one descends from."""
        if self.lineage is not None:
            return self.lineage
        return () if self.parent is None else (self.parent,)

    @property
    def path(self) -> str:
        """Path below the zoo."""
        return f"{self.split}/{self.model}"

    @property
    def sources(self) -> tuple[str, ...]:
        """The models this one is made from."""
        return (*(() if self.parent is None else (self.parent,)), *self.others)


@dataclass(frozen=True)
class Job:
    """What a recipe is given: its item, where to write, and the folders of its sources."""

    item: Item
    folder: Path
    sources: tuple[Path, ...]

    @property
    def title(self) -> str:
        """What the model's card calls it."""
        return self.item.model.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Outcome:
    """What a recipe tells of the model it made: accuracy on its own task; answers to be compared."""

    accuracy: float | None = None
    answers: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Progress:
    """One item is there: `kept` if it already was."""

    done: int
    total: int
    model: str
    relation: Relation
    seconds: float
    accuracy: float | None
    kept: bool


def seed_of(zoo: str, seed: int, model: str) -> int:
    """Return the seed of a model: 31 bits of a hash, so that zoos never share one by accident."""
    digest = hashlib.sha256(f"{zoo}\0{seed}\0{model}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def check_items(items: Sequence[Item]) -> dict[str, Item]:
    """Return the items by name; ValueError for a name used twice or a source that is not there."""
    named: dict[str, Item] = {}
    for item in items:
        if item.model in named:
            raise ValueError(f"two items are called {item.model}; give each its own name")
        named[item.model] = item
    for item in items:
        for source in item.sources:
            if source not in named:
                raise ValueError(f"{item.model} is made from {source}, which is not in the zoo")
    return named


def item_keys(items: Mapping[str, Item]) -> dict[str, str]:
    """Return a digest per item over all that its result depends on, its ancestors included."""
    keys: dict[str, str] = {}

    def key(name: str, above: tuple[str, ...]) -> str:
        if name in above:
            raise ValueError(f"{name} descends from itself: {' <- '.join((*above, name))}")
        if name not in keys:
            item = items[name]
            value = {
                "version": RECIPES_VERSION,
                "recipe": item.recipe,
                "settings": dict(item.settings),
                "seed": item.seed,
                "sources": [key(source, (*above, name)) for source in item.sources],
            }
            text = json.dumps(value, sort_keys=True)
            keys[name] = hashlib.sha256(text.encode()).hexdigest()
        return keys[name]

    for name in items:
        key(name, ())
    return keys


def _make(job: Job) -> tuple[Outcome, float]:
    from provray.testbed.recipes import RECIPES

    began = time.process_time()
    outcome = RECIPES[job.item.recipe](job)
    return outcome, time.process_time() - began


def _record_file(zoo: Path, item: Item) -> Path:
    return zoo / ".records" / f"{item.path.replace('/', '--')}.json"


def _read_done(zoo: Path, item: Item, key: str) -> dict[str, Any] | None:
    """The stored record of an item that is complete and still what is asked for."""
    file = _record_file(zoo, item)
    if not file.is_file() or not (zoo / item.path / "model.safetensors").is_file():
        return None
    stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    # records of an earlier layout are no use, whatever their key
    known = set(stored["record"]) == {field.name for field in fields(Record)}
    return stored if known and stored["key"] == key else None


def _store(zoo: Path, item: Item, key: str, outcome: Outcome, seconds: float) -> dict[str, Any]:
    record = Record(
        model=item.model,
        split=item.split,
        path=item.path,
        parents=item.parents,
        relation=item.relation,
        method=item.method or item.relation,
        data=item.data,
        settings={"recipe": item.recipe, **item.settings},
        seed=item.seed,
        accuracy=outcome.accuracy,
        fidelity=None,
        fidelity_mixed=None,
        margin=None,
        margin_mixed=None,
        seconds=round(seconds, 2),
        bytes=folder_bytes(zoo / item.path),
    )
    stored = {"key": key, "record": asdict(record), "answers": outcome.answers}
    write_json(_record_file(zoo, item), stored)
    return stored


def _remove_others(zoo: Path, items: Sequence[Item]) -> None:
    """Remove models that an earlier plan put here and this one does not know: they would be crawled."""
    expected = {_record_file(zoo, item) for item in items}
    for file in (zoo / ".records").glob("*.json"):
        if file not in expected:
            path = json.loads(file.read_text(encoding="utf-8"))["record"]["path"]
            shutil.rmtree(zoo / path, ignore_errors=True)
            file.unlink()


def _urgency(items: Mapping[str, Item]) -> dict[str, float]:
    """The cost of the longest chain that starts at each item."""
    urgency: dict[str, float] = {}

    def chain(name: str) -> float:
        if name not in urgency:
            below = [chain(other) for other, item in items.items() if name in item.sources]
            urgency[name] = items[name].seconds + max(below, default=0.0)
        return urgency[name]

    for name in items:
        chain(name)
    return urgency


def build(
    zoo: Path,
    items: Sequence[Item],
    *,
    workers: int = 2,
    progress: Callable[[Progress], None] | None = None,
) -> list[Record]:
    """Make all items below `zoo`, write `truth.parquet`, and return its records in the order of `items`.

    `workers` Ray tasks of one thread each at once; 0 makes everything in this process. Items that are there
    from an earlier build are kept; models of an earlier plan that are not in `items` are removed. A
    failing recipe raises RuntimeError naming its item; what was complete by then stays.
    """
    named = check_items(items)
    keys = item_keys(named)
    urgency = _urgency(named)
    _remove_others(zoo, items)
    stored: dict[str, dict[str, Any]] = {}

    def report(item: Item, kept: bool) -> None:
        if progress is not None:
            record = stored[item.model]["record"]
            progress(
                Progress(
                    done=len(stored),
                    total=len(named),
                    model=item.model,
                    relation=item.relation,
                    seconds=record["seconds"],
                    accuracy=record["accuracy"],
                    kept=kept,
                )
            )

    for item in items:
        done = _read_done(zoo, item, keys[item.model])
        if done is not None:
            stored[item.model] = done
            report(item, kept=True)

    def finish(item: Item, outcome: Outcome, seconds: float) -> None:
        stored[item.model] = _store(zoo, item, keys[item.model], outcome, seconds)
        report(item, kept=False)

    def job(item: Item) -> Job:
        sources = tuple(zoo / named[source].path for source in item.sources)
        return Job(item, zoo / item.path, sources)

    waiting = sorted(
        (item for item in items if item.model not in stored), key=lambda i: -urgency[i.model]
    )
    if workers == 0:
        while waiting:
            item = next(i for i in waiting if all(source in stored for source in i.sources))
            waiting.remove(item)
            finish(item, *_make_or_name(job(item)))
    elif waiting:
        _build_on_ray(waiting, stored, job, finish, workers)
    records = _with_fidelity(items, stored)
    write_truth(zoo, records)
    return records


def _failed(item: Item, error: BaseException) -> RuntimeError:
    return RuntimeError(f"making {item.path} ({item.recipe}) failed: {error}")


def _make_or_name(job: Job) -> tuple[Outcome, float]:
    try:
        return _make(job)
    except Exception as error:
        raise _failed(job.item, error) from error


def _build_on_ray(
    waiting: list[Item],
    stored: Mapping[str, object],
    job: Callable[[Item], Job],
    finish: Callable[[Item, Outcome, float], None],
    workers: int,
) -> None:
    from provray.crawl.tasks import RayTasks

    running: dict[Future[tuple[Outcome, float]], Item] = {}
    with RayTasks(workers) as tasks:
        while waiting or running:
            ready = [i for i in waiting if all(source in stored for source in i.sources)]
            # never more than the workers hold: what becomes ready later may be more urgent
            for item in ready[: workers - len(running)]:
                waiting.remove(item)
                running[tasks.submit(_make, job(item))] = item
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                item = running.pop(future)
                error = future.exception()
                if error is not None:
                    # what the recipe raised, not Ray's account of it
                    raised = getattr(error, "cause", None) or error
                    raise _failed(item, raised) from error
                finish(item, *future.result())


def _roots(name: str, items: Mapping[str, Item]) -> set[str]:
    """The models at the top of a model's lineage; itself if it descends from nothing."""
    parents = items[name].parents
    return set().union(*(_roots(parent, items) for parent in parents)) if parents else {name}


def _with_fidelity(items: Sequence[Item], stored: Mapping[str, Mapping[str, Any]]) -> list[Record]:
    """Records in order; thieves with their agreement with the victim and its margin over strangers."""
    from provray.testbed.vision import TEST_ANSWERS

    named = {item.model: item for item in items}
    independent = {
        item.model: stored[item.model]["answers"]
        for item in items
        if not item.parents and stored[item.model]["answers"] is not None
    }
    records: list[Record] = []
    for item in items:
        stolen = record_from(stored[item.model]["record"])
        own = stored[item.model]["answers"]
        victim = None if item.parent is None else stored[item.parent]["answers"]
        if item.relation == "stolen" and own is not None and victim is not None:
            roots = _roots(item.model, named)
            others = [
                given
                for name, given in independent.items()
                if name not in roots and _domain(named[name]) == _domain(item)
            ]
            plain, plain_margin = _fidelity(own, victim, others, slice(TEST_ANSWERS))
            mixed, mixed_margin = _fidelity(own, victim, others, slice(TEST_ANSWERS, None))
            stolen = replace(
                stolen,
                fidelity=plain,
                margin=plain_margin,
                fidelity_mixed=mixed,
                margin_mixed=mixed_margin,
            )
        records.append(stolen)
    return records


def _domain(item: Item) -> str:
    """What the images are of on which the answers of `item` were given."""
    return str(item.settings.get("pictures", "digits"))


def _fidelity(
    own: Sequence[int], victim: Sequence[int], others: Sequence[Sequence[int]], part: slice
) -> tuple[float, float | None]:
    """Agreement with the victim on a part of the answers, and by how much it exceeds the best of the others'."""
    from provray.testbed.theft import agreement

    fidelity = agreement(own[part], victim[part])
    best = max((agreement(own[part], other[part]) for other in others), default=None)
    return round(fidelity, 4), None if best is None else round(fidelity - best, 4)
