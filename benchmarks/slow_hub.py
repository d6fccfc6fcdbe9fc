"""A local hub in a process of its own, slow on purpose: its threads take no time from the crawl's."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from provray.testbed.local_hub import LocalHub


@dataclass(frozen=True)
class Traffic:
    """Requests answered and body bytes sent since they were last asked for."""

    requests: int
    bytes: int


class SlowHub:
    """Serves the model folders `folder/ORG/NAME` on 127.0.0.1 while its context lasts.

    latency: seconds before every answer. bandwidth: bytes per second of all connections together.
    """

    def __init__(self, folder: Path, latency: float, bandwidth: float) -> None:
        self._command = [sys.executable, __file__, str(folder), str(latency), str(bandwidth)]

    def __enter__(self) -> Self:
        self._program = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.endpoint = str(self._answer()["endpoint"])
        return self

    def __exit__(self, *_: object) -> None:
        assert self._program.stdin is not None
        self._program.stdin.close()
        self._program.wait(timeout=30)

    def traffic(self) -> Traffic:
        """What went over the link since the last call."""
        assert self._program.stdin is not None
        self._program.stdin.write("\n")
        self._program.stdin.flush()
        told = self._answer()
        return Traffic(int(told["requests"]), int(told["bytes"]))

    def _answer(self) -> dict[str, Any]:
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        if not line:
            raise RuntimeError(f"the hub ended with code {self._program.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found


def _serve(folder: Path, latency: float, bandwidth: float) -> None:
    with LocalHub(latency, bandwidth) as hub:
        for model in sorted(folder.glob("*/*")):
            hub.push(model.relative_to(folder).as_posix(), model)
        print(json.dumps({"endpoint": hub.endpoint}), flush=True)
        seen = 0
        for _ in sys.stdin:
            new = hub.requests[seen:]
            seen += len(new)
            told = {"requests": len(new), "bytes": sum(request.sent for request in new)}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
