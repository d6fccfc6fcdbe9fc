"""Prometheus and Redis: those that `make debian` unpacked, else those on the PATH."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_UNPACKED = Path(__file__).parents[2] / ".cache" / "debian"


def program(name: str) -> str:
    """Path of a program. Skips the test if it is neither unpacked nor installed."""
    unpacked = _UNPACKED / "usr" / "bin" / name
    found = str(unpacked) if unpacked.exists() else shutil.which(name)
    if found is None:
        if shutil.which("apt-get"):
            pytest.fail(f"{name} is not there: `make debian` unpacks it, without root")
        pytest.skip(f"{name} is not on the PATH, and there is no apt-get to fetch it with")
    return found


def environment() -> dict[str, str]:
    """The variables under which unpacked programs find the libraries that were unpacked beside them."""
    folders = [str(folder) for folder in _UNPACKED.glob("usr/lib/*-linux-gnu")]
    before = os.environ.get("LD_LIBRARY_PATH")
    return {**os.environ, "LD_LIBRARY_PATH": ":".join([*folders, *([before] if before else [])])}
