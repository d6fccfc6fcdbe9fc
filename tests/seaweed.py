"""A real S3 server for tests: SeaweedFS on loopback, with credentials on, in a folder of its own.

Fixtures: `seaweed` is one server for the whole session, `s3_bucket` a fresh bucket of it that this process and its
children reach through the usual AWS variables. A test that hurts the server starts its own with `running_seaweed`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_ACCESS_KEY = "provray-tests"
_SECRET_KEY = "a-secret-that-no-log-may-show"
_ROLES = ("master", "volume", "filer", "s3")
_GRPC = 10_000
"""How far `weed` puts the gRPC port above the port it belongs to."""

_numbers = itertools.count()


@dataclass
class Seaweed:
    """One server. It can be killed and started again on the same ports with the same objects.

    `port`: of S3. Nothing but `endpoint`, `access_key` and `secret_key` is needed to use it.
    """

    folder: Path
    port: int
    access_key: str = _ACCESS_KEY
    secret_key: str = field(default=_SECRET_KEY, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        """Base URL of the S3 API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which AWS clients find this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            # No address is asked for credentials, and no file of this machine's user.
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self) -> Any:
        """A boto3 client with this server's credentials."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=20),
        )

    def new_bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"bucket-{os.getpid()}-{next(_numbers)}"
        self.client().create_bucket(Bucket=name)
        return name

    def start(self) -> None:
        """Start the server and wait until it answers. Raises RuntimeError if it does not."""
        data, settings = self.folder / "data", self.folder / "s3.json"
        data.mkdir(parents=True, exist_ok=True)
        identity = {
            "name": "admin",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        settings.write_text(json.dumps({"identities": [identity]}))
        # Every bucket has volumes of its own: one each, not seven, or some fifteen buckets would use them up.
        (self.folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        ports = zip(_ROLES, _ports_below(self.port), strict=True)
        command = [
            str(Path(sys.executable).parent / "weed"),
            "-logtostderr",
            "server",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{role}.port={port}" for role, port in ports),
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=1000",
            "-filer",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            "-s3",
            f"-s3.config={settings}",
            f"-s3.localSocket={self.folder / 's3.sock'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def kill(self) -> None:
        """End the server at once, as a power cut would."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # the head of a group of its own
        self._process.wait(30)
        self._process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                self._write_something()
                return
            except (BotoCoreError, ClientError):
                time.sleep(0.2)
        self.kill()
        log = (self.folder / "weed.log").read_text(errors="replace")
        raise RuntimeError(f"weed did not start on {self.endpoint}:\n{log[-4000:]}")

    def _write_something(self) -> None:
        """A written object shows that master, volume and filer have found each other."""
        client = self.client()
        try:
            client.create_bucket(Bucket="ready")
        except ClientError as error:  # after a restart it is there
            if not error.response["Error"]["Code"].startswith("BucketAlready"):
                raise
        client.put_object(Bucket="ready", Key="ready", Body=b"yes")


def _ports_below(port: int) -> range:
    """The ports of all roles, S3 last."""
    return range(port - len(_ROLES) + 1, port + 1)


def _free_port() -> int:
    """A port for S3 such that those of all roles, and their gRPC ports, are free now."""
    for _ in range(200):
        last = random.randrange(12_000, 22_000)
        if all(_is_free(p) and _is_free(p + _GRPC) for p in _ports_below(last)):
            return last
    raise RuntimeError("no free ports for a SeaweedFS server on 127.0.0.1")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def running_seaweed(folder: Path) -> Iterator[Seaweed]:
    """A server of one's own, ended on the way out."""
    server = Seaweed(folder, _free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()
        for socket_file in Path("/tmp").glob("seaweedfs-*.sock"):
            if any(
                socket_file.stem.endswith(f"-{port}")
                for role in _ports_below(server.port)
                for port in (role, role + _GRPC)
            ):
                socket_file.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One server for the whole session."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def s3_bucket(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket, and the AWS variables by which to reach it."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    return seaweed.new_bucket()
