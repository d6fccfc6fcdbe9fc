"""Nearest neighbours of one table version: FAISS inner-product search over short vectors, exact scores always.

Of few models all are compared. Of many, one bit of each number says which of them are worth it (RaBitQ: Gao and Long,
SIGMOD 2024), and those are compared exactly: relatives stand far above what a bit can hide, and of strangers the list
may name others. `benchmarks/shortlist.py` measures that no answer changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

# FAISS multiplies matrices from so many query values (queries x dimensions) on. Its own 128,000 would be 125 queries of
# 1,024; here four already cost half as much each, and sixteen a seventh, so that questions are worth asking together.
faiss.cvar.distance_compute_blas_threshold = 4096

ALL_COMPARED = 10_000
"""Models that are all compared exactly: beyond, that takes longer than everything else in an answer."""
SHORTLIST = 8
"""Of more models at least so many times as are asked for are compared exactly."""
_MODELS_EACH = 4_000
"""And once more as many for each so many models: a share of the index, so that a weak relative is found as often among
many as among few."""


@dataclass(frozen=True)
class SearchIndex:
    """`keys[i]` is the model of FAISS vector i. Searches are safe from several threads; there are no mutations."""

    keys: tuple[str, ...]
    faiss_index: Any

    def search(self, vector: F32, count: int) -> list[tuple[str, float]]:
        """The `count` nearest models by inner product, best first. vector: shape (d,)."""
        return self.search_many(vector[None], count)[0]

    def search_many(self, vectors: F32, count: int) -> list[list[tuple[str, float]]]:
        """The same for each of several vectors, shape (n, d): one pass over the index for all of them."""
        count = min(count, len(self.keys))
        if not count:
            return [[] for _ in vectors]
        scores, places = self.faiss_index.search(np.ascontiguousarray(vectors, np.float32), count)
        return [
            [(self.keys[p], s) for p, s in zip(*found, strict=True) if p >= 0]
            for found in zip(places.tolist(), scores.tolist(), strict=True)
        ]

    def to_bytes(self) -> bytes:
        """The FAISS index as a file's content."""
        content: bytes = faiss.serialize_index(self.faiss_index).tobytes()
        return content


def build(keys: Sequence[str], vectors: F32, all_compared: int = ALL_COMPARED) -> SearchIndex:
    """An index of `vectors` (n, d), one per key; of up to `all_compared` an exact one."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    count, dimensions = vectors.shape
    made: Any
    if count <= all_compared:
        made = faiss.IndexFlatIP(dimensions)
    else:
        made = faiss.index_factory(dimensions, "RaBitQfs_64,RFlat", faiss.METRIC_INNER_PRODUCT)
        made.k_factor = max(SHORTLIST, count / _MODELS_EACH)
        made.train(vectors)
    made.add(vectors)
    return SearchIndex(tuple(keys), made)


def from_bytes(keys: Sequence[str], content: bytes | memoryview) -> SearchIndex:
    """An index from bytes that `to_bytes` made. FAISS trusts its input: pass only bytes whose digest was checked."""
    loaded = faiss.deserialize_index(np.frombuffer(content, np.uint8))
    if loaded.ntotal != len(keys):
        raise ValueError(f"FAISS index of {loaded.ntotal} vectors does not fit {len(keys)} models")
    return SearchIndex(tuple(keys), loaded)
