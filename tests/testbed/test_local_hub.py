"""The local hub speaks to the Hub's own client, and its faults are what they say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from provray.testbed import local_hub, local_hub_api
from provray.testbed.local_hub import LocalHub
from tests.sources.hub_models import content, folder


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub() as running:
        yield running


def api(hub: LocalHub, token: str | bool = False) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def get(hub: LocalHub, path: str, **headers: str) -> httpx2.Response:
    return httpx2.get(hub.endpoint + path, headers=headers)


def test_the_hub_s_client_lists_pages_filters_and_sorts(hub: LocalHub, tmp_path: Path) -> None:
    for number in range(5):
        card = f"library_name: lib{number % 2}\npipeline_tag: task\ntags: [t{number}]"
        hub.push(f"org/m{number}", folder(tmp_path, f"m{number}", card))
        hub.repositories[f"org/m{number}"].downloads = (number * 3) % 5
    hub.push("other/m", folder(tmp_path, "other"))
    hub.page = 2
    client = api(hub)
    assert [model.id for model in client.list_models(author="org", sort="downloads")] == [
        f"org/m{number}" for number in (3, 1, 4, 2, 0)
    ]
    assert len(hub.requests) == 3
    assert [model.id for model in client.list_models(filter=["lib0", "t2"])] == ["org/m2"]
    assert len(list(client.list_models(pipeline_tag="task", limit=3))) == 3
    (model,) = client.list_models(author="other", expand=["sha", "siblings"])
    assert model.sha == client.model_info("other/m").sha
    assert {file.rfilename for file in model.siblings or ()} == {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    assert model.last_modified is None


def test_the_hub_s_client_reads_commits_refs_sizes_and_files(hub: LocalHub, tmp_path: Path) -> None:
    first = hub.push("org/m", folder(tmp_path, "one", "license: mit"))
    second = hub.push("org/m", folder(tmp_path, "two"))
    hub.repositories["org/m"].tags["v1"] = first
    client = api(hub)
    assert client.model_info("org/m").sha == second
    info = client.model_info("org/m", revision="v1", files_metadata=True)
    assert info.sha == first
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    weights = next(file for file in info.siblings or () if file.rfilename == "model.safetensors")
    assert weights.lfs is not None
    assert (weights.size, weights.lfs.size) == (1000, 1000)
    refs = client.list_repo_refs("org/m")
    assert {ref.name: ref.target_commit for ref in (*refs.branches, *refs.tags)} == {
        "main": second,
        "v1": first,
    }
    (path,) = client.get_paths_info("org/m", ["model.safetensors", "nothing"], revision=first)
    assert path.path == "model.safetensors"
    for revision, name in (("v1", "one"), (second, "two")):
        path_on_disk = hf_hub_download(
            "org/m",
            "model.safetensors",
            revision=revision,
            endpoint=hub.endpoint,
            token=False,
            cache_dir=tmp_path / "cache",
        )
        assert Path(path_on_disk).read_bytes() == content(name, 1000)


def test_the_hub_s_client_knows_every_refusal(hub: LocalHub, tmp_path: Path) -> None:
    for name in ("gated", "private", "disabled", "old"):
        hub.push(f"org/{name}", folder(tmp_path, name))
    hub.repositories["org/gated"].gated = True
    hub.repositories["org/private"].private = True
    hub.repositories["org/disabled"].disabled = True
    hub.rename("org/old", "org/new")
    hub.tokens = {"member": {"org/gated", "org/private"}, "guest": set()}
    guest, member = api(hub, "guest"), api(hub, "member")
    with pytest.raises(GatedRepoError):
        guest.auth_check("org/gated")
    member.auth_check("org/gated")
    for name in ("org/private", "org/nothing"):
        with pytest.raises(RepositoryNotFoundError):
            guest.model_info(name)
    assert member.model_info("org/private").private
    with pytest.raises(DisabledRepoError):
        guest.model_info("org/disabled")
    with pytest.raises(RevisionNotFoundError):
        guest.model_info("org/new", revision="gone")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("org/new", "gone.json", endpoint=hub.endpoint, token="guest")
    assert guest.model_info("org/old").id == "org/new"
    with pytest.raises(HfHubHTTPError, match="401"):
        api(hub, "forged").model_info("org/new")


def test_ranges_are_answered_as_http_says(hub: LocalHub, tmp_path: Path) -> None:
    commit = hub.push("org/m", folder(tmp_path, "m"))
    path, data = "/org/m/resolve/main/model.safetensors", content("m", 1000)
    part = get(hub, path, range="bytes=10-19")
    assert (part.status_code, part.content) == (206, data[10:20])
    assert part.headers["content-range"] == "bytes 10-19/1000"
    assert part.headers["x-repo-commit"] == commit
    assert get(hub, path, range="bytes=990-").content == data[990:]
    assert get(hub, path, range="bytes=990-5000").content == data[990:]
    beyond = get(hub, path, range="bytes=1000-1001")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */1000")
    hub.ranges = False
    assert get(hub, path, range="bytes=10-19").content == data
    head = httpx2.head(hub.endpoint + path)
    assert (head.headers["content-length"], head.content) == ("1000", b"")
    assert head.headers["x-linked-size"] == "1000"


def test_faults_strike_as_often_as_asked_and_the_log_tells(hub: LocalHub, tmp_path: Path) -> None:
    hub.push("org/m", folder(tmp_path, "m", size=300_000))
    path = "/org/m/resolve/main/model.safetensors"
    hub.fail(r"\.safetensors$", 429, times=2, retry_after="9")
    limited = get(hub, path)
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "9")
    assert get(hub, "/org/m/resolve/main/config.json").status_code == 200
    assert get(hub, path).status_code == 429
    assert get(hub, path).status_code == 200
    hub.cut("safetensors", after=123_456)
    received: list[bytes] = []
    with (
        httpx2.stream("GET", hub.endpoint + path) as answer,
        pytest.raises(httpx2.RemoteProtocolError),
    ):
        received.extend(answer.iter_raw())
    assert sum(map(len, received)) == 123_456
    hub.fail("", 503)
    hub.heal()
    assert get(hub, path).status_code == 200
    sent = [(request.status, request.sent) for request in hub.asked(r"\.safetensors$")]
    assert sent == [(429, 0), (429, 0), (200, 300_000), (200, 123_456), (200, 300_000)]


def test_latency_is_paid_by_each_request_and_the_link_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    # A clock that stands still: what is waited for is written down instead.
    monkeypatch.setattr(local_hub, "monotonic", lambda: 0.0)
    monkeypatch.setattr(local_hub, "sleep", waits.append)
    latencies: list[float] = []
    monkeypatch.setattr(local_hub_api, "sleep", latencies.append)
    with LocalHub(latency=0.3, bandwidth=1e6) as hub:
        hub.push("org/m", folder(tmp_path, "m", size=150_000))
        path = "/org/m/resolve/main/model.safetensors"
        ways = [threading.Thread(target=get, args=(hub, path)) for _ in range(2)]
        for way in ways:
            way.start()
        for way in ways:
            way.join()
        assert [request.sent for request in hub.requests] == [150_000, 150_000]
    assert latencies == [0.3, 0.3]
    # 300,000 bytes over one link of a million a second: the last of them is through after 0.3 s.
    assert max(waits) == pytest.approx(0.3)
    assert len(set(waits)) == len(waits)


def test_a_hub_that_is_left_answers_no_more_not_even_on_open_connections(tmp_path: Path) -> None:
    with LocalHub() as hub, httpx2.Client() as client:
        hub.push("org/m", folder(tmp_path, "m"))
        url = f"{hub.endpoint}/api/models"
        assert client.get(url).status_code == 200
        hub.__exit__(None, None, None)
        with pytest.raises(httpx2.TransportError):
            client.get(url)
