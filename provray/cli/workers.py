"""From command-line options to a worker pool that fits the machine."""

from __future__ import annotations

import os

from provray.crawl.settings import GIB, Compute, PoolSettings, available_cores

DTYPES = ("float32", "bfloat16")
_SHARED = 0.9
"""Share of the machine's memory that workers may take together."""


def settings(
    workers: int | None,
    threads: int,
    gpus: float,
    time_limit: float,
    device: str | None,
    dtype: str,
    worker_memory: float | None = None,
    max_size: float = 16.0,
) -> tuple[PoolSettings, Compute]:
    """Pool and compute settings; memory and size in GiB.

    Raises ValueError for a dtype that is not offered or needs a GPU.
    """
    if dtype not in DTYPES:
        raise ValueError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    device = device or ("cuda" if gpus else "cpu")
    if dtype == "bfloat16" and device == "cpu":
        raise ValueError("--dtype bfloat16 is for GPUs; on a CPU fingerprints are made in float32")
    if workers is None:
        workers = max(available_cores() // threads, 1)
    if worker_memory is not None:
        memory = int(worker_memory * GIB)
    elif device == "cpu":
        memory = int(_SHARED * _machine_memory() / workers)
    else:
        memory = 0  # drivers of GPUs reserve address space far beyond what they use
    pool = PoolSettings(workers, threads, gpus, seconds_per_model=time_limit)
    compute = Compute(
        device=device,
        dtype=dtype,
        threads=threads,
        max_bytes=int(max_size * GIB),
        memory_bytes=memory,
    )
    return pool, compute


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
