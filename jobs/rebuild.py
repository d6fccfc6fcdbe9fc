"""The search indexes of an index built anew from its table, and all of it verified, as a job.

    rebuild.py --index URI [--probes FILE]...

They lie where a service looks for them: beside an index in a folder, else in the cache folder of each machine of the
cluster.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from provray.cli.as_job import json_command, run_job
from provray.index.location import IndexLocation
from provray.index.table import FingerprintTable
from provray.sources.access import environment


def work(arguments: list[str]) -> Any:
    """Build on every machine that keeps its own, then verify. Raises ValueError if something is damaged."""
    parser = argparse.ArgumentParser(exit_on_error=False, add_help=False, allow_abbrev=False)
    parser.add_argument("--index", required=True)
    parser.add_argument("--probes", action="append", default=[])
    given = parser.parse_args(arguments)
    location = IndexLocation.of(given.index)
    version = FingerprintTable.open(location).version
    asked = (given.index, version, given.probes)
    if location.remote:
        task = ray.remote(num_cpus=1)(_rebuild)
        places = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")]
        built = ray.get([_on(task, place).remote(*asked, environment()) for place in places])
    else:
        built = [_rebuild(*asked, {})]
    verified = json_command("verify", "--index", given.index)
    if not verified["sound"]:
        told = "; ".join(f"{f['where']}: {f['says']} ({f['remedy']})" for f in verified["findings"])
        raise ValueError(f"the search indexes were rebuilt, but the index is damaged: {told}")
    return {"index": {"uri": given.index, "version": version}, "machines": built, "sound": True}


def _on(task: Any, node: str) -> Any:
    return task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))


def _rebuild(index: str, version: int, probes: list[str], reach: dict[str, str]) -> dict[str, Any]:
    """Delete what this machine keeps of this version, and build it again. reach: what buckets are reached with."""
    os.environ.update(reach)
    from provray.crawl.reading import read_index
    from provray.probes import read_probes

    folder = IndexLocation.of(index).cache_folder
    old = sorted(folder.glob(f"v{version}-*"))
    for cache in old:
        shutil.rmtree(cache)
    snapshot = read_index(index, [read_probes(Path(path)) for path in probes], version)
    return {
        "deleted": len(old),
        "models": snapshot.models,
        "searches": {name: len(found.keys) for name, found in snapshot.searches.items()},
        "bytes": sum(f.stat().st_size for f in folder.glob(f"v{version}-*/*")),
    }


if __name__ == "__main__":
    run_job("rebuild", work)
