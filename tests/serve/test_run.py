"""What must hold before a port is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from provray.index.table import BadIndex, FingerprintTable
from provray.serve.guard import Guard
from provray.serve.keys import BadKeyFile, create_key
from provray.serve.problems import Refused
from provray.serve.run import Listen, check
from provray.serve.settings import ServiceSettings, is_loopback


@pytest.fixture
def index(tmp_path: Path) -> str:
    FingerprintTable.create(tmp_path / "index")
    return str(tmp_path / "index")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_beyond_this_machine_nothing_listens_without_keys(
    index: str, tmp_path: Path, host: str
) -> None:
    with pytest.raises(ValueError, match="without keys the service listens on this machine alone"):
        check(ServiceSettings(index=index), Listen(host))
    keys = tmp_path / "keys.json"
    create_key(keys, "x", ["read"])
    check(ServiceSettings(index=index, keys=str(keys)), Listen(host))


def test_what_could_not_work_is_said_before_anything_starts(index: str, tmp_path: Path) -> None:
    check(ServiceSettings(index=index), Listen())
    with pytest.raises(BadKeyFile, match="no key file"):
        check(ServiceSettings(index=index, keys=str(tmp_path / "none")), Listen())
    with pytest.raises(ValueError, match="cannot allow"):
        check(ServiceSettings(index=index, allow=("gopher://x",)), Listen())
    with pytest.raises(ValueError, match="belong together"):
        check(ServiceSettings(index=index), Listen(certificate=tmp_path / "cert.pem"))
    with pytest.raises(BadIndex, match="no index at"):
        check(ServiceSettings(index=str(tmp_path / "nothing")), Listen())


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_only_this_machine_counts_as_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    ("server", "client", "name", "let_in"),
    [
        ("127.0.0.1", "127.0.0.1", b"127.0.0.1:8000", True),
        ("127.0.0.1", "127.0.0.1", b"localhost", True),
        ("::1", "::1", b"[::1]:8000", True),
        ("10.0.0.5", "127.0.0.1", b"127.0.0.1", False),
        ("127.0.0.1", "10.0.0.5", b"127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", b"evil.example.org:8000", False),
    ],
)
def test_without_keys_both_ends_and_the_name_asked_for_are_this_machines(
    index: str, server: str, client: str, name: bytes, let_in: bool
) -> None:
    guard = Guard(ServiceSettings(index=index))
    scope = {"server": (server, 8000), "client": (client, 4000), "headers": [(b"host", name)]}
    if let_in:
        guard.require_local(scope)
    else:
        with pytest.raises(Refused, match="answers its own machine alone"):
            guard.require_local(scope)


def test_state_lies_apart_for_each_index_unless_a_place_is_named(
    index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    one = ServiceSettings(index=index).state_folder
    two = ServiceSettings(index="s3://bucket/other").state_folder
    assert one != two
    assert one.parent == two.parent == tmp_path / "state" / "provray"
    assert ServiceSettings(index=index, state=str(tmp_path)).state_folder == tmp_path
    assert ServiceSettings(index="s3://bucket/deep/name/").index_name == "name"
