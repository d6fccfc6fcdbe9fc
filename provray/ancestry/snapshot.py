"""One version of an index, ready to be asked: its models, cohorts and search indexes.

A snapshot never changes; a newer table version is a new snapshot. Only short vectors are held for all models; full
profiles are read from the table for the few candidates of a question.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from provray.ancestry.cohort import Cohort, choose_cohort, sample
from provray.ancestry.fingerprint import Fingerprint, assemble
from provray.ancestry.search_vector import behaviour_vector, weights_vector
from provray.fingerprints.space import SpaceMismatch
from provray.index import cache
from provray.index.row import Row
from provray.index.search import SearchIndex, build, from_bytes
from provray.index.table import FingerprintTable
from provray.probes import MODALITIES

_CACHE_FORMAT = 1
"""Raised whenever search vectors or cohorts of the same rows come out differently."""


@dataclass(frozen=True)
class Snapshot:
    """`table`: the index at `version`. `spaces`: the spaces that are compared. `models`: how many models are compared.
    `cohorts`: by space. `searches`: `weights`, and behaviour by modality. `digests`: weights digest to models."""

    table: FingerprintTable
    version: int
    spaces: tuple[str, ...]
    models: int
    cohorts: dict[str, Cohort]
    searches: dict[str, SearchIndex]
    digests: dict[str, tuple[str, ...]]

    def same_weights(self, digest: str) -> tuple[str, ...]:
        """Models whose weights are bit-identical to those with this digest."""
        return self.digests.get(digest, ()) if digest else ()

    def candidates(self, suspect: Fingerprint, count: int) -> list[str]:
        """Models worth a full comparison: the `count` nearest by weights and the `count` nearest by behaviour."""
        found: dict[str, None] = {}
        weights = weights_vector(suspect)
        if weights is not None and "weights" in self.searches:
            near = self.searches["weights"].search(weights, count)
            found.update(dict.fromkeys(model for model, _ in near))
        if suspect.dna is not None and suspect.modality in self.searches:
            near = self.searches[suspect.modality].search(
                behaviour_vector(suspect, self.cohorts), count
            )
            found.update(dict.fromkeys(model for model, _ in near))
        return list(found)

    def profiles(self, models: Iterable[str]) -> list[Fingerprint]:
        """Full fingerprints of these models, read from the table."""
        return assemble(self.table.rows(self.spaces, models))


def open_snapshot(root: Path, spaces: Iterable[str], version: int | None = None) -> Snapshot:
    """Open an index at its newest version, or at `version`, for these spaces.

    Raises BadIndex if there is no such index, SpaceMismatch if it holds models but none in these spaces.
    """
    table = FingerprintTable.open(root, version)
    spaces = tuple(sorted(spaces))
    facts = [row for row in table.facts() if row.status == "ok"]
    held = {row.space for row in facts}
    if facts and not held & set(spaces):
        raise SpaceMismatch(
            f"index {root} holds nothing in the spaces {', '.join(spaces)}; it holds {', '.join(sorted(held))}. "
            "Ask with the probe sets it was crawled with, or crawl it again with these"
        )
    members = assemble(row for row in facts if row.space in spaces)
    name = hashlib.sha256("\n".join(spaces).encode()).hexdigest()[:12]
    folder = table.root / "cache" / f"v{table.version}-{name}-{_CACHE_FORMAT}"
    parts = _unpack(cache.load(folder))
    if parts is None:
        parts = _build(assemble(table.rows(spaces)))
        cache.save(folder, _pack(*parts))
    cohorts, searches = parts
    return Snapshot(
        table,
        table.version,
        spaces,
        len(members),
        cohorts,
        searches,
        _digests(f.weights for f in members if f.weights is not None),
    )


def _build(
    fingerprints: list[Fingerprint],
) -> tuple[dict[str, Cohort], dict[str, SearchIndex]]:
    """Cohorts of every behaviour space, and the search indexes that rest on them."""
    chosen = sample(fingerprints)
    cohorts: dict[str, Cohort] = {}
    for kind in ("dna", "gif"):
        for space in sorted({r.space for f in fingerprints if (r := getattr(f, kind)) is not None}):
            cohorts[space] = choose_cohort(chosen, kind, space)
    searches: dict[str, SearchIndex] = {}

    def add(
        name: str, members: Sequence[Fingerprint], vector: Callable[[Fingerprint], Any]
    ) -> None:
        if members:
            matrix: npt.NDArray[np.float32] = np.stack([vector(f) for f in members])
            searches[name] = build([f.model for f in members], matrix)

    add("weights", [f for f in fingerprints if weights_vector(f) is not None], weights_vector)
    for modality in MODALITIES:
        probed = [f for f in fingerprints if f.dna is not None and f.modality == modality]
        add(modality, probed, lambda f: behaviour_vector(f, cohorts))
    return cohorts, searches


def _pack(cohorts: dict[str, Cohort], searches: dict[str, SearchIndex]) -> dict[str, bytes]:
    means = {f"{c.space}/{name}": mean for c in cohorts.values() for name, mean in c.means.items()}
    listing = {
        "searches": {name: list(index.keys) for name, index in searches.items()},
        "cohorts": {space: [c.size, c.origin] for space, c in cohorts.items()},
    }
    return {
        "cohorts.safetensors": save_safetensors(means),
        "listing.json": json.dumps(listing).encode(),
        **{f"{name}.faiss": index.to_bytes() for name, index in searches.items()},
    }


def _unpack(
    contents: dict[str, bytes] | None,
) -> tuple[dict[str, Cohort], dict[str, SearchIndex]] | None:
    if contents is None or "listing.json" not in contents:
        return None
    listing = json.loads(contents["listing.json"])
    means: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for name, mean in load_safetensors(contents["cohorts.safetensors"]).items():
        space, readout = name.split("/", 1)
        means.setdefault(space, {})[readout] = mean
    cohorts = {
        space: Cohort(space, means.get(space, {}), size, origin)
        for space, (size, origin) in listing["cohorts"].items()
    }
    searches = {
        name: from_bytes(keys, contents[f"{name}.faiss"])
        for name, keys in listing["searches"].items()
    }
    return cohorts, searches


def _digests(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        if row.weights_digest:
            found[row.weights_digest] = (*found.get(row.weights_digest, ()), row.model)
    return found
