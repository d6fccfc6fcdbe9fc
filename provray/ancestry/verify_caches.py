"""Verify the FAISS caches of an index: all sealed as they were written, the newest version's true to the table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from provray.ancestry.fingerprint import assemble
from provray.ancestry.gallery import pack_contents
from provray.ancestry.snapshot import CONTENTS, ROWS, build_parts, cache_folder, unpack
from provray.index import cache
from provray.index.row_store import RowStore
from provray.index.search import SearchIndex
from provray.index.table import FingerprintTable
from provray.index.verify import Finding

_TOLERANCE = 1e-5


def verify_caches(table: FingerprintTable) -> Iterator[Finding]:
    """Findings on this machine's caches. A damaged one is no loss: it is rebuilt when it was deleted."""
    root = table.location.cache_folder
    for folder in sorted(root.glob("v*-*")) if root.is_dir() else ():
        contents = cache.load(folder)
        if contents is None:
            yield _finding(folder, "does not match its seal")
        elif _current(table, folder, contents) and not _true(table, contents):
            yield _finding(folder, "holds other vectors than the table")


def _finding(folder: Path, says: str) -> Finding:
    return Finding(
        f"cache/{folder.name}", says, f"delete the folder {folder}; the next query rebuilds it"
    )


def _current(table: FingerprintTable, folder: Path, contents: Mapping[str, cache.Content]) -> bool:
    """Whether the version that the table is at is answered from this cache: not from one of another version, nor of
    rows that a restored back-up no longer holds."""
    try:
        spaces = json.loads(bytes(contents["listing.json"])).get("spaces", [])
    except (KeyError, ValueError):
        return folder.name.startswith(f"v{table.version}-")
    return folder == cache_folder(table, spaces)


def _true(table: FingerprintTable, contents: Mapping[str, cache.Content]) -> bool:
    """Whether a cache holds what would be built from the table now."""
    found = unpack(contents)
    if found is None:
        return False
    spaces = json.loads(bytes(contents["listing.json"])).get("spaces", [])
    whole = assemble(table.rows(spaces))
    _, _, searches = build_parts(whole)
    kept = {row.key: row for row in RowStore(contents[ROWS])}
    rows = {row.key: row for row in table.rows(spaces)}
    return (
        found[2].keys() == searches.keys()
        and all(_same(found[2][name], searches[name]) for name in searches)
        and bytes(contents[CONTENTS]) == bytes(pack_contents(whole))
        and kept.keys() == rows.keys()
        and all(np.array_equal(kept[key].vectors, row.vectors) for key, row in rows.items())
    )


def _same(one: SearchIndex, other: SearchIndex) -> bool:
    return one.keys == other.keys and bool(
        np.allclose(_vectors(one), _vectors(other), atol=_TOLERANCE)
    )


def _vectors(index: SearchIndex) -> npt.NDArray[np.float32]:
    vectors: npt.NDArray[np.float32] = index.faiss_index.reconstruct_n(0, len(index.keys))
    return vectors
