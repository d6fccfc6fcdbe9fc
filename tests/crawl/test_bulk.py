"""Every model of an index against that index, on Ray."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from provray.ancestry.calibration import shipped_calibration
from provray.ancestry.direction import direction
from provray.ancestry.lineage import build_lineage
from provray.ancestry.lineage_text import lineage_json
from provray.ancestry.relatives import relatives
from provray.ancestry.verdict import copies, judge
from provray.crawl.bulk import BulkSummary, lineage_of_all, read_answers, read_lineage
from provray.crawl.cluster import NotEnoughResources
from provray.crawl.reading import read_index
from provray.index.table import FingerprintTable
from tests.ancestry.networks import Network, stranger
from tests.crawl.killing import until
from tests.crawl.small import actors, small_probes
from tests.serve.made_index import rows

pytestmark = pytest.mark.usefixtures("ray_cluster")
PART = 8


def networks() -> Iterator[Network]:
    """Three families of four or five, one with a copy, and strangers."""
    for number in range(3):
        base = stranger(f"lab-{number}/base", 1000 + number)
        child = base.child(f"lab-{number}/child", 50 + number)
        yield from (base, child, child.child(f"shop/of-{number}", 70 + number))
        yield base.child(f"lab-{number}/other", 90 + number)
    yield child.named("mirror/copy")
    for number in range(17):
        yield stranger(f"far/{number:02d}", number)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bulk") / "index"
    table = FingerprintTable.create(place)
    for probes in small_probes():
        table.keep_probes(probes)
    table.append([row for network in networks() for row in rows(network)])
    return place


@pytest.fixture(scope="module")
def done(index: Path) -> BulkSummary:
    return lineage_of_all(index, workers=2, part=PART)


def test_every_answer_is_what_the_model_alone_would_get(index: Path, done: BulkSummary) -> None:
    snapshot = read_index(index)
    answers = {row["model"]: row for row in read_answers(done).to_pylist()}
    assert answers.keys() == snapshot.names
    for model, row in answers.items():
        (suspect,) = snapshot.profiles([model])
        assert suspect.weights is not None
        if twins := snapshot.twins(suspect, {model}):
            alone = copies(suspect, snapshot, twins)
        else:
            alone = judge(suspect, snapshot, leave_out=[model])
        assert row["reason"] == ""
        assert (row["verdict"], row["says"]) == (alone.verdict, alone.says)
        assert row["warnings"] == list(alone.warnings)
        assert row["contradictions"] == [c.text for c in alone.contradictions]
        assert [
            (a["model"], a["relation"], a["axis"], a["score"], a["p_value"], a["q_value"])
            for a in row["ancestors"]
        ] == [(c.model, c.relation, c.axis, c.score, c.p_value, c.q_value) for c in alone.ancestors]
    assert {answers[f"lab-{n}/child"]["ancestors"][0]["model"] for n in (0, 1)} == {
        "lab-0/base",
        "lab-1/base",
    }
    assert answers["mirror/copy"]["verdict"] == "copy"


def test_a_model_that_cannot_be_judged_is_a_row_with_its_reason(tmp_path: Path) -> None:
    """Of a child's behaviour a part is gone, so it and its parent cannot be compared."""
    table = FingerprintTable.create(tmp_path / "index")
    for probes in small_probes():
        table.keep_probes(probes)
    parent, others = stranger("lab/parent", 400), [stranger(f"far/{n}", n) for n in range(3)]
    table.append([row for network in (parent, *others) for row in rows(network)])
    child = rows(parent.child("lab/damaged", 401))
    table.append([replace(row, scales=()) if row.kind == "dna" else row for row in child])
    done = lineage_of_all(tmp_path / "index", workers=1)
    told = {row["model"]: row for row in read_answers(done).to_pylist()}
    assert [model for model, row in told.items() if row["verdict"] is None] == [
        "lab/damaged",
        "lab/parent",
    ]
    assert told["lab/damaged"]["reason"].startswith("ValueError: ")
    assert (done.models, done.failed) == (5, 2)
    assert sum(done.verdicts.values()) == 3


def test_the_lineage_is_that_of_all_pairs(index: Path, done: BulkSummary) -> None:
    snapshot = read_index(index)
    whole = build_lineage(
        snapshot.profiles(snapshot.names),
        lambda some: relatives(some, snapshot.cohorts, shipped_calibration(), snapshot.nulls, 0.05),
        direction,
    )
    found = read_lineage(done)
    expected = lineage_json(whole)
    assert found["models"] == expected["models"]
    assert found["edges"] == expected["edges"]
    assert (done.families, done.edges) == (3, len(expected["edges"]))
    assert {(e["parent"], e["child"]) for e in found["edges"]} >= {
        ("lab-0/base", "lab-0/child"),
        ("lab-0/child", "shop/of-0"),
    }


def test_what_is_complete_is_not_done_again(index: Path, done: BulkSummary) -> None:
    def told(*_: Any) -> None:
        raise AssertionError("something was computed")

    again = lineage_of_all(index, workers=2, part=PART, progress=told)
    assert again == replace(done, kept=len(done.files))
    other = lineage_of_all(index, workers=2, part=PART, fdr=0.01)
    assert other.where != done.where
    assert (other.kept, other.models) == (0, done.models)


def test_what_was_broken_off_goes_on_with_what_is_missing(
    index: Path, done: BulkSummary, tmp_path: Path
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lineage_of_all(index, out=tmp_path, workers=1, part=PART, progress=stop)
    gc.collect()  # Ray Data ends its actors with its iterator, which the traceback holds
    until(lambda: not any("MapWorker" in title for title in actors().values()))
    (folder,) = tmp_path.iterdir()
    # Workers may have been further than what was told: then the last part is the one that is missing.
    (folder / done.files[-1]).unlink(missing_ok=True)
    left = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {path.name for path in left} <= set(done.files[:-1]), "nothing that says it is complete"
    rest = lineage_of_all(index, out=tmp_path, workers=1, part=PART)
    assert 1 <= rest.kept == len(left)
    assert {path: path.stat().st_mtime_ns for path in left} == left
    assert read_answers(rest).equals(read_answers(done))
    assert read_lineage(rest) == read_lineage(done)


def test_an_index_in_a_bucket(index: Path, done: BulkSummary, s3_bucket: str) -> None:
    place = f"s3://{s3_bucket}/index"
    local = FingerprintTable.open(index)
    table = FingerprintTable.create(place)
    for probes in small_probes():
        table.keep_probes(probes)
    table.append(list(local.rows({row.space for row in local.facts()})))
    found = lineage_of_all(place, workers=1, part=PART)
    assert found.where.startswith(f"{place}/lineage/v1-")
    assert read_answers(found).equals(read_answers(done))
    assert read_lineage(found)["edges"] == read_lineage(done)["edges"]
    assert lineage_of_all(place, workers=1, part=PART).kept == len(found.files)


def test_more_workers_than_the_cluster_has_are_refused_at_once(index: Path, tmp_path: Path) -> None:
    with pytest.raises(NotEnoughResources, match="64 workers"):
        lineage_of_all(index, out=tmp_path, workers=64)
    assert np.all([not any(folder.iterdir()) for folder in tmp_path.iterdir()])
