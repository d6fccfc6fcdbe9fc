"""Shards of probe sets in the object store: every worker of a node reads them without a copy."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import ray
from pyarrow.fs import S3FileSystem

from provray.index.kept import probes_name
from provray.index.location import IndexLocation
from provray.index.table import FingerprintTable
from provray.probes import ProbeSet, ProbeSetError, Shard
from provray.probes.probe_set import SHARD_PROBES, probes_from_rows


def shards_in_object_store(
    chosen: Mapping[str, ProbeSet], table: FingerprintTable
) -> dict[str, list[Any]]:
    """Read the index's copies of these probe sets with Ray Data and lay their shards in the object store.

    One pipeline for all sets. Returns references by modality. Raises ProbeSetError if a copy does not hold the set
    it is named for.
    """
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    for probes in chosen.values():
        table.keep_probes(probes)
    files = _filesystem(table.location)
    root = table.location.uri.removeprefix("s3://") if files else Path(table.location.uri).resolve()
    paths = [f"{root}/{probes_name(probes.digest)}" for probes in chosen.values()]
    rows = ray.data.read_parquet(paths, filesystem=files, include_paths=True).take_all()
    placed = {}
    for modality, probes in chosen.items():
        own = [row for row in rows if Path(row["path"]).stem == probes.digest]
        read = ProbeSet(probes.name, probes.modality, probes_from_rows(own))
        if read.digest != probes.digest:
            raise ProbeSetError(
                f"the index's copy of probe set {probes.name} was changed; delete "
                f"{table.location}/{probes_name(probes.digest)} and crawl again"
            )
        placed[modality] = put_shards(read)
    return placed


def put_shards(probes: ProbeSet) -> list[Any]:
    """Lay a probe set's shards in the object store; returns their references."""
    shards: tuple[Shard, ...] = probes.shards(SHARD_PROBES)
    return [ray.put(shard) for shard in shards]


def _filesystem(location: IndexLocation) -> S3FileSystem | None:
    """What Arrow reads a bucket with; None for a folder."""
    if not location.remote:
        return None
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    session = boto3.Session()
    credentials = session.get_credentials()
    keys = credentials.get_frozen_credentials() if credentials else None
    return S3FileSystem(
        access_key=keys.access_key if keys else None,
        secret_key=keys.secret_key if keys else None,
        session_token=keys.token if keys else None,
        endpoint_override=endpoint,
        region=session.region_name or "us-east-1",
    )
