"""Probe sets in the object store: every worker of a node reads their shards without a copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

from provray.probes import ProbeSet
from provray.probes.probe_set import SHARD_PROBES


def put_shards(probes: Mapping[str, ProbeSet]) -> dict[str, list[Any]]:
    """Lay the shards of each modality's probe set in the object store; returns their references."""
    return {
        modality: [ray.put(shard) for shard in of.shards(SHARD_PROBES)]
        for modality, of in probes.items()
    }
