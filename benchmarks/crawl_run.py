"""One measured run in a process of its own: a crawl, the bare loop it is held against, or fetches alone.

`run(Run(...))` starts this file as a program and watches its processes from outside; what it prints is the answer.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from process_tree import ProcessTree

FEW = 8
"""Probes of a stratum in the small probe sets."""

_PARTS = {
    "waiting for workers": ("wait", "actors.py"),
    "beginning calls": ("call", "actors.py"),
    "taking and claiming": ("take", "sharing.py"),
    "keeping rows in the journal": ("keep", "journal.py"),
    "committing to the table": ("append", "table.py"),
    "releasing claims": ("release", "journal.py"),
    "metrics and progress": ("_tell", "progress.py"),
}
"""What the driver's thread does for a model: the function whose cumulative time it is, and its file."""


@dataclass(frozen=True)
class Run:
    """What to run. `source`: as `provray crawl` takes it. `work`: an empty folder for index and scratch. `few_probes`:
    8 of each stratum for the default sets. `models`: of the bare loop, all if empty. `unmeasured`: models of the bare
    loop that come before the clock starts. `profile`: the driver's thread under cProfile."""

    kind: Literal["crawl", "bare", "fetch"]
    source: str
    work: str
    workers: int = 1
    few_probes: bool = False
    models: tuple[str, ...] = ()
    unmeasured: int = 0
    profile: bool = False


@dataclass(frozen=True)
class Ran:
    """What came of it: `figures` as the program printed them, `tree` with its processes."""

    figures: dict[str, Any]
    tree: ProcessTree


def run(wanted: Run, environment: Mapping[str, str] | None = None) -> Ran:
    """Run it and wait for its end. Raises RuntimeError with what it said if it fails."""
    Path(wanted.work).mkdir(parents=True)
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    own = {"RAY_AUTH_MODE": "token", "TOKENIZERS_PARALLELISM": "false"}
    program = subprocess.Popen(
        [sys.executable, __file__, json.dumps(asdict(wanted))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **one_thread, **own, **(environment or {})},
    )
    with program, ProcessTree(program.pid) as tree:
        told, complaints = program.communicate()
    if program.returncode:
        raise RuntimeError(f"{wanted.kind} of {wanted.source} failed:\n{complaints[-2000:]}")
    return Ran(json.loads(told.splitlines()[-1]), tree)


def _probe_sets(few: bool) -> list[Any]:
    from provray.probes import MODALITIES, ProbeSet, default_probes

    whole = [default_probes(modality) for modality in MODALITIES]
    if not few:
        return whole
    strata = ("natural", "mixed", "noise")
    return [
        ProbeSet(
            f"few-{p.modality}", p.modality, tuple(q for s in strata for q in p.stratum(s)[:FEW])
        )
        for p in whole
    ]


def _crawl(wanted: Run) -> dict[str, Any]:
    """A crawl into a fresh index, on a private cluster that is started and ended here."""
    import ray

    from provray.crawl.cluster import join_ray
    from provray.crawl.crawl import crawl
    from provray.crawl.progress import Progress
    from provray.crawl.settings import Fetching, PoolSettings
    from provray.index.row import Row
    from provray.index.table import FingerprintTable
    from provray.sources import ModelRef, open_source
    from provray.sources.fetch import Fetched

    class Moments(Progress):
        """When the first model was begun (to be fetched, if it is remote) and each was finished, in seconds since the
        epoch."""

        def __init__(self) -> None:
            self.begun = float("inf")
            self.finishes: list[float] = []

        def started(self, ref: ModelRef) -> None:
            self.begun = min(self.begun, time.time())

        def fetched(self, fetched: Fetched) -> None:
            self.begun = min(self.begun, time.time() - fetched.seconds)

        def finished(self, rows: Sequence[Row]) -> None:
            self.finishes.append(time.time())

    moments, work = Moments(), Path(wanted.work)
    began = time.time()
    join_ray()
    joined = time.time()
    report = crawl(
        [open_source(wanted.source)],
        FingerprintTable.create(work / "index"),
        probes=_probe_sets(wanted.few_probes),
        pool=PoolSettings(workers=wanted.workers),
        fetching=Fetching(work / "scratch"),
        progress=moments,
    )
    crawled = time.time()
    ray.shutdown()
    over = time.time()
    return {
        "models": report.listed,
        "statuses": dict(report.statuses),
        "seconds": over - began,
        "seconds of Ray's start": joined - began,
        "seconds of probes and workers' start": moments.begun - joined,
        "seconds from first begun to last committed": crawled - moments.begun,
        "seconds of the end": over - crawled,
        "worker seconds": dict(report.stage_seconds),
        "fetched bytes": report.fetched_bytes,
        "begun": moments.begun,
        "finishes": moments.finishes,
    }


def _bare(wanted: Run) -> dict[str, Any]:
    """The same work in one loop: list, check, sketch, load, probe; no Ray, journal or table, rows are dropped."""
    import torch

    from provray.crawl.behaviour import Prober
    from provray.crawl.fingerprinter import Fingerprinter
    from provray.fingerprints.settings import FingerprintSettings
    from provray.sources import open_source

    torch.set_num_threads(1)
    began = time.perf_counter()
    sets = {p.modality: p for p in _probe_sets(wanted.few_probes)}
    fingerprinter = Fingerprinter(
        FingerprintSettings(), {modality: p.digest for modality, p in sets.items()}
    )
    shards = {modality: p.shards() for modality, p in sets.items()}
    refs = list(open_source(wanted.source).models())
    if wanted.models:
        by_name = {ref.model: ref for ref in refs}
        refs = [by_name[name] for name in wanted.models]
    listed = time.perf_counter()
    each, busy = [], []
    for ref in refs:
        started, used = time.perf_counter(), time.process_time()
        fingerprinter.weights(ref)
        modality = fingerprinter.modality(ref)
        fingerprinter.finish(Prober(fingerprinter).probe(ref, shards[modality]))
        each.append(time.perf_counter() - started)
        busy.append(time.process_time() - used)
    return {
        "models": len(refs),
        "seconds": time.perf_counter() - began,
        "seconds of probes and listing": listed - began,
        "each": each[wanted.unmeasured :],
        "each, CPU": busy[wanted.unmeasured :],
    }


def _fetch(wanted: Run) -> dict[str, Any]:
    """Every model fetched after the other, nothing computed and nothing at once."""
    from provray.models.files import Limits
    from provray.sources import open_source
    from provray.sources.fetch import Scratch

    refs = list(open_source(wanted.source).models())
    scratch = Scratch(Path(wanted.work) / "scratch", 2**33, Limits(), 600.0)
    fetched = []
    for ref in refs:
        fetched.append(scratch.fetch(ref, probed=True))
        scratch.drop(ref)
    scratch.close()
    return {
        "models": len(refs),
        "seconds": sum(one.seconds for one in fetched),
        "bytes": sum(one.bytes for one in fetched),
    }


def _parts(profile: cProfile.Profile) -> dict[str, float]:
    """Seconds of the driver's thread by what it did."""
    stats: Any = pstats.Stats(profile)
    return {
        part: sum(
            cumulative
            for (file, _, name), (_, _, _, cumulative, _) in stats.stats.items()
            if name == function and Path(file).name == module
        )
        for part, (function, module) in _PARTS.items()
    }


def _main() -> None:
    given = json.loads(sys.argv[1])
    wanted = Run(**{**given, "models": tuple(given["models"])})
    kinds = {"crawl": _crawl, "bare": _bare, "fetch": _fetch}
    if wanted.profile:
        profile = cProfile.Profile()
        figures = profile.runcall(kinds[wanted.kind], wanted)
        figures["parts"] = _parts(profile)
    else:
        figures = kinds[wanted.kind](wanted)
    print(json.dumps(figures), flush=True)
    os._exit(0)  # libraries' threads abort some interpreters at exit


if __name__ == "__main__":
    _main()
