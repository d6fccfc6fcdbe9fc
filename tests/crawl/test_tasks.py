"""Ray tasks look like ordinary futures: results, errors, and a refusal of what could never run."""

from __future__ import annotations

import pytest

from provray.crawl.cluster import NotEnoughResources
from provray.crawl.tasks import RayTasks


def _threads(_: object) -> int:
    import torch

    return torch.get_num_threads()


def _fails(what: str) -> None:
    raise OSError(f"no space left for {what}")


def test_results_and_errors_arrive(ray_cluster: None) -> None:
    with RayTasks(2) as tasks:
        assert tasks.submit(_threads, None).result(timeout=60) == 1
        error = tasks.submit(_fails, "models").exception(timeout=60)
    assert isinstance(error, OSError)
    assert "no space left for models" in str(error)


def test_more_workers_than_cpus_are_refused(ray_cluster: None) -> None:
    with pytest.raises(NotEnoughResources, match=r"99 workers need 99 CPUs"), RayTasks(99):
        pass
