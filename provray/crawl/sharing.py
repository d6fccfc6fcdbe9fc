"""Several crawls of one index at a time: each model is claimed before it is begun, so that they share the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from provray.crawl.progress import Progress
from provray.crawl.settings import Stage
from provray.crawl.worklist import WorkItem, Worklist
from provray.index.journal import Journal
from provray.index.row import Key
from provray.index.table import FingerprintTable
from provray.sources import ModelRef

_LOOK_SECONDS = 2.0
"""Between looks at models that another crawl is doing, once nothing else is left."""

Lacking = Callable[[ModelRef, Mapping[Key, str]], tuple[Stage, ...]]
"""The stages of a model that an index with these keys lacks."""


class SharedWork:
    """The models of a worklist that no other crawl has claimed; at the end, those that others did not finish.

    A crawl is over when every model it listed is in the table, whoever put it there. `commit`, set by the crawl, puts
    its own finished models there: two crawls that wait for each other must not both keep them back. version: of the
    table whose keys the worklist was made with.
    """

    commit: Callable[[], None]

    def __init__(
        self,
        worklist: Worklist,
        journal: Journal,
        table: FingerprintTable,
        lacking: Lacking,
        watch: Progress,
        version: int,
    ) -> None:
        self._worklist = worklist
        self._journal = journal
        self._table = table
        self._lacking = lacking
        self._watch = watch
        self._elsewhere: list[WorkItem] = []
        self._looked = 0.0
        self._known: Mapping[Key, str] | None = None
        self._version = version

    @property
    def exhausted(self) -> bool:
        """Whether nothing will come any more."""
        return self._worklist.exhausted and not self._elsewhere

    def take(self, wait: float = 0.0) -> WorkItem | None:
        """The next model, claimed; None if there is none just now or none any more. Raises what the listing raised."""
        while (item := self._worklist.take(wait)) is not None:
            if self._journal.claim(item.ref.model, item.ref.revision):
                left = self._still_lacking(item)
                if left is not None:
                    return left
            else:
                self._elsewhere.append(item)
        return self._look_again() if self._worklist.exhausted else None

    def _look_again(self) -> WorkItem | None:
        """A model that another crawl had and has no more, at most every few seconds."""
        if not self._elsewhere or time.monotonic() - self._looked < _LOOK_SECONDS:
            return None
        self.commit()
        still = []
        taken = None
        for item in self._elsewhere:
            if taken is None and self._journal.claim(item.ref.model, item.ref.revision):
                taken = self._still_lacking(item)
            else:
                still.append(item)
        self._elsewhere = still
        if taken is None:
            self._looked = time.monotonic()
            if still:
                self._watch.elsewhere(len(still))
        return taken

    def committed(self) -> None:
        """This crawl has just committed. Its own models do not come again: if nobody else committed since the last
        look, there is nothing new to know."""
        if self._table.version == self._version + 1:
            self._version += 1

    def _still_lacking(self, item: WorkItem) -> WorkItem | None:
        """A claimed model with what it lacks now; None, and unclaimed, if another crawl has done it meanwhile.

        Looked up after the claim and not before: who had the claim until now committed first and released it then,
        and may be gone by now.
        """
        self._table.refresh()
        if self._table.version != self._version:
            self._known, self._version = self._table.keys(), self._table.version
        if self._known is None:
            return item
        stages = self._lacking(item.ref, self._known)
        if not stages:
            self._journal.release([(item.ref.model, item.ref.revision)])
            return None
        return replace(item, stages=stages)
