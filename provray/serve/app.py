"""The Ray Serve application: four kinds of replicas, every limit set on purpose.

`build` is the import path for `serve deploy` (`provray.serve.app:build`, with `args` as in `ServiceSettings`).
"""

# No annotations from the future: `serve deploy` looks at the type of `args` itself, to read the settings into it.
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import BackpressureConfig
from ray.serve.schema import LoggingConfig

from provray.serve.fingerprinting import Fingerprints
from provray.serve.front import Front
from provray.serve.metrics import FOLDER_VARIABLE
from provray.serve.search import Search
from provray.serve.settings import ServiceSettings
from provray.serve.watch import Watch

FRONT_ONGOING = 100
FRONT_QUEUED = 200
SEARCH_ONGOING = 64
SEARCH_QUEUED = 200
"""What waits at each front replica for a search replica to have room."""

_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""An index is hundreds of megabytes that every question touches all over: in pages of 4 kB each touch is looked up."""

_BUSY = BackpressureConfig(status_code=503, retry_after_s=1)
_COMMON: dict[str, Any] = {
    # Old replicas go on serving until new ones are ready, and then finish what they began.
    "max_surge_percent": 100,
    "rolling_update_percentage": 0.5,
    "graceful_shutdown_wait_loop_s": 0.5,
    "health_check_period_s": 2.0,
    "health_check_timeout_s": 30.0,
    "backpressure_config": _BUSY,
    # Requests are in the audit log.
    "logging_config": LoggingConfig(enable_access_log=False),
}


def build(args: ServiceSettings) -> Application:
    """The application for these settings.

    Replicas ask for no CPUs but the workers of the fingerprint replicas: the others mostly wait, and a service that
    takes a whole machine's CPUs would leave none for its own redeployment.
    """
    metrics = args.state_folder / "metrics"
    metrics.mkdir(parents=True, exist_ok=True)
    drain = args.request_seconds + 5
    actor: dict[str, Any] = {"num_cpus": 0}
    if args.node_labels:
        actor["label_selector"] = dict(args.node_labels)
    watch = serve.deployment(
        name="watch",
        num_replicas=1,
        max_ongoing_requests=100,
        max_queued_requests=100,
        graceful_shutdown_timeout_s=5,
        ray_actor_options=actor,
        **_COMMON,
    )(Watch)
    search = serve.deployment(
        name="search",
        num_replicas=args.search_replicas,
        max_ongoing_requests=SEARCH_ONGOING,
        max_queued_requests=SEARCH_QUEUED,
        graceful_shutdown_timeout_s=drain,
        ray_actor_options={**actor, "runtime_env": {"env_vars": _HUGE_PAGES}},
        **_COMMON,
    )(Search).bind(args, watch.bind(args))
    fingerprints = None
    if args.fingerprint_replicas:
        fingerprints = serve.deployment(
            name="fingerprints",
            num_replicas=args.fingerprint_replicas,
            max_ongoing_requests=1,
            max_queued_requests=args.queue,
            graceful_shutdown_timeout_s=drain,
            ray_actor_options=actor,
            **_COMMON,
        )(Fingerprints).bind(args)
    front = serve.deployment(
        name="front",
        num_replicas=args.front_replicas,
        max_ongoing_requests=FRONT_ONGOING,
        max_queued_requests=FRONT_QUEUED,
        graceful_shutdown_timeout_s=drain,
        ray_actor_options={
            **actor,
            "runtime_env": {"env_vars": {FOLDER_VARIABLE: str(metrics)}},
        },
        **_COMMON,
    )(serve.ingress()(Front))
    return front.bind(args, search, fingerprints)
