"""Crawls of models that lie elsewhere: a hub and a bucket on this machine, through the real clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from provray.crawl.ask import Asker
from provray.crawl.crawl import crawl
from provray.crawl.progress import CrawlReport
from provray.crawl.settings import Compute, Fetching, PoolSettings
from provray.fingerprints.settings import FingerprintSettings, WeightsSettings
from provray.index.row import Row
from provray.index.settings import index_settings
from provray.index.table import FingerprintTable
from provray.probes import ProbeSet
from provray.sources import open_source
from provray.testbed.local_hub import LocalHub
from tests.crawl.small import POOL, small_probes, tiny_folder
from tests.models import tiny

pytestmark = pytest.mark.usefixtures("ray_cluster")
ONE = replace(POOL, workers=1)
NAMES = {
    "a/vit": "org/vit",
    "a/resnet": "org/resnet",
    "b/bert": "org/bert",
    "b/deep/gpt2": "org/gpt2",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def probes() -> list[ProbeSet]:
    return small_probes()


@pytest.fixture(scope="module")
def local_rows(
    ray_cluster: None,
    models: Path,
    probes: list[ProbeSet],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, str], Row]:
    """The rows of the same models, crawled from their folder."""
    table = FingerprintTable.create(tmp_path_factory.mktemp("index"))
    crawl([open_source(str(models))], table, probes=probes, pool=POOL)
    return {(row.model, row.kind): row for row in _rows(table)}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, models: Path) -> Iterator[LocalHub]:
    with LocalHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        for folder, name in NAMES.items():
            running.push(name, models / folder)
        yield running


def _rows(table: FingerprintTable) -> list[Row]:
    return list(table.rows({row.space for row in table.facts()}))


def _crawl(
    uri: str, table: FingerprintTable, probes: list[ProbeSet], scratch: Path, **more: Any
) -> CrawlReport:
    return crawl(
        [open_source(uri)],
        table,
        probes=probes,
        pool=more.pop("pool", ONE),
        fetching=Fetching(scratch),
        **more,
    )


def _left(scratch: Path) -> list[Path]:
    """Files of models that lie in a scratch folder."""
    return [path for path in scratch.rglob("*") if path.is_file() and path.name != ".lock"]


def _same_vectors(table: FingerprintTable, local: dict[tuple[str, str], Row]) -> None:
    rows = {(row.model, row.kind): row for row in _rows(table)}
    assert len(rows) == len(local)
    for (model, kind), row in local.items():
        other = rows[(NAMES.get(model, model) if (model, kind) not in rows else model, kind)]
        np.testing.assert_allclose(other.vectors, row.vectors, rtol=0, atol=1e-6)
        assert other.weights_digest == row.weights_digest


def test_a_hub_s_models_get_the_rows_that_their_folders_get(
    hub: LocalHub, probes: list[ProbeSet], tmp_path: Path, local_rows: dict[tuple[str, str], Row]
) -> None:
    table = FingerprintTable.create(tmp_path / "index")
    report = _crawl("hf://org", table, probes, tmp_path / "scratch", pool=POOL)
    assert report.statuses == {"ok": 4}
    assert report.fetched_bytes == sum(r.sent for r in hub.asked("/resolve/"))
    _same_vectors(table, local_rows)
    assert all(row.location == f"hf://{row.model}@{row.revision}" for row in table.facts())
    assert _left(tmp_path / "scratch") == []
    assert table.location.names("work") == []

    asked = len(hub.requests)
    again = _crawl("hf://org", table, probes, tmp_path / "scratch")
    assert (again.listed, again.skipped) == (4, 4)
    assert len(hub.requests) == asked + 1, "an unchanged hub costs one listing"


def test_what_a_second_worker_fetches_again_is_counted_again(
    hub: LocalHub, probes: list[ProbeSet], tmp_path: Path
) -> None:
    """The worker that is up first begins to fetch all; the other takes some over while they are on their way."""
    hub.latency = 1.0
    table = FingerprintTable.create(tmp_path / "index")
    report = _crawl("hf://org", table, probes, tmp_path / "scratch", pool=POOL)
    assert report.statuses == {"ok": 4}
    begun = [r.path for r in hub.asked(r"\.safetensors") if r.range.startswith("bytes=0-")]
    assert len(begun) > len(set(begun)) == 4, "none was taken over"
    assert report.fetched_bytes == sum(r.sent for r in hub.asked("/resolve/"))
    assert _left(tmp_path / "scratch") == []


def test_a_new_revision_is_a_new_row_and_the_old_one_stays(
    hub: LocalHub, models: Path, probes: list[ProbeSet], tmp_path: Path
) -> None:
    table = FingerprintTable.create(tmp_path / "index")
    first = _crawl("hf://org/bert", table, probes, tmp_path / "scratch", stages=("weights",))
    tiny.save(tmp_path / "new", tiny.build("bert"))
    sha = hub.push("org/bert", tmp_path / "new")
    second = _crawl("hf://org/bert", table, probes, tmp_path / "scratch", stages=("weights",))
    assert (first.statuses, second.statuses) == ({"ok": 1}, {"ok": 1})
    revisions = {row.revision for row in table.facts()}
    assert len(revisions) == 2
    assert sha in revisions


def test_models_that_are_not_to_be_had_are_rows_with_reasons(
    hub: LocalHub, models: Path, probes: list[ProbeSet], tmp_path: Path
) -> None:
    hub.repositories["org/vit"].gated = True
    hub.rename("org/gpt2", "org/gpt2-renamed")
    strange = tmp_path / "strange"
    tiny.save(strange, tiny.build("vit"))
    config = json.loads((strange / "config.json").read_text())
    (strange / "config.json").write_text(json.dumps(config | {"model_type": "rwkv9"}))
    hub.push("org/strange", strange)
    listing = tmp_path / "list.txt"
    listing.write_text(
        "hf://org/vit\nhf://org/gpt2\nhf://org/gone\nhf://org/strange\nhf://org/bert\n"
    )
    table = FingerprintTable.create(tmp_path / "index")
    scratch = tmp_path / "scratch"
    report = _crawl(str(listing), table, probes, scratch)
    failed = {row.model: (row.status, row.reason) for row in table.facts() if row.status != "ok"}
    assert {model: status for model, (status, _) in failed.items()} == {
        "org/vit": "unavailable",
        "org/gpt2": "unavailable",
        "org/gone": "unavailable",
        "org/strange": "unsupported",
    }
    assert "gated" in failed["org/vit"][1]
    assert "org/gpt2-renamed" in failed["org/gpt2"][1]
    assert "rwkv9" in failed["org/strange"][1]
    assert not hub.asked(r"org/strange/.*\.safetensors"), "it costs kilobytes"
    assert report.statuses == {"ok": 2, "unavailable": 3, "unsupported": 1}

    again = _crawl(str(listing), table, probes, scratch)
    assert (again.skipped, sum(again.statuses.values())) == (6, 0)
    hub.repositories["org/vit"].gated = False
    retried = _crawl(str(listing), table, probes, scratch, retry_failed=True)
    assert retried.statuses["ok"] == 1
    assert {row.kind for row in table.facts() if row.model == "org/vit" and row.status == "ok"} == {
        "weights",
        "dna",
        "gif",
    }
    # Weights alone need no model code: what cannot be probed is sketched after all.
    weighed = _crawl("hf://org/strange", table, probes, scratch, stages=("weights",))
    assert weighed.statuses == {"ok": 1}


def test_weights_come_first_and_later_stages_fill_in_what_is_missing(
    hub: LocalHub, probes: list[ProbeSet], tmp_path: Path, local_rows: dict[tuple[str, str], Row]
) -> None:
    table = FingerprintTable.create(tmp_path / "index")
    for stages, kinds in (
        (("weights",), {"weights"}),
        (("weights", "dna"), {"weights", "dna"}),
        (("weights", "dna", "gif"), {"weights", "dna", "gif"}),
    ):
        before = {row.key: row.created for row in table.facts()}
        report = _crawl("hf://org", table, probes, tmp_path / "scratch", stages=stages)
        assert report.statuses == {"ok": 4}
        assert {row.kind for row in table.facts()} == kinds
        after = {row.key: row.created for row in table.facts()}
        assert before.items() <= after.items(), "what is there is not computed again"
    _same_vectors(table, local_rows)


def test_a_sampled_index_is_asked_with_its_own_settings(
    hub: LocalHub, models: Path, probes: list[ProbeSet], tmp_path: Path
) -> None:
    wide = tmp_path / "wide"
    tiny.save(wide, tiny.build("bert", hidden_size=512, intermediate_size=4096))
    hub.push("org/wide", wide)
    table = FingerprintTable.create(tmp_path / "index")
    settings = FingerprintSettings(weights=WeightsSettings(sample=1))
    report = _crawl(
        "hf://org", table, probes, tmp_path / "scratch", settings=settings, stages=("weights",)
    )
    assert report.statuses == {"ok": 5}
    whole = (wide / "model.safetensors").stat().st_size
    assert sum(r.sent for r in hub.asked(r"org/wide/.*\.safetensors")) < 0.75 * whole
    assert index_settings(table) == settings
    with pytest.raises(ValueError, match="sample of 1 blocks"):
        index_settings(table, 4)
    rows = {row.model: row for row in table.facts()}
    assert rows["org/wide"].weights_digest == "", "a sample proves no copy"
    with Asker(tmp_path / "index", probes=probes, pool=ONE) as asker:
        reply = asker.ask(str(wide))
        assert reply.answer.candidates[0].model == "org/wide"
        assert reply.answer.verdict == "ancestor"
        remote = asker.ask("hf://org/bert")
        assert remote.answer.candidates[0].model != "org/bert", "a model is not its own ancestor"


def test_one_poisoned_download_stops_nothing(
    hub: LocalHub, probes: list[ProbeSet], tmp_path: Path
) -> None:
    hub.fail(r"org/vit/resolve/.*/model\.safetensors", 404, times=99)
    hub.cut(r"org/bert/resolve/.*/model\.safetensors", after=1000)
    hub.fail(r"org/resnet/resolve/.*/config\.json", 429, retry_after="0")
    hub.fail(r"org/gpt2/resolve/.*/config\.json", 503, retry_after="0")
    table = FingerprintTable.create(tmp_path / "index")
    report = _crawl("hf://org", table, probes, tmp_path / "scratch", pool=POOL)
    assert report.statuses == {"ok": 3, "unavailable": 1}
    assert _left(tmp_path / "scratch") == []


def test_a_crawl_too_small_for_a_model_says_so(
    hub: LocalHub, probes: list[ProbeSet], tmp_path: Path
) -> None:
    table = FingerprintTable.create(tmp_path / "index")
    pool = PoolSettings(workers=1)
    report = _crawl(
        "hf://org", table, probes, tmp_path / "scratch", pool=pool, compute=Compute(max_bytes=1)
    )
    assert report.statuses == {"too_large": 4}
    assert all("limit of 1" in reason for _, _, reason in report.failures)


def test_models_from_a_bucket_into_an_index_in_a_bucket(
    s3_bucket: str,
    models: Path,
    probes: list[ProbeSet],
    tmp_path: Path,
    local_rows: dict[tuple[str, str], Row],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    client: Any = boto3.client("s3")
    for path in models.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), s3_bucket, f"hub/{path.relative_to(models).as_posix()}")
    table = FingerprintTable.create(f"s3://{s3_bucket}/index")
    source = f"s3://{s3_bucket}/hub"
    report = _crawl(source, table, probes, tmp_path / "scratch")
    assert report.statuses == {"ok": 4}
    _same_vectors(table, local_rows)
    assert _left(tmp_path / "scratch") == []
    again = _crawl(source, table, probes, tmp_path / "scratch")
    assert (again.skipped, again.version) == (4, report.version)
    with Asker(f"s3://{s3_bucket}/index", probes=probes, pool=ONE) as asker:
        reply = asker.ask(str(models / "b" / "bert"))
    assert reply.answer.verdict == "copy"
    assert reply.answer.ancestors[0].model == "b/bert"
