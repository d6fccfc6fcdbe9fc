"""The S3 client of a process, and what its errors mean in plain words."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NoConnection

from provray.sources.base import SourceError

REQUEST_ATTEMPTS = 6
"""Of one request, with the client's back-off in between (some 15 s in all)."""

_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_CONNECTIONS = 32
_LONGEST_ASKED_WAIT = 60.0
_PASSING = frozenset({"SlowDown", "RequestTimeout"})
_lock = threading.Lock()

S3_ERRORS = (ClientError, BotoCoreError)
"""What a request may raise."""

_REASONS = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "it was deleted since it was listed",
    "AccessDenied": "access is denied: these credentials may not read it",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "InvalidAccessKeyId": "the access key is not known there",
    "ExpiredToken": "the session token has expired: sign in again",
    "InvalidObjectState": "the object is archived: restore it first",
}


def s3_client() -> Any:
    """The client for the AWS settings of the environment as they are now: one per process and settings, thread-safe.

    A client costs some 20 MB and 100 ms. Endpoint, region and credentials come from where every AWS client takes
    them; where an endpoint is set, buckets are addressed by path.

    Raises:
        SourceError: the settings contradict themselves or name a profile that is not there.
    """
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    with _lock:
        try:
            return _client(settings, REQUEST_ATTEMPTS)
        except (BotoCoreError, ValueError) as error:
            raise SourceError(
                f"S3 cannot be set up ({type(error).__name__}): check AWS_ENDPOINT_URL, AWS_PROFILE and AWS_REGION"
            ) from None


@lru_cache(maxsize=8)
def _client(settings: tuple[tuple[str, str], ...], attempts: int) -> Any:
    del settings  # they tell two clients apart; the session reads them itself
    return boto3.Session().client(
        "s3",
        config=Config(
            # Adaptive: after a SlowDown all threads of the client ask less often.
            retries={"mode": "adaptive", "total_max_attempts": attempts},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=_CONNECTIONS,
            response_checksum_validation="when_required",
        ),
    )


def endpoint_of(client: Any) -> str:
    """Scheme, host and port that a client asks, without a user or password that the URL may hold."""
    parts = urlsplit(client.meta.endpoint_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_passing(error: Exception) -> bool:
    """Whether a failure may be over soon: throttling, a server's fault, a lost connection."""
    if isinstance(error, ClientError):
        status = status_in(error.response)
        return status == 429 or status >= 500 or code_of(error) in _PASSING
    return isinstance(error, NoConnection | HTTPClientError)


def asked_wait(error: Exception) -> float:
    """Seconds that a server asked to wait (`Retry-After`), at most a minute; 0 if it did not."""
    if not isinstance(error, ClientError):
        return 0.0
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    asked = str(headers.get("retry-after", ""))
    return min(float(asked), _LONGEST_ASKED_WAIT) if asked.isdecimal() else 0.0


def status_in(answer: Mapping[str, Any]) -> int:
    """HTTP status of an answer (`ClientError.response` too), 0 if there is none."""
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: ClientError) -> str:
    """S3's word for what is wrong, shortened; a server may write anything here."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))[:60]


def reason_of(error: Exception) -> str:
    """What went wrong in plain words. A server's own text is left out: it may repeat what was sent."""
    if isinstance(error, ClientError):
        code = code_of(error)
        known = _REASONS.get(code)
        said = f"status {status_in(error.response)}, {code!r}"
        return f"{known} ({said})" if known else f"it answered with {said}"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, NoConnection | HTTPClientError):
        return f"it cannot be reached ({type(error).__name__})"
    return f"the request failed ({type(error).__name__})"
