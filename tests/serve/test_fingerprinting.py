"""Suspects that lie elsewhere, fingerprinted by a replica's own class as from a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import boto3
import numpy as np
import pytest

from provray.index.row import Row
from provray.serve.fingerprinting import Fingerprints
from provray.serve.problems import Refused
from provray.serve.settings import ServiceSettings
from provray.testbed.local_hub import LocalHub
from tests.serve.made_index import make_index, make_models

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def index(models: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_index(tmp_path_factory.mktemp("service") / "index", models))


def _rows(fingerprints: Fingerprints, *sources: str) -> list[Sequence[Row] | Refused]:
    async def ask() -> list[Sequence[Row] | Refused]:
        return [await fingerprints.rows(source) for source in sources]

    try:
        return asyncio.run(ask())
    finally:
        fingerprints.close()


def _same(one: Sequence[Row] | Refused, other: Sequence[Row] | Refused) -> None:
    assert not isinstance(one, Refused)
    assert not isinstance(other, Refused)
    assert [(row.kind, row.status) for row in one] == [(row.kind, "ok") for row in other]
    for row, same in zip(one, other, strict=True):
        np.testing.assert_allclose(row.vectors, same.vectors, rtol=0, atol=1e-6)
        assert row.weights_digest == same.weights_digest


def test_a_suspect_on_a_hub_or_in_a_bucket_has_the_fingerprint_of_its_folder(
    models: Path, index: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = boto3.client("s3")
    for path in (models / "alone").iterdir():
        client.upload_file(str(path), s3_bucket, f"public/alone/{path.name}")
    with LocalHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        commit = hub.push("lab/alone", models / "alone")
        hub.push("lab/bad", models / "bad")
        local, from_hub, from_bucket, bad, missing = _rows(
            Fingerprints(ServiceSettings(index=index)),
            str(models / "alone"),
            "hf://lab/alone",
            f"s3://{s3_bucket}/public/alone",
            "hf://lab/bad",
            "hf://lab/nobody",
        )
    _same(from_hub, local)
    _same(from_bucket, local)
    assert not isinstance(from_hub, Refused)
    assert {row.revision for row in from_hub} == {commit}
    assert {row.location for row in from_hub} == {f"hf://lab/alone@{commit}"}
    assert not isinstance(bad, Refused)
    assert {row.status for row in bad} == {"broken"}
    assert isinstance(missing, Refused)
    assert missing.name == "bad-suspect"
    assert "lab/nobody" in missing.detail
