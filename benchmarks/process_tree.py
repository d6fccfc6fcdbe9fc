"""CPU time and memory of a process and of everything below it, read from /proc by the role each has in a crawl."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROLES = (("ray::Worker", "workers"), ("raylet", "raylet"), ("gcs_server", "gcs"))
_REST = "rest of Ray"
"""Its agents, log monitor and idle workers, and the tasks that read the probes."""


@dataclass
class Process:
    """One process: `seconds` of CPU so far, `peak` bytes it ever held in memory, shared pages included."""

    role: str
    seconds: float = 0.0
    peak: int = 0


@dataclass(frozen=True)
class Look:
    """One moment. `at`: seconds since the epoch; by role `resident`: bytes of the largest process, `seconds`: CPU time
    so far of all that live."""

    at: float
    resident: dict[str, int]
    seconds: dict[str, float]


class ProcessTree:
    """Looks at a process and its descendants every `seconds` while its context lasts.

    A role's CPU time is that of its processes as they were last seen: what a process does in its last `seconds` is not
    counted. The role of the root is `driver`.
    """

    def __init__(self, root: int, seconds: float = 0.5) -> None:
        self.looks: list[Look] = []
        self._root = root
        self._seconds = seconds
        self._processes: dict[tuple[int, str], Process] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def used(self) -> dict[str, dict[str, Any]]:
        """By role: how many processes there were, their CPU seconds, the peak of the largest in bytes."""
        by_role: dict[str, list[Process]] = defaultdict(list)
        for process in self._processes.values():
            by_role[process.role].append(process)
        return {
            role: {
                "processes": len(some),
                "cpu seconds": round(sum(p.seconds for p in some), 2),
                "peak bytes": max(p.peak for p in some),
            }
            for role, some in sorted(by_role.items())
        }

    def _watch(self) -> None:
        while not self._over.wait(self._seconds):
            self._look()

    def _look(self) -> None:
        stats = _all_processes()
        children: dict[int, list[int]] = defaultdict(list)
        for pid, fields in stats.items():
            children[int(fields[1])].append(pid)
        below = [self._root] if self._root in stats else []
        for pid in below:
            below.extend(children[pid])
        resident: dict[str, int] = defaultdict(int)
        seconds: dict[str, float] = defaultdict(float)
        for pid in below:
            fields = stats[pid]
            with suppress(OSError, IndexError):  # it ended meanwhile
                role, peak = "driver" if pid == self._root else _role(pid), _peak(pid)
                process = self._processes.setdefault((pid, fields[19]), Process(role))
                # Ray starts a process before it knows what for: the last role counts.
                process.role = role
                process.seconds = (int(fields[11]) + int(fields[12])) / _TICK
                process.peak = max(process.peak, peak)
                resident[role] = max(resident[role], int(fields[21]) * _PAGE)
                seconds[role] += process.seconds
        self.looks.append(Look(time.time(), dict(resident), dict(seconds)))


def _all_processes() -> dict[int, list[str]]:
    """The fields of /proc/PID/stat after the name (the first is field 3 of proc(5)), by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                found[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
    return found


def _role(pid: int) -> str:
    program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    # A Ray worker's whole title is its first argument, of other programs that is a path.
    name = program if program.startswith("ray::") else program.rpartition("/")[2]
    return next((role for sign, role in _ROLES if name.startswith(sign)), _REST)


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
