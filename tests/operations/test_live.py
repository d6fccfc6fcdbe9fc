"""A live installation under a live Prometheus: the dashboard has data, faults make alerts fire, the head may restart.

The tests are one story in this order: what an earlier one broke stays broken.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from tests.crawl.killing import varied_models
from tests.models import tiny
from tests.operations.cluster import until
from tests.operations.load import Load
from tests.operations.monitoring import queries
from tests.operations.stack import Stack
from tests.operations.watching import Prometheus
from tests.serve.made_index import BASE, CHILD

_SPILL = """
import sys, time, ray, numpy as np
ray.init(log_to_driver=False)
kept = [ray.put(np.zeros(30_000_000, np.uint8)) for _ in range(6)]
time.sleep(float(sys.argv[1]))
"""


def _status(stack: Stack, path: str, scope: str, body: bytes | None = None) -> int:
    """Status of one request, sent once."""
    headers = {"Authorization": f"Bearer {stack.keys[scope]}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(stack.url + path, body, headers), timeout=60
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_every_query_of_the_dashboard_has_data_and_no_alert_fires(
    stack: Stack, prometheus: Prometheus
) -> None:
    crawl = stack.crawl(
        varied_models(stack.folder / "varied", 4), stack.folder / "crawled", "--time-limit", "300"
    )
    empty = list(queries())
    with stack.client() as client:
        assert client.ask(BASE.name).verdict
        assert client.ask(str(stack.models / "copy")).verdict
        began = time.monotonic()
        while empty and time.monotonic() < began + 150:
            # Some panels show rates, and a crawl's gauges are there only while it runs.
            client.ask(BASE.name)
            empty = [(title, query) for title, query in empty if not prometheus.query(query)]
            time.sleep(0.5)
    assert empty == []
    assert crawl.wait(100) == 0
    until(
        lambda: prometheus.value('sum(provray:crawl_models:gained1h{status="ok"})') == 4,
        "four models are counted",
    )
    assert (prometheus.value('max(provray_suspects_total{status="200"})') or 0) >= 1
    # The waits of the rules are cut to seconds here, and the gauges of a service that just came up arrive in turn.
    until(lambda: prometheus.firing() == set(), "no alert fires")
    # Replicas of several machines may count into one folder, so their files are named after both.
    assert all(
        os.uname().nodename.replace("_", "-") in file.name
        for file in (stack.settings.state_folder / "metrics").glob("counter_*.db")
    )


def test_metrics_are_for_their_own_scope(stack: Stack) -> None:
    assert [_status(stack, "/metrics", scope) for scope in ("metrics", "query", "read")] == [
        200,
        403,
        403,
    ]
    assert _status(stack, f"/v1/models/{BASE.name}", "metrics") == 403


def test_a_caller_beyond_its_rate_is_refused_and_that_is_told(
    stack: Stack, prometheus: Prometheus
) -> None:
    asked = b'{"model": "%s"}' % BASE.name.encode()
    statuses = [_status(stack, "/v1/ancestry", "slow", asked) for _ in range(150)]
    assert statuses.count(429) > 100
    prometheus.wait_for("ProvrayRefuses")


def test_more_suspects_than_there_is_room_for_are_refused_and_that_is_told(
    stack: Stack, prometheus: Prometheus
) -> None:
    """A worker that hangs over one suspect leaves the others waiting."""
    room = stack.settings.queue * stack.settings.front_replicas
    (worker,) = stack.cluster.worker.processes("ray::Worker")
    statuses: Counter[int] = Counter()

    def told_of_one_more() -> bool:
        folder = stack.models / f"queued{sum(statuses.values()):03}"
        shutil.copytree(stack.models / "alone", folder)
        asked = b'{"model": "%s"}' % str(folder).encode()
        statuses[_status(stack, "/v1/ancestry", "query", asked)] += 1
        return "ProvraySuspectsFull" in prometheus.firing()

    os.kill(worker, signal.SIGSTOP)
    try:
        until(told_of_one_more, "that there is no room is told", pause=0.2)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert set(statuses) == {202, 503}
    assert statuses[202] >= room
    until(lambda: prometheus.value("max(provray_suspects_waiting)") == 0, "all have their answer")


def test_an_index_out_of_reach_is_answered_from_memory_and_that_is_told(
    stack: Stack, prometheus: Prometheus
) -> None:
    away = stack.index.with_name("away")
    stack.index.rename(away)
    prometheus.wait_for("ProvrayIndexOutOfReach")
    with stack.client() as client:
        assert client.ask(CHILD.name, top_k=7).verdict
    away.rename(stack.index)
    until(lambda: "ProvrayIndexOutOfReach" not in prometheus.firing(), "it is read again")


def test_an_audit_log_that_cannot_be_written_withholds_answers_and_that_is_told(
    stack: Stack, prometheus: Prometheus
) -> None:
    log = stack.settings.state_folder / "audit.jsonl"
    log.rename(log.with_suffix(".away"))
    log.mkdir()
    asked = b'{"model": "%s"}' % BASE.name.encode()

    def withheld() -> bool:
        return _status(stack, "/v1/ancestry", "query", asked) == 500

    until(withheld, "an answer is withheld")  # a replica looks for a new file once a second
    for _ in range(20):
        withheld()
    prometheus.wait_for("ProvrayAuditFails")
    prometheus.wait_for("ProvrayErrors")
    log.rmdir()
    log.with_suffix(".away").rename(log)
    until(lambda: not withheld(), "answers are given again")


def test_a_crawl_of_broken_and_slow_models_is_told(
    stack: Stack, prometheus: Prometheus, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    tiny.save(tmp_path / "cut", tiny.build("vit"))
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for number in range(24):
        shutil.copytree(tmp_path / "cut", models / f"cut{number:02}")
    for number in range(3):
        tiny.save(models / f"slow{number}", tiny.build("vit", num_hidden_layers=100))
    crawl = stack.crawl(models, tmp_path / "index", "--time-limit", "1")
    prometheus.wait_for("ProvrayCrawlFailing")
    prometheus.wait_for("ProvrayWorkersDie")
    assert crawl.wait(100) == 0


def test_an_object_store_that_spills_is_told(stack: Stack, prometheus: Prometheus) -> None:
    stack.cluster.run(_SPILL, 12)
    prometheus.wait_for("RaySpills")


def test_questions_are_answered_while_the_head_is_away_and_after_it_is_back(
    stack: Stack, prometheus: Prometheus
) -> None:
    """SIGKILL of the control store: `ray start --block` ends with it, as a head's container does under KubeRay, and a
    new head finds its cluster in Redis."""
    head = stack.cluster.head
    (control_store,) = head.processes("gcs/gcs_server")
    # Under Kubernetes no request goes to the head (`excludeHeadPodFromServeSvc`). Here its proxy shares a port with the
    # worker's, and would hold requests while its node is taken down: it is killed along.
    (proxy,) = head.processes("ray::ProxyActor")
    assert int(stack.redis.ask("DBSIZE")) > 0
    assert "NOAUTH" in stack.redis.ask("DBSIZE", password="")
    replicas = stack.cluster.worker.processes("ray::ServeReplica:provray")
    # A pause, since the head has no machine of its own here and must start beside them.
    with Load(stack, 3, pause=0.1) as load:
        until(lambda: load.answered > 50, "questions are answered")
        for process in (control_store, proxy):
            os.kill(process, signal.SIGKILL)
        until(lambda: not head.alive, "the head ends with its control store")
        head.end()
        before = load.answered
        prometheus.wait_for("RayHeadDown")
        prometheus.wait_for("RayNodeDown")
        until(lambda: load.answered > before + 50, "questions are answered without a head")
        while_away = load.answered - before
        starts = head.keep()
        stack.cluster.ready(2)
        before = load.answered
        until(lambda: load.answered > before + 50, "questions are answered")
    print(f"{load}; {while_away} answered without a head, which was started {starts} times")
    until(
        lambda: not {"RayHeadDown", "RayNodeDown"} & prometheus.firing(),
        "both alerts are over",
    )
    assert load.failed == []
    assert load.answered == load.sent
    assert stack.cluster.worker.processes("ray::ServeReplica:provray") == replicas
    # What the control store does works again: a suspect that is new costs a call of an actor, a dead replica another.
    os.kill(stack.cluster.worker.processes("ray::ServeReplica:provray:front")[0], signal.SIGKILL)
    until(
        lambda: (
            len(stack.cluster.worker.processes("ray::ServeReplica:provray")) == len(replicas)
            and stack.cluster.worker.processes("ray::ServeReplica:provray") != replicas
        ),
        "a replica that died is replaced",
    )
    with stack.client() as client:
        assert client.ask(str(stack.models / "alone")).verdict == "none"


def test_a_service_that_is_gone_is_told(stack: Stack, prometheus: Prometheus) -> None:
    assert "ProvrayServiceDown" not in prometheus.firing()
    stack.cluster.worker.end()
    prometheus.wait_for("ProvrayServiceDown")
