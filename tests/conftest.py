"""What every test runs under: a home of its own, no network, one compute thread, one Ray cluster."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

# Ray, transformers and their kin read these when they are first imported, so they are set before any import.
_HOME = tempfile.mkdtemp(prefix="provray-tests-home-")
os.environ["HOME"] = _HOME
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
# Ray's workers stand back behind everything else; here that is other tests, and these would make them wait for minutes.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray spells it
# A cluster starts a process for each of its CPUs before anybody asks for one; most clusters here use one or two.
os.environ["RAY_prestart_worker_first_driver"] = "0"  # noqa: SIM112 - as Ray spells it
# Nobody listens there: what asks a hub without a test having named one gets no further than this machine.
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
    os.environ.pop(_name, None)
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Tests share the machine: a proxy of Ray Serve may take longer than five seconds to boot.
os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "120"
os.environ["RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S"] = "30"
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

torch.set_num_threads(1)

pytest_plugins = ["tests.seaweed"]

# The same examples every time and no clock: a test fails because of the code, not because of the day.
settings.register_profile(
    "provray", deadline=None, derandomize=True, database=None, max_examples=30
)
settings.load_profile("provray")


_TOGETHER = ("operations", "serve", "jobs")
"""Folders whose tests share what takes long to start: these stay in one process. Others go by module."""
_FIRST = (
    *("test_real_models.py", "index/test_table_s3.py", "operations", "sources/test_s3_reader.py"),
    *("crawl/test_kills.py", "serve", "jobs", "testbed/test_scoreboard.py", "k8s/test_deployed.py"),
    *("crawl/test_nodes.py", "cli/test_commands.py", "crawl/test_crawl.py", "crawl/test_remote.py"),
    "crawl/test_bulk.py",
)
"""What is begun first where tests run in two processes: the longest, so that neither ends long before the other, and
beside the first, which computes on both cores, what mostly waits."""


def _group(nodeid: str) -> str:
    path = nodeid.partition("::")[0].removeprefix("tests/")
    folder = path.partition("/")[0]
    return folder if folder in _TOGETHER else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which tests run in one process, where `make test` starts two."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of `_FIRST`, then as they are found."""
    order = {group: place for place, group in enumerate(_FIRST)}
    items.sort(key=lambda item: order.get(_group(item.nodeid), len(order)))


def pytest_collection_finish() -> None:
    """What was imported stays: no search for garbage need look through it again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One private Ray cluster for the whole session. Its 4 CPUs are logical: what is scheduled, not what computes."""
    import ray

    ray.init(
        address="local",  # clusters of other tests, and of others, run beside it
        num_cpus=4,
        object_store_memory=100 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        _system_config={"metrics_report_interval_ms": 1000},  # ten seconds, else, and a test waits
    )
    yield
    ray.shutdown()
