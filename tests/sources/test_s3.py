"""Listing models of a bucket, on a real S3 server."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provray.models.errors import UnsafeModel
from provray.sources import ModelRef, SourceError, SourceFile, open_source
from provray.sources import s3 as s3_module
from provray.sources import s3_client as client_module
from provray.sources.s3 import ListedObject, S3Source, listed_revision, models_among
from provray.sources.s3_client import s3_client
from provray.sources.wanted import counts
from tests.seaweed import Seaweed

MODEL = {"config.json": b"{}", "model.safetensors": b"w"}


def put(seaweed: Seaweed, bucket: str, objects: Mapping[str, bytes]) -> None:
    client = seaweed.client()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda item: client.put_object(Bucket=bucket, Key=item[0], Body=item[1]),
                objects.items(),
            )
        )


def put_models(seaweed: Seaweed, bucket: str, *folders: str) -> None:
    put(seaweed, bucket, {f"{f}/{name}": data for f in folders for name, data in MODEL.items()})


def listed(uri: str, since: datetime | None = None) -> list[ModelRef]:
    return list(open_source(uri, since=since).models())


def test_every_directory_with_a_configuration_and_weights_is_a_model(
    seaweed: Seaweed, s3_bucket: str
) -> None:
    put_models(seaweed, s3_bucket, "zoo/b", "zoo/b/two", "zoo/a/deep/er/one", "zoo/c-x", "other/y")
    put_models(seaweed, s3_bucket, "zoo/.hidden/four", "zoo/b/.git/five", "zoo-not-below/six")
    put(
        seaweed,
        s3_bucket,
        {"zoo/no-weights/config.json": b"{}", "zoo/no-config/x.safetensors": b""},
    )
    found = listed(f"s3://{s3_bucket}/zoo/")
    assert [ref.model for ref in found] == ["a/deep/er/one", "b/two", "b", "c-x"]
    assert found[0].location == f"s3://{s3_bucket}/zoo/a/deep/er/one"
    assert all(ref.problem is None and ref.remote and not ref.declared for ref in found)
    assert "other/y" in [ref.model for ref in listed(f"s3://{s3_bucket}")]


def test_a_prefix_or_bucket_that_is_itself_a_model_is_named_by_its_last_part(
    seaweed: Seaweed, s3_bucket: str
) -> None:
    put_models(seaweed, s3_bucket, "zoo/mine", "zoo/mine/child")
    put(seaweed, s3_bucket, MODEL)
    assert [r.model for r in listed(f"s3://{s3_bucket}/zoo/mine")] == ["child", "mine"]
    (whole,) = [r for r in listed(f"s3://{s3_bucket}") if "/" not in r.model]
    assert (whole.model, whole.location) == (s3_bucket, f"s3://{s3_bucket}")


def test_only_wanted_files_are_listed_with_size_and_etag(seaweed: Seaweed, s3_bucket: str) -> None:
    other = {
        "README.md": b"card",
        "notes.txt": b"x",
        "pytorch_model.bin": b"y",
        ".x.safetensors": b"z",
    }
    objects = MODEL | other | {"tokenizer.json": b"", "onnx/model.onnx": b"o"}
    put(seaweed, s3_bucket, {f"m/{name}": data for name, data in objects.items()})
    (ref,) = listed(f"s3://{s3_bucket}")
    wanted = ["README.md", "config.json", "model.safetensors", "tokenizer.json"]
    tags = [f'"{hashlib.md5(objects[name]).hexdigest()}"' for name in wanted]
    assert list(ref.files) == [
        SourceFile(name, len(objects[name]), tag) for name, tag in zip(wanted, tags, strict=True)
    ]


def test_a_listing_of_several_pages_is_one_listing(
    seaweed: Seaweed, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(seaweed, s3_bucket, {f"m/part-{n:04}.bin": b"" for n in range(1005)})
    put_models(seaweed, s3_bucket, "m", "m/sub", "z", "m-x", "a")
    in_long_pages = listed(f"s3://{s3_bucket}")
    assert [ref.model for ref in in_long_pages] == ["a", "m/sub", "m", "m-x", "z"]
    monkeypatch.setattr(s3_module, "_PAGE_KEYS", 100)
    assert listed(f"s3://{s3_bucket}") == in_long_pages


def test_keys_of_a_model_and_of_models_inside_it_interleave(
    seaweed: Seaweed, s3_bucket: str
) -> None:
    names = ["config.json", "model-1.safetensors", "model-2.safetensors", "tokenizer.json"]
    for folder in ("m", "m/d", "m/mz", "m/z", "m/d/deep"):
        put(seaweed, s3_bucket, {f"{folder}/{name}": folder.encode() for name in names})
    found = {ref.model: [file.name for file in ref.files] for ref in listed(f"s3://{s3_bucket}")}
    assert found == dict.fromkeys(("m", "m/d", "m/mz", "m/z", "m/d/deep"), names)


def test_the_revision_is_the_digest_of_what_counts(seaweed: Seaweed, s3_bucket: str) -> None:
    put(
        seaweed,
        s3_bucket,
        {"m/config.json": b"{}", "m/model.safetensors": b"w", "m/README.md": b""},
    )
    (ref,) = listed(f"s3://{s3_bucket}")
    text = "".join(
        f'{name}\0{len(MODEL[name])}\0"{hashlib.md5(MODEL[name]).hexdigest()}"\n'
        for name in ("config.json", "model.safetensors")
    )
    assert ref.revision == hashlib.sha256(text.encode()).hexdigest()


def test_the_revision_follows_content_and_names_and_not_the_card(
    seaweed: Seaweed, s3_bucket: str
) -> None:
    def revision() -> str:
        return listed(f"s3://{s3_bucket}")[0].revision

    put_models(seaweed, s3_bucket, "m")
    before = revision()
    put(
        seaweed,
        s3_bucket,
        {"m/README.md": b"card", "m/notes.txt": b"x", **{f"m/{n}": d for n, d in MODEL.items()}},
    )
    assert revision() == before
    seen = {before}
    for name, data in (("config.json", b"[]"), ("model.safetensors", b"v"), ("vocab.txt", b"")):
        put(seaweed, s3_bucket, {f"m/{name}": data})
        seen.add(revision())
    seaweed.client().delete_object(Bucket=s3_bucket, Key="m/vocab.txt")
    put(seaweed, s3_bucket, {"m/merges.txt": b""})
    seen.add(revision())
    assert len(seen) == 5


def test_since_leaves_out_models_without_a_newer_file(seaweed: Seaweed, s3_bucket: str) -> None:
    put_models(seaweed, s3_bucket, "old")
    time.sleep(1.1)  # the server's clock counts whole seconds
    put_models(seaweed, s3_bucket, "new")
    put(seaweed, s3_bucket, {"old/README.md": b"a new card is no new model"})
    new, old = listed(f"s3://{s3_bucket}")
    assert new.modified is not None
    assert old.modified is not None
    assert old.modified < new.modified
    assert [r.model for r in listed(f"s3://{s3_bucket}", since=new.modified)] == ["new"]
    assert [r.model for r in listed(f"s3://{s3_bucket}", since=old.modified)] == ["new", "old"]


def test_names_that_are_no_safe_file_names_are_listed_as_unsafe(
    seaweed: Seaweed, s3_bucket: str
) -> None:
    put_models(seaweed, s3_bucket, "fine ü/%2e%2e/+ &", "esc\x1b[31m", "line\nbreak")
    put(seaweed, s3_bucket, {"w/config.json": b"{}", "w/a\tb.safetensors": b""})
    found = {ref.model: ref.problem for ref in listed(f"s3://{s3_bucket}")}
    assert set(found) == {"fine ü/%2e%2e/+ &", "esc\\x1b[31m", "line\\nbreak", "w"}
    assert found.pop("fine ü/%2e%2e/+ &") is None
    assert all(isinstance(problem, UnsafeModel) for problem in found.values())
    assert all(problem is None or problem.reason.isprintable() for problem in found.values())


def objects(keys: Iterable[str]) -> list[ListedObject]:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return [ListedObject(key, 1, '"tag"', when) for key in keys]


@pytest.mark.parametrize(
    "folder", ["a/../b", "..", "a/./b", "a//b", "/a", "a\\b", "a\0b", "a\u202eb", "a\u200bb"]
)
def test_a_path_that_may_lead_elsewhere_is_unsafe(folder: str) -> None:
    # S3 keeps such keys; the server of these tests refuses or rewrites them.
    keys = [f"{folder}/{name}" for name in MODEL]
    ((path, directory),) = models_among(objects(keys))
    assert path == folder
    assert isinstance(directory.problem, UnsafeModel)


@pytest.mark.parametrize("name", ["a\\b", "c:d", "x" * 300, "é" * 130, "a\u2028b"])
def test_a_file_name_that_no_file_can_have_is_unsafe(name: str) -> None:
    keys = ["m/config.json", f"m/{name}.safetensors"]
    ((_, directory),) = models_among(objects(keys))
    assert isinstance(directory.problem, UnsafeModel)
    assert len(directory.problem.reason) < 200


def test_a_directory_of_endlessly_many_files_is_unsafe_and_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3_module, "_MOST_FILES", 3)
    keys = [
        "m/config.json",
        *(f"m/{n}.safetensors" for n in range(5)),
        "z/config.json",
        "z/x.safetensors",
    ]
    (_, many), (_, few) = models_among(objects(keys))
    assert isinstance(many.problem, UnsafeModel)
    assert (len(many.files), few.problem, len(few.files)) == (3, None, 2)


_PARTS = st.sampled_from(["a", "a-", "a.b", "b", "z"])
_NAMES = st.sampled_from(["config.json", "m.safetensors", "m-2.safetensors", "vocab.txt", "x.bin"])
_KEYS = st.sets(
    st.tuples(st.lists(_PARTS, max_size=3), _NAMES).map(lambda key: "/".join([*key[0], key[1]]))
)


@given(_KEYS)
def test_the_same_models_are_found_in_either_order_of_keys(keys: set[str]) -> None:
    files: dict[str, set[str]] = {}
    for key in keys:
        folder, _, name = key.rpartition("/")
        if counts(name):
            files.setdefault(folder, set()).add(name)
    expected = {
        folder: names
        for folder, names in files.items()
        if "config.json" in names and any(name.endswith(".safetensors") for name in names)
    }
    for order in (sorted(keys), sorted(keys, key=lambda key: key.split("/"))):
        found = list(models_among(objects(order)))
        assert {path: {file.name for file in d.files} for path, d in found} == expected
        assert len(found) == len(expected)


def test_a_revision_does_not_depend_on_the_order_of_the_listing() -> None:
    files = [SourceFile("config.json", 1, "a"), SourceFile("m.safetensors", 2, "b")]
    assert listed_revision(files) == listed_revision(files[::-1])
    assert listed_revision(files) != listed_revision([SourceFile("config.json", 1, "a")])


@pytest.mark.parametrize("uri", ["s3://", "s3:///prefix", "http://bucket"])
def test_a_uri_without_a_bucket_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="names no bucket"):
        S3Source(uri)


def refusal(uri: str) -> str:
    with pytest.raises(SourceError) as caught:
        listed(uri)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_bucket_that_is_not_there_is_named_with_its_endpoint(
    seaweed: Seaweed, s3_bucket: str
) -> None:
    said = refusal("s3://no-such-bucket/x")
    assert said.startswith(f"cannot list bucket no-such-bucket at {seaweed.endpoint}: there is no")
    assert "cannot be the name of a bucket" in refusal("s3://not a bucket")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "a-wrong-secret"}, "the secret key does not belong"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "the access key is not known"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no credentials"),
    ],
)
def test_credentials_that_are_refused_are_no_secret_told(
    seaweed: Seaweed,
    s3_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str],
    reason: str,
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    said = refusal(f"s3://{s3_bucket}/x")
    assert reason in said
    assert s3_bucket in said
    assert seaweed.endpoint in said
    assert seaweed.secret_key not in said
    assert "a-wrong-secret" not in said


def test_an_endpoint_that_is_down_is_named_without_its_password(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "REQUEST_ATTEMPTS", 2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:a-password@127.0.0.1:9")
    said = refusal(f"s3://{s3_bucket}/x")
    assert f"cannot list bucket {s3_bucket} at http://127.0.0.1:9: it cannot be reached" in said
    assert "a-password" not in said


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (b"<html>", "it answered with status 500"),  # what the client makes of broken XML
        (b"<html><body>Hello</body></html>", "does not answer as S3 does"),
    ],
)
def test_a_web_server_is_no_empty_bucket(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, page: bytes, reason: str
) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setattr(client_module, "REQUEST_ATTEMPTS", 2)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        assert reason in refusal(f"s3://{s3_bucket}/x")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "changed",
    [{"AWS_ENDPOINT_URL": "no url, secret"}, {"AWS_PROFILE": "absent"}],
)
def test_settings_that_make_no_client_are_an_error_of_the_source(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    assert re.match(r"S3 cannot be set up \(\w+\): check AWS_ENDPOINT_URL", refusal("s3://bucket"))


def test_threads_share_one_client_and_new_settings_make_a_new_one(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(4) as pool:
        clients = {id(client) for client in pool.map(lambda _: s3_client(), range(8))}
    assert clients == {id(s3_client())}
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    assert id(s3_client()) not in clients
