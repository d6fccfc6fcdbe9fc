"""Where an index lives: a folder, or a prefix of an S3 bucket, behind one small set of object operations.

The Delta table, the probe sets and the marks of running crawls lie under one URI. FAISS caches can be rebuilt at any
time: beside the index where that is a folder, else in this machine's cache folder.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
from obstore.store import LocalStore, ObjectStore, S3Store

if TYPE_CHECKING:
    from obstore.store import S3Config


@dataclass(frozen=True)
class IndexLocation:
    """The place of an index. `uri`: a folder's path or `s3://bucket/prefix`.

    S3 is configured as for every AWS client: `AWS_ENDPOINT_URL`, `AWS_REGION`, keys or profiles as boto3 finds them.
    """

    uri: str

    @classmethod
    def of(cls, uri: str | os.PathLike[str]) -> IndexLocation:
        """The location that `uri` names. Raises ValueError for a scheme that is not written to."""
        text = os.fspath(uri)
        scheme, separator, rest = text.partition("://")
        if not separator:
            return cls(str(Path(text).expanduser()))
        if scheme == "file":
            return cls(str(Path(rest)))
        if scheme != "s3" or not rest.split("/", 1)[0]:
            raise ValueError(
                f"an index lies in a folder or under s3://bucket/prefix, not at {text!r}"
            )
        return cls(text.rstrip("/"))

    def __str__(self) -> str:
        return self.uri

    @property
    def remote(self) -> bool:
        """Whether it lies in a bucket."""
        return self.uri.startswith("s3://")

    @property
    def table_uri(self) -> str:
        """Of the Delta table."""
        return f"{self.uri}/table"

    @property
    def cache_folder(self) -> Path:
        """Local folder of the FAISS caches."""
        if not self.remote:
            return Path(self.uri) / "cache"
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return base / "provray" / hashlib.sha256(self.uri.encode()).hexdigest()[:16]

    @cached_property
    def storage_options(self) -> dict[str, str]:
        """What deltalake needs to reach the table; empty for a folder. Commits are conditional puts."""
        return {**_s3_settings(), "conditional_put": "etag"} if self.remote else {}

    @cached_property
    def store(self) -> ObjectStore:
        """The objects under `uri`. A folder is made when it is first written to."""
        if not self.remote:
            return LocalStore(prefix=Path(self.uri).absolute(), mkdir=True)
        bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        settings: dict[str, Any] = _s3_settings()
        allow_http = settings.pop("allow_http", "") == "true"
        return S3Store(
            bucket,
            prefix=prefix or None,
            config=cast("S3Config", {k: v for k, v in settings.items() if v}),
            client_options={"allow_http": allow_http},
        )


def _s3_settings() -> dict[str, str]:
    """Endpoint, region and keys as boto3 resolves them now, by object_store's names."""
    session = boto3.Session()
    settings = {"aws_region": session.region_name or "us-east-1"}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        settings |= {
            "aws_endpoint": endpoint,
            "allow_http": str(endpoint.startswith("http://")).lower(),
        }
    credentials = session.get_credentials()
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        settings |= {
            "aws_access_key_id": frozen.access_key or "",
            "aws_secret_access_key": frozen.secret_key or "",
        }
        if frozen.token:
            settings["aws_session_token"] = frozen.token
    return settings
