"""An index is backed up with plain tools while it grows, deleted, and restored: docs/operations.md says how."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from provray.index.table import FingerprintTable
from provray.serve.held import open_held
from provray.serve.questions import Question
from provray.serve.settings import ServiceSettings
from tests.ancestry.networks import stranger
from tests.operations.runbook import shell
from tests.serve.made_index import BASE, CHILD, GRANDCHILD, add, make_index, make_models

__all__ = ["provray"]
from tests.cli.conftest import provray


class Place(Protocol):
    """Where an index lies, and what an operator does there."""

    uri: str

    def back_up(self) -> None:
        """Copy the index."""

    def delete(self) -> None:
        """Delete all of it."""

    def restore(self) -> None:
        """Put the copy where the index was."""


@dataclass(frozen=True)
class Disk:
    """A folder; the commands are those of the runbook, run by a shell."""

    folder: Path

    @property
    def uri(self) -> str:
        return str(self.folder / "index")

    def back_up(self) -> None:
        self._run("back-up")

    def delete(self) -> None:
        shutil.rmtree(self.uri)

    def restore(self) -> None:
        self._run("restore")

    def _run(self, name: str) -> None:
        subprocess.run(
            ["sh", "-eu", "-c", shell(name)],
            env={"INDEX": self.uri, "BACKUP": str(self.folder / "backup"), "PATH": "/usr/bin:/bin"},
            check=True,
            timeout=60,
        )


@dataclass(frozen=True)
class Bucket:
    """A prefix of a bucket, copied object by object within S3."""

    client: Any
    bucket: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/index"

    def back_up(self) -> None:
        log = self._names("index/table/_delta_log/")
        self._copy([n for n in self._names("index/") if not _left_out(n)], "index/", "backup/")
        self._copy(log, "index/", "backup/")

    def delete(self) -> None:
        for name in self._names("index/"):
            self.client.delete_object(Bucket=self.bucket, Key=name)

    def restore(self) -> None:
        log = self._names("backup/table/_delta_log/")
        self._copy([n for n in self._names("backup/") if n not in set(log)], "backup/", "index/")
        self._copy(log, "backup/", "index/")

    def _names(self, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def _copy(self, names: list[str], old: str, new: str) -> None:
        for name in names:
            self.client.copy_object(
                Bucket=self.bucket,
                Key=new + name.removeprefix(old),
                CopySource={"Bucket": self.bucket, "Key": name},
            )


def _left_out(name: str) -> bool:
    """The log, which has its own turn, and what a crawl and a cache keep."""
    return name.startswith(("index/table/_delta_log/", "index/work/", "index/cache/"))


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    if request.param == "disk":
        return Disk(tmp_path)
    bucket = request.getfixturevalue("s3_bucket")
    return Bucket(request.getfixturevalue("seaweed").client(), bucket)


@contextmanager
def _growing(uri: str) -> Iterator[list[int]]:
    """A writer that commits one model after the other meanwhile; the versions it made."""
    made: list[int] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            made.append(add(uri, stranger(f"late/{len(made):03}", 900 + len(made))))  # type: ignore[arg-type]

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not made:
            over.wait(0.01)
        yield made
    finally:
        over.set()
        writer.join()


def _answers(uri: str, version: int | None = None) -> list[bytes]:
    held = open_held(ServiceSettings(index=uri), version)
    found = held.answers([Question(model=network.name) for network in (BASE, CHILD, GRANDCHILD)])
    assert [reply.status for reply in found] == [200, 200, 200]
    return [reply.body for reply in found]


def test_an_index_that_grew_during_its_back_up_is_restored_and_answers_as_before(
    place: Place,
    provray: Any,
    tmp_path: Path,
) -> None:
    make_index(place.uri, make_models(tmp_path / "models"))  # type: ignore[arg-type]
    with _growing(place.uri) as made:
        place.back_up()
        while len(made) < 3:
            pass
    last = FingerprintTable.open(place.uri).version
    old_answers = _answers(place.uri, last)

    place.delete()
    assert provray("verify", "--index", place.uri).code == 2
    place.restore()
    ran = provray("verify", "--index", place.uri, "--json")
    assert (ran.code, ran.json["findings"]) == (0, [])
    version = FingerprintTable.open(place.uri).version
    assert 1 <= version < last
    restored = _answers(place.uri)

    # It goes on, and comes to the old version numbers with other rows: no cache of the lost ones may answer.
    while FingerprintTable.open(place.uri).version < last:
        number = FingerprintTable.open(place.uri).version
        add(place.uri, BASE.child(f"after/{number:03}", 70 + number))  # type: ignore[arg-type]
    assert provray("verify", "--index", place.uri).code == 0
    assert _answers(place.uri, version) == restored
    assert _answers(place.uri) != old_answers
    assert b"after/" in b"".join(_answers(place.uri))


def test_answers_of_the_restored_version_are_those_given_before(
    place: Place, tmp_path: Path
) -> None:
    make_index(place.uri, make_models(tmp_path / "models"))  # type: ignore[arg-type]
    before = _answers(place.uri)
    place.back_up()
    place.delete()
    place.restore()
    assert _answers(place.uri) == before


def test_a_copy_in_the_wrong_order_is_found_damaged(
    tmp_path: Path,
    provray: Any,
) -> None:
    """Data files first and the log after: it names files that were written in between."""
    index, copy = tmp_path / "index", tmp_path / "copy"
    make_index(index, make_models(tmp_path / "models"))
    shutil.copytree(index, copy, ignore=shutil.ignore_patterns("_delta_log"))
    add(index, stranger("late/000", 900))
    shutil.copytree(index / "table" / "_delta_log", copy / "table" / "_delta_log")
    ran = provray("verify", "--index", copy, "--json")
    assert ran.code == 1
    assert ran.json["findings"]
