"""Where an index lies: folders and buckets behind the same calls, the latter on a real S3 server."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from provray.index.location import BadIndex, IndexLocation
from tests.seaweed import Seaweed


@pytest.fixture(params=["disk", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> IndexLocation:
    if request.param == "disk":
        return IndexLocation.of(tmp_path / "not there" / "my index")
    return IndexLocation.of(f"s3://{request.getfixturevalue('s3_bucket')}/deep/index")


# --- names


def test_a_folder_and_a_bucket_are_told_apart(tmp_path: Path) -> None:
    folder = IndexLocation.of(tmp_path)
    assert (folder.remote, folder.uri) == (False, str(tmp_path))
    assert folder.cache_folder == tmp_path / "cache"
    bucket = IndexLocation.of("s3://bucket/a/b/")
    assert (bucket.remote, str(bucket), bucket.table_uri) == (
        True,
        "s3://bucket/a/b",
        "s3://bucket/a/b/table",
    )
    assert IndexLocation.of(bucket) is bucket
    assert IndexLocation.of(f"file://{tmp_path}") == folder
    assert IndexLocation.of("~/index").uri == str(Path.home() / "index")


def test_caches_of_two_buckets_do_not_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = (IndexLocation.of(f"s3://{b}/x").cache_folder for b in ("one", "other"))
    assert one != other
    assert one.parent == other.parent == tmp_path / "provray"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert IndexLocation.of("s3://one/x").cache_folder.is_relative_to(Path.home() / ".cache")


@pytest.mark.parametrize(
    "uri", ["gs://bucket/x", "s3://", "s3:///x", "s3://bucket//x", "http://host/x", "s3:/bucket/x"]
)
def test_what_cannot_be_written_to_is_an_error(uri: str) -> None:
    with pytest.raises(ValueError, match=f"not at '{uri}'"):
        IndexLocation.of(uri)


# --- objects


def test_an_object_is_written_once_and_read_back(location: IndexLocation) -> None:
    assert location.write_new("probes/b", b"content") is True
    assert location.write_new("probes/b", b"other") is False
    assert location.write_new("probes/a", b"") is True
    assert location.read("probes/b") == b"content"
    assert location.names("probes") == ["probes/a", "probes/b"]
    assert location.names("spaces") == []


def test_an_object_that_is_not_there_is_an_error(location: IndexLocation) -> None:
    with pytest.raises(BadIndex, match="probes/none"):
        location.read("probes/none")


def test_asking_whether_there_is_a_table_leaves_no_trace(location: IndexLocation) -> None:
    assert location.holds_table() is False
    if not location.remote:
        assert not Path(location.uri).parent.exists()
    location.write_new("table/_delta_log/0.json", b"{}")
    assert location.holds_table() is True


# --- keys


def test_keys_are_neither_shown_nor_pickled(s3_bucket: str, seaweed: Seaweed) -> None:
    location = IndexLocation.of(f"s3://{s3_bucket}/index")
    location.write_new("a", b"1")
    assert location.storage_options["aws_secret_access_key"] == seaweed.secret_key
    for shown in (repr(location), str(location), repr(vars(location)["store"])):
        assert seaweed.secret_key not in shown
    pickled = pickle.dumps(location)
    assert seaweed.secret_key.encode() not in pickled
    assert pickle.loads(pickled).read("a") == b"1"


def test_without_keys_nobody_is_asked_for_them(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    location = IndexLocation.of(f"s3://{s3_bucket}/index")
    for reach in (location.holds_table, lambda: location.storage_options, lambda: location.store):
        with pytest.raises(BadIndex, match=r"no AWS credentials for s3://.*AWS_ACCESS_KEY_ID"):
            reach()


def test_keys_of_a_profile_are_found(
    s3_bucket: str, seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "credentials"
    profile.write_text(
        f"[lab]\naws_access_key_id = {seaweed.access_key}\naws_secret_access_key = {seaweed.secret_key}\n"
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    location = IndexLocation.of(f"s3://{s3_bucket}/index")
    assert location.write_new("a", b"1") is True
    assert location.storage_options["aws_access_key_id"] == seaweed.access_key


def test_an_endpoint_for_s3_alone_goes_before_the_general_one(
    s3_bucket: str, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", seaweed.endpoint)
    assert IndexLocation.of(f"s3://{s3_bucket}/index").write_new("a", b"1") is True


# --- what can be wrong


def test_a_bucket_that_is_not_there_is_named(s3_bucket: str, seaweed: Seaweed) -> None:
    with pytest.raises(BadIndex, match=f"no bucket 'nowhere' at {seaweed.endpoint}; make it"):
        IndexLocation.of("s3://nowhere/index").holds_table()


@pytest.mark.parametrize(
    ("variable", "code"),
    [
        ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"),
    ],
)
def test_wrong_keys_are_said_and_not_shown(
    s3_bucket: str, variable: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "something-wrong")
    location = IndexLocation.of(f"s3://{s3_bucket}/index")
    for ask in (
        location.holds_table,
        lambda: location.read("a"),
        lambda: location.names("probes"),
        lambda: location.write_new("a", b"1"),
    ):
        with pytest.raises(BadIndex, match=rf"refuses the credentials \({code}\)") as raised:
            ask()
        assert "something-wrong" not in str(raised.value)
        assert "\n" not in str(raised.value)


def test_an_endpoint_that_is_down_is_said_at_once(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(BadIndex, match=r"no S3 server answers at http://127\.0\.0\.1:1; check"):
        IndexLocation.of(f"s3://{s3_bucket}/index").holds_table()
