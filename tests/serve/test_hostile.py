"""Requests that mean harm, and what they get: the table in docs/service.md is what these tests saw.

After a change on purpose, `PROVRAY_UPDATE=1 pytest tests/serve/test_hostile.py` writes the table anew.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provray.serve.fingerprint_json import fingerprint_to_json
from tests.serve.live import Live
from tests.serve.made_index import GRANDCHILD, SUSPECT, fingerprint

PAGE = Path(__file__).parents[2] / "docs" / "service.md"
BEGIN, END = "<!-- hostile requests: begin -->", "<!-- hostile requests: end -->"
Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Case:
    """A request in words, and how it is made."""

    words: str
    make: Callable[[Live], Answer]


def _ask(body: Any, **headers: str) -> Callable[[Live], Answer]:
    return lambda live: live.ask("POST", "/v1/ancestry", body, headers)


def _get(path: str, scope: str | None = "admin", **headers: str) -> Callable[[Live], Answer]:
    return lambda live: live.ask("GET", path, None, headers, scope)


def _model(reference: Callable[[Live], str]) -> Callable[[Live], Answer]:
    return lambda live: live.ask("POST", "/v1/ancestry", {"model": reference(live)})


def _fingerprint(change: Callable[[dict[str, Any]], None]) -> Callable[[Live], Answer]:
    def make(live: Live) -> Answer:
        body = fingerprint_to_json(fingerprint(SUSPECT))
        change(body)
        return live.ask("POST", "/v1/ancestry", {"fingerprint": body})

    return make


def _nan(body: dict[str, Any]) -> None:
    row = body["rows"][0]
    count = row["dimensions"] * len(row["readouts"])
    row["vectors"] = base64.b64encode(struct.pack(f"<{count}f", *[float("nan")] * count)).decode()


def _long(body: dict[str, Any]) -> None:
    row = body["rows"][0]
    count = row["dimensions"] * len(row["readouts"])
    row["vectors"] = base64.b64encode(struct.pack(f"<{count}f", *[3e38] * count)).decode()


def _other_space(body: dict[str, Any]) -> None:
    body["rows"][0]["space"] = "weights-0000000000000000"


def _huge_dimensions(body: dict[str, Any]) -> None:
    body["rows"][0]["dimensions"] = 4096


def _twice(body: dict[str, Any]) -> None:
    body["rows"] = [body["rows"][0], body["rows"][0]]


def _huge_shape(body: dict[str, Any]) -> None:
    body["rows"][0]["tensors"][0]["shape"] = [2**62, 2**62]


def _link_out(live: Live) -> str:
    link = live.models / "link"
    if not link.is_symlink():
        link.symlink_to("/etc")
    return str(link)


def _file_link_out(live: Live) -> str:
    folder = live.models / "borrowed"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    weights = folder / "model.safetensors"
    if not weights.is_symlink():
        weights.symlink_to("/etc/passwd")
    return str(folder)


def _bomb(live: Live) -> Answer:
    """Small on the wire, deep in the parser."""
    return live.ask("POST", "/v1/ancestry", b"[" * 400_000)


def _large(live: Live) -> Answer:
    return live.ask("POST", "/v1/ancestry", b'{"model": "' + b"x" * 1_000_000 + b'"}')


def _raw(live: Live, head: bytes, pieces: list[bytes]) -> Answer:
    """A request that no HTTP library would send."""
    with socket.create_connection((live.host, live.port), timeout=60) as connection:
        connection.sendall(head)
        try:
            for piece in pieces:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # answered before the end
        content = b""
        while part := connection.recv(65536):
            content += part
    top, _, body = content.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body


def _chunked(live: Live) -> Answer:
    """More than is allowed, without saying so beforehand."""
    head = (
        f"POST /v1/ancestry HTTP/1.1\r\nHost: {live.host}\r\nAuthorization: Bearer {live.keys['admin']}\r\n"
        "Content-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"%x\r\n%s\r\n" % (100_000, b"x" * 100_000)
    return _raw(live, head.encode(), [*[chunk] * 15, b"0\r\n\r\n"])


def _no_http(live: Live) -> Answer:
    return _raw(live, b"GET / HTTP/9.9 or so\r\n\r\n", [])


def _too_often(live: Live) -> Answer:
    found = live.ask("GET", "/v1/index", scope="slow")
    for _ in range(20):
        if found[0] == 429:
            break
        found = live.ask("GET", "/v1/index", scope="slow")
    return found


CASES = (
    Case("no key", _get("/v1/index", None)),
    Case("a made-up key", _get("/v1/index", None, Authorization="Bearer pvr_00000000_guess")),
    Case("a key in another scheme", _get("/v1/index", None, Authorization="Basic YTpi")),
    Case("a key without the scope", _get("/metrics", "read")),
    Case("more requests than the key's rate", _too_often),
    Case("`{\"model\": \"/etc\"}`", _ask({"model": "/etc"})),
    Case("`…/models/../../..`", _model(lambda live: f"{live.models}/../../..")),
    Case("a relative path", _ask({"model": "./models"})),
    Case("`file:///etc`", _ask({"model": "file:///etc"})),
    Case("a link out of an allowed folder", _model(_link_out)),
    Case("a model whose weights link to `/etc/passwd`", _model(_file_link_out)),
    Case("a path with a NUL byte", _model(lambda live: f"{live.models}/copy\0")),
    Case("`http://169.254.169.254/latest/meta-data`", _ask({"model": "http://169.254.169.254/latest/meta-data"})),
    Case("`hf://` of another organisation", _ask({"model": "hf://evil/model"})),
    Case("`hf://lab/../evil`", _ask({"model": "hf://lab/../evil"})),
    Case("a whole organisation, `hf://lab?limit=1000000`", _ask({"model": "hf://lab?limit=1000000"})),
    Case("another bucket", _ask({"model": "s3://secrets/model"})),
    Case("`s3://models/public/../private`", _ask({"model": "s3://models/public/../private"})),
    Case("a prefix that only begins alike, `s3://models/public-not`", _ask({"model": "s3://models/public-not/x"})),
    Case("credentials in a URI", _ask({"model": "s3://user:password@models/public/x"})),
    Case("a model that is not what it says (half a weights file)", lambda live: live.ask(
        "POST", "/v1/ancestry", {"model": str(live.models / "bad")}, {"Prefer": "wait=30"})),
    Case("400,000 opening brackets", _bomb),
    Case("no JSON", _ask(b"\xff\xfe{")),
    Case("JSON as a form", _ask(b'{"model": "x"}', **{"Content-Type": "text/plain"})),
    Case("a body above the limit", _large),
    Case("a body above the limit, chunked", _chunked),
    Case("an unknown field", _ask({"model": "x", "admin": True})),
    Case("`top_k` of a billion", _ask({"model": "x", "top_k": 10**9})),
    Case("`fdr` NaN", _ask(b'{"model": "x", "fdr": NaN}')),
    Case("`as_of` before the first version", _ask({"model": GRANDCHILD.name, "as_of": -1})),
    Case("`as_of` of the far future", _ask({"model": GRANDCHILD.name, "as_of": 2**53})),
    Case("a fingerprint of NaN", _fingerprint(_nan)),
    Case("a fingerprint of 3e38", _fingerprint(_long)),
    Case("a fingerprint of another space", _fingerprint(_other_space)),
    Case("a fingerprint that claims more numbers than it holds", _fingerprint(_huge_dimensions)),
    Case("a fingerprint with two rows of a kind", _fingerprint(_twice)),
    Case("a tensor of 2¹²⁴ values", _fingerprint(_huge_shape)),
    Case("a batch of 10,000", lambda live: live.ask(
        "POST", "/v1/ancestry:batch", {"questions": [{"model": "x"}] * 10_000})),
    Case("`/v1/models/../../etc/passwd`", _get("/v1/models/../../etc/passwd")),
    Case("`/v1/models/%2e%2e%2fetc`", _get("/v1/models/%2e%2e%2fetc")),
    Case("a job id that is a path", _get("/v1/ancestry/..%2F..%2Fkeys")),
    Case("a job id of nobody", _get("/v1/ancestry/" + "0" * 32)),
    Case("`limit=-1`", _get("/v1/models?limit=-1")),
    Case("a search for a regular expression that never ends", _get("/v1/models?q=(a%2B)%2B%24")),
    Case("DELETE on a model", lambda live: live.ask("DELETE", f"/v1/models/{GRANDCHILD.name}")),
    Case("an unknown route", _get("/admin")),
    Case("what is no HTTP", _no_http),
)  # fmt: skip


def _row(words: str, answer: Answer) -> str:
    status, headers, content = answer
    if headers.get("content-type", "").startswith("application/problem+json"):
        said = f"`{json.loads(content)['type'].removeprefix('urn:provray:problem:')}`"
    elif status == 200:
        said = "an answer, of nothing found"
    else:
        said = content.decode().strip()[:60]
    after = ", `Retry-After`" if "retry-after" in headers else ""
    return f"| {words} | {status} {said}{after} |"


def test_the_table_of_hostile_requests_is_what_they_get(live: Live) -> None:
    answers = {case.words: case.make(live) for case in CASES}
    for words, (status, headers, content) in answers.items():
        assert 200 <= status < 500, (words, status, content[:300])
        assert b"Traceback" not in content, words
        if status in (429, 503):
            assert int(headers["retry-after"]) >= 1, words
    assert live.ask("GET", "/readyz")[0] == 200
    table = "\n".join(
        [
            "| request | answer |",
            "| --- | --- |",
            *(_row(words, answer) for words, answer in answers.items()),
        ]
    )
    text = PAGE.read_text(encoding="utf-8")
    top, _, rest = text.partition(BEGIN)
    shown, _, bottom = rest.partition(END)
    if os.environ.get("PROVRAY_UPDATE"):
        PAGE.write_text(f"{top}{BEGIN}\n{table}\n{END}{bottom}", encoding="utf-8")
    else:
        assert shown.strip() == table


@pytest.mark.parametrize("secret", ["passwd", "root:x:"])
def test_nothing_of_a_file_outside_comes_back(live: Live, secret: str) -> None:
    for reference in (_link_out(live), _file_link_out(live), "/etc"):
        status, _, content = live.ask("POST", "/v1/ancestry", {"model": reference})
        assert status == 403
        assert secret.encode() not in content
