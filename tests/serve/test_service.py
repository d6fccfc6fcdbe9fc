"""The service as its callers see it: real replicas, a real index on disk, real models as suspects."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

import provray
from provray.client import Refusal
from provray.serve.jobs import JobStore
from provray.serve.questions import Question
from provray.serve.schemas import Answer, Job
from tests.serve.live import Live
from tests.serve.made_index import (
    BASE,
    BROKEN,
    CHILD,
    COPY,
    GRANDCHILD,
    STRANGERS,
    SUSPECT,
    add,
    fingerprint,
    rows,
)

MODELS = 4 + len(STRANGERS) + 1


def _ask_at(client: provray.Client, version: int) -> Answer:
    """An answer on this version or a later one. Replicas move on one after the other, each within a second or so."""
    until = time.monotonic() + 60
    while True:
        answer = client.ask(GRANDCHILD.name, top_k=50)
        if answer.index.version >= version:
            return answer
        assert time.monotonic() < until, f"version {version} is not served"
        time.sleep(0.1)


# --- questions


def test_an_indexed_model_is_answered_at_once_and_is_not_its_own_ancestor(live: Live) -> None:
    with live.client("query") as client:
        answer = client.submit(Question(model=CHILD.name))
    assert isinstance(answer, Answer)
    assert (answer.query.model, answer.query.revision) == (CHILD.name, "r1")
    assert answer.verdict == "copy"
    assert [c.model for c in answer.ancestors] == [COPY.name]
    with live.client("query") as client:
        answer = client.ask(GRANDCHILD.name, top_k=3, fdr=0.01)
    assert answer.verdict == "ancestor"
    assert {c.model for c in answer.ancestors} <= {BASE.name, CHILD.name, COPY.name}
    assert GRANDCHILD.name not in {c.model for c in answer.candidates}
    assert len(answer.candidates) <= 3


def test_every_answer_names_version_spaces_and_rate(live: Live) -> None:
    with live.client("query") as client:
        answer = client.ask(GRANDCHILD.name, fdr=0.02)
    assert answer.fdr == 0.02
    assert answer.index.name == "index"
    assert answer.index.models >= MODELS
    assert {space.split("-")[0] for space in answer.query.spaces} == {"weights", "dna", "gif"}


def test_a_ready_fingerprint_is_answered_at_once(live: Live) -> None:
    with live.client("query") as client:
        answer = client.ask(fingerprint(SUSPECT))
    assert answer.verdict in ("ancestor", "sibling")
    assert BASE.name in {c.model for c in answer.candidates if c.inherits}
    assert answer.query.model == SUSPECT.name


def test_a_suspect_on_disk_gets_a_job_and_then_the_answer_of_a_copy(live: Live) -> None:
    with live.client("query") as client:
        job = client.submit(Question(model=str(live.models / "copy")))
        assert isinstance(job, Job)
        again = client.submit(Question(model=str(live.models / "copy")))
        assert isinstance(again, (Job, Answer))
        if isinstance(again, Job):
            assert again.id == job.id
        answer = client.ask(str(live.models / "copy"))
    assert answer.verdict == "copy"
    assert [c.model for c in answer.ancestors] == ["indexed"]
    assert answer.index.version == job.index.version
    with live.client("query") as client:
        found = client.job(job.id)
    assert found == answer


def test_prefer_wait_holds_the_answer_back_until_it_is_known(live: Live) -> None:
    body = {"model": str(live.models / "alone")}
    status, headers, content = live.ask("POST", "/v1/ancestry", body, {"Prefer": "wait=0"})
    if status == 202:
        assert headers["retry-after"] == "1"
        path = headers["location"]
        status, _, content = live.ask("GET", path, headers={"Prefer": "respond-async, wait=30"})
    assert status == 200
    answer = Answer.model_validate_json(content)
    assert answer.verdict in ("none", "related")
    assert any(space.startswith("dna-") for space in answer.query.spaces)


def test_a_suspect_that_cannot_be_read_is_a_problem_and_not_a_failure(live: Live) -> None:
    with live.client("query") as client, pytest.raises(Refusal) as caught:
        client.ask(str(live.models / "bad"))
    assert caught.value.problem.status == 422
    assert "bad is broken" in caught.value.problem.detail


def test_a_question_whose_process_died_is_taken_over_by_the_next_poll(live: Live) -> None:
    """A job file without outcome and without a living lease is what a killed front replica leaves behind."""
    shutil.copytree(live.models / "copy", live.models / "orphan")
    with live.client("query") as client:
        job = client.submit(Question(model=str(live.models / "orphan"), top_k=7))
        assert isinstance(job, Job)
        client.ask(str(live.models / "orphan"), top_k=7)
    store = JobStore(live.settings.state_folder / "jobs")
    left = store.find(job.id)
    assert left is not None
    store.save(left.__class__(**{**left.__dict__, "outcome": None}))
    status, _, content = live.ask("GET", f"/v1/ancestry/{job.id}", headers={"Prefer": "wait=30"})
    assert status == 200
    assert Answer.model_validate_json(content).verdict == "copy"


def test_a_batch_answers_each_question_for_itself(live: Live) -> None:
    asked = [
        Question(model=GRANDCHILD.name),
        Question(model="nobody/knows"),
        Question(model="/etc"),
        Question(model=str(live.models / "copy"), top_k=9),
    ]
    with live.client("query") as client:
        results = client.batch(asked).results
    assert [r.status for r in results[:3]] == [200, 404, 403]
    assert results[0].answer is not None
    assert results[0].answer.query.model == GRANDCHILD.name
    assert results[1].problem is not None
    assert results[1].problem.type == "urn:provray:problem:unknown-model"
    assert results[3].status in (200, 202)


async def _asked_at_once(url: str, key: str) -> tuple[Answer, str]:
    async with provray.AsyncClient(url, key) as client:
        answer = await client.ask(GRANDCHILD.name)
        detail = await client.model(BASE.name)
        return answer, detail.model


def test_the_asynchronous_client_gets_the_same_answers(live: Live) -> None:
    import asyncio

    answer, name = asyncio.run(_asked_at_once(live.url, live.keys["admin"]))
    with live.client() as client:
        same = client.ask(GRANDCHILD.name)
    assert name == BASE.name
    if same.index == answer.index:
        assert same == answer
    assert live.keys["admin"] not in repr(client)


# --- models


def test_models_are_searched_and_paged_by_name(live: Live) -> None:
    with live.client("read") as client:
        first = client.models(q="far", limit=7)
        names = [m.model for m in first.models]
        assert names == [n.name for n in STRANGERS[:7]]
        rest = client.models(q="FAR", limit=500, cursor=first.next or "")
        assert rest.next is None
        assert first.total >= len(STRANGERS)
        assert len(names) + len(rest.models) == rest.total
        assert [m.model for m in client.models(q="deep shop").models] == [GRANDCHILD.name]


def test_failures_are_listed_with_their_reasons(live: Live) -> None:
    with live.client("read") as client:
        failed = client.models(status="failed").models
        assert [(m.model, m.status, m.reason) for m in failed] == [
            (BROKEN, "broken", "a header is missing")
        ]
        assert client.models(status="broken").total == 1
        assert client.model(BROKEN).rows[0].reason == "a header is missing"
    with live.client("query") as client, pytest.raises(Refusal, match="a header is missing"):
        client.ask(BROKEN)


def test_a_model_whose_name_holds_slashes_is_found_with_its_copies(live: Live) -> None:
    with live.client("read") as client:
        detail = client.model(GRANDCHILD.name)
        assert detail.model == GRANDCHILD.name
        assert [row.kind for row in detail.rows] == ["weights", "dna", "gif"]
        assert client.model(CHILD.name).copies == [COPY.name]
        with pytest.raises(Refusal, match="no indexed model is called 'no/such/model'"):
            client.model("no/such/model")


def test_a_lineage_goes_up_or_down_as_far_as_it_is_asked(live: Live) -> None:
    with live.client("read") as client:
        whole = client.lineage(CHILD.name)
        assert {n.model for n in whole.nodes} == {
            BASE.name,
            CHILD.name,
            COPY.name,
            GRANDCHILD.name,
        }
        assert whole.family == 4
        assert whole.complete
        edges = {(e.parent, e.child) for e in whole.edges}
        assert all(parent != child for parent, child in edges)
        alone = client.lineage(STRANGERS[0].name)
        assert [n.model for n in alone.nodes] == [STRANGERS[0].name]
        up = client.lineage(CHILD.name, direction="up", depth=1)
        assert all(node.depth <= 0 for node in up.nodes)
        assert not up.complete or len(up.nodes) == 4


def test_the_index_says_what_it_holds_and_what_nulls_are_in_force(live: Live) -> None:
    with live.client("read") as client:
        facts = client.index()
    assert facts.statuses["broken"] == 1
    assert facts.statuses["ok"] == facts.index.models
    assert {s.kind for s in facts.spaces} == {"weights", "dna", "gif"}
    assert all(s.asked for s in facts.spaces)
    assert {n.origin for n in facts.nulls} >= {"index"}
    assert {p.name for p in facts.probe_sets} == {"small-image", "small-text"}
    assert facts.sources == ["models", "hf://lab", "s3://models/public"]
    assert str(live.index) not in facts.model_dump_json()


# --- versions


def test_a_new_version_is_served_without_a_restart_and_old_ones_can_be_asked(live: Live) -> None:
    late = BASE.child("shop/late", 77)
    with live.client() as client:
        before = client.index().index
        old = client.ask(GRANDCHILD.name, top_k=50)
        version = add(live.index, late)
        new = _ask_at(client, version)
        assert new.index.models == before.models + 1
        assert late.name in {c.model for c in new.candidates}
        then = client.ask(GRANDCHILD.name, top_k=50, as_of=before.version)
        assert then == old
        assert client.models(q="shop/late", as_of=before.version).total == 0
        with pytest.raises(Refusal) as caught:
            client.ask(GRANDCHILD.name, as_of=version + 1000)
        assert caught.value.problem.type == "urn:provray:problem:unknown-version"


# --- access


@pytest.mark.parametrize(
    ("method", "path", "body", "scope"),
    [
        ("GET", "/v1/index", None, "query"),
        ("GET", "/v1/models", None, "query"),
        ("GET", f"/v1/models/{BASE.name}", None, "query"),
        ("GET", f"/v1/models/{BASE.name}/lineage", None, "query"),
        ("POST", "/v1/ancestry", {"model": BASE.name}, "read"),
        ("POST", "/v1/ancestry:batch", {"questions": [{"model": BASE.name}]}, "read"),
        ("GET", "/v1/ancestry/0123456789abcdef0123456789abcdef", None, "read"),
        ("GET", "/metrics", None, "read"),
    ],
)
def test_a_route_needs_a_key_and_its_scope(
    live: Live, method: str, path: str, body: object, scope: str
) -> None:
    status, headers, content = live.ask(method, path, body, scope=None)
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    status, _, _ = live.ask(method, path, body, {"Authorization": "Bearer pvr_0_no"}, scope=None)
    assert status == 401
    status, _, content = live.ask(method, path, body, scope=scope)
    assert (status, json.loads(content)["type"]) == (403, "urn:provray:problem:missing-scope")
    assert live.ask(method, path, body, scope="admin")[0] != 403


def test_liveness_and_readiness_need_no_key(live: Live) -> None:
    for path in ("/healthz", "/readyz"):
        status, _, content = live.ask("GET", path, scope=None)
        assert (status, json.loads(content)) == (200, {"status": "ok"})


def test_metrics_are_the_sum_of_all_front_replicas(live: Live) -> None:
    def asked() -> float:
        text = live.ask("GET", "/metrics")[2].decode()
        name = 'provray_requests_total{method="GET",route="/healthz",status="200"}'
        return next((float(line.split()[-1]) for line in text.splitlines() if name in line), 0.0)

    before = asked()
    for _ in range(20):
        live.ask("GET", "/healthz")
    assert asked() - before == 20


def test_the_audit_log_says_who_asked_what_and_what_was_told_and_no_secret(live: Live) -> None:
    status, headers, _ = live.ask(
        "POST",
        "/v1/ancestry",
        {"model": GRANDCHILD.name, "fdr": 0.03},
        {"X-Request-Id": "audited-1"},
        scope="query",
    )
    assert (status, headers["x-request-id"]) == (200, "audited-1")
    assert live.headers("/healthz").count("x-request-id") == 1
    live.ask("POST", "/v1/ancestry", {"model": "s3://user:hunter2@models/x"}, scope="query")
    lines = live.audit()
    (line,) = [line for line in lines if line["request"] == "audited-1"]
    assert line["asked"] == {"model": GRANDCHILD.name, "top_k": 10, "fdr": 0.03, "as_of": None}
    assert line["told"]["verdict"] == "ancestor"
    assert (line["status"], line["route"], len(line["key"])) == (200, "/v1/ancestry", 8)
    assert line["version"] >= 1
    text = (live.settings.state_folder / "audit.jsonl").read_text()
    assert "hunter2" not in text
    assert not any(secret in text for secret in live.keys.values())
    assert Path(live.settings.state_folder / "audit.jsonl").stat().st_mode & 0o077 == 0


def test_rows_of_the_made_index_live_in_the_spaces_that_are_asked(live: Live) -> None:
    with live.client() as client:
        asked = {s.space for s in client.index().spaces if s.asked}
    assert {row.space for row in rows(BASE)} <= asked
