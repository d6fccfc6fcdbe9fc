"""How a crawl computes: the workers and their resources. None of it changes a fingerprint beyond rounding."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Stage = Literal["weights", "dna", "gif"]

STAGES: tuple[Stage, ...] = ("weights", "dna", "gif")
"""The kinds of fingerprint, cheapest first."""

BEHAVIOUR: tuple[Literal["dna", "gif"], ...] = ("dna", "gif")
"""Stages that run the model."""

GIB = 1 << 30


@dataclass(frozen=True)
class Compute:
    """How a worker computes; none of it changes a fingerprint beyond rounding.

    dtype: float32, or bfloat16 for autocast of DNA readouts on a GPU. batch_bytes: bound on activations of one batch.
    max_bytes: weights of the largest model taken on. memory_bytes: what a worker may allocate in all, 0 for no limit.
    """

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    batch_bytes: int = 256 * 2**20
    max_bytes: int = 16 * GIB
    memory_bytes: int = 0


@dataclass(frozen=True)
class PoolSettings:
    """A fixed pool of fingerprint workers. `workers`: how many; `threads`: compute threads, and CPUs reserved, of
    each; `gpus`: GPUs of each (a fraction shares one). `seconds_per_model`: time limit of one task.
    `spread_bytes`: models with larger weights are probed by several workers at once."""

    workers: int = 1
    threads: int = 1
    gpus: float = 0.0
    seconds_per_model: float = 1800.0
    spread_bytes: int = 2 * 2**30

    def __post_init__(self) -> None:
        if self.workers < 1 or self.threads < 1:
            raise ValueError(
                f"--workers and --threads must be at least 1, got {self.workers} and {self.threads}"
            )


@dataclass(frozen=True)
class Fetching:
    """How a worker fetches remote models while it fingerprints others. `scratch`: folder on its machine; `disk_bytes`:
    what it may hold there; `ahead`: models that are fetched at once and held ready."""

    scratch: Path
    disk_bytes: int = 20 * GIB
    ahead: int = 8

    def __post_init__(self) -> None:
        if self.ahead < 1 or self.disk_bytes < 1:
            raise ValueError(
                f"a worker must be allowed a byte of disk and one model ahead, got {self.disk_bytes} and {self.ahead}"
            )


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
