"""Plain functions as Ray tasks of one CPU each, seen as ordinary futures.

For work that is no crawl but wants the same machines: building model families, say. On a cluster of several
machines, what the functions read and write must lie on a file system that all of them share.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

import ray

from provray.crawl.cluster import NotEnoughResources, join_ray

T = TypeVar("T")


@ray.remote(num_cpus=1, max_retries=0)
def _run(function: Callable[[Any], Any], argument: Any) -> Any:
    import torch

    torch.set_num_threads(1)
    return function(argument)


class RayTasks:
    """A place to run functions: the cluster at `address`, or a private one on this machine for the time of the `with`.

    workers: how many tasks the caller means to have running at once. Raises NotEnoughResources if the cluster has
    fewer CPUs.
    """

    def __init__(self, workers: int, address: str | None = None) -> None:
        self._workers = workers
        self._address = address
        self._started_here = False

    def __enter__(self) -> RayTasks:
        self._started_here = join_ray(self._address)
        cpus = ray.cluster_resources().get("CPU", 0.0)
        if self._workers > cpus:
            self._close()
            raise NotEnoughResources(
                f"{self._workers} workers need {self._workers} CPUs, the cluster has {cpus:g}: lower --workers"
            )
        return self

    def submit(self, function: Callable[[Any], T], argument: Any) -> Future[T]:
        """Run `function(argument)` somewhere; it is imported there by name. An error arrives in the future."""
        future: Future[T] = _run.remote(function, argument).future()
        return future

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._started_here:
            ray.shutdown()
            self._started_here = False
