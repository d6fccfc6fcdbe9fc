"""Where an index lives: a folder, or a prefix of an S3 bucket, behind one small set of object operations.

The Delta table, the probe sets, the spaces and the marks of running crawls lie under one URI. FAISS caches can be
rebuilt at any time: beside the index where that is a folder, else in this machine's cache folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
import obstore
from botocore.credentials import RefreshableCredentials
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

if TYPE_CHECKING:
    from obstore.store import RetryConfig, S3Config

_QUICK: RetryConfig = {"max_retries": 2}
"""For the first request of all: a wrong address is said at once, a short fault later on is waited for."""


class BadIndex(ValueError):
    """The index cannot be opened, read or written as asked."""


@dataclass(frozen=True)
class IndexLocation:
    """The place of an index. `uri`: a folder's path or `s3://bucket/prefix`.

    S3 is configured as for every AWS client: `AWS_ENDPOINT_URL`, `AWS_REGION`, keys or profiles as boto3 finds them.
    Keys are looked up when first needed and are no part of what is compared, printed or pickled.
    """

    uri: str

    @classmethod
    def of(cls, place: str | os.PathLike[str] | IndexLocation) -> IndexLocation:
        """The location that `place` names. Raises ValueError for a scheme that is not written to."""
        if isinstance(place, IndexLocation):
            return place
        text = os.fspath(place)
        scheme, separator, rest = text.partition("://")
        if not separator and not text.startswith("s3:/"):
            return cls(str(Path(text).expanduser()))
        if scheme == "file":
            return cls(str(Path(rest)))
        if scheme != "s3" or "" in rest.rstrip("/").split("/"):
            raise ValueError(
                f"an index lies in a folder or under s3://bucket/prefix, not at {text!r}"
            )
        return cls(text.rstrip("/"))

    def __str__(self) -> str:
        return self.uri

    def __reduce__(self) -> tuple[type[IndexLocation], tuple[str]]:
        return IndexLocation, (self.uri,)  # who unpickles it looks for keys of its own

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
        """What deltalake needs to reach the table; empty for a folder. Commits are conditional puts.

        Keys that expire are left out: deltalake then finds and renews them by itself.
        """
        if not self.remote:
            return {}
        found = _credentials(self)
        options = {**_address(), "conditional_put": "etag"}
        if not isinstance(found, RefreshableCredentials):
            frozen = found.get_frozen_credentials()
            options["aws_access_key_id"] = frozen.access_key
            options["aws_secret_access_key"] = frozen.secret_key
            if frozen.token:
                options["aws_session_token"] = frozen.token
        return options

    @cached_property
    def store(self) -> ObjectStore:
        """The objects under `uri`. A folder is made when this is first asked for."""
        if not self.remote:
            return LocalStore(prefix=Path(self.uri).absolute(), mkdir=True)
        return self._bucket(None)

    def _bucket(self, retry: RetryConfig | None) -> S3Store:
        bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        settings: dict[str, Any] = _address()
        allow_http = settings.pop("allow_http", "") == "true"
        _credentials(self)
        return S3Store(
            bucket,
            prefix=prefix or None,
            config=cast("S3Config", settings),
            client_options={"allow_http": allow_http},
            credential_provider=Boto3CredentialProvider(),
            retry_config=retry,
        )

    def holds_table(self) -> bool:
        """Whether there is a table. Leaves no trace. Raises BadIndex if the bucket cannot be asked."""
        if not self.remote:
            return (Path(self.uri) / "table" / "_delta_log").is_dir()
        try:
            found = obstore.list(self._bucket(_QUICK), prefix="table/_delta_log", chunk_size=1)
            return any(len(chunk) > 0 for chunk in found)
        except BaseError as error:
            raise BadIndex(f"cannot reach the index at {self}: {self.why(error)}") from error

    def read(self, name: str) -> bytes:
        """Content of one object. Raises BadIndex if it is not there or cannot be read."""
        try:
            return bytes(obstore.get(self.store, name).bytes())
        except (OSError, BaseError) as error:
            raise BadIndex(f"cannot read {self}/{name}: {self.why(error)}") from error

    def write_new(self, name: str, content: bytes) -> bool:
        """Write an object whole or not at all, unless there is one of this name: then False, and it stays as it is.

        Raises BadIndex if it cannot be written.
        """
        try:
            obstore.put(self.store, name, content, mode="create")
        except AlreadyExistsError:
            return False
        except (OSError, BaseError) as error:
            raise BadIndex(f"cannot write {self}/{name}: {self.why(error)}") from error
        return True

    def names(self, folder: str) -> list[str]:
        """Names of the objects in `folder`, which they begin with, sorted. Raises BadIndex if they cannot be listed."""
        try:
            return sorted(
                meta["path"] for chunk in obstore.list(self.store, prefix=folder) for meta in chunk
            )
        except (OSError, BaseError) as error:
            raise BadIndex(f"cannot list {self}/{folder}: {self.why(error)}") from error

    def why(self, error: BaseException) -> str:
        """What went wrong below, in a line: the usual mistakes by name, with the way out."""
        said = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        code = re.search(r"<Code>(\w+)</Code>", said)
        bucket = self.uri.removeprefix("s3://").split("/")[0]
        if self.remote and code and code[1] == "NoSuchBucket":
            return f"there is no bucket {bucket!r} at {_endpoint()}; make it, or correct its name"
        if self.remote and re.search(r"40[13] (Forbidden|Unauthorized)", said):
            return (
                f"{_endpoint()} refuses the credentials ({code[1] if code else 'no reason given'}); check "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the profile, and the rights on the bucket"
            )
        if self.remote and "error sending request" in said:
            return f"no S3 server answers at {_endpoint()}; check AWS_ENDPOINT_URL and the network"
        # Rust's errors go on with a dump of their insides and a backtrace.
        said = re.split(r"\n\s*(?:Debug source|0: <unknown>)", said)[0]
        return " ".join(said.replace("↳", " ").split())


def _endpoint() -> str:
    given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return given or "Amazon S3"


def _address() -> dict[str, str]:
    """Endpoint and region by object_store's names."""
    address = {"aws_region": boto3.Session().region_name or "us-east-1"}
    endpoint = _endpoint()
    if "://" in endpoint:
        address["aws_endpoint"] = endpoint
        address["allow_http"] = str(endpoint.startswith("http://")).lower()
    return address


def _credentials(location: IndexLocation) -> Any:
    """As boto3 finds them now. Raises BadIndex if it finds none."""
    found = boto3.Session().get_credentials()
    if found is None:
        raise BadIndex(
            f"no AWS credentials for {location}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    return found
