"""Who is let in: by key and scope, within its rate; without keys, this machine alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from provray.serve.keys import BadKeyFile, KeyRing
from provray.serve.limits import RateLimits
from provray.serve.problems import Refused
from provray.serve.settings import ServiceSettings, is_loopback

LOCAL = "local"
"""The caller's name where there are no keys."""


class Guard:
    """Raises BadKeyFile if the settings name a key file that cannot be read."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._ring = KeyRing(Path(settings.keys)) if settings.keys else None
        self._limits = RateLimits()
        self._share = 1 / settings.front_replicas
        self._per_minute = settings.requests_per_minute

    @property
    def keyed(self) -> bool:
        """Whether callers need a key."""
        return self._ring is not None

    def require_local(self, scope: dict[str, Any]) -> None:
        """Without keys: both ends of the connection, and the name it was asked under, are this machine's.

        The name matters because a web page elsewhere may have its own name lead here. Raises Refused.
        """
        if self.keyed:
            return
        ends = [end[0] for end in (scope.get("server"), scope.get("client")) if end]
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        names = [host if host.endswith("]") else host.rpartition(":")[0] or host for host in hosts]
        if not all(is_loopback(name) for name in (*ends, *names)):
            raise Refused(
                "local-only",
                "this service has no keys, so it answers its own machine alone, under localhost or a loopback "
                "address; make keys with `provray keys create` and start it with --keys",
            )

    def admit(self, scope: str, secret: str | None) -> tuple[str, float]:
        """The id of the caller's key, and its requests a minute. Raises Refused."""
        if self._ring is None:
            return LOCAL, math.inf
        if not secret:
            raise Refused(
                "no-key",
                "send `Authorization: Bearer KEY`; keys are made with `provray keys create`",
            )
        try:
            key = self._ring.find(secret)
        except BadKeyFile:
            raise Refused(
                "not-ready", "the key file cannot be read; its owner must mend it", 30
            ) from None
        if key is None:
            raise Refused("bad-key", "no valid key has this text; ask for a new one")
        if not key.may(scope):
            raise Refused(
                "missing-scope",
                f"this needs a key with the scope {scope}, yours has {', '.join(key.scopes)}",
            )
        return key.id, key.requests_per_minute or self._per_minute

    def take(self, caller: str, per_minute: float, cost: float = 1.0) -> None:
        """Count `cost` requests against a caller's rate. Raises Refused `too-many-requests`."""
        if math.isinf(per_minute):
            return
        wait = self._limits.take(caller, per_minute * self._share, cost)
        if wait:
            raise Refused(
                "too-many-requests",
                f"this key may make {per_minute:g} requests a minute; wait before the next",
                math.ceil(wait),
            )
