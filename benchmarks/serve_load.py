"""A load generator that costs little: bare sockets, one question after the other on each connection.

    python benchmarks/serve_load.py PORT PATH BODIES CLIENTS SECONDS [--once]

BODIES: a file with one JSON body a line, drawn at random; with --once each is sent once, in order. Prints one JSON
object. A question that is told to wait (429, 503) or whose connection is lost is sent again, up to ten times.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_ATTEMPTS = 10


@dataclass
class Counts:
    """What became of the questions, and the milliseconds of those that were answered."""

    sent: int = 0
    answered: int = 0
    retried: int = 0
    failed: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)

    def told(self, seconds: float) -> dict[str, Any]:
        """As numbers for a report."""
        taken = np.array(self.milliseconds or [0.0])
        return {
            "sent": self.sent,
            "answered": self.answered,
            "retried": self.retried,
            "failed": self.failed,
            "statuses": self.statuses,
            "requests per second": round(self.answered / seconds, 1),
            "milliseconds": {
                "median": round(float(np.median(taken)), 1),
                "p99": round(float(np.percentile(taken, 99)), 1),
                "largest": round(float(taken.max()), 1),
            },
        }


async def _client(
    port: int, path: str, bodies: Iterator[bytes], until: float, counts: Counts
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    for body in bodies:
        if time.perf_counter() > until:
            break
        counts.sent += 1
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        began = time.perf_counter()
        for attempt in range(_ATTEMPTS):
            counts.retried += attempt > 0
            try:
                if connection is None:
                    connection = await asyncio.open_connection("127.0.0.1", port)
                status, after = await _exchange(*connection, request)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                connection, status, after = None, 0, 0.2
            counts.statuses[str(status)] = counts.statuses.get(str(status), 0) + 1
            if status == 200:
                counts.answered += 1
                counts.milliseconds.append(1000 * (time.perf_counter() - began))
                break
            if status not in (0, 429, 500, 503):
                counts.failed += 1
                break
            await asyncio.sleep(after)
        else:
            counts.failed += 1
    if connection is not None:
        connection[1].close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, float]:
    writer.write(request)
    top = await reader.readuntil(b"\r\n\r\n")
    lines = top.lower().split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
    await reader.readexactly(int(headers.get(b"content-length", b"0")))
    return int(lines[0].split()[1]), float(headers.get(b"retry-after", b"0.2"))


async def load(
    port: int, path: str, bodies: list[bytes], clients: int, seconds: float, once: bool
) -> dict[str, Any]:
    """Ask for so long; the counts and times."""
    counts = Counts()
    began = time.perf_counter()
    shared = iter(bodies)
    drawn = random.Random(1)
    endless = iter(lambda: drawn.choice(bodies), None)
    source: Iterator[bytes] = shared if once else endless
    await asyncio.gather(
        *(_client(port, path, source, began + seconds, counts) for _ in range(clients))
    )
    return counts.told(time.perf_counter() - began)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("bodies", type=Path)
    parser.add_argument("clients", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--once", action="store_true")
    given = parser.parse_args()
    bodies = given.bodies.read_bytes().splitlines()
    print(
        json.dumps(
            asyncio.run(
                load(given.port, given.path, bodies, given.clients, given.seconds, given.once)
            )
        )
    )


if __name__ == "__main__":
    main()
