"""How the process of a command ends: its code, what it printed, its exit handlers, and nobody's abort."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BUSY = '''
import atexit, io, sys, threading, time
import pyarrow, pyarrow.csv
from provray.cli import main, run

begun = threading.Event()

class Slow(io.BytesIO):
    """Read by a thread of pyarrow, which has to have the interpreter again when a read is done."""

    def read(self, size=-1):
        begun.set()
        time.sleep(0.5)
        return super().read(size)

def read():
    pyarrow.csv.open_csv(pyarrow.PythonFile(Slow(b"number\\n" + b"1\\n" * 5_000_000), mode="r"))

threading.Thread(target=read, daemon=True).start()
begun.wait()
'''
ENDS = """
def late():
    time.sleep(0.3)
    print("the thread was waited for")

atexit.register(print, "the exit handlers ran")
threading.Thread(target=late).start()
run()
"""
FULL = Path("/dev/full")


def _python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def _provray(*arguments: object, stdout: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "provray", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="CPython 3.14 stops such threads")
def test_a_thread_at_work_would_abort_the_interpreter() -> None:
    """What `run` is for: without it the same process is aborted below its answer."""
    done = _python(BUSY + "main()", "--version")
    assert done.stdout.startswith("provray ")
    assert done.returncode < 0


@pytest.mark.parametrize(("argument", "code"), [("--version", 0), ("--verzion", 2)])
def test_a_thread_at_work_aborts_no_command(argument: str, code: int) -> None:
    done = _python(BUSY + ENDS, argument)
    assert done.returncode == code, done.stderr
    assert done.stdout.endswith("the thread was waited for\nthe exit handlers ran\n")
    assert ("No such option" in done.stderr) == (code == 2)
    assert "terminate" not in done.stderr
    assert "Fatal" not in done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="no full disk to write to")
def test_an_answer_that_a_full_disk_lost_is_a_failure() -> None:
    with FULL.open("w") as full:
        code, said = _provray("--version", stdout=full.fileno())
    assert code == 1
    assert "No space left" in said


def test_a_reader_that_has_gone_is_told_nothing() -> None:
    reader = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    assert reader.stdin is not None
    reader.wait(timeout=60)
    with reader.stdin as pipe:
        code, said = _provray("--version", stdout=pipe.fileno())
    assert (code, said) == (1, "")
