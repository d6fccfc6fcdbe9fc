"""What the query service carries: many clients at once, against a bare Serve application that returns a constant.

    python benchmarks/serve.py --out docs/results/serve-benchmark.json

One run, one Ray cluster, one proxy: both applications have the same number of HTTP replicas. The constant is loaded
before and after each load, since a machine's pace changes within minutes, and a load's ratio is to the mean of these
two. Three loads: `known` asks about 200 indexed models, again and
again, as a gate in a pipeline does; `popular` draws from all models as from a hub, the r-th with a probability in
proportion to 1/r (Zipf; assumed, not measured), and begins with nothing remembered; `new` asks about models that this
version was not asked about before, each once, in an order drawn by chance: whoever is asked about next is of another
family.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import serve_index
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from provray.ancestry.search_vector import behaviour_vector, weights_vector
from provray.ancestry.snapshot import Snapshot
from provray.ancestry.verdict import NEAREST, judge
from provray.crawl.reading import read_index
from provray.fingerprints.weights import READOUTS
from provray.serve.app import FRONT_ONGOING, FRONT_QUEUED
from provray.serve.run import SERVE_ENVIRONMENT, Listen, start
from provray.serve.settings import ServiceSettings

HOT = 200
POPULAR = 50_000
"""Questions that are drawn; more than are asked in the time."""
SEARCHES = 100
WARM_SECONDS = 5.0
WARM_PASSES = 3
"""Each known question so often before the clock runs: every replica remembers for itself."""
WARM_LIMIT = 600.0
_CONSTANT = b'{"status":"ok"}'


class Constant:
    """The bare application."""

    async def __call__(self, request: Request) -> Response:
        """Return the constant, having read the request."""
        await request.body()
        return Response(_CONSTANT, media_type="application/json")


def _run_constant(replicas: int) -> None:
    deployment = serve.deployment(
        name="constant",
        num_replicas=replicas,
        max_ongoing_requests=FRONT_ONGOING,
        max_queued_requests=FRONT_QUEUED,
        ray_actor_options={"num_cpus": 0},
        logging_config={"enable_access_log": False},
    )(Constant)
    serve.run(deployment.bind(), name="constant", route_prefix="/constant")


def _load(
    port: int, path: str, bodies: Path, clients: int, seconds: float, *more: str
) -> dict[str, Any]:
    script = Path(__file__).with_name("serve_load.py")
    command = [sys.executable, str(script), str(port), path, str(bodies), str(clients)]
    before = compute()
    done = subprocess.run(
        [*command, str(seconds), *more], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    used = {kind: spent - before.get(kind, 0.0) for kind, spent in compute().items()}
    found["core milliseconds each"] = {
        kind: round(spent / max(found["answered"], 1), 2) for kind, spent in sorted(used.items())
    }
    print(path, more, json.dumps(found), file=sys.stderr)
    return found


def _processes() -> dict[Path, str]:
    """This run's Serve processes, with their kind."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue
        if title.startswith(("ray::ServeReplica:", "ray::ProxyActor")):
            kind = title.removeprefix("ray::").removeprefix("ServeReplica:")
            found[entry] = kind.removeprefix("provray:").split(".")[0]
    return found


def memory() -> dict[str, float]:
    """Resident megabytes of this run's Serve processes, by kind."""
    found: dict[str, float] = {}
    for entry, kind in _processes().items():
        lines = (entry / "status").read_text().splitlines()
        resident = next(line for line in lines if line.startswith("VmRSS"))
        found[kind] = round(found.get(kind, 0) + int(resident.split()[1]) / 1024, 1)
    return dict(sorted(found.items()))


def compute() -> dict[str, float]:
    """Milliseconds of a core that these processes, and those of load that have ended, have used so far."""
    tick = 1000 / os.sysconf("SC_CLK_TCK")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {"load": 1000 * (ended.ru_utime + ended.ru_stime)}
    for entry, kind in _processes().items():
        used = (entry / "stat").read_text().rpartition(")")[2].split()[11:13]
        found[kind] = found.get(kind, 0.0) + tick * sum(map(int, used))
    return found


def _timed(ask: Callable[[], Any]) -> float:
    began = time.perf_counter()
    ask()
    return 1000 * (time.perf_counter() - began)


def searches(snapshot: Snapshot, names: Sequence[str]) -> dict[str, float]:
    """Median milliseconds of one question's parts, on one thread, full fingerprints in memory."""
    suspects = snapshot.profiles(names)
    for suspect in suspects:
        judge(suspect, snapshot, leave_out=[suspect.model])

    def bare(suspect: Any) -> None:
        for readout in READOUTS:
            vector = weights_vector(suspect, readout)
            assert vector is not None
            snapshot.searches[readout].faiss_index.search(vector[None], NEAREST)
        vector = behaviour_vector(suspect, snapshot.cohorts)
        assert vector is not None
        snapshot.searches[suspect.modality].faiss_index.search(vector[None], NEAREST)

    def asked(suspect: Any) -> None:
        judge(suspect, snapshot, leave_out=[suspect.model])

    def median(ask: Callable[[Any], Any]) -> float:
        return round(float(np.median([_timed(partial(ask, s)) for s in suspects])), 2)

    raw = median(bare)
    found = median(lambda suspect: snapshot.candidates(suspect, NEAREST))
    return {
        "raw FAISS, three searches": raw,
        "candidates of a question": found,
        "ratio to raw FAISS": round(found / raw, 2),
        "whole answer": median(asked),
    }


def popular(names: Sequence[str]) -> list[str]:
    """Names as often as hubs are asked for them: in proportion to 1 / rank, ranks drawn by chance."""
    rng = np.random.default_rng(11)
    weights = 1 / np.arange(1, len(names) + 1)
    drawn = rng.choice(len(names), POPULAR, p=weights / weights.sum())
    ranked = rng.permutation(len(names))
    return [names[ranked[rank]] for rank in drawn]


def measure(vectors: int, clients: int, seconds: float, replicas: int) -> dict[str, Any]:
    """Everything, as numbers for a report."""
    models = -(-vectors // serve_index.SEARCHED)
    with tempfile.TemporaryDirectory() as text, socket.socket() as found:
        folder = Path(text)
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
        found.close()
        began = time.perf_counter()
        serve_index.make_index(folder / "index", models)
        made = time.perf_counter() - began
        began = time.perf_counter()
        snapshot = read_index(str(folder / "index"))
        opened = time.perf_counter() - began
        names = [serve_index.name(number) for number in range(models)]
        parts = searches(snapshot, names[:: max(models // SEARCHES, 1)][:SEARCHES])
        del snapshot
        settings = ServiceSettings(
            index=str(folder / "index"),
            state=str(folder / "state"),
            front_replicas=replicas,
            search_replicas=replicas,
            fingerprint_replicas=0,
            request_seconds=60,
        )
        os.environ.update(SERVE_ENVIRONMENT)
        ray.init(
            num_cpus=4,
            include_dashboard=False,
            object_store_memory=256 * 2**20,
            log_to_driver=False,
        )
        try:
            start(settings, Listen(port=port))
            _run_constant(replicas)
            hot, cold, drawn = folder / "hot", folder / "cold", folder / "drawn"
            step = max(models // HOT, 1)
            hot.write_text("\n".join(json.dumps({"model": n}) for n in names[::step][:HOT]))
            mixed = np.random.default_rng(12).permutation(names)
            cold.write_text("\n".join(json.dumps({"model": n, "top_k": 9}) for n in mixed))
            drawn.write_text(
                "\n".join(json.dumps({"model": n, "top_k": 8}) for n in popular(names))
            )
            _load(port, "/constant", hot, clients, WARM_SECONDS)
            for _ in range(WARM_PASSES):
                _load(port, "/v1/ancestry", hot, clients, WARM_LIMIT, "--once")
            _load(port, "/v1/ancestry", hot, clients, WARM_SECONDS)
            before = memory()
            constants = [_load(port, "/constant", hot, clients, seconds)]
            known = _load(port, "/v1/ancestry", hot, clients, seconds)
            constants.append(_load(port, "/constant", hot, clients, seconds))
            after = memory()
            hub = _load(port, "/v1/ancestry", drawn, clients, seconds, "--once")
            constants.append(_load(port, "/constant", hot, clients, seconds))
            new = _load(port, "/v1/ancestry", cold, clients, seconds, "--once")
            constants.append(_load(port, "/constant", hot, clients, seconds))
            after_new = memory()
        finally:
            serve.shutdown()
            ray.shutdown()
    rate = "requests per second"
    bare = [load[rate] for load in constants]
    loads = {"known": known, "popular": hub, "new": new}
    ratios = {
        f"ratio of {name} to constant": round(2 * load[rate] / (bare[place] + bare[place + 1]), 3)
        for place, (name, load) in enumerate(loads.items())
    }
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "vectors": models * serve_index.SEARCHED,
        "models": models,
        "clients": clients,
        "seconds": seconds,
        "replicas of each kind": replicas,
        "seconds to make the index": round(made, 1),
        "seconds to open it first": round(opened, 1),
        "constant, four times": constants,
        **loads,
        **ratios,
        "megabytes before": before,
        "megabytes after known": after,
        "megabytes after new": after_new,
        "milliseconds of one search": parts,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(argv)
    measured = measure(given.vectors, given.clients, given.seconds, given.replicas)
    text = json.dumps(measured, indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # deltalake's runtime aborts some interpreters at exit
