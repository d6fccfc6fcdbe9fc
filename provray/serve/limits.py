"""What one caller may take: requests a minute for each key, bytes for each request."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_BURST_SECONDS = 10.0


class RateLimits:
    """A token bucket for each key: filled at its rate, as large as ten seconds of it (at least one request)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, per_minute: float, cost: float = 1.0) -> float:
        """Take `cost` requests from a key's bucket. Returns 0, or the seconds until it holds enough, taking nothing.

        A cost above the size of the bucket is let through when it is full, and leaves it in debt.
        """
        rate = per_minute / 60
        size = max(rate * _BURST_SECONDS, 1.0)
        now = self._clock()
        tokens, before = self._buckets.get(key, (size, now))
        tokens = min(tokens + (now - before) * rate, size)
        needed = min(cost, size)
        if tokens < needed:
            self._buckets[key] = tokens, now
            return (needed - tokens) / rate
        self._buckets[key] = tokens - cost, now
        return 0.0


class BodyTooLarge(Exception):
    """A request's body is larger than allowed."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body of a request. Raises BodyTooLarge once more than `limit` bytes came, ConnectionError if the client
    left."""
    parts: list[bytes] = []
    taken = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionError("the client left before its request was complete")
        part = message.get("body", b"")
        taken += len(part)
        if taken > limit:
            raise BodyTooLarge
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
