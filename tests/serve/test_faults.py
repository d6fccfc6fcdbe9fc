"""Constant load while the index grows, the service is redeployed and its processes are killed: nothing fails.

A client may have to send a request again; what it is asked to do is always answered in the end.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import pytest

import provray
from provray.serve.questions import Question
from provray.serve.run import NAME
from provray.serve.settings import ServiceSettings
from tests.ancestry.networks import stranger
from tests.serve.live import Live, replicas
from tests.serve.made_index import BASE, CHILD, GRANDCHILD, STRANGERS, add

_BREATH = 0.1
ASKED = [BASE.name, CHILD.name, GRANDCHILD.name, *(n.name for n in STRANGERS)]


@dataclass
class Counts:
    """Questions sent, answered, sent again by the client, and failed with their errors; answers by version."""

    sent: int = 0
    answered: int = 0
    retried: int = 0
    failed: list[str] = field(default_factory=list)
    versions: Counter[int] = field(default_factory=Counter)


class Load:
    """Clients in a thread that ask one question after the other until they are told to stop, with a breath in between:
    replicas have to start on the same two cores.

    `clients` ask about indexed models, one more about a suspect on disk, which takes a fingerprint each time.
    """

    def __init__(self, live: Live, clients: int) -> None:
        self.counts = Counts()
        self._live = live
        self._clients = clients
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(
            *(self._client(number) for number in range(self._clients)), self._suspects()
        )

    async def _client(self, number: int) -> None:
        chosen = random.Random(number)
        async with provray.AsyncClient(self._live.url, self._live.keys["admin"]) as client:
            while not self._stop.is_set():
                await self._ask(client, chosen.choice(ASKED), chosen.choice((5, 10)))
                await asyncio.sleep(_BREATH)
            self.counts.retried += client.retried

    async def _suspects(self) -> None:
        """Each question is a new one, since each is about another folder."""
        async with provray.AsyncClient(self._live.url, self._live.keys["admin"]) as client:
            while not self._stop.is_set():
                folder = self._live.models / f"suspect-{uuid.uuid4().hex}"
                shutil.copytree(self._live.models / "copy", folder)
                await self._ask(client, str(folder), 10)
                await asyncio.sleep(_BREATH)
            self.counts.retried += client.retried

    async def _ask(self, client: provray.AsyncClient, model: str, top_k: int) -> None:
        self.counts.sent += 1
        try:
            answer = await client.ask(model, top_k=top_k)
        except Exception as error:
            self.counts.failed.append(f"{model}: {type(error).__name__}: {error}")
            return
        self.counts.answered += 1
        self.counts.versions[answer.index.version] += 1


def _until(holds: object, what: str) -> None:
    assert callable(holds)
    until = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def _serves(client: provray.Client, version: int) -> bool:
    return client.index().index.version >= version


def _assert_nothing_failed(counts: Counts) -> None:
    print(
        f"sent {counts.sent}, answered {counts.answered}, retried {counts.retried}, "
        f"failed {len(counts.failed)}; by version {dict(sorted(counts.versions.items()))}"
    )
    assert not counts.failed, counts.failed[:5]
    assert counts.sent == counts.answered > 50


def test_five_commits_under_load_fail_no_request_and_need_no_restart(live: Live) -> None:
    before = {kind: replicas(kind) for kind in ("front", "search", "fingerprints", "watch")}
    with live.client() as client, Load(live, 6) as load:
        first = client.index().index.version
        for number in range(5):
            version = add(live.index, stranger(f"late/{number}", 500 + number))
            _until(
                lambda wanted=version: _serves(client, wanted), f"version {version} is not served"
            )
            answered = load.counts.answered
            _until(lambda least=answered: load.counts.answered > least + 10, "nothing is answered")
    _assert_nothing_failed(load.counts)
    assert load.counts.retried == 0
    assert set(load.counts.versions) <= set(range(first, version + 1))
    assert load.counts.versions[version] > 0
    assert before == {kind: replicas(kind) for kind in before}


def test_a_redeployment_under_load_replaces_every_replica_and_fails_no_request(live: Live) -> None:
    from ray import serve

    from provray.serve.app import build

    before = {kind: replicas(kind) for kind in ("front", "search", "fingerprints", "watch")}
    changed = ServiceSettings(**{**live.settings.model_dump(), "request_seconds": 31.0})
    with live.client() as client, Load(live, 6) as load:
        serve.run(build(changed), name=NAME, route_prefix="/")
        for kind, pids in before.items():
            _until(
                lambda kind=kind, pids=pids: (
                    not set(replicas(kind)) & set(pids) and len(replicas(kind)) == len(pids)
                ),
                f"{kind} replicas are not replaced",
            )
        answered = load.counts.answered
        _until(lambda: load.counts.answered > answered + 20, "nothing is answered")
        client.submit(Question(model=BASE.name))
    _assert_nothing_failed(load.counts)


@pytest.mark.parametrize("kind", ["front", "search", "fingerprints", "watch"])
def test_a_killed_replica_is_replaced_and_no_request_fails(live: Live, kind: str) -> None:
    before = replicas(kind)
    with Load(live, 6) as load:
        _until(lambda: load.counts.answered > 20, "nothing is answered")
        os.kill(before[0], signal.SIGKILL)
        _until(
            lambda: before[0] not in replicas(kind) and len(replicas(kind)) == len(before),
            f"no new {kind} replica",
        )
        answered = load.counts.answered
        _until(lambda: load.counts.answered > answered + 20, "nothing is answered")
    _assert_nothing_failed(load.counts)
