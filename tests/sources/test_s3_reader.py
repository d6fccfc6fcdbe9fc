"""Reading models of a bucket at the listed ETags, over connections that break, on a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from provray.models.errors import UnavailableModel
from provray.models.files import DEFAULT_LIMITS, MIB
from provray.sources import ModelRef, SourceFile, open_reader, open_source
from provray.sources import s3_client as client_module
from provray.sources import s3_reader as reader_module
from provray.sources.fetch import Scratch
from provray.sources.folder import folder_revision
from tests.models.tiny import build, save
from tests.seaweed import Seaweed
from tests.sources.breaking_proxy import BreakingProxy, breaking_proxy

SIZE = 5 * MIB + 17
WEIGHTS = np.random.default_rng(7).bytes(SIZE)
_BODY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce rate</Message></Error>"
SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


@pytest.fixture
def ref(seaweed: Seaweed, s3_bucket: str) -> ModelRef:
    client = seaweed.client()
    for name, data in (
        ("config.json", b"{}"),
        ("model.safetensors", WEIGHTS),
        ("vocab.txt", b""),
    ):
        client.put_object(Bucket=s3_bucket, Key=f"zoo/m/{name}", Body=data)
    (found,) = open_source(f"s3://{s3_bucket}/zoo").models()
    return found


@pytest.fixture
def proxy(
    seaweed: Seaweed, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BreakingProxy]:
    """Stands between this process and the server; failures are waited out for no time."""
    monkeypatch.setattr(reader_module, "_FIRST_WAIT", 0.0)
    monkeypatch.setattr(client_module, "REQUEST_ATTEMPTS", 1)
    with breaking_proxy(seaweed.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def file_of(ref: ModelRef, name: str) -> SourceFile:
    return next(file for file in ref.files if file.name == name)


def weights_of(ref: ModelRef) -> SourceFile:
    return file_of(ref, "model.safetensors")


def test_ranges_are_read_as_asked(ref: ModelRef) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    assert reader.head(weights, 1000) == (WEIGHTS[:1000], SIZE)
    assert reader.head(file_of(ref, "config.json"), 1000) == (b"{}", 2)
    for begin, end in ((0, 1), (5, 5), (MIB - 1, MIB + 1), (SIZE - 3, SIZE), (0, SIZE)):
        pieces = list(reader.stream(weights, begin, end))
        assert b"".join(pieces) == WEIGHTS[begin:end]
        assert all(0 < len(piece) <= MIB for piece in pieces)
    reader.close()


def test_a_file_of_unknown_size_and_tag_is_read(ref: ModelRef) -> None:
    unknown = SourceFile("model.safetensors")
    assert open_reader(ref).head(unknown, 10 * MIB) == (WEIGHTS, SIZE)


def test_an_empty_object_is_read_as_nothing(ref: ModelRef) -> None:
    reader, vocab = open_reader(ref), file_of(ref, "vocab.txt")
    assert vocab.size == 0
    assert reader.head(vocab, 100) == (b"", 0)
    assert list(reader.stream(vocab, 0, 0)) == []


def test_an_object_uploaded_in_parts_is_read_at_its_etag(seaweed: Seaweed, s3_bucket: str) -> None:
    client = seaweed.client()
    where = {"Bucket": s3_bucket, "Key": "m/model.safetensors"}
    upload = client.create_multipart_upload(**where)["UploadId"]
    halves = (WEIGHTS[: 5 * MIB], WEIGHTS[5 * MIB :])
    parts = [
        {
            "PartNumber": n,
            "ETag": client.upload_part(**where, UploadId=upload, PartNumber=n, Body=half)["ETag"],
        }
        for n, half in enumerate(halves, 1)
    ]
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    client.put_object(Bucket=s3_bucket, Key="m/config.json", Body=b"{}")
    (ref,) = open_source(f"s3://{s3_bucket}").models()
    assert "-2" in weights_of(ref).tag
    assert b"".join(open_reader(ref).stream(weights_of(ref), 0, SIZE)) == WEIGHTS


def test_a_model_that_is_the_whole_bucket_is_read(seaweed: Seaweed, s3_bucket: str) -> None:
    for name in ("config.json", "a b+ü.safetensors"):
        seaweed.client().put_object(Bucket=s3_bucket, Key=name, Body=name.encode())
    (ref,) = open_source(f"s3://{s3_bucket}").models()
    for file in ref.files:
        assert open_reader(ref).head(file, 100)[0] == file.name.encode()


@pytest.mark.parametrize("other", [WEIGHTS[::-1], WEIGHTS[:-1], b""])
def test_an_object_that_changed_since_it_was_listed_is_not_read(
    seaweed: Seaweed, s3_bucket: str, ref: ModelRef, other: bytes
) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    seaweed.client().put_object(Bucket=s3_bucket, Key="zoo/m/model.safetensors", Body=other)
    with pytest.raises(
        UnavailableModel, match=r"^model.safetensors changed since it was listed: crawl"
    ):
        reader.head(weights, 100)
    with pytest.raises(UnavailableModel, match="changed since it was listed"):
        list(reader.stream(weights, MIB, SIZE))


def test_without_etags_a_changed_size_is_noticed(
    seaweed: Seaweed, s3_bucket: str, ref: ModelRef
) -> None:
    weights = replace(weights_of(ref), tag="")
    seaweed.client().put_object(Bucket=s3_bucket, Key="zoo/m/model.safetensors", Body=WEIGHTS[1:])
    with pytest.raises(UnavailableModel, match="changed since it was listed"):
        open_reader(ref).head(weights, 100)


def test_an_object_that_changes_while_it_is_read_is_noticed(
    seaweed: Seaweed, s3_bucket: str, ref: ModelRef, proxy: BreakingProxy
) -> None:
    pieces = open_reader(ref).stream(weights_of(ref), 0, SIZE)
    proxy.start_counting(2 * MIB)
    read = [next(pieces)]
    seaweed.client().put_object(Bucket=s3_bucket, Key="zoo/m/model.safetensors", Body=WEIGHTS[::-1])
    with pytest.raises(UnavailableModel, match="changed since it was listed"):
        read.extend(pieces)
    assert len(read) > 1
    assert WEIGHTS.startswith(b"".join(read))


def test_an_object_or_bucket_that_is_gone_is_unavailable(
    seaweed: Seaweed, s3_bucket: str, ref: ModelRef
) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    seaweed.client().delete_object(Bucket=s3_bucket, Key="zoo/m/model.safetensors")
    with pytest.raises(UnavailableModel, match=f"{s3_bucket} at .*: it was deleted since"):
        reader.head(weights, 100)
    elsewhere = open_reader(replace(ref, location="s3://no-such-bucket/m"))
    with pytest.raises(UnavailableModel, match=r"no-such-bucket at .*status 404"):
        list(elsewhere.stream(weights, 0, 10))


def test_refused_credentials_make_a_model_unavailable_and_are_not_told(
    seaweed: Seaweed, ref: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    with pytest.raises(UnavailableModel, match="the secret key does not belong") as caught:
        open_reader(ref).head(weights_of(ref), 100)
    assert "a-wrong-secret" not in str(caught.value)


def test_reading_goes_on_where_connections_broke(ref: ModelRef, proxy: BreakingProxy) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    proxy.start_counting(MIB, 2 * MIB, 1 * MIB)
    assert b"".join(reader.stream(weights, 3, SIZE)) == WEIGHTS[3:]
    assert proxy.cuts == []
    # What a broken connection still held is asked for again, and no more than that.
    assert proxy.passed < SIZE + 4 * reader_module._PIECE


def test_breaks_with_progress_between_them_are_never_too_many(
    ref: ModelRef, proxy: BreakingProxy
) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    proxy.start_counting(*[300 * 1024] * 12)
    assert b"".join(reader.stream(weights, 0, SIZE)) == WEIGHTS
    assert proxy.cuts == []


def test_a_range_costs_its_own_bytes(ref: ModelRef, proxy: BreakingProxy) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    reader.head(weights, 1000)
    list(reader.stream(weights, MIB, MIB + 1000))
    assert 2000 < proxy.passed < 2000 + 2 * 1500, "the bytes, and the heads of two answers"


def test_the_head_of_a_file_survives_a_broken_connection(
    ref: ModelRef, proxy: BreakingProxy
) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    proxy.start_counting(MIB, 100)
    assert reader.head(weights, 2 * MIB) == (WEIGHTS[: 2 * MIB], SIZE)
    assert proxy.cuts == []


def test_a_server_that_never_gets_further_is_given_up(ref: ModelRef, proxy: BreakingProxy) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    pieces = reader.stream(weights, 0, SIZE)
    proxy.start_counting(MIB, *[100] * 50)
    with pytest.raises(UnavailableModel, match=f"{proxy.endpoint}: .*6 times in a row"):
        list(pieces)
    assert len(proxy.cuts) == 50 - 5, "one cut after some bytes, five before any"


def test_an_endpoint_that_went_down_makes_a_model_unavailable(
    ref: ModelRef, proxy: BreakingProxy
) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    reader.head(weights, 10)
    proxy.close()
    with pytest.raises(UnavailableModel, match="it cannot be reached"):
        reader.head(weights, 10)


def test_throttling_is_waited_out(ref: ModelRef, proxy: BreakingProxy) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    proxy.answers = [SLOW_DOWN] * 3
    assert reader.head(weights, 1000) == (WEIGHTS[:1000], SIZE)
    assert proxy.answers == []


def test_a_server_that_throttles_for_ever_is_given_up(ref: ModelRef, proxy: BreakingProxy) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    proxy.answers = [SLOW_DOWN] * 50
    with pytest.raises(UnavailableModel, match="status 503, 'SlowDown', 6 times in a row"):
        reader.head(weights, 1000)
    assert len(proxy.answers) == 50 - 6


def test_a_server_that_ignores_ranges_is_not_read(ref: ModelRef, proxy: BreakingProxy) -> None:
    reader, weights = open_reader(ref), weights_of(ref)
    proxy.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"]
    with pytest.raises(UnavailableModel, match="does not give byte ranges"):
        list(reader.stream(weights, MIB, SIZE))


def test_a_wait_that_the_server_asks_for_is_kept_but_not_for_ever() -> None:
    from botocore.exceptions import ClientError

    def asked(value: str) -> float:
        headers = {"HTTPHeaders": {"retry-after": value}}
        return client_module.asked_wait(ClientError({"ResponseMetadata": headers}, "GetObject"))

    assert [asked(value) for value in ("7", "86400", "soon", "-1")] == [7.0, 60.0, 0.0, 0.0]


def test_a_model_fetched_from_a_bucket_is_the_model_that_was_put_there(
    seaweed: Seaweed, s3_bucket: str, proxy: BreakingProxy, tmp_path: Path
) -> None:
    local = save(tmp_path / "m", build("bert"))
    (local / "README.md").write_text("---\nbase_model: org/base\n---\n")
    for path in local.iterdir():
        seaweed.client().put_object(Bucket=s3_bucket, Key=f"m/{path.name}", Body=path.read_bytes())
    (ref,) = open_source(f"s3://{s3_bucket}").models()
    proxy.start_counting(10_000)
    scratch = Scratch(tmp_path / "scratch", 100 * MIB, DEFAULT_LIMITS, seconds=60)
    try:
        fetched = scratch.fetch(ref, probed=True).ref
        assert folder_revision(Path(fetched.location)) == folder_revision(local)
        assert fetched.declared == {"base_model": ["org/base"]}
        assert (fetched.model, fetched.revision) == ("m", ref.revision)
    finally:
        scratch.close()
    assert proxy.cuts == []
