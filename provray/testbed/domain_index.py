"""DNA of a zoo's classifiers on probes of their own domain: where theft shows, if anywhere.

The rows lie in ZOO/domain-index, one probe set for each domain; what is there is not measured again. No GiF: its
cost is most of a crawl's, and on these probes answers tell more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import lru_cache
from pathlib import Path

from provray.ancestry.fingerprint import Fingerprint
from provray.crawl.behaviour import Prober
from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.settings import Compute
from provray.fingerprints.settings import FingerprintSettings, GifSettings
from provray.index.row import Row
from provray.index.table import FingerprintTable
from provray.probes import ProbeSet
from provray.sources import ModelRef, open_source
from provray.testbed.domain_probes import domain_probes
from provray.testbed.folders import Record, read_truth
from provray.testbed.scoreboard.cases import is_text

DOMAINS = ("digits", "fashion", "news", "reviews")
_BATCH = 50
Key = tuple[str, str]
"""(domain, model)."""


def domain_of(model: str) -> str:
    """The domain of a model of a zoo: the first folder of its name."""
    return model.split("/")[0]


def domain_fingerprints(
    zoo: Path, *, workers: int = 2, progress: Callable[[int, int], None] | None = None
) -> dict[Key, Fingerprint]:
    """DNA by domain and model, measured where it is missing.

    Every classifier is asked about its own domain, models without parents also about the other one of their modality.

    Raises ValueError for a zoo without classifiers of a known domain, MissingAsset where a domain's data are missing.
    """
    table = FingerprintTable.create(zoo / "domain-index")
    asked = list(_asked(zoo, read_truth(zoo)))
    sets = domain_probes({domain for _, domain in asked})
    for probes in sets.values():
        table.keep_probes(probes)
    known = {(row.model, row.probes) for row in table.facts()}
    left = [(ref, domain) for ref, domain in asked if (ref.model, sets[domain].digest) not in known]
    if left:
        _measure_all(table, left, workers, progress)
    names = {probes.digest: domain for domain, probes in sets.items()}
    rows = table.rows({row.space for row in table.facts()})
    return {
        (names[row.probes], row.model): Fingerprint(row.model, row.revision, dna=row)
        for row in rows
        if row.probes in names
    }


def _asked(zoo: Path, records: list[Record]) -> Iterator[tuple[ModelRef, str]]:
    refs = {ref.model: ref for ref in open_source(str(zoo / "indexed")).models()}
    for record in records:
        own = domain_of(record.model)
        if own in DOMAINS:
            both = DOMAINS[2:] if is_text(record) else DOMAINS[:2]
            for domain in (own,) if record.parents else both:
                yield refs[record.model], domain


def _measure_all(
    table: FingerprintTable,
    left: list[tuple[ModelRef, str]],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    from provray.crawl.tasks import RayTasks

    waiting, running, batch, done = list(left), set[Future[Row]](), list[Row](), 0
    with RayTasks(workers) as tasks:
        while waiting or running:
            while waiting and len(running) < workers:
                running.add(tasks.submit(_measure, waiting.pop()))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            batch.extend(future.result() for future in finished)
            done += len(finished)
            if len(batch) >= _BATCH or not (waiting or running):
                table.append(batch)
                batch = []
            if progress is not None:
                progress(done, len(left))


@lru_cache(maxsize=len(DOMAINS))
def _probes(domain: str) -> ProbeSet:
    return domain_probes({domain})[domain]


def _measure(job: tuple[ModelRef, str]) -> Row:
    """The DNA row of one model on one domain."""
    ref, domain = job
    probes = _probes(domain)
    no_gif = FingerprintSettings(gif=GifSettings(stratum="none"))
    made = Fingerprinter(no_gif, {probes.modality: probes.digest}, Compute(threads=1))
    return made.finish(Prober(made).probe(ref, list(probes.shards())))[0]
