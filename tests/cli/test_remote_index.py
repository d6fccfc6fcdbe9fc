"""The commands on an index in a bucket of a real S3 server, from the crawl to its upkeep."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import pruned
from tests.models import tiny


@pytest.fixture
def uri(s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return f"s3://{s3_bucket}/team/index"


def test_an_index_in_a_bucket_is_crawled_asked_and_looked_after(
    provray: Any, ray_cluster: None, uri: str, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    tiny.save(models / "bert", tiny.build("bert"))
    tiny.save(models / "pruned", pruned())
    index = ("--index", uri)
    crawled = provray("crawl", models, *index, "--stages", "weights", "--workers", 1, "--json")
    assert crawled.code == 0, crawled.err
    assert crawled.json["statuses"] == {"ok": 2}

    shown = provray("show", *index, "--json").json
    assert (shown["uri"], shown["models"], shown["statuses"]) == (uri, 2, {"ok": 2})

    shutil.copytree(models / "bert", tmp_path / "renamed")
    answer = provray("query", tmp_path / "renamed", *index, "--json").json
    assert (answer["verdict"], answer["ancestors"][0]["model"]) == ("copy", "bert")
    lineage = provray("lineage", *index, "--json").json
    assert [(e["parent"], e["child"]) for e in lineage["edges"]] == [("bert", "pruned")]
    assert list((tmp_path / "caches").rglob("*.faiss"))

    verified = provray("verify", *index, "--json")
    assert verified.code == 0, verified.out
    assert (verified.json["sound"], verified.json["findings"]) == (True, [])
    done = provray("compact", *index, "--json")
    assert done.code == 0, done.err
    assert done.json["rows_removed"] == 0
    assert done.json["index"] == {"uri": uri, "version": done.json["version"]}
    again = provray("query", tmp_path / "renamed", *index, "--json").json
    assert again["ancestors"] == answer["ancestors"]


def test_a_bucket_that_cannot_be_used_ends_with_two_and_says_why(
    provray: Any, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("show", "lineage", "verify", "compact"):
        ran = provray(command, "--index", uri)
        assert ran.code == 2, command
        assert f"no index at {uri}" in " ".join(ran.err.split())
        assert "no bucket 'nowhere'" in provray(command, "--index", "s3://nowhere/index").err
    assert "not at 'gs://bucket/x'" in provray("show", "--index", "gs://bucket/x").err
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    ran = provray("show", "--index", uri)
    assert ran.code == 2
    assert "refuses the credentials" in ran.err
    assert "wrong-secret" not in ran.err + ran.out
