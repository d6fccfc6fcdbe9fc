"""One service for all its tests, on the session's Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provray.serve.keys import create_key
from provray.serve.run import Listen, start
from provray.serve.settings import ServiceSettings
from tests.serve.live import Live, free_port
from tests.serve.made_index import make_index, make_models


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
