"""`provray serve` and `provray keys` as a person types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import provray
from provray.index.table import FingerprintTable
from tests.serve.live import free_port
from tests.serve.made_index import GRANDCHILD, make_index, make_models

COMMAND = (sys.executable, "-m", "provray")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)


def test_keys_are_created_listed_and_revoked(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.json")
    made = _run("keys", "create", "--file", file, "--name", "ci", "--scopes", "read", "--json")
    key = json.loads(made.stdout)
    assert key["scopes"] == ["read"]
    listed = _run("keys", "list", "--file", file, "--json")
    assert key["key"] not in listed.stdout
    assert json.loads(listed.stdout)["keys"][0]["id"] == key["id"]
    assert _run("keys", "revoke", key["id"], "--file", file).returncode == 0
    assert json.loads(_run("keys", "list", "--file", file, "--json").stdout)["keys"][0]["revoked"]
    wrong = _run("keys", "create", "--file", file, "--name", "x", "--scopes", "root")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "read, query, admin" in wrong.stderr


def test_serving_beyond_loopback_without_keys_is_bad_use(tmp_path: Path) -> None:
    FingerprintTable.create(tmp_path / "index")
    done = _run("serve", "--index", str(tmp_path / "index"), "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "provray keys create" in done.stderr


def test_a_served_index_answers_until_it_is_told_to_stop(tmp_path: Path) -> None:
    index = make_index(tmp_path / "index", make_models(tmp_path / "models"))
    port = free_port()
    arguments = [
        *("serve", "--index", str(index), "--port", str(port), "--replicas", "1"),
        *("--fingerprint-replicas", "0", "--state", str(tmp_path / "state")),
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*COMMAND, *arguments], stdout=log, stderr=log)
        try:
            until = time.monotonic() + 240
            while "serving" not in (tmp_path / "log").read_text():
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < until, (tmp_path / "log").read_text()
                time.sleep(0.5)
            with provray.Client(f"http://127.0.0.1:{port}") as client:
                assert client.ask(GRANDCHILD.name).verdict == "ancestor"
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0, (tmp_path / "log").read_text()
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()
