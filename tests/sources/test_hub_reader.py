"""Reading a hub's files while the server limits, fails, cuts, lies and moves on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provray.models.errors import UnavailableModel
from provray.sources import ModelRef, SourceFile, hub_http, open_reader, open_source
from provray.sources.hub import HubReader
from provray.testbed.local_hub import LocalHub
from tests.sources.hub_models import content, folder

SIZE = 700_000
WEIGHTS = content("m", SIZE)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    monkeypatch.setattr(hub_http, "FIRST_WAIT", 0.01)
    with LocalHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        running.push("org/m", folder(tmp_path, "m", size=SIZE, tokenizer__json=b""))
        yield running


def the_model(uri: str = "hf://org/m") -> tuple[ModelRef, SourceFile]:
    (ref,) = open_source(uri).models()
    return ref, next(file for file in ref.files if file.name == "model.safetensors")


def read(reader: HubReader, file: SourceFile, begin: int = 0, end: int = SIZE) -> bytes:
    return b"".join(reader.stream(file, begin, end))


@pytest.mark.parametrize("uri", ["hf://org/m", "hf://org"])
def test_a_head_is_one_range_request_and_tells_the_whole_size(hub: LocalHub, uri: str) -> None:
    ref, weights = the_model(uri)
    reader = open_reader(ref)
    assert reader.head(weights, 500) == (WEIGHTS[:500], SIZE)
    (request,) = hub.asked("/resolve/")
    assert (request.range, request.status, request.sent) == ("bytes=0-499", 206, 500)
    config, empty = (
        next(f for f in ref.files if f.name == name) for name in ("config.json", "tokenizer.json")
    )
    assert reader.head(config, 500) == (b'{"name": "m"}', 13)
    assert reader.head(empty, 500) == (b"", 0)


def test_a_stream_gives_the_bytes_that_were_asked_for_and_no_others_travel(hub: LocalHub) -> None:
    ref, weights = the_model()
    reader = HubReader(ref)
    pieces = list(reader.stream(weights, 1000, 500_000))
    assert b"".join(pieces) == WEIGHTS[1000:500_000]
    assert max(map(len, pieces)) <= 2**20
    assert sum(request.sent for request in hub.asked("/resolve/")) == 499_000
    assert read(reader, weights, 7, 7) == b""


def test_what_was_listed_is_read_though_the_branch_has_moved_on(
    hub: LocalHub, tmp_path: Path
) -> None:
    ref, weights = the_model()
    other = hub.push("org/m", folder(tmp_path, "other", size=SIZE))
    assert read(HubReader(ref), weights) == WEIGHTS
    moved, weights = the_model()
    assert moved.revision == other
    assert read(HubReader(moved), weights) == content("other", SIZE)


def test_a_server_that_answers_with_another_commit_is_not_believed(
    hub: LocalHub, tmp_path: Path
) -> None:
    ref, weights = the_model()
    other = hub.push("org/m", folder(tmp_path, "other", size=SIZE))
    hub.stale = True
    with pytest.raises(
        UnavailableModel, match=f"served at commit {other}, asked was {ref.revision}"
    ):
        HubReader(ref).head(weights, 100)


def test_a_server_that_knows_no_ranges_is_read_all_the_same(hub: LocalHub) -> None:
    hub.ranges = False
    ref, weights = the_model()
    reader = HubReader(ref)
    assert reader.head(weights, 100) == (WEIGHTS[:100], SIZE)
    assert read(reader, weights, 300_000, 400_000) == WEIGHTS[300_000:400_000]
    hub.cut("/resolve/", after=200_000)
    assert read(reader, weights) == WEIGHTS
    assert {request.status for request in hub.asked("/resolve/")} == {200}


def test_a_file_cut_midway_goes_on_at_the_missing_byte(hub: LocalHub) -> None:
    ref, weights = the_model()
    for after in (100_000, 250_001, 0):
        hub.cut("/resolve/", after)
    assert read(HubReader(ref), weights) == WEIGHTS
    requests = hub.asked("/resolve/")
    begins = [request.range for request in requests]
    assert begins == [
        "bytes=0-699999",
        "bytes=100000-699999",
        "bytes=350001-699999",
        "bytes=350001-699999",
    ]
    # Not one byte twice.
    assert sum(request.sent for request in requests) == SIZE


def test_progress_makes_patience_new_and_its_lack_ends_it(hub: LocalHub) -> None:
    ref, weights = the_model()
    hub.cut("/resolve/", after=50_000, times=hub_http.TRIES + 3)
    assert read(HubReader(ref), weights) == WEIGHTS
    hub.cut("/resolve/", after=0, times=99)
    with pytest.raises(UnavailableModel, match=r"RemoteProtocolError\), 6 times in a row"):
        read(HubReader(ref), weights)


def test_short_failures_are_waited_out_as_long_as_the_server_says(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(hub_http, "sleep", waits.append)
    ref, weights = the_model()
    hub.fail("/resolve/", 429, retry_after="3")
    hub.fail("/resolve/", 503, times=2)
    hub.fail("/resolve/", 503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    hub.fail("/resolve/", 429, ratelimit='"resolvers";r=0;t=42')
    assert HubReader(ref).head(weights, 10) == (WEIGHTS[:10], SIZE)
    # The date has passed: no wait. The waits without a wish of the server's double.
    assert waits[:5] == [3.0, 0.02, 0.04, 0.0, 42.0]


def test_a_server_that_stays_broken_or_asks_for_an_hour_is_given_up(hub: LocalHub) -> None:
    ref, weights = the_model()
    hub.fail("/resolve/", 503, times=99)
    with pytest.raises(UnavailableModel, match=r"HTTP 503, 6 times in a row; crawl it again later"):
        HubReader(ref).head(weights, 10)
    assert len(hub.asked("/resolve/")) == hub_http.TRIES
    hub.heal()
    hub.fail("/resolve/", 429, retry_after="3600")
    with pytest.raises(UnavailableModel, match="asks to wait 3,600 s, more than 300 s"):
        read(HubReader(ref), weights)
    assert len(hub.asked("/resolve/")) == hub_http.TRIES + 1


@pytest.mark.parametrize("uri", ["hf://org/m", "hf://org"])
def test_other_content_than_the_hub_s_digest_is_refused_before_its_last_byte(
    hub: LocalHub, tmp_path: Path, uri: str
) -> None:
    # The file on the server's disk rots after it was pushed: same length, another byte.
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(WEIGHTS[:400_000] + bytes([WEIGHTS[400_000] ^ 1]) + WEIGHTS[400_001:])
    ref, weights = the_model(uri)
    reader = HubReader(ref)
    got = [reader.head(weights, 1000)[0]]
    with pytest.raises(UnavailableModel, match=r"arrived with SHA-256 [0-9a-f]{64}, the Hub names"):
        got.extend(reader.stream(weights, 1000, SIZE))
    assert len(b"".join(got)) < SIZE
    # A part alone has no digest to be held against.
    assert len(read(HubReader(ref), weights, 300_000, SIZE)) == 400_000


def test_a_file_of_another_size_than_listed_has_changed(hub: LocalHub, tmp_path: Path) -> None:
    ref, weights = the_model()
    (tmp_path / "m" / "model.safetensors").write_bytes(WEIGHTS[:-1])
    for use in (lambda reader: reader.head(weights, 10), lambda reader: read(reader, weights)):
        with pytest.raises(UnavailableModel, match="has 699,999 bytes, listed were 700,000"):
            use(HubReader(ref))
    config = SourceFile("config.json")
    for begin in (0, 5, 13):
        with pytest.raises(UnavailableModel, match="has 13 bytes, fewer than the 99"):
            read(HubReader(ref), config, begin, 99)
    hub.fail("/resolve/", 416, content_range="bytes */13")
    with pytest.raises(UnavailableModel, match="refuses its bytes 0 to 13"):
        HubReader(ref).head(config, 99)


def test_a_file_that_arrives_compressed_is_not_taken_for_its_bytes(hub: LocalHub) -> None:
    ref, weights = the_model()
    hub.fail("/resolve/", 200, content_encoding="gzip")
    with pytest.raises(UnavailableModel, match=r"arrives compressed \(gzip\)"):
        HubReader(ref).head(weights, 10)


def test_what_vanishes_between_listing_and_reading_is_said_in_plain_words(hub: LocalHub) -> None:
    ref, weights = the_model()
    repository = hub.repositories["org/m"]
    hub.cut("/resolve/", after=100_000)
    pieces = HubReader(ref).stream(weights, 0, SIZE)
    assert next(pieces)
    repository.gated = True
    with pytest.raises(UnavailableModel, match="the model is gated"):
        list(pieces)
    repository.gated = False
    reader = HubReader(ref)
    for change, reason in (
        ({"gated": True}, "the model is gated: ask for access"),
        ({"disabled": True}, "the model was disabled"),
        ({"private": True}, r"the model does not exist \(any more\) or is private"),
    ):
        for name, value in change.items():
            setattr(repository, name, value)
        with pytest.raises(UnavailableModel, match=reason):
            reader.head(weights, 10)
        for name in change:
            setattr(repository, name, False)
    with pytest.raises(UnavailableModel, match="lacks a file that was listed"):
        reader.head(SourceFile("gone.json"), 10)
    repository.commits.clear()
    with pytest.raises(UnavailableModel, match=f"has no revision '{ref.revision}'"):
        reader.head(weights, 10)
    del hub.repositories["org/m"]
    with pytest.raises(UnavailableModel, match="does not exist"):
        reader.head(weights, 10)
    hub.fail("/resolve/", 451)
    with pytest.raises(UnavailableModel, match="refused with HTTP 451"):
        reader.head(weights, 10)


def test_the_token_stays_with_the_hub_when_a_file_lies_in_another_store(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "hf_for-the-hub-alone"
    hub.tokens = {token: set()}
    monkeypatch.setenv("HF_TOKEN", token)
    ref, weights = the_model("hf://org")
    with LocalHub() as store:
        assert store.push("org/m", tmp_path / "m") == ref.revision
        hub.store = store.endpoint
        reader = HubReader(ref)
        assert reader.head(weights, 100) == (WEIGHTS[:100], SIZE)
        store.cut("/resolve/", after=300_000)
        assert read(reader, weights) == WEIGHTS
        assert all(
            request.authorized and request.status == 302 for request in hub.asked("/resolve/")
        )
        assert [request.sent for request in store.requests] == [100, 300_000, 400_000]
        assert not any(request.authorized for request in store.requests)


def test_nothing_is_kept_on_this_machine(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, weights = the_model()
    home = Path.home()
    before = set(home.rglob("*"))
    assert read(HubReader(ref), weights) == WEIGHTS
    assert set(home.rglob("*")) == before
