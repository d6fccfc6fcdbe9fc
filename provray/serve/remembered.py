"""What was answered lately, within a bound of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from provray.serve.reply import Reply

K = TypeVar("K", bound=Hashable)

_OVERHEAD = 512
"""Bytes that a reply takes beside its body, roughly."""


class Remembered(Generic[K]):
    """Replies by key, the least recently used forgotten first. Safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._replies: OrderedDict[K, Reply] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: K) -> Reply | None:
        """The reply, if it is remembered."""
        with self._lock:
            reply = self._replies.get(key)
            if reply is not None:
                self._replies.move_to_end(key)
            return reply

    def keep(self, key: K, reply: Reply) -> None:
        """Remember a reply; one larger than the limit is not."""
        if _size(reply) > self._limit:
            return
        with self._lock:
            before = self._replies.pop(key, None)
            self._bytes += _size(reply) - (0 if before is None else _size(before))
            self._replies[key] = reply
            while self._bytes > self._limit:
                self._bytes -= _size(self._replies.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._replies.clear()
            self._bytes = 0


def _size(reply: Reply) -> int:
    return len(reply.body) + _OVERHEAD
