"""One version of an index, ready to be asked: its models, cohorts and search indexes.

A snapshot never changes; a newer table version is a new snapshot. Only short vectors are held in memory for all models;
full profiles are read for the few candidates of a question, from a mapped file of whole rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from provray.ancestry.calibration import NullKey
from provray.ancestry.cohort import Cohort, choose_cohort, sample
from provray.ancestry.fingerprint import Fingerprint, assemble
from provray.ancestry.gallery import Gallery, pack_contents, unpack_contents
from provray.ancestry.index_null import index_nulls
from provray.ancestry.kin import Kin, KnownKin
from provray.ancestry.lineage import DirectionOf
from provray.ancestry.null import Null
from provray.ancestry.search_vector import behaviour_vector, weights_vector
from provray.fingerprints.space import SpaceMismatch
from provray.fingerprints.weights import READOUTS
from provray.index import cache
from provray.index.row import Row
from provray.index.row_store import RowStore, pack_rows
from provray.index.search import SearchIndex, build, from_bytes
from provray.index.table import FingerprintTable, Place
from provray.probes import MODALITIES
from provray.probes.build import DEFAULT_DIGESTS

_CACHE_FORMAT = 6
"""Raised whenever search vectors, cohorts or nulls of the same rows come out differently."""
ROWS = "rows.arrow"
"""The file of a cache that holds every row whole; see `RowStore`."""
CONTENTS = "contents.arrow"
"""The file that holds what the tensors of every model hold; see `Gallery`."""
_REMEMBERED = 2_000
"""Full fingerprints that are kept in memory, at most: some 100 kB each of a model of many tensors."""
_KIN = 4_000
"""Members of the kin that are kept in memory, together: some kilobytes each."""
Parts = tuple[dict[str, Cohort], dict[NullKey, Null], dict[str, SearchIndex]]
"""Cohorts by space, nulls, and search indexes by name: what is kept in a cache."""


@dataclass(frozen=True)
class Snapshot:
    """`table`: the index at `version`. `spaces`: the spaces that are compared. `names`: the models that are compared.
    `cohorts`: by space. `nulls`: of the index's own unrelated models, by score and condition. `searches`: `weights`,
    `biases`, and behaviour by modality. `digests`: weights digest to models. `store`: every row that is compared.
    `gallery`: what of them is compared."""

    table: FingerprintTable
    version: int
    spaces: tuple[str, ...]
    names: frozenset[str]
    cohorts: dict[str, Cohort]
    nulls: dict[NullKey, Null]
    searches: dict[str, SearchIndex]
    digests: dict[str, tuple[str, ...]]
    store: RowStore
    gallery: Gallery
    _read: dict[str, Fingerprint] = field(default_factory=dict, repr=False, compare=False)
    _kin: KnownKin = field(default_factory=lambda: KnownKin(_KIN), repr=False, compare=False)

    @property
    def models(self) -> int:
        """How many models are compared."""
        return len(self.names)

    def same_weights(self, digest: str) -> tuple[str, ...]:
        """Models whose weights are bit-identical to those with this digest."""
        return self.digests.get(digest, ()) if digest else ()

    def twins(self, suspect: Fingerprint, itself: Container[str]) -> list[str]:
        """Models whose weights are bit-identical to the suspect's; `itself`: its own names."""
        digest = "" if suspect.weights is None else suspect.weights.weights_digest
        return [model for model in self.same_weights(digest) if model not in itself]

    def candidates(self, suspect: Fingerprint, count: int) -> list[str]:
        """Models worth a full comparison: the `count` nearest by weights, by biases and by behaviour."""
        return self.candidates_of([suspect], count)[0]

    def candidates_of(self, suspects: Sequence[Fingerprint], count: int) -> list[list[str]]:
        """The `candidates` of each suspect, found in one pass over every search index."""
        asked: dict[str, list[tuple[int, npt.NDArray[np.float32]]]] = {}
        for number, suspect in enumerate(suspects):
            for readout in READOUTS:
                vector = weights_vector(suspect, readout)
                if vector is not None:
                    asked.setdefault(readout, []).append((number, vector))
            if suspect.dna is not None:
                vector = behaviour_vector(suspect, self.cohorts)
                asked.setdefault(suspect.modality, []).append((number, vector))
        found: list[dict[str, None]] = [{} for _ in suspects]
        for name in (*READOUTS, *MODALITIES):
            if name in self.searches and name in asked:
                numbers, vectors = zip(*asked[name], strict=True)
                near = self.searches[name].search_many(np.stack(vectors), count)
                for number, models in zip(numbers, near, strict=True):
                    found[number].update(dict.fromkeys(model for model, _ in models))
        return [list(models) for models in found]

    def default_probes(self, digest: str) -> bool:
        """Whether a probe set is one that comes with provray: made for inheritance, of no one's domain."""
        return digest in DEFAULT_DIGESTS.values()

    def profiles(self, models: Iterable[str]) -> list[Fingerprint]:
        """Full fingerprints of these models, sorted by name; read from the store, then remembered for a while."""
        wanted = sorted(set(models) & self.names)
        # Threads share what was read: each keeps what it found, whatever the others forget meanwhile.
        found = {m: f for m in wanted if (f := self._read.get(m)) is not None}
        missing = [model for model in wanted if model not in found]
        if missing:
            if len(self._read) + len(missing) > _REMEMBERED:
                self._read.clear()
            read = {f.model: f for f in assemble(self.store.rows(missing))}
            self._read.update(read)
            found.update(read)
        return [found[model] for model in wanted]

    def kin(self, members: Sequence[Fingerprint], direction_of: DirectionOf) -> Kin:
        """Models that share learned weights; remembered where all of them are the indexed ones."""
        if all(self._read.get(member.model) is member for member in members):
            return self._kin.of([member.model for member in members], direction_of)
        return Kin(direction_of)


def open_snapshot(place: Place, spaces: Iterable[str], version: int | None = None) -> Snapshot:
    """Open an index at its newest version, or at `version`, for these spaces.

    Raises BadIndex if there is no such index, SpaceMismatch if it holds models but none in these spaces.
    """
    table = FingerprintTable.open(place, version)
    spaces = tuple(sorted(spaces))
    facts = [row for row in table.facts() if row.status == "ok"]
    held = {row.space for row in facts}
    if facts and not held & set(spaces):
        raise SpaceMismatch(
            f"index {table.location} holds nothing in the spaces {', '.join(spaces)}; it holds "
            f"{', '.join(sorted(held))}. Ask with the probe sets it was crawled with, or crawl it again with these"
        )
    weighed = {row.space for row in facts if row.kind == "weights"}
    if weighed and not weighed & set(spaces):
        raise SpaceMismatch(
            f"the weights in {table.location} were sketched in the space {', '.join(sorted(weighed))} of another "
            "provray: crawl it again"
        )
    members = assemble(row for row in facts if row.space in spaces)
    folder = cache_folder(table, spaces)
    contents = cache.load(folder)
    parts = unpack(contents)
    if contents is None or parts is None:
        contents = {ROWS: pack_rows(table.arrow(spaces))}
        whole = assemble(RowStore(contents[ROWS]))
        contents[CONTENTS] = pack_contents(whole)
        parts = build_parts(whole)
        cache.save(folder, {**contents, **_pack(spaces, parts)})
        # Mapped rows are shared with whoever opens the same version.
        contents = cache.load(folder) or contents
    cohorts, nulls, searches = parts
    store = RowStore(contents[ROWS])
    return Snapshot(
        table,
        table.version,
        spaces,
        frozenset(f.model for f in members),
        cohorts,
        nulls,
        searches,
        _digests(f.weights for f in members if f.weights is not None),
        store,
        Gallery(members, store, unpack_contents(contents[CONTENTS])),
    )


def build_parts(fingerprints: list[Fingerprint]) -> Parts:
    """Cohorts of every behaviour space, the nulls, and the search indexes that rest on them."""
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

    for readout in READOUTS:
        held = [f for f in fingerprints if weights_vector(f, readout) is not None]
        add(readout, held, partial(weights_vector, readout=readout))
    for modality in MODALITIES:
        probed = [f for f in fingerprints if f.dna is not None and f.modality == modality]
        add(modality, probed, lambda f: behaviour_vector(f, cohorts))
    return cohorts, index_nulls(chosen, cohorts), searches


def _pack(spaces: Sequence[str], parts: Parts) -> dict[str, bytes]:
    cohorts, nulls, searches = parts
    means = {f"{c.space}/{name}": mean for c in cohorts.values() for name, mean in c.means.items()}
    listing = {
        "spaces": list(spaces),
        "searches": {name: list(index.keys) for name, index in searches.items()},
        "cohorts": {space: [c.size, c.origin] for space, c in cohorts.items()},
        "nulls": [
            {**asdict(n), "score": k[0], "quantiles": n.quantiles.tolist()}
            for k, n in nulls.items()
        ],
    }
    return {
        "cohorts.safetensors": save_safetensors(means),
        "listing.json": json.dumps(listing).encode(),
        **{f"{name}.faiss": index.to_bytes() for name, index in searches.items()},
    }


def rows_id(table: FingerprintTable, spaces: Sequence[str]) -> str:
    """Of the rows of this version in these spaces: what is made of them may be kept under it.

    A version's number says too little: a table that is made anew at the same place, or restored from a back-up and
    grown since, comes to the same numbers with other rows. Its files have random names.
    """
    files = sorted(uri.rsplit("/", 1)[-1] for uri in table.delta.file_uris())
    return hashlib.sha256("\n".join([table.id, *files, *spaces]).encode()).hexdigest()[:12]


def cache_folder(table: FingerprintTable, spaces: Sequence[str]) -> Path:
    """Where the cache of this version lies on this machine."""
    name = f"v{table.version}-{rows_id(table, spaces)}-{_CACHE_FORMAT}"
    return table.location.cache_folder / name


def unpack(contents: Mapping[str, cache.Content] | None) -> Parts | None:
    """What a cache holds, None for none. contents: of its files, after their seals were checked."""
    if contents is None or not {"listing.json", ROWS, CONTENTS} <= contents.keys():
        return None
    listing = json.loads(bytes(contents["listing.json"]))
    means: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
    for name, mean in load_safetensors(bytes(contents["cohorts.safetensors"])).items():
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
    nulls = {}
    for plain in listing["nulls"]:
        score = plain.pop("score")
        null = Null(**{**plain, "quantiles": np.array(plain["quantiles"])})
        nulls[score, null.condition] = null
    return cohorts, nulls, searches


def _digests(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        if row.weights_digest:
            found[row.weights_digest] = (*found.get(row.weights_digest, ()), row.model)
    return found
