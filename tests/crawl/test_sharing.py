"""Who does which model, where several crawls share an index: the order of events that a race needs, made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.progress import Progress
from provray.crawl.sharing import SharedWork
from provray.crawl.worklist import WorkItem, Worklist, missing, remaining
from provray.fingerprints.settings import FingerprintSettings
from provray.index.journal import Journal
from provray.index.table import FingerprintTable
from provray.sources import ModelRef, open_source
from tests.crawl.small import tiny_folder

_FINGERPRINTER = Fingerprinter(FingerprintSettings(), {})
_STAGES = ("weights",)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("models"))


@pytest.fixture
def table(tmp_path: Path) -> FingerprintTable:
    return FingerprintTable.create(tmp_path / "index")


class _Crawl:
    """What a crawl has of the shared work, without its workers."""

    def __init__(self, models: Path, index: Path) -> None:
        self.table = FingerprintTable.open(index)
        known = self.table.keys()

        def items(refs: Iterable[ModelRef]) -> Iterator[WorkItem | None]:
            return remaining(refs, known, _FINGERPRINTER, _STAGES)

        self.journal = Journal(self.table.location)
        self.worklist = Worklist([open_source(str(models))], items)
        self.work = SharedWork(
            self.worklist,
            self.journal,
            self.table,
            lambda ref, known: missing(ref, known, _FINGERPRINTER, _STAGES),
            Progress(),
            self.table.version,
        )

    def __enter__(self) -> _Crawl:
        self.journal.__enter__()
        self.worklist.__enter__()
        assert self.worklist.anything()
        return self

    def __exit__(self, *_: object) -> None:
        self.worklist.__exit__()
        self.journal.__exit__()

    def take(self) -> WorkItem | None:
        return self.work.take(wait=5.0)

    def finish(self, item: WorkItem) -> None:
        """Commit a model as a crawl does: the row first, then the claim is given back."""
        self.table.append([_FINGERPRINTER.weights(item.ref)])
        self.work.committed()
        self.journal.release([(item.ref.model, item.ref.revision)])


def test_what_a_crawl_that_came_and_went_has_done_is_not_done_again(
    models: Path, table: FingerprintTable
) -> None:
    index = Path(table.location.uri)
    with _Crawl(models, index) as first:
        one = first.take()
        assert one is not None
        with _Crawl(models, index) as second:  # it was not there when the first one looked
            others = [item for item in (second.take() for _ in range(3)) if item is not None]
            assert len(others) == 3
            for item in others:
                second.finish(item)
        first.finish(one)
        assert first.take() is None
        assert first.work.exhausted
    assert len(FingerprintTable.open(index).facts()) == 4


def test_a_crawl_s_own_commits_are_no_reason_to_read_the_keys_again(
    models: Path, table: FingerprintTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Path(table.location.uri)
    with _Crawl(models, index) as crawl:
        looked: list[int] = []
        keys = crawl.table.keys

        def counted() -> object:
            looked.append(1)
            return keys()

        monkeypatch.setattr(crawl.table, "keys", counted)
        for _ in range(4):
            item = crawl.take()
            assert item is not None
            crawl.finish(item)
        assert crawl.take() is None
        assert not looked
