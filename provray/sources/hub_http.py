"""How the Hub is spoken to: where it is, who asks, and how failures are waited out.

Addresses, errors and tokens are those of `huggingface_hub`. Its own retries are not used, since they wait
as long as a server says and without a time limit on the connection; and its client is shared with whatever else runs in
the process and is closed by any failed connection, under the downloads of other threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from time import sleep
from typing import Any

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_token, hf_raise_for_status, parse_ratelimit_headers

import provray

FIRST_WAIT = 1.0
"""Seconds before the second try where the server names no time. It doubles with each failure in a row."""

LONGEST_WAIT = 300.0
"""Seconds a server may ask to be left alone: the Hub counts its rate limits over five minutes."""

TRIES = 6
"""Failures in a row, without a byte between them, after which a file or a page is given up."""

_TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


class Interruption(Exception):
    """A try that failed for now. `wait`: seconds the server asks for, if it does."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.wait = wait


class OutOfReach(Exception):
    """What is left when waiting has not helped: one sentence part, such as `answers HTTP 503, 6 times in a row`."""


class Patience:
    """Failures in a row of one task, and the waits between them."""

    def __init__(self) -> None:
        self._failures = 0

    def progress(self) -> None:
        """Something arrived: begin to count anew."""
        self._failures = 0

    def wait(self, interruption: Interruption) -> None:
        """Wait before the next try. Raises OutOfReach if there should be none."""
        self._failures += 1
        asked = interruption.wait
        if asked is not None and asked > LONGEST_WAIT:
            raise OutOfReach(
                f"{interruption.what} and asks to wait {asked:,.0f} s, more than {LONGEST_WAIT:,.0f} s"
            )
        if self._failures >= TRIES:
            raise OutOfReach(f"{interruption.what}, {self._failures} times in a row")
        sleep(asked if asked is not None else FIRST_WAIT * 2 ** (self._failures - 1))


@dataclass(frozen=True)
class Hub:
    """A Hub at one address, and who asks it. `headers` hold the token, if there is one, and are not shown."""

    endpoint: str
    headers: Mapping[str, str] = field(repr=False)

    @property
    def signed_in(self) -> bool:
        """Whether a token is sent."""
        return "authorization" in self.headers

    @contextmanager
    def one_try(
        self, url: str, params: Mapping[str, Any] | None = None, byte_range: str | None = None
    ) -> Iterator[httpx2.Response]:
        """One GET whose body is not read yet. Redirects are followed, to other hosts without the token.

        Raises:
            Interruption: no connection, a cut one (also while the caller reads), 408, 429 or 5xx.
            HfHubHTTPError: any other refusal but 416.
        """
        headers = {**self.headers, "range": byte_range} if byte_range else self.headers
        try:
            with _client(os.getpid()).stream(
                "GET", url, headers=headers, params=params
            ) as response:
                status = response.status_code
                if status in (408, 429) or status >= 500:
                    raise Interruption(f"answers HTTP {status}", _asked_wait(response.headers))
                if status != 416:
                    hf_raise_for_status(response)
                yield response
        except httpx2.RequestError as error:
            raise Interruption(f"does not answer ({type(error).__name__})") from None

    def get(self, url: str, params: Mapping[str, Any] | None = None) -> httpx2.Response:
        """A GET with its whole body, tried until it works. Raises OutOfReach, or HfHubHTTPError when it is refused."""
        patience = Patience()
        while True:
            try:
                with self.one_try(url, params) as response:
                    response.read()
                    return response
            except Interruption as interruption:
                patience.wait(interruption)


def current_hub() -> Hub:
    """The Hub of `HF_ENDPOINT`, else the public one, with the token of `HF_TOKEN` or the token file, as they are now.

    Raises:
        ValueError: offline mode is on, or `HF_ENDPOINT` is no http address.
    """
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in _TRUE:
            raise ValueError(f"hf:// needs the Hub, and {name} forbids asking it: unset {name}")
    address = os.environ.get("HF_ENDPOINT") or constants.HUGGINGFACE_CO_URL_HOME
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        # The value is not shown: someone may have put a password into it.
        raise ValueError("HF_ENDPOINT is not of the form https://host[:port] without a user name")
    # Not the client's `build_hf_headers`: to tell what runs it, it reads the environment and asks the Hub for a list.
    headers = {
        "user-agent": f"provray/{provray.__version__}",
        # A range is one of the file's own bytes only where nothing compresses them on the way.
        "accept-encoding": "identity",
    }
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return Hub(address.rstrip("/"), headers)


def refusal(error: HfHubHTTPError, revision: str) -> str | None:
    """Why a model cannot be had and what to do about it.

    None if the refusal is not about the model: a token that is not valid, a malformed request.
    """
    status = error.response.status_code
    if is_bad_token(error):
        return None
    if isinstance(error, GatedRepoError):
        return GATED
    if isinstance(error, DisabledRepoError):
        return DISABLED
    if isinstance(error, RevisionNotFoundError):
        return f"the model has no revision {revision[:80]!r} (any more): name a branch, a tag or a commit that exists"
    if isinstance(error, RemoteEntryNotFoundError):
        return "the model lacks a file that was listed: crawl it again"
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404, 410):
        return (
            "the model does not exist (any more) or is private: check the name, or set HF_TOKEN to a token of an "
            "account that may read it"
        )
    if status in (403, 451):
        return f"the model is refused with HTTP {status}: set HF_TOKEN to a token of an account that may read it"
    return None


GATED = "the model is gated: ask for access on its page, and set HF_TOKEN to a token of the account that was given it"
DISABLED = "the model was disabled by the Hub: nobody can read it"


def is_bad_token(error: HfHubHTTPError) -> bool:
    """Whether it is the token itself that was refused, not this model to it."""
    message = error.response.headers.get("x-error-message", "")
    return error.response.status_code == 401 and message.startswith("Invalid credentials")


@lru_cache(maxsize=1)
def _client(process: int) -> httpx2.Client:
    # One for all threads of a process, since a new one reads all certificates; a forked child must not share it.
    return httpx2.Client(follow_redirects=True, timeout=_TIMEOUT)


def _asked_wait(headers: httpx2.Headers) -> float | None:
    limits = parse_ratelimit_headers(headers)
    if limits is not None and limits.remaining == 0:
        return float(limits.reset_in_seconds)
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
