"""What is left to do: models of the sources that the index does not know yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from provray.crawl.fingerprinter import Fingerprinter
from provray.fingerprints.space import weights_space
from provray.index.row import Key
from provray.probes import MODALITIES
from provray.sources import ModelRef


@dataclass(frozen=True)
class WorkItem:
    """One model to fingerprint. `weights_known`: its weights row is already there, and only behaviour is missing."""

    ref: ModelRef
    weights_known: bool


def remaining(
    refs: Iterable[ModelRef], known: Mapping[Key, str], fingerprinter: Fingerprinter
) -> Iterator[WorkItem]:
    """The models that still lack a row. A model that failed before is done: its reason is in the index."""
    weights_id = weights_space(fingerprinter.settings).id
    listed: set[tuple[str, str]] = set()
    for ref in refs:
        if (ref.model, ref.revision) in listed:
            continue
        listed.add((ref.model, ref.revision))
        status = known.get((ref.model, ref.revision, weights_id))
        if status is None:
            yield WorkItem(ref, weights_known=False)
        elif status == "ok" and not _behaviour_done(ref, known, fingerprinter):
            yield WorkItem(ref, weights_known=True)


def _behaviour_done(ref: ModelRef, known: Mapping[Key, str], fingerprinter: Fingerprinter) -> bool:
    for modality in ("", *MODALITIES):
        dna = known.get((ref.model, ref.revision, fingerprinter.behaviour_id("dna", modality)))
        if dna is None:
            continue
        gif = known.get((ref.model, ref.revision, fingerprinter.behaviour_id("gif", modality)))
        if dna != "ok" or gif is not None:
            return True
    return False
