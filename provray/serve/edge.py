"""What surrounds every request: an id, bounds, a problem for every failure, a count, and a line in the audit log."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from provray.serve.audit import AuditLog
from provray.serve.guard import Guard
from provray.serve.limits import BodyTooLarge, read_body
from provray.serve.metrics import Metrics
from provray.serve.page import ROUTES
from provray.serve.problems import MEDIA_TYPE, Refused
from provray.serve.reply import Reply, refusal

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNWRITTEN = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", *ROUTES})
"""Routes that tell nothing of the index."""
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SAFE = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]

log = logging.getLogger("ray.serve")


@dataclass
class Seen:
    """What is known of a request when it ends. `asked`, `told`: for the audit log; `caller`: id of the key."""

    request_id: str
    caller: str = ""
    asked: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    version: int = -1
    status: int = 0


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: Any,
        guard: Guard,
        metrics: Metrics,
        audit: AuditLog,
        body_bytes: int,
        seconds: float,
    ) -> None:
        self._app = app
        self._guard = guard
        self._metrics = metrics
        self._audit = audit
        self._body_bytes = body_bytes
        self._seconds = seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; other kinds of ASGI scopes are passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        seen = scope["provray"] = Seen(_request_id(scope))
        started = False

        async def noted_send(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(header for header in _SAFE if header[0] not in given),
                ]
                # What cannot be written down is not told.
                self._note(scope, seen, time.perf_counter() - began)
                started = True
            await send(message)

        try:
            self._guard.require_local(scope)
            await self._app(scope, await self._whole(scope, receive), noted_send)
        except ConnectionError:
            log.info("a client left before its request was complete")
        except Exception as error:
            if started:
                raise
            if not isinstance(error, Refused):
                log.exception("request %s failed", seen.request_id)
                error = Refused(
                    "failed", f"the log says why, under the request id {seen.request_id}"
                )
            await send_reply(refusal(error, seen.request_id), seen, noted_send)

    async def _whole(self, scope: Any, receive: Any) -> Any:
        """The request's messages, its body read to the end. Raises Refused if it is too large, or too slow."""
        length = next((v for n, v in scope["headers"] if n == b"content-length"), b"0")
        try:
            if length.isdigit() and int(length[:19]) > self._body_bytes:
                raise BodyTooLarge
            body = await asyncio.wait_for(read_body(receive, self._body_bytes), self._seconds)
        except BodyTooLarge:
            raise Refused(
                "too-large",
                f"a request has at most {self._body_bytes:,} bytes; ask in smaller batches",
            ) from None
        except TimeoutError:
            raise Refused(
                "bad-request", f"the body did not arrive within {self._seconds:g} s"
            ) from None
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Any:
            found = next(messages, None)
            return found if found is not None else await receive()

        return replay

    def _note(self, scope: Any, seen: Seen, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or "none"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        verdict = str(seen.told.get("verdict", ""))
        self._metrics.count(route, method, seen.status, seconds, verdict)
        if route in _UNWRITTEN:
            return
        line = {
            "request": seen.request_id,
            "key": seen.caller,
            "client": (scope.get("client") or ("",))[0],
            "method": method,
            "route": route,
            "asked": seen.asked,
            "status": seen.status,
            "version": seen.version,
            "told": seen.told,
            "ms": round(1000 * seconds, 1),
        }
        try:
            self._audit.write(line)
        except OSError:
            self._metrics.count_unwritten()
            raise


async def send_reply(reply: Reply, seen: Seen, send: Any) -> None:
    """Send a reply outside of any route."""
    seen.told = dict(reply.told)
    headers = [(n.lower().encode(), v.encode()) for n, v in reply.headers.items()]
    headers += [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(reply.body)).encode()),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _request_id(scope: Any) -> str:
    """What Serve put there, and sends back: the caller's own id, or one of its own. A new one for what cannot be
    written into a log as it is."""
    given = next((v for n, v in scope["headers"] if n == b"x-request-id"), b"")
    return given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex
