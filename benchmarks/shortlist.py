"""Do answers change where not all models are compared exactly, and what does that save?

    python benchmarks/shortlist.py --out docs/results/shortlist.json

Every model of the zoo is asked about in an index of zoo and strangers together, once with all models compared and once
with the shortlist that larger indexes use, forced here on one as small as this. Compared are whole answers (verdict,
ancestors and their relations, all who share weights) and the lists of nearest models. The times, on one thread, are of
made-up vectors; and so is how often a vector is found that lies at a given cosine from the one asked about, among so
many random ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from provray.ancestry.snapshot import Snapshot
from provray.ancestry.verdict import NEAREST, Answer, judge, nearest
from provray.crawl.reading import read_index
from provray.index.row import rows_from_table
from provray.index.search import SearchIndex, build
from provray.index.table import FingerprintTable

SIZES = (10_000, 33_334, 100_000, 1_000_000)
DIMENSIONS = 1024
TOGETHER = 20
COSINES = (0.12, 0.16, 0.2, 0.25, 0.3)
ASKED = 400
"""Vectors that are looked for at each cosine."""
_PASSES = 5
_CHUNK = 50_000


def union(zoo: Path, strangers: Path, place: Path) -> Snapshot:
    """The zoo's index with the strangers' rows appended, made in `place`."""
    shutil.copytree(zoo, place, ignore=shutil.ignore_patterns("cache", "work"))
    table, more = FingerprintTable.open(place), FingerprintTable.open(strangers)
    rows = more.arrow(sorted({row.space for row in more.facts()}))
    for batch in rows.to_batches(max_chunksize=2000):
        table.append(rows_from_table(batch))
    return read_index(str(place))


def shortlisted(snapshot: Snapshot) -> Snapshot:
    """The same models behind searches that compare a shortlist, however few they are."""

    def again(index: SearchIndex) -> SearchIndex:
        vectors = index.faiss_index.reconstruct_n(0, len(index.keys))
        return build(index.keys, vectors, all_compared=0)

    return replace(snapshot, searches={n: again(s) for n, s in snapshot.searches.items()})


def _told(answer: Answer) -> tuple[Any, ...]:
    ancestors = tuple((c.model, c.relation, c.axis) for c in answer.ancestors)
    return answer.verdict, ancestors, tuple(c.model for c in answer.candidates if c.shares)


def answers(snapshot: Snapshot, names: Sequence[str]) -> tuple[list[Answer], list[set[str]]]:
    """What is answered about each of these models, and whom it was compared with."""
    suspects = snapshot.profiles(names)
    near = nearest(suspects, snapshot)
    told = [
        judge(suspect, snapshot, leave_out=[suspect.model], near=found)
        for suspect, found in zip(suspects, near, strict=True)
    ]
    return told, [set(found) for found in near]


def agreement(exact: Snapshot, listed: Snapshot) -> dict[str, Any]:
    """How far the answers about all models but strangers agree."""
    names = sorted(name for name in exact.names if not name.startswith("strangers/"))
    one, compared = answers(exact, names)
    other, among = answers(listed, names)
    sharing = [
        candidate.model in found
        for answer, found in zip(one, among, strict=True)
        for candidate in answer.candidates
        if candidate.shares
    ]
    kept = [len(a & b) / len(a) for a, b in zip(compared, among, strict=True) if a]
    changed = [name for name, a, b in zip(names, one, other, strict=True) if _told(a) != _told(b)]
    return {
        "models": exact.models,
        "questions": len(names),
        "answers that changed": changed,
        "candidates that share weights": len(sharing),
        "of these not on the shortlist": sharing.count(False),
        "share of all candidates on both lists": round(float(np.mean(kept)), 4),
    }


def _median(ask: Callable[[], Any]) -> float:
    ask()
    times = []
    for _ in range(_PASSES):
        began = time.perf_counter()
        ask()
        times.append(1000 * (time.perf_counter() - began))
    return round(float(np.median(times)), 2)


def made_up(count: int) -> np.ndarray:
    """So many random unit vectors."""
    rng = np.random.default_rng(count)
    vectors = np.empty((count, DIMENSIONS), np.float32)
    for start in range(0, count, _CHUNK):
        part = vectors[start : start + _CHUNK]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def at_cosine(vectors: np.ndarray, cosine: float) -> np.ndarray:
    """A random unit vector at this cosine from each of these."""
    drawn = np.random.default_rng(3).standard_normal(vectors.shape, dtype=np.float32)
    drawn -= (drawn * vectors).sum(1, keepdims=True) * vectors
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    made: np.ndarray = cosine * vectors + np.float32(np.sqrt(1 - cosine**2)) * drawn
    return made


def made_up_searches(count: int) -> dict[str, Any]:
    """Milliseconds of one search of so many vectors, one question and each of twenty asked together; and how often what
    is looked for is among the nearest."""
    vectors = made_up(count)
    keys = [str(number) for number in range(count)]
    told: dict[str, Any] = {"vectors": count}
    asked = {cosine: at_cosine(vectors[:ASKED], cosine) for cosine in COSINES}
    for name, limit in (("all compared", count), ("shortlist", 0)):
        index = build(keys, vectors, all_compared=limit)
        questions = asked[COSINES[0]][:TOGETHER]
        one = _median(partial(index.search, questions[0], NEAREST))
        together = _median(partial(index.search_many, questions, NEAREST))
        found = {
            cosine: sum(
                str(number) in dict(near)
                for number, near in enumerate(index.search_many(wanted, NEAREST))
            )
            for cosine, wanted in asked.items()
        }
        told[name] = {
            "milliseconds, one": one,
            f"milliseconds, each of {TOGETHER}": round(together / TOGETHER, 2),
            "found by cosine": {str(c): round(n / ASKED, 3) for c, n in found.items()},
        }
        del index
    return told


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--zoo", type=Path, default=Path(".cache/standard-zoo/index"))
    parser.add_argument("--strangers", type=Path, default=Path(".cache/strangers"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(argv)
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        exact = union(given.zoo, given.strangers, Path(folder) / "index")
        agreed = agreement(exact, shortlisted(exact))
    told = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        **agreed,
        "made-up vectors": [made_up_searches(count) for count in SIZES],
    }
    text = json.dumps(told, indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # deltalake's runtime aborts some interpreters at exit
