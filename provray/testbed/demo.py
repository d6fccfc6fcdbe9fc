"""The demo: build a zoo, crawl what is indexed, ask about what is held out, hold the answers against the truth."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import provray
from provray.ancestry.candidate import Candidate
from provray.ancestry.scores import behaviour_score
from provray.crawl.ask import Asker, Reply
from provray.crawl.crawl import crawl
from provray.crawl.progress import Progress
from provray.crawl.settings import Compute, PoolSettings, available_cores
from provray.index.table import FingerprintTable
from provray.models.checkpoint import open_checkpoint
from provray.models.config import SUPPORTED, read_config
from provray.sources import open_source
from provray.testbed.build import Progress as BuildProgress
from provray.testbed.demo_result import DemoResult, Member, Question, Shown
from provray.testbed.demo_zoo import build_demo_zoo
from provray.testbed.folders import Record, read_truth

DEMANDED = ("copy", "fine-tune", "new head", "pruned", "quantised")
"""Relations whose children must name their parent; thefts and students are reported as they fall."""
_DEPTHS = ("0", "1/6", "1/3", "1/2", "2/3", "5/6", "1")


def run_demo(
    folder: Path,
    *,
    building: Callable[[BuildProgress], None],
    crawling: Progress,
    asking: Callable[[int, int, str], None],
) -> DemoResult:
    """Run everything into `folder`. What is there already (models, index rows) is not made again.

    building, crawling, asking: told of progress; asking gets (done, total, model).
    """
    stages: list[tuple[str, float]] = []
    threads = min(available_cores(), 2)
    pool, compute = PoolSettings(workers=threads), Compute()
    began = time.perf_counter()

    def stage(name: str) -> None:
        nonlocal began
        stages.append((name, time.perf_counter() - began))
        began = time.perf_counter()

    zoo = folder / "zoo"
    build_demo_zoo(zoo, workers=threads, progress=building)
    records = read_truth(zoo)
    stage("build the models")
    index = folder / "index"
    table = FingerprintTable.create(index)
    crawl(
        [open_source(str(zoo / "indexed"))],
        table,
        compute=compute,
        pool=pool,
        progress=crawling,
    )
    stage("crawl and index")
    held_out = [r for r in records if r.split == "held_out"]
    questions = []
    with Asker(index, compute=compute, pool=pool) as asker:
        for number, record in enumerate(held_out):
            asking(number, len(held_out), record.model)
            started = time.perf_counter()
            reply = asker.ask(str(zoo / record.path), top_k=8)
            questions.append(_question(record, reply, time.perf_counter() - started))
        asking(len(held_out), len(held_out), "")
        version, models = asker.snapshot.version, asker.snapshot.models
    stage("ask about the held-out models")
    return DemoResult(
        tuple(_member(zoo, record) for record in records),
        tuple(questions),
        tuple(stages),
        _fingerprinting(table),
        (
            ("provray", provray.__version__),
            ("python", platform.python_version()),
            ("cores used", str(threads)),
            ("index", f"version {version}, {models} models"),
            *((f"{p.modality} probes", f"{p.name}, {p.digest[:16]}") for p in table.probe_sets()),
        ),
    )


def is_right(record: Record, verdict: str, named: str | None) -> bool | None:
    """Whether an answer is right; None where none is demanded.

    Children must name their parent first (a copy must be called one). Strangers and twins must have no ancestor.
    """
    if record.relation in DEMANDED:
        wanted = "copy" if record.relation == "copy" else "ancestor"
        return verdict == wanted and named == record.parent
    if record.parent is None:
        return named is None
    return None


def _question(record: Record, reply: Reply, seconds: float) -> Question:
    answer = reply.answer
    first = answer.ancestors[0] if answer.ancestors else None
    return Question(
        record.model,
        record.parent,
        record.relation,
        answer.verdict,
        first.model if first else None,
        first.relation if first else "",
        is_right(record, answer.verdict, first.model if first else None),
        seconds,
        tuple(_shown(c) for c in answer.candidates),
        answer.warnings,
        answer.says,
    )


def _shown(candidate: Candidate) -> Shown:
    scores = candidate.scores
    return Shown(
        candidate.model,
        candidate.score,
        scores.weights,
        tuple(scores.dna.get(f"noise@{depth}") for depth in _DEPTHS),
        scores.dna.get("mixed@probabilities"),
        scores.gif.get("mixed@top_logit", scores.gif.get("mixed@feature_norm")),
        behaviour_score(scores),
        scores.biases,
        next((e.limit for e in candidate.evidence if e.score == "biases"), None),
    )


def _member(zoo: Path, record: Record) -> Member:
    return Member(
        record.model,
        record.split,
        record.parent,
        record.relation,
        SUPPORTED[read_config(zoo / record.path)["model_type"]].modality,
        open_checkpoint(zoo / record.path).parameters,
        record.accuracy,
        record.fidelity,
    )


def _fingerprinting(table: FingerprintTable) -> tuple[tuple[str, float, float, float], ...]:
    seconds: dict[str, dict[str, float]] = {}
    for row in table.facts():
        seconds.setdefault(row.model, {})[row.kind] = row.seconds
    return tuple(
        (model, kinds.get("weights", 0.0), kinds.get("dna", 0.0), kinds.get("gif", 0.0))
        for model, kinds in sorted(seconds.items())
    )
