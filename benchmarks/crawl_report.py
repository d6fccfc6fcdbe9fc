"""What runs of `crawl.py` and `many_models.py` say, as one page. No program of its own."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_HEAD = """\
# What a crawl costs

Made by `benchmarks/crawl.py` (crawl.json) and `benchmarks/many_models.py` (many-models.json). A crawl's time is the
wall time from before Ray's start to after its end, so it holds what a person waits for except Python's imports. Each
run is a process of its own with a private cluster and a fresh index; runs follow one another, and rounds repeat all
of them in turn. Memory and CPU time are read from /proc from outside, twice a second."""
_CRAWL = """\
## Beside a bare loop

{head}

{models} models of the small zoo; {copies} of them are copies of others with one weight changed, under another name.
Default probes, all stages, {megabytes:.0f} MB of files. The bare loop is one process that lists the same folder and
calls the same checks, sketch, safe load and probes for one model after the other, without Ray, pool, journal or table.

{figures}

Medians over {rounds} rounds. `without Ray's start`: neither is of the crawl but the ten seconds or so in which Ray
comes up; starting the workers and reading the probes is counted all the same. Load of the machine before each run
(1 is one busy core): {loads}.

{runs}

## What a second worker brings, and what bounds it

CPU seconds of the whole crawl by process (first round). `cores busy`: all of them over the wall time, of two.

{processes}

## Downloads

A hub in a process of its own on this machine waits {latency:g} s before every answer and sends at most
{megabits:g} MB/s over all connections together. `fetching alone` is one process that fetches every model after the
other and computes nothing. A worker that fetched each model just before computing it would take that much longer
(divided by the workers, who would wait at once); `hidden` is the share of it that a crawl of the hub did *not* take
longer than the crawl of the same models from the folder. Both are timed from the moment the first model is begun, of
the hub to be fetched, to the last commit, so waiting for the first download counts.

{downloads}"""
_MANY = """\
## {models:,} tiny models in one crawl

{head}

ViTs, BERTs and ResNets of 16 units in turn with random weights, other ones in every model; 8 probes of each stratum;
{workers} worker. All rows: {statuses}.

{figures}

`own` is the mean over {bare} of the same models, drawn at random, in a bare loop: half of it before the crawl and
half after, in the same run. `added` is what a worker's wall time per model has beyond that: the call, the claim, the
journal, the commit, and what the driver takes from the cores. Listing goes on beside it. Standard error of the
difference: {error:.1f} ms.

{thousands}

Memory of the largest process of each role, MiB: when a twentieth of the models was done, at the end, the peak, and
the slope over the second half. A worker's holds pages of the object store and of libraries that it shares with others.

{memory}

What the driver's own thread does for a model, under cProfile (which slows it down), over a crawl of its own:

{driver}

{cpu}

CPU milliseconds are read between a twentieth of the models and the last; a bare loop takes {own:.1f} a model. Of a
worker's the difference is what it costs to be called and to send rows.

CPU seconds of the whole crawl by process:

{processes}"""
_MISSING = """## {title}

Not run yet: `{command}`."""
_PARTS = (
    ("crawl.json", "Beside a bare loop", "python benchmarks/crawl.py --zoo ZOO --out docs/results"),
    (
        "many-models.json",
        "Many tiny models in one crawl",
        "python benchmarks/many_models.py --count 5000 --out docs/results",
    ),
)


def write_page(folder: Path) -> None:
    """Write `crawl.md` from what there is of `crawl.json` and `many-models.json`."""
    parts = [_HEAD]
    for (name, title, command), told in zip(_PARTS, (_crawl, _many), strict=True):
        if (folder / name).exists():
            parts.append(told(json.loads((folder / name).read_text(encoding="utf-8"))))
        else:
            parts.append(_MISSING.format(title=title, command=command))
    (folder / "crawl.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _crawl(found: Mapping[str, Any]) -> str:
    protocol, runs, summary = found["protocol"], found["runs"], found["summary"]
    rounds = len(runs["bare folder 1"])
    return _CRAWL.format(
        **{name: protocol[name] for name in ("models", "copies", "latency")},
        head=_protocol(protocol),
        megabytes=protocol["bytes"] / 1e6,
        megabits=protocol["bandwidth"] / 1e6,
        rounds=rounds,
        loads=", ".join(f"{one['load before']:.1f}" for some in runs.values() for one in some),
        figures=_table(
            ["", "measured", "wanted"],
            [
                *_row(summary, "one worker against the bare loop", "≤ 1.25"),
                *_row(summary, "the same without Ray's start", ""),
                *_row(summary, "the same from first begun to last committed", ""),
                *_row(summary, "two workers against one", ""),
                *_row(summary, "two workers against one from first begun to last committed", ""),
                *_row(summary, "hidden with 1", "≥ .80"),
                *_row(summary, "hidden with 2", "≥ .80"),
            ],
        ),
        runs=_runs(runs),
        processes="\n\n".join(
            f"{name.replace('crawl folder', 'Workers:')}\n\n"
            + _processes(runs[name][0]["processes"], runs[name][0]["seconds"])
            for name in ("crawl folder 1", "crawl folder 2")
        ),
        downloads=_downloads(runs),
    )


def _row(summary: Mapping[str, float], name: str, wanted: str) -> list[list[str]]:
    told = name.replace("hidden with 1", "downloads hidden, one worker").replace(
        "hidden with 2", "downloads hidden, two workers"
    )
    return [[told, f"{summary[name]:.2f}", wanted]]


def _runs(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    parts = (
        "seconds",
        "seconds of Ray's start",
        "seconds of probes and workers' start",
        "seconds from first begun to last committed",
        "seconds of the end",
    )
    rows = [
        [f"{name}, round {number}", *(f"{one[p]:.1f}" if p in one else "" for p in parts)]
        for name, some in runs.items()
        for number, one in enumerate(some, 1)
    ]
    heads = [part.removeprefix("seconds ").removeprefix("of ") for part in parts]
    return _table(["run (what, from where, workers)", *heads], rows)


def _processes(used: Mapping[str, Mapping[str, Any]], seconds: float) -> str:
    total = sum(role["cpu seconds"] for role in used.values())
    rows = [
        [
            role,
            str(of["processes"]),
            f"{of['cpu seconds']:.1f}",
            f"{of['peak bytes'] / 2**20:.0f}",
        ]
        for role, of in used.items()
    ]
    rows.append(
        [f"all: {total / seconds:.2f} cores busy over {seconds:.0f} s", "", f"{total:.1f}", ""]
    )
    return _table(["", "processes", "CPU seconds", "peak MiB of the largest"], rows)


def _downloads(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    rows = []
    for name in ("fetch hub 1", "crawl hub 1", "crawl hub 2"):
        some = runs[name]
        models = some[0]["models"]
        fetching = [one.get("worker seconds", {}).get("fetch", one["seconds"]) for one in some]
        rows.append(
            [
                name,
                f"{statistics.median(one['seconds'] for one in some):.1f}",
                f"{statistics.median(fetching):.1f}",
                f"{some[0]['hub']['requests'] / models:.1f}",
                f"{some[0]['hub']['bytes'] / models / 1000:,.0f}",
            ]
        )
    head = ["", "seconds", "seconds of fetches, added up", "requests a model", "kB a model"]
    return _table(head, rows)


def _many(found: Mapping[str, Any]) -> str:
    protocol, added, laps = found["protocol"], found["added"], found["thousands"]
    ratio = f"{laps[-1] / laps[0]:.2f}" if len(laps) > 1 else "one thousand only"
    return _MANY.format(
        models=protocol["models"],
        workers=protocol["workers"],
        bare=protocol["bare"],
        head=_protocol(protocol),
        statuses=", ".join(f"{count:,} {status}" for status, count in found["statuses"].items()),
        error=added["standard error"],
        figures=_table(
            ["", "measured", "wanted"],
            [
                ["own load and compute, ms a model", f"{added['own milliseconds']:.1f}", ""],
                ["added, ms a model", f"{added['added milliseconds']:.1f}", "≤ 20"],
                [
                    "added with Ray's start and end, ms a model",
                    f"{added['added with start and end']:.1f}",
                    "",
                ],
                ["last thousand against the first", ratio, ".90 – 1.10"],
            ],
        ),
        thousands="Seconds of each thousand: " + ", ".join(f"{lap:.1f}" for lap in laps) + ".",
        memory=_table(
            ["", "start", "end", "peak", "slope a thousand models"],
            [
                [
                    role,
                    *(f"{of[n]:.0f}" for n in ("start", "end", "peak")),
                    f"{of['slope']:+.1f}",
                ]
                for role, of in found["memory"].items()
            ],
        ),
        driver=_table(
            ["", "ms a model"],
            [
                [part, f"{milliseconds:.2f}"]
                for part, milliseconds in found["driver, milliseconds a model"].items()
            ],
        ),
        own=added["own CPU milliseconds"],
        cpu=_table(
            ["", "CPU ms a model"],
            [[role, f"{spent:.1f}"] for role, spent in added["CPU milliseconds"].items()],
        ),
        processes=_processes(found["processes"], found["seconds"]["seconds"]),
    )


def _protocol(protocol: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {protocol[name]}" for name in ("date", "machine", "command"))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
