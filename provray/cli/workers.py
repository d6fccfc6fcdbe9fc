"""From command-line options to a worker pool that fits the machine."""

from __future__ import annotations

from provray.crawl.settings import Compute, PoolSettings, available_cores

DTYPES = ("float32", "bfloat16")


def settings(
    workers: int | None,
    threads: int,
    gpus: float,
    time_limit: float,
    device: str | None,
    dtype: str,
) -> tuple[PoolSettings, Compute]:
    """Pool and compute settings. Raises ValueError for a dtype that is not offered or needs a GPU."""
    if dtype not in DTYPES:
        raise ValueError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    device = device or ("cuda" if gpus else "cpu")
    if dtype == "bfloat16" and device == "cpu":
        raise ValueError("--dtype bfloat16 is for GPUs; on a CPU fingerprints are made in float32")
    if workers is None:
        workers = max(available_cores() // threads, 1)
    pool = PoolSettings(workers, threads, gpus, seconds_per_model=time_limit)
    return pool, Compute(device=device, dtype=dtype, threads=threads)
