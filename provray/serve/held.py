"""One version of the index, held in memory, and everything that can be asked of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import provray
from provray.ancestry.answer_json import answer_to_json, null_to_json
from provray.ancestry.calibration import shipped_calibration
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.inheritance import OTHER, SAME
from provray.ancestry.snapshot import Snapshot
from provray.ancestry.verdict import (
    FDR,
    Answer,
    Examined,
    conclude,
    copies,
    examine,
    judge,
    nearest,
    read_relatives,
)
from provray.crawl.reading import read_index
from provray.index.row import Row
from provray.index.table import BadIndex, FingerprintTable
from provray.probes import read_probes
from provray.serve.allowed import AllowList
from provray.serve.catalogue import Catalogue, Entry, row_facts
from provray.serve.family import Families, Way
from provray.serve.fingerprint_json import fingerprint_from_json
from provray.serve.problems import Refused
from provray.serve.questions import Question
from provray.serve.remembered import Remembered
from provray.serve.reply import Reply, refusal, to_bytes
from provray.serve.settings import MIB, ServiceSettings

_Key = tuple[str, int, float]
"""A question about an indexed model: its name, `top_k`, `fdr`."""
_REMEMBERED_BYTES = 64 * MIB

log = logging.getLogger("ray.serve")


class Held:
    """A snapshot with its catalogue. Every method answers from this version alone, from any thread."""

    def __init__(self, name: str, snapshot: Snapshot, sources: Sequence[str] = ()) -> None:
        self.snapshot = snapshot
        self.catalogue = Catalogue(snapshot.table.facts())
        self._name = name
        self._sources = list(sources)
        self._families = Families(snapshot)
        self._remembered: Remembered[_Key] = Remembered(_REMEMBERED_BYTES)

    @property
    def version(self) -> int:
        """Of the index."""
        return self.snapshot.version

    @property
    def ref(self) -> dict[str, Any]:
        """As `IndexRef` has it."""
        return {"name": self._name, "version": self.version, "models": self.snapshot.models}

    def known(self, question: Question) -> Reply | None:
        """The reply if it costs nothing: remembered, or a 404 that tells `not indexed`; None if it is to be found."""
        if question.model is None:
            return None
        entry = self._indexed(question.model)
        if entry is None:
            return Reply(404, b"", self.version, {"not indexed": self.snapshot.models})
        return self._remembered.find(_key(entry, question))

    def answers(self, questions: Sequence[Question]) -> list[Reply]:
        """Replies, refusals among them, to questions about indexed models or ready fingerprints."""
        examined = self._examined(questions)
        return [self._reply_to(question, examined) for question in questions]

    def _examined(self, questions: Sequence[Question]) -> dict[_Key, Examined]:
        """All indexed models that are asked about, held against their nearest: these are found in one pass over the
        index, and the relatives of all are read at once."""
        wanted: dict[int, dict[str, set[float]]] = {}
        for question in questions:
            if question.model is not None and self.known(question) is None:
                entry = self._indexed(question.model)
                assert entry is not None
                models = wanted.setdefault(question.top_k, {})
                models.setdefault(entry.model, set()).add(question.fdr)
        found: dict[_Key, Examined] = {}
        for top_k, models in wanted.items():
            suspects = self.snapshot.profiles(models)
            near = nearest(suspects, self.snapshot, top_k)
            for suspect, names in zip(suspects, near, strict=True):
                itself = self._itself(self.catalogue.entries[suspect.model])
                if self.snapshot.twins(suspect, itself):
                    continue
                for fdr in models[suspect.model]:
                    # What fails is tried again by itself, and its failure told.
                    with suppress(Exception):
                        found[suspect.model, top_k, fdr] = examine(
                            suspect,
                            self.snapshot,
                            top_k=top_k,
                            leave_out=itself,
                            fdr=fdr,
                            near=names,
                        )
            read_relatives(found.values(), self.snapshot, top_k)
        return found

    def _reply_to(self, question: Question, examined: Mapping[_Key, Examined]) -> Reply:
        try:
            if question.fingerprint is not None:
                return self._of_fingerprint(question)
            reply = self.known(question)
            if reply is None:
                assert question.model is not None
                entry = self._indexed(question.model)
                assert entry is not None
                reply = self._of_indexed(entry, question, examined.get(_key(entry, question)))
                self._remembered.keep(_key(entry, question), reply)
            return reply
        except Refused as refused:
            return refusal(refused, version=self.version)
        except Exception:  # a damaged model is no reason to fail those who were asked about with it
            log.exception("no answer about %s", question.model or "a ready fingerprint")
            failed = Refused("failed", "the model could not be judged; the log says why")
            return refusal(failed, version=self.version)

    def answer_rows(self, rows: Sequence[Row], top_k: int, fdr: float) -> Reply:
        """The answer for a suspect that was fingerprinted now. Raises Refused if its weights could not be read."""
        weights = next((row for row in rows if row.kind == "weights"), rows[0])
        if weights.status != "ok":
            raise Refused("bad-suspect", f"{weights.model} is {weights.status}: {weights.reason}")
        good = {row.kind: row for row in rows if row.status == "ok"}
        suspect = Fingerprint(
            weights.model, weights.revision, weights, good.get("dna"), good.get("gif")
        )
        itself = self.catalogue.at(weights.location, weights.revision)
        failed = [
            f"behaviour not measured: {r.status}: {r.reason}" for r in rows if r.status != "ok"
        ]
        return self._judged(suspect, itself, top_k, fdr, failed)

    def models(self, words: str, status: str, after: str, limit: int) -> Reply:
        """A `ModelPage`."""
        total, found, following = self.catalogue.search(words, status, after, limit)
        page = {"index": self.ref, "total": total, "models": found, "next": following}
        return Reply(200, to_bytes(page), self.version)

    def model(self, name: str) -> Reply:
        """A `ModelDetail`. Raises Refused if there is no such model."""
        entry = self._named(name)
        digest = next((row.weights_digest for row in entry.rows if row.weights_digest), "")
        detail = {
            **entry.summary(),
            "index": self.ref,
            "revisions": list(entry.revisions),
            "weights_digest": digest,
            "rows": [row_facts(row) for row in entry.rows],
            "copies": [m for m in self.snapshot.same_weights(digest) if m != name],
        }
        return Reply(200, to_bytes(detail), self.version)

    def lineage(self, name: str, fdr: float, way: Way, depth: int) -> Reply:
        """A `ModelLineage`. Raises Refused if there is no such model, or it has no fingerprint."""
        entry = self._named(name)
        if name not in self.snapshot.names:
            raise _unread(entry)
        told = {
            "index": self.ref,
            "fdr": fdr,
            "spaces": list(self.snapshot.spaces),
            "model": name,
            "direction": way,
            "depth": depth,
            **self._families.around(name, fdr, way, depth),
        }
        return Reply(200, to_bytes(told), self.version)

    def facts(self) -> Reply:
        """The `IndexFacts`."""
        snapshot = self.snapshot
        shipped = shipped_calibration().nulls
        nulls = {
            key: snapshot.nulls.get(key) or shipped[key]
            for key in sorted({*snapshot.nulls, *shipped})
            if key[1] in (SAME, OTHER)
        }
        told = {
            "index": self.ref,
            "fdr": FDR,
            "statuses": self.catalogue.statuses(),
            "spaces": self.catalogue.spaces(snapshot.spaces),
            "probe_sets": [
                {
                    "name": probes.name,
                    "modality": probes.modality,
                    "digest": probes.digest,
                    "default": snapshot.default_probes(probes.digest),
                }
                for probes in snapshot.table.probe_sets()
            ],
            "nulls": [{"score": score, **null_to_json(null)} for (score, _), null in nulls.items()],
            "sources": self._sources,
            "provray": provray.__version__,
        }
        return Reply(200, to_bytes(told), self.version)

    def _of_fingerprint(self, question: Question) -> Reply:
        assert question.fingerprint is not None
        suspect = fingerprint_from_json(question.fingerprint, self.snapshot.spaces)
        try:
            return self._judged(suspect, (), question.top_k, question.fdr)
        except (ValueError, ArithmeticError) as error:
            # Each number fits by itself, and together they make no model.
            raise Refused(
                "bad-fingerprint", f"the fingerprint contradicts itself: {error}"
            ) from error

    def _of_indexed(self, entry: Entry, question: Question, seen: Examined | None) -> Reply:
        if seen is not None:
            answer = conclude(seen, self.snapshot, question.top_k, question.fdr)
            return self._reply(seen.suspect, seen.suspect.spaces, answer)
        found = self.snapshot.profiles([entry.model])
        if not found:
            raise _unread(entry)
        return self._judged(found[0], self._itself(entry), question.top_k, question.fdr)

    def _itself(self, entry: Entry) -> set[str]:
        """Names of this very model in the index: it is not its own ancestor."""
        return {entry.model, *self.catalogue.at(entry.rows[0].location, entry.revision)}

    def _judged(
        self,
        suspect: Fingerprint,
        itself: Iterable[str],
        top_k: int,
        fdr: float,
        warnings: Sequence[str] = (),
    ) -> Reply:
        """itself: names of the suspect in the index."""
        left_out, spaces, weights = set(itself), suspect.spaces, suspect.weights
        twins = self.snapshot.twins(suspect, left_out)
        if twins and weights is not None:
            spaces = (weights.space,)
            answer = copies(suspect, self.snapshot, twins[:top_k], fdr)
        else:
            answer = judge(suspect, self.snapshot, top_k=top_k, leave_out=left_out, fdr=fdr)
            answer = replace(answer, warnings=(*warnings, *answer.warnings))
        return self._reply(suspect, spaces, answer)

    def _reply(self, suspect: Fingerprint, spaces: Sequence[str], answer: Answer) -> Reply:
        query = {"model": suspect.model, "revision": suspect.revision, "spaces": list(spaces)}
        body = to_bytes({"query": query, "index": self.ref, **answer_to_json(answer)})
        told = {"verdict": answer.verdict, "ancestors": [c.model for c in answer.ancestors[:5]]}
        return Reply(200, body, self.version, told)

    def _indexed(self, reference: str) -> Entry | None:
        """The model of this name, or the one read from this very place if that is pinned to a commit."""
        entry = self.catalogue.entries.get(reference)
        if entry is None and reference.startswith("hf://"):
            _, _, commit = reference.rpartition("@")
            names = self.catalogue.at(reference, commit)
            entry = self.catalogue.entries[names[0]] if names else None
        return entry

    def _named(self, name: str) -> Entry:
        entry = self.catalogue.entries.get(name)
        if entry is None:
            raise Refused(
                "unknown-model",
                f"no indexed model is called {name!r} at version {self.version}; search with GET /v1/models?q=",
            )
        return entry


def open_held(settings: ServiceSettings, version: int | None = None) -> Held:
    """Read the index at its newest version, or at this one. Raises BadIndex if it is not there, SpaceMismatch."""
    if version is not None and version > (newest := FingerprintTable.open(settings.index).version):
        # The table's own reader looks for a very large number for minutes.
        raise BadIndex(f"the index has no version {version} yet, the newest is {newest}")
    probes = [read_probes(Path(path)) for path in settings.probes]
    snapshot = read_index(settings.index, probes, version)
    return Held(settings.index_name, snapshot, AllowList(settings.allow).told())


def _key(entry: Entry, question: Question) -> _Key:
    return entry.model, question.top_k, question.fdr


def _unread(entry: Entry) -> Refused:
    failed = entry.failed
    why = "it has no weights fingerprint" if failed is None else f"{failed.status}: {failed.reason}"
    return Refused("bad-suspect", f"{entry.model} is indexed and could not be fingerprinted, {why}")
