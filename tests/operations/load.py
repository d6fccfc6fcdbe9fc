"""Clients that ask one question after the other while something happens, and count what becomes of them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from tests.operations.stack import Stack
from tests.serve.made_index import BASE, CHILD, GRANDCHILD, STRANGERS

_ASKED = [BASE.name, CHILD.name, GRANDCHILD.name, *(network.name for network in STRANGERS[:9])]


@dataclass
class Load:
    """pause: seconds of a client between questions. sent, answered: questions. retried: sent again by the client.
    failed: errors. longest: seconds of an answer."""

    stack: Stack
    clients: int
    pause: float
    sent: int = 0
    answered: int = 0
    retried: int = 0
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Load:
        self._threads = [
            threading.Thread(target=self._client, args=(n,)) for n in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def __str__(self) -> str:
        return (
            f"sent {self.sent}, answered {self.answered}, retried {self.retried}, failed {len(self.failed)}, "
            f"longest {self.longest:.1f} s"
        )

    def _client(self, number: int) -> None:
        asked = number
        with self.stack.client() as client:
            while not self._over.is_set():
                asked += 1
                began = time.monotonic()
                error = ""
                try:
                    client.ask(_ASKED[asked % len(_ASKED)], top_k=5 + asked % 5)
                except Exception as raised:
                    error = f"{type(raised).__name__}: {raised}"
                with self._lock:
                    self.sent += 1
                    self.answered += not error
                    self.failed.extend([error] if error else [])
                    self.longest = max(self.longest, time.monotonic() - began)
                self._over.wait(self.pause)
            with self._lock:
                self.retried += client.retried
