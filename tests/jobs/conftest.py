"""One cluster, and one index that a submitted crawl made, for all tests of jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provray.probes import write_probes
from tests.crawl.small import small_probes
from tests.jobs.cluster import Cluster, Submitted, running
from tests.models import tiny


@dataclass(frozen=True)
class Crawled:
    """models: folder of the models. arguments: of the crawl. submitted: what it ended with."""

    models: Path
    index: Path
    probes: Path
    arguments: tuple[object, ...]
    submitted: Submitted


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    with running() as made:
        yield made


@pytest.fixture(scope="package")
def crawled(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Crawled:
    """A text model and its child."""
    root = tmp_path_factory.mktemp("jobs")
    bert = tiny.build("bert")
    tiny.save(root / "models" / "lab" / "bert", bert)
    save_child(root / "models" / "shop" / "tuned", 1.02)
    probes = next(p for p in small_probes() if p.modality == "text")
    write_probes(probes, root / "text.parquet")
    arguments = (
        *("crawl", root / "models", "--index", root / "index"),
        *("--probes", root / "text.parquet", "--workers", 2),
    )
    submitted = cluster.submit(*arguments)
    return Crawled(root / "models", root / "index", root / "text.parquet", arguments, submitted)


def save_child(folder: Path, by: float) -> Path:
    """The text model, every value a little changed."""
    model = tiny.build("bert")
    for number, parameter in enumerate(model.parameters()):
        parameter.data.mul_(by + 0.001 * (number % 3))
    return tiny.save(folder, model)


def make_old(models: Path, days: float = 3) -> None:
    """As if every file had been changed so long ago."""
    then = time.time() - days * 86400
    for path in models.rglob("*"):
        os.utime(path, (then, then))
