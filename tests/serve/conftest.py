"""One service for all its tests, on the session's Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from provray.serve.keys import create_key
from provray.serve.run import Listen, start
from provray.serve.settings import ServiceSettings
from tests.serve.live import Live, free_port
from tests.serve.made_index import make_index, make_models

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.serve.browsing import Ask


@pytest.fixture(scope="package")
def live(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service with keys: two front and two search replicas, one for fingerprints."""
    folder = tmp_path_factory.mktemp("service")
    models = make_models(folder / "models")
    index = make_index(folder / "index", models)
    keys = folder / "keys.json"
    secrets = {
        scope: create_key(keys, scope, [scope], 1_000_000)[1]
        for scope in ("read", "query", "admin")
    }
    secrets["slow"] = create_key(keys, "slow", ["read"], 12)[1]
    settings = ServiceSettings(
        index=str(index),
        state=str(folder / "state"),
        keys=str(keys),
        allow=(str(models), "hf://lab", "s3://models/public"),
        body_bytes=1_000_000,
        poll_seconds=0.2,
    )
    port = free_port()
    start(settings, Listen(port=port))
    yield Live("127.0.0.1", port, secrets, settings, index, models)
    from ray import serve

    serve.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for the tests of a module. It ends with them: while it is there, this thread has an event loop, and
    `asyncio.run` of other tests would not start."""
    from tests.serve.browsing import chromium

    with chromium() as found:
        yield found


@pytest.fixture
def reader(live: Live, browser: Browser) -> Iterator[Ask]:
    """Makes readers of the page; whatever the browser complains of meanwhile fails the test."""
    from tests.serve.browsing import Reader

    made: list[Reader] = []

    def make(**settings: Any) -> Reader:
        made.append(Reader(browser, live.url, **settings))
        return made[-1]

    yield make
    complaints = [text for one in made for text in one.complaints]
    for one in made:
        one.close()
    assert complaints == []
