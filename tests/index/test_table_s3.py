"""The table in a bucket of a real S3 server: what it does on disk, and what only a bucket can do to it."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from provray.fingerprints.settings import FingerprintSettings
from provray.fingerprints.space import behaviour_space, weights_space
from provray.index.location import IndexLocation
from provray.index.table import BadIndex, FingerprintTable
from provray.index.verify import verify_index
from provray.probes import ProbeSet, ProbeSetError, make_probe
from tests.index.small import SPACE, failed_row, unit_row
from tests.index.writers import batch_of, start_writer
from tests.seaweed import Seaweed, running_seaweed
from tests.sources.breaking_proxy import breaking_proxy

PROBES = ProbeSet("own", "text", tuple(make_probe("noise", f"a b {i}") for i in range(3)))


@pytest.fixture
def uri(s3_bucket: str) -> str:
    return f"s3://{s3_bucket}/team/index"


def _models(table: FingerprintTable) -> list[str]:
    return sorted(row.model for row in table.rows([SPACE]))


def _raw(uri: str) -> Counter[tuple[str, str]]:
    delta = FingerprintTable.open(uri).delta
    data = delta.to_pyarrow_dataset().to_table(columns=["model", "space"])
    return Counter(zip(data["model"].to_pylist(), data["space"].to_pylist(), strict=True))


# --- as on disk


def test_rows_are_read_back_at_every_version(uri: str) -> None:
    table = FingerprintTable.create(uri)
    assert (table.version, table.keys(), _models(table)) == (0, {}, [])
    assert table.append([unit_row("a", 3), failed_row("bad", "broken")]) == 1
    assert table.append([unit_row("a", 4, seconds=5), unit_row("b")]) == 2
    again = FingerprintTable.create(uri)
    assert again.version == 2
    (newest,) = again.rows([SPACE], ["a"])
    np.testing.assert_array_equal(newest.vectors, unit_row("a", 4).vectors)
    assert again.keys("broken") == {("bad", "r1", SPACE): "broken"}
    assert {row.model for row in again.facts()} == {"a", "b", "bad"}
    (older,) = FingerprintTable.open(uri, version=1).rows([SPACE])
    np.testing.assert_array_equal(older.vectors, unit_row("a", 3).vectors)
    assert FingerprintTable.open(uri, version=0).keys() == {}


def test_a_second_writer_leaves_out_what_the_first_has_done(uri: str) -> None:
    first, second = FingerprintTable.create(uri), FingerprintTable.create(uri)
    first.append([unit_row("a", 1), failed_row("bad", "timeout")])
    second.append([unit_row("a", 2, seconds=5), failed_row("bad", "timeout", 5), unit_row("b")])
    assert sum(_raw(uri).values()) == 3
    first.append([unit_row("c")])
    assert _models(first) == ["a", "b", "c"]


def test_several_processes_that_begin_together_make_one_index(uri: str) -> None:
    """Each of them finds no table and makes one."""
    batches = 6
    writers = [start_writer(uri, name, batches, os.environ) for name in ("left", "right")]
    for _, pipe in writers:
        assert pipe.recv() == "ready"
    for _, pipe in writers:
        pipe.send("go")
    for process, _ in writers:
        process.join(120)
        assert process.exitcode == 0
    expected = {
        (row.model, row.space)
        for name in ("left", "right")
        for number in range(batches)
        for row in batch_of(name, number)
    }
    assert _raw(uri) == Counter(expected)
    assert FingerprintTable.open(uri).version == 2 * batches


def test_probe_sets_lie_beside_the_table_and_are_checked(uri: str, seaweed: Seaweed) -> None:
    table = FingerprintTable.create(uri)
    assert table.probe_sets() == ()
    table.keep_probes(PROBES)
    table.keep_probes(PROBES)
    (kept,) = FingerprintTable.open(uri).probe_sets()
    assert kept == PROBES
    assert table.probe_set(PROBES.digest) == PROBES
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    client, own = seaweed.client(), f"{prefix}/probes/{PROBES.digest}.parquet"
    content = client.get_object(Bucket=bucket, Key=own)["Body"].read()
    client.put_object(Bucket=bucket, Key=f"{prefix}/probes/{'0' * 64}.parquet", Body=content)
    with pytest.raises(ProbeSetError, match="instead of the one it is named after"):
        table.probe_sets()
    client.put_object(Bucket=bucket, Key=own, Body=content[:-1])
    with pytest.raises(ProbeSetError, match=f"{PROBES.digest}"):
        table.probe_set(PROBES.digest)


def test_spaces_are_kept_and_found_again(uri: str) -> None:
    table = FingerprintTable.create(uri)
    assert table.spaces() == {}
    settings = FingerprintSettings()
    spaces = [
        weights_space(settings),
        behaviour_space("dna", settings, "text", PROBES.digest),
    ]
    table.keep_spaces(spaces)
    table.keep_spaces(spaces[:1])
    assert FingerprintTable.open(uri).spaces() == {space.id: space for space in spaces}


# --- what is no index


def test_no_index_no_bucket_no_server_and_wrong_keys_are_told_apart(
    uri: str, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadIndex, match=rf"no index at {uri}; make one with `provray crawl"):
        FingerprintTable.open(uri)
    for begin in (FingerprintTable.open, FingerprintTable.create):
        with pytest.raises(BadIndex, match="no bucket 'nowhere'"):
            begin("s3://nowhere/index")
    assert "nowhere" not in [b["Name"] for b in seaweed.client().list_buckets()["Buckets"]]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    for begin in (FingerprintTable.open, FingerprintTable.create):
        with pytest.raises(BadIndex, match="refuses the credentials") as raised:
            begin(uri)
        assert "wrong-secret" not in str(raised.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for begin in (FingerprintTable.open, FingerprintTable.create):
        with pytest.raises(BadIndex, match="no S3 server answers"):
            begin(uri)


def test_a_version_that_is_not_there_cannot_be_opened(uri: str) -> None:
    FingerprintTable.create(uri)
    with pytest.raises(BadIndex, match=f"cannot open version 7 of the index at {uri}"):
        FingerprintTable.open(uri, version=7)


# --- faults


def test_a_server_that_restarts_in_between_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed as by a power cut while a crawl appends, and back a moment later with the same objects."""
    with running_seaweed(tmp_path / "seaweed") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        uri = f"s3://{server.new_bucket()}/index"
        FingerprintTable.create(uri)
        process, pipe = start_writer(uri, "writer", 40, os.environ)
        assert pipe.recv() == "ready"
        pipe.send("go")
        while pipe.recv() < 4:
            pass
        server.kill()
        time.sleep(0.5)
        server.start()
        process.join(200)
        assert process.exitcode == 0
        expected = {(row.model, row.space) for n in range(40) for row in batch_of("writer", n)}
        assert _raw(uri) == Counter(expected)
        assert list(verify_index(IndexLocation.of(uri))) == []


def test_an_answer_cut_off_at_any_byte_loses_and_doubles_nothing(
    uri: str, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the commit itself had arrived, and only the word that it did was lost."""
    with breaking_proxy(seaweed.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        table = FingerprintTable.create(uri)
        proxy.start_counting()
        table.append(batch_of("whole", 0))
        answered = proxy.passed
        cuts = range(0, answered, max(answered // 16, 1))
        for number, cut in enumerate(cuts):
            proxy.start_counting(cut)
            table.append(batch_of("cut", number))
            proxy.start_counting()
        expected = {(r.model, r.space) for n in range(len(cuts)) for r in batch_of("cut", n)}
        expected |= {(row.model, row.space) for row in batch_of("whole", 0)}
        assert _raw(uri) == Counter(expected)
        assert list(verify_index(IndexLocation.of(uri))) == []


def test_a_server_that_stays_away_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provray.index.table._PAUSES", ())
    with running_seaweed(tmp_path / "seaweed") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        table = FingerprintTable.create(f"s3://{server.new_bucket()}/index")
        table.append([unit_row("a")])
        server.kill()
        with pytest.raises(BadIndex, match=r"cannot append .* no S3 server answers"):
            table.append([unit_row("b")])
        server.start()
        table.append([unit_row("b")])  # and the same object goes on
        assert _models(table) == ["a", "b"]
