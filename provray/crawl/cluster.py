"""Joining or starting Ray, and refusing at once what would otherwise hang without a word."""

from __future__ import annotations

import logging
import os
import warnings

import ray

from provray.crawl.settings import PoolSettings, available_cores


class NotEnoughResources(ValueError):
    """The cluster is too small for what was asked."""


def join_ray(address: str | None = None) -> bool:
    """Join the Ray cluster at `address`, or start a private one on this machine. Returns True if it was started here.

    Does nothing and returns False if this process is already connected.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"ray\.")
    if address is not None:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        return False
    ray.init(
        address="local",  # else a cluster that someone else runs on this machine would do
        num_cpus=available_cores(),
        include_dashboard=False,
        object_store_memory=256 * 2**20,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    return True


def leave_ray() -> None:
    """Leave the cluster that was joined; one that was started here ends."""
    ray.shutdown()


def require_resources(pool: PoolSettings) -> None:
    """Raises NotEnoughResources if the pool could never be scheduled."""
    total = ray.cluster_resources()
    cpus, gpus = total.get("CPU", 0.0), total.get("GPU", 0.0)
    needed = pool.workers * pool.threads
    if needed > cpus:
        raise NotEnoughResources(
            f"{pool.workers} workers of {pool.threads} threads need {needed} CPUs, the cluster has {cpus:g}: "
            "lower --workers or --threads, or join a larger cluster with --address"
        )
    if pool.workers * pool.gpus > gpus:
        raise NotEnoughResources(
            f"{pool.workers} workers with {pool.gpus:g} GPUs each need {pool.workers * pool.gpus:g} GPUs, the cluster "
            f"has {gpus:g}: lower --gpus-per-worker or --workers"
        )
