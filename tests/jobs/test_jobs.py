"""Every job, submitted with the real `ray job submit` to a cluster that asks for a token."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from provray.ancestry.calibration import read_calibration
from provray.ancestry.verdict import judge
from provray.ancestry.verify_caches import verify_caches
from provray.crawl.bulk import BulkSummary, read_answers, read_lineage
from provray.crawl.reading import read_index
from provray.index import cache
from provray.index.table import FingerprintTable
from tests.jobs import small_zoo
from tests.jobs.cluster import BIN, Cluster
from tests.jobs.conftest import Crawled, make_old, save_child

ONE, TWO = "lab/bert", "shop/tuned"


def indexed(index: Path) -> set[str]:
    return {row.model for row in FingerprintTable.open(index).facts() if row.status == "ok"}


def test_a_crawl_is_submitted_and_tells_what_it_did(crawled: Crawled) -> None:
    done = crawled.submitted
    assert done.code == 0, done.err
    told = done.told
    assert (told["status"], told["submitted"]) == ("SUCCEEDED", True)
    assert told["submission_id"].startswith("provray-crawl-")
    assert (told["summary"]["job"], told["summary"]["state"]) == ("crawl", "succeeded")
    report = told["summary"]["result"]
    assert (report["listed"], report["statuses"], report["failures"]) == (2, {"ok": 2}, [])
    assert "models done" in done.err, "progress is in the log"
    assert indexed(crawled.index) == {ONE, TWO}
    kinds = {(row.model, row.kind) for row in FingerprintTable.open(crawled.index).facts()}
    assert kinds == {(m, k) for m in (ONE, TWO) for k in ("weights", "dna", "gif")}


def test_the_same_again_does_nothing_and_says_so(cluster: Cluster, crawled: Crawled) -> None:
    before = cluster.jobs()
    version = FingerprintTable.open(crawled.index).version
    again = cluster.submit(*crawled.arguments)
    assert again.code == 0
    assert "nothing is submitted" in again.err
    first = crawled.submitted.told
    assert again.told == {**first, "submitted": False}
    assert cluster.jobs() == before
    assert FingerprintTable.open(crawled.index).version == version


@pytest.mark.parametrize("token", ["", "0" * 64], ids=["none", "a wrong one"])
def test_without_the_token_nothing_is_submitted(
    cluster: Cluster, tmp_path: Path, token: str
) -> None:
    before = cluster.jobs()
    asked = ("crawl", tmp_path, "--index", tmp_path / "index")
    refused = cluster.submit(*asked, RAY_AUTH_TOKEN=token)
    assert (refused.code, refused.out) == (2, "")
    assert "the cluster refuses" in refused.err
    env = {name: value for name, value in cluster.env.items() if name != "RAY_AUTH_TOKEN"}
    plain = subprocess.run(
        [BIN / "ray", "job", "submit", "--no-wait", "--submission-id", "mine", "--", "true"],
        env={**env, **({"RAY_AUTH_TOKEN": token} if token else {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert plain.returncode != 0
    assert "uthentication" in plain.stderr
    assert cluster.jobs() == before
    assert not (tmp_path / "index").exists()


def test_a_failed_job_says_why_and_is_submitted_again_as_the_next_attempt(
    cluster: Cluster, tmp_path: Path
) -> None:
    asked = ("crawl", tmp_path / "nowhere", "--index", tmp_path / "index")
    first = cluster.submit(*asked)
    assert first.code == 1
    assert (first.told["status"], first.told["submitted"]) == ("FAILED", True)
    summary = first.told["summary"]
    assert (summary["job"], summary["state"]) == ("crawl", "failed")
    assert f"{tmp_path}/nowhere is not a directory" in summary["error"]
    second = cluster.submit(*asked)
    assert (second.code, second.told["submitted"]) == (1, True)
    assert second.told["submission_id"] == f"{first.told['submission_id']}-2"


def test_a_job_that_runs_is_not_submitted_twice_and_one_that_was_stopped_is(
    cluster: Cluster, crawled: Crawled, tmp_path: Path
) -> None:
    _many(tmp_path / "models", 60)
    asked = (
        *("--no-wait", "crawl", tmp_path / "models", "--index", tmp_path / "index"),
        *("--probes", crawled.probes, "--workers", 1),
    )
    first = cluster.submit(*asked).told
    job = first["submission_id"]
    again = cluster.submit(*asked)
    assert "nothing is submitted" in again.err
    assert (again.code, again.told["submission_id"], again.told["submitted"]) == (0, job, False)
    while "models done" not in cluster.log(job):  # bounded by pytest's own limit
        assert cluster.jobs()[job] in ("PENDING", "RUNNING")
        time.sleep(0.3)
    stopped = [BIN / "ray", "job", "stop", job]
    subprocess.run(stopped, env=cluster.env, check=True, capture_output=True, timeout=60)
    assert cluster.jobs()[job] == "STOPPED"
    summary = json.loads(cluster.log(job).splitlines()[-1])
    assert (summary["job"], summary["state"]) == ("crawl", "stopped")
    next_one = cluster.submit(*asked[1:])
    assert next_one.told["submission_id"] == f"{job}-2"
    report = next_one.told["summary"]["result"]
    assert report["recovered"] + report["skipped"] > 0, "what was finished is not done again"
    assert len(indexed(tmp_path / "index")) == 60


def _many(folder: Path, count: int) -> None:
    """Small models of one body; their configurations make each a model of its own."""
    first = save_child(folder / "m00", 1.01)
    config = json.loads((first / "config.json").read_text())
    for number in range(1, count):
        other = shutil.copytree(first, folder / f"m{number:02d}")
        (other / "config.json").write_text(json.dumps(config | {"layer_norm_eps": number * 1e-6}))


def test_a_refresh_looks_at_what_changed_since_the_last_one(
    cluster: Cluster, crawled: Crawled
) -> None:
    save_child(crawled.models / "shop" / "second", 1.03)
    what = (crawled.models, "--index", crawled.index)
    how = ("--probes", crawled.probes, "--workers", 1)
    first = cluster.submit("refresh", *what, *how)
    assert first.code == 0, first.err
    result = first.told["summary"]["result"]
    assert (result["since"], result["compact"]) == (None, None)
    assert (result["crawl"]["listed"], result["crawl"]["statuses"]) == (3, {"ok": 1})
    assert indexed(crawled.index) == {ONE, TWO, "shop/second"}
    (day,) = {id for id in cluster.jobs() if id.startswith("provray-refresh-")}
    assert day == first.told["submission_id"]

    make_old(crawled.models)
    save_child(crawled.models / "shop" / "third", 1.04)
    second = cluster.submit("--period", "the next day", "refresh", *what, "--keep-days", 7, *how)
    assert second.code == 0, second.err
    result = second.told["summary"]["result"]
    assert result["since"] is not None
    assert (result["crawl"]["listed"], result["crawl"]["statuses"]) == (1, {"ok": 1})
    assert result["compact"]["files_before"] > result["compact"]["files_after"]
    assert indexed(crawled.index) == {ONE, TWO, "shop/second", "shop/third"}


def test_the_search_indexes_are_rebuilt_where_a_service_finds_them(
    cluster: Cluster, crawled: Crawled
) -> None:
    snapshot = read_index(crawled.index)
    (folder,) = crawled.index.glob(f"cache/v{snapshot.version}-*")
    (folder / "weights.faiss").write_bytes(b"damaged")
    assert cache.load(folder) is None
    done = cluster.submit("rebuild", "--index", crawled.index)
    assert done.code == 0, done.err
    result = done.told["summary"]["result"]
    assert (result["sound"], result["index"]["version"]) == (True, snapshot.version)
    (machine,) = result["machines"]
    assert machine["deleted"] == 1
    assert machine["searches"] == dict.fromkeys(("weights", "biases", "text"), snapshot.models)
    assert cache.load(folder) is not None
    assert list(verify_caches(FingerprintTable.open(crawled.index))) == []


def test_a_lineage_of_everything(cluster: Cluster, crawled: Crawled) -> None:
    page = crawled.index.parent / "lineage.html"
    done = cluster.submit(
        "lineage", "--index", crawled.index, "--workers", 2, "--html", page, "--fdr", 0.04
    )
    assert done.code == 0, done.err
    result = done.told["summary"]["result"]
    summary = BulkSummary(**{**result, "files": tuple(result["files"])})
    snapshot = read_index(crawled.index)
    assert (summary.models, summary.failed) == (snapshot.models, 0)
    answers = read_answers(summary).to_pylist()
    for row in answers:
        (suspect,) = snapshot.profiles([row["model"]])
        alone = judge(suspect, snapshot, leave_out=[suspect.model], fdr=0.04)
        assert (row["verdict"], row["says"]) == (alone.verdict, alone.says)
        assert [(a["model"], a["q_value"]) for a in row["ancestors"]] == [
            (c.model, c.q_value) for c in alone.ancestors
        ]
    assert [row["model"] for row in answers] == sorted(snapshot.names)
    lineage = read_lineage(summary)
    assert {m["model"] for m in lineage["models"]} == snapshot.names
    assert summary.edges == len(lineage["edges"]) > 0
    assert ONE in page.read_text(encoding="utf-8")


def test_evaluate_and_fit(cluster: Cluster, crawled: Crawled, tmp_path: Path) -> None:
    from provray.probes import read_probes

    zoo = small_zoo.make(tmp_path / "zoo", read_probes(crawled.probes))
    board = tmp_path / "board.json"
    done = cluster.submit(
        *("evaluate", zoo, "--probes", crawled.probes, "--json", board, "--workers", 1)
    )
    assert done.code == 0, done.err
    result = done.told["summary"]["result"]
    assert (result["models"], result["questions"], result["failed"]) == (113, 32, [])
    assert result["scores"]["white-box"]["first"][0] == 1.0, "children are told from strangers"
    assert board.stat().st_size > 1000
    assert small_zoo.REAL in indexed(zoo / "index")

    out = tmp_path / "fitted"
    fitted = cluster.submit("fit", zoo, "--out", out)
    assert fitted.code == 0, fitted.err
    written = fitted.told["summary"]["result"]["written"]
    assert written == {str(path): _sha(path) for path in sorted(out.iterdir())}
    calibration = read_calibration(out / "calibration.safetensors")
    assert calibration.facts["models"] == "113"
    assert ("biases", "same architecture") in calibration.nulls


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_summary_ends_every_log(cluster: Cluster, crawled: Crawled) -> None:
    """Whatever became of a job: so whoever reads the log finds it without looking."""
    ended = {
        job
        for job, status in cluster.jobs().items()
        if status in ("SUCCEEDED", "FAILED", "STOPPED")
    }
    assert crawled.submitted.told["submission_id"] in ended
    for job in sorted(ended):
        assert cluster.log(job).splitlines()[-1].startswith('{"job": "'), job
