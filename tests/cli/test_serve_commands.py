"""`provray serve` and `provray keys` as a person types them."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import provray
from provray.client import ServiceError
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
    assert "read, query, metrics, admin" in wrong.stderr


def test_serving_beyond_loopback_without_keys_is_bad_use(tmp_path: Path) -> None:
    FingerprintTable.create(tmp_path / "index")
    done = _run("serve", "--index", str(tmp_path / "index"), "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "provray keys create" in done.stderr


def _self_signed(folder: Path) -> tuple[Path, Path]:
    """Certificate and key for 127.0.0.1, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provray test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private


def test_a_served_index_answers_over_tls_until_it_is_told_to_stop(tmp_path: Path) -> None:
    index = make_index(tmp_path / "index", make_models(tmp_path / "models"))
    port = free_port()
    arguments = [
        *("serve", "--index", str(index), "--port", str(port), "--replicas", "1"),
        *("--fingerprint-replicas", "0", "--state", str(tmp_path / "state")),
    ]
    certificate, key = _self_signed(tmp_path)
    arguments += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    trusted = ssl.create_default_context(cafile=str(certificate))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*COMMAND, *arguments], stdout=log, stderr=log)
        try:
            until = time.monotonic() + 240
            while "serving" not in (tmp_path / "log").read_text():
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < until, (tmp_path / "log").read_text()
                time.sleep(0.5)
            with provray.Client(f"https://127.0.0.1:{port}", verify=trusted) as client:
                assert client.ask(GRANDCHILD.name).verdict == "ancestor"
            with (
                provray.Client(f"http://127.0.0.1:{port}") as client,
                pytest.raises(ServiceError, match="cannot be reached"),
            ):
                client.index()
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0, (tmp_path / "log").read_text()
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()
