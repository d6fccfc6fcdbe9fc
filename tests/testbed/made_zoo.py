"""A zoo of a hundred made-up networks whose lineage is known: what fits and scores of verdicts are tried on."""

from __future__ import annotations

from dataclasses import replace

from provray.ancestry.fingerprint import Fingerprint
from provray.testbed.folders import Record, Relation
from tests.ancestry.networks import ANSWERS, Network, same_start, stranger

Zoo = tuple[list[Record], list[Fingerprint]]


def record(model: str, relation: Relation, parents: tuple[str, ...] = (), fold: int = 0) -> Record:
    """A record of the zoo's truth."""
    return Record(
        model=model,
        split="indexed",
        path=model,
        parents=parents,
        relation=relation,
        method=relation,
        data="digits",
        settings={} if parents else {"fold": fold},
        seed=0,
        accuracy=None,
        fidelity=None,
        fidelity_mixed=None,
        margin=None,
        margin_mixed=None,
        seconds=0.0,
        bytes=0,
    )


def make_zoo(bases: int = 8, starts: int = 4) -> Zoo:
    """Bases in each fold, of two architectures; of each a fine-tune, a thief, and networks of its start."""
    made: list[tuple[Record, Network]] = []
    for number in range(2 * bases):
        fold, name, seed = number % 2, f"digits/{number}", 100 * number
        base = stranger(name, seed, model_type=("mlp", "net")[number // 2 % 2])
        made.append((record(name, "base", fold=fold), base))
        tuned = base.child(f"{name}.tuned", seed + 1, by=0.05, behaviour=0.97)
        made.append((record(tuned.name, "fine-tune", (name,)), tuned))
        thief = stranger(f"{name}.thief", seed + 2, model_type=base.model_type)
        answers = base.behaving(0.8, seed + 3, only=ANSWERS).behaviour
        thief = replace(thief, behaviour=answers)
        made.append((record(thief.name, "stolen", (name,)), thief))
        for start in range(starts):
            other = same_start(base, f"{name} start {start}", seed + 10 + start)
            made.append((record(other.name, "same start", fold=fold), other))
    return [of for of, _ in made], [network.fingerprint() for _, network in made]
