"""Everything the service refuses, by name: one exception that becomes `application/problem+json`."""

from __future__ import annotations

from collections.abc import Sequence

from provray.serve.schemas import Problem

MEDIA_TYPE = "application/problem+json"

TITLES: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request cannot be read"),
    "no-key": (401, "A key is needed"),
    "bad-key": (401, "The key is not known, or was revoked"),
    "missing-scope": (403, "The key may not do this"),
    "source-not-allowed": (403, "Models may not be read from there"),
    "local-only": (403, "Without keys only this machine is answered"),
    "not-found": (404, "There is nothing here"),
    "unknown-model": (404, "No such model in the index"),
    "unknown-job": (404, "No such question"),
    "unknown-version": (404, "No such version of the index"),
    "method-not-allowed": (405, "This route has no such method"),
    "too-large": (413, "The request is too large"),
    "invalid": (422, "The request does not fit the schema"),
    "bad-fingerprint": (422, "The fingerprint cannot be compared"),
    "bad-suspect": (422, "The model cannot be fingerprinted"),
    "too-many-requests": (429, "Too many requests"),
    "failed": (500, "The service failed"),
    "busy": (503, "The service is busy"),
    "not-ready": (503, "The service is not ready"),
}
"""Status and title by name."""


class Refused(Exception):
    """A request that is not answered. name: one of `TITLES`. retry_after: seconds after which it is worth asking again.
    errors: each wrong field, with its place and what is wrong."""

    def __init__(
        self,
        name: str,
        detail: str,
        retry_after: int | None = None,
        errors: Sequence[dict[str, str]] = (),
    ) -> None:
        super().__init__(name, detail, retry_after, tuple(errors))
        self.name = name
        self.detail = detail
        self.retry_after = retry_after
        self.errors = tuple(errors)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return TITLES[self.name][0]

    def problem(self, request_id: str = "") -> Problem:
        """The body of the answer."""
        status, title = TITLES[self.name]
        return Problem(
            type=f"urn:provray:problem:{self.name}",
            title=title,
            status=status,
            detail=self.detail,
            request_id=request_id,
            errors=list(self.errors),
        )

    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        found = {}
        if self.retry_after is not None:
            found["Retry-After"] = str(self.retry_after)
        if self.status == 401:
            found["WWW-Authenticate"] = "Bearer"
        return found
