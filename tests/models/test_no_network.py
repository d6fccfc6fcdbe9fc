"""Loading a model asks nobody: no connection is opened and no name looked up, whatever libraries would like to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from provray.models.checkpoint import open_checkpoint
from provray.models.config import SUPPORTED
from provray.models.load import load_model
from tests.models import tiny

CASES = [
    (family.model_type, name)
    for family in SUPPORTED.values()
    for name in (family.base, *family.heads, *([family.causal] if family.causal else []))
]
_LISTENING: list[list[str]] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _LISTENING and event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        _LISTENING[-1].append(event)


@pytest.fixture(scope="module", autouse=True)
def _hook() -> None:
    # An audit hook stays for the life of the process; without a listener it does nothing.
    sys.addaudithook(_note)


@pytest.fixture
def events() -> Iterator[list[str]]:
    _LISTENING.append([])
    yield _LISTENING[-1]
    _LISTENING.pop()


@pytest.mark.parametrize(("model_type", "architecture"), CASES, ids="-".join)
def test_loading_opens_no_connection(
    tmp_path: Path, events: list[str], model_type: str, architecture: str
) -> None:
    folder = tiny.save(tmp_path / "m", tiny.build(model_type, architecture))
    # What a hub's model may bring along, and libraries follow.
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    (folder / "generation_config.json").write_text('{"custom_generate": "org/code"}')
    events.clear()
    load_model(open_checkpoint(folder))
    assert events == []


def test_a_connection_would_have_been_noticed(events: list[str]) -> None:
    with pytest.raises(httpx2.ConnectError):
        httpx2.get("http://127.0.0.1:9")
    assert "socket.connect" in events
