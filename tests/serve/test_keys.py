"""Keys: made, found, revoked, and never readable from their file."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from provray.serve.keys import BadKeyFile, KeyRing, create_key, read_keys, revoke_key


def test_a_key_is_found_by_its_secret_and_the_file_holds_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key, secret = create_key(path, "ci", ["read", "query"], 60)
    assert KeyRing(path).find(secret) == key
    assert (key.scopes, key.requests_per_minute) == (("read", "query"), 60)
    assert secret not in path.read_text()
    assert secret.rpartition("_")[2] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("change", ["", "x", "pvr_00000000_", "🗝", "pvr_"])
def test_any_other_text_is_no_key(tmp_path: Path, change: str) -> None:
    path = tmp_path / "keys.json"
    _, secret = create_key(path, "ci", ["read"])
    ring = KeyRing(path)
    assert ring.find(change) is None
    assert ring.find(secret + change) is None or not change
    assert ring.find(secret[:-1]) is None


def test_a_scope_allows_itself_and_admin_allows_all(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    query, _ = create_key(path, "a", ["query"])
    admin, _ = create_key(path, "b", ["admin"])
    assert [query.may(s) for s in ("read", "query", "admin")] == [False, True, False]
    assert all(admin.may(s) for s in ("read", "query", "admin"))
    assert not revoke_key(path, admin.id).may("read")


def test_a_running_ring_learns_of_new_and_revoked_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key, secret = create_key(path, "first", ["read"])
    ring = KeyRing(path)
    revoke_key(path, key.id)
    _, later = create_key(path, "second", ["read"])
    until = time.monotonic() + 10
    while ring.find(later) is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert ring.find(secret) is None
    assert [bool(k.revoked) for k in read_keys(path)] == [True, False]


def test_commands_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    threads = [
        threading.Thread(target=create_key, args=(path, f"k{n}", ["read"])) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in read_keys(path)} == {f"k{n}" for n in range(12)}


def test_bad_use_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(BadKeyFile, match=r"no key file at .*provray keys create"):
        read_keys(path)
    with pytest.raises(BadKeyFile, match=r"scopes read, query, metrics, admin, got write"):
        create_key(path, "x", ["write"])
    with pytest.raises(BadKeyFile, match="got none"):
        create_key(path, "x", [])
    with pytest.raises(BadKeyFile, match="at least 1 request"):
        create_key(path, "x", ["read"], 0)
    create_key(path, "x", ["read"])
    with pytest.raises(BadKeyFile, match="no key 'nobody'"):
        revoke_key(path, "nobody")


def test_a_damaged_file_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    _, secret = create_key(path, "x", ["read"])
    ring = KeyRing(path)
    path.write_text(json.dumps({"keys": [{"id": "x"}]}))
    os.utime(path, ns=(1, 1))
    time.sleep(1.1)  # it looks once a second
    with pytest.raises(BadKeyFile, match="cannot be read"):
        ring.find(secret)
    with pytest.raises(BadKeyFile, match="cannot be read"):
        KeyRing(path)
