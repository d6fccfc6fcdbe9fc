"""The index versions that one search replica holds: the current one, and an older one that was asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from provray.index.table import BadIndex
from provray.serve.held import Held
from provray.serve.problems import Refused

_OLDER = 1


class Versions:
    """open_version: reads a version, the newest for None. A question keeps the version that it began with, also when
    the service has moved on."""

    def __init__(self, open_version: Callable[[int | None], Held]) -> None:
        self._open = open_version
        self._lock = threading.Lock()
        self._older: OrderedDict[int, Held] = OrderedDict()
        self.current = open_version(None)

    def at(self, version: int | None) -> Held:
        """This version, or the current one. Raises Refused if there is none of that number, or no more."""
        current = self.current
        if version is None or version == current.version:
            return current
        with self._lock:
            held = self._older.get(version)
            if held is None:
                try:
                    held = self._open(version)
                except BadIndex:
                    raise Refused(
                        "unknown-version",
                        f"the index has no version {version}, or none any more; the newest is {self.current.version}",
                    ) from None
                self._older[version] = held
            self._older.move_to_end(version)
            while len(self._older) > _OLDER:
                self._older.popitem(last=False)
            return held

    def move_to(self, version: int) -> None:
        """Make this version the current one. The one before stays for questions that began with it."""
        before = self.current
        if version <= before.version:
            return
        held = self.at(version)
        with self._lock:
            self.current = held
            self._older.pop(version, None)
            self._older[before.version] = before
            while len(self._older) > _OLDER:
                self._older.popitem(last=False)
