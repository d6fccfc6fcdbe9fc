"""One version of an index: what it holds, whom it offers for comparison, and what it keeps in its cache."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from provray.ancestry.inheritance import SAME
from provray.ancestry.snapshot import Snapshot, open_snapshot
from provray.ancestry.verdict import judge
from provray.fingerprints.space import SpaceMismatch
from provray.index.table import FingerprintTable, Place
from provray.probes.build import DEFAULT_DIGESTS
from tests.ancestry.families import base_model, tuned
from tests.ancestry.networks import SPACES, Network, same_start, stranger

BASE = stranger("lab/base", 1000)
CHILD = BASE.child("shop/child", 50)
STRANGERS = [stranger(f"far/{i}", i) for i in range(20)]
SUSPECT = BASE.child("who/knows", 60).fingerprint()


def _table(root: Place, networks: Iterable[Network]) -> FingerprintTable:
    table = FingerprintTable.create(root)
    table.append([row for network in networks for row in network.rows()])
    return table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of an index that holds two relatives and twenty strangers."""
    _table(tmp_path / "index", [BASE, CHILD, *STRANGERS])
    return tmp_path / "index"


def _open(place: Place, version: int | None = None) -> Snapshot:
    return open_snapshot(place, SPACES, version)


def _answers(snapshot: Snapshot) -> list[tuple[str, float, float]]:
    return [(c.model, c.score, c.q_value) for c in judge(SUSPECT, snapshot).candidates]


def _assert_same_nulls(a: Snapshot, b: Snapshot) -> None:
    assert a.nulls.keys() == b.nulls.keys()
    for key, null in a.nulls.items():
        other = b.nulls[key]
        np.testing.assert_array_equal(null.quantiles, other.quantiles)
        assert replace(null, quantiles=other.quantiles) == other


def test_it_holds_every_model_and_the_nulls_of_its_strangers(root: Path) -> None:
    snapshot = _open(root)
    assert snapshot.names == {"lab/base", "shop/child", *(n.name for n in STRANGERS)}
    assert snapshot.models == 22
    assert set(snapshot.nulls) == {(s, SAME) for s in ("weights", "biases", "lower profile")}
    for null in snapshot.nulls.values():
        assert (null.origin, null.families) == ("index", 21)
        assert null.pairs == 22 * 21 // 2 - 1  # all but the two relatives
    assert snapshot.cohorts["dna-1"].origin == "index"


def test_few_families_have_no_nulls(tmp_path: Path) -> None:
    snapshot = _open(_table(tmp_path / "index", [BASE, CHILD, *STRANGERS[:14]]).location)
    assert snapshot.nulls == {}
    assert snapshot.models == 16


def test_candidates_come_by_matrices_by_biases_and_by_behaviour(tmp_path: Path) -> None:
    """Each of three models is nearest in one of the three, and far in the others."""
    rng_base = base_model(1000)
    matrices = same_start(BASE, "by/matrices", 1).behaving(0.0, 1)
    biases = stranger("by/biases", 2)
    kept = {n: t for n, t in tuned(rng_base, 3).items() if t.ndim == 1}
    biases = biases.named("by/biases", {**biases.tensors, **kept})
    behaving = stranger("by/behaviour", 4)
    behaving = replace(behaving, behaviour=BASE.behaving(0.9, 5).behaviour)
    found = [matrices, biases, behaving]
    snapshot = _open(_table(tmp_path / "index", [*found, *STRANGERS]).location)
    assert set(snapshot.candidates(SUSPECT, 1)) == {n.name for n in found}
    assert len(snapshot.candidates(SUSPECT, 3)) <= 9
    assert set(snapshot.candidates(SUSPECT, 100)) == snapshot.names
    only = replace(SUSPECT, dna=None, gif=None)
    assert set(snapshot.candidates(only, 1)) == {"by/matrices", "by/biases"}


def test_profiles_are_whole_sorted_and_read_once(root: Path) -> None:
    snapshot = _open(root)
    found = snapshot.profiles(["shop/child", "lab/base", "nobody/knows", "shop/child"])
    assert [f.model for f in found] == ["lab/base", "shop/child"]
    original = BASE.fingerprint()
    assert found[0].contents == original.contents
    assert found[0].dna is not None
    assert original.dna is not None
    np.testing.assert_array_equal(found[0].dna.vectors, original.dna.vectors)
    assert snapshot.profiles(["lab/base"])[0] is found[0]


def test_default_probes_are_those_that_come_with_provray(root: Path) -> None:
    snapshot = _open(root)
    for digest in DEFAULT_DIGESTS.values():
        assert snapshot.default_probes(digest)
    assert not snapshot.default_probes("own probes")
    assert not snapshot.default_probes("")


# --- spaces


def test_an_index_without_these_spaces_is_an_error(root: Path) -> None:
    with pytest.raises(
        SpaceMismatch, match=r"holds nothing in the spaces weights-other.*weights-1"
    ):
        open_snapshot(root, ["weights-other"])


def test_weights_of_an_older_sketch_are_an_error_though_behaviour_fits(root: Path) -> None:
    """Or every verdict would rest on behaviour alone, and say nothing of it."""
    with pytest.raises(SpaceMismatch, match=r"weights-1 of another provray: crawl it again"):
        open_snapshot(root, ["weights-2", "dna-1", "gif-1"])


def test_an_index_that_was_sketched_again_is_opened(root: Path) -> None:
    """Rows of the old space stay in the table; those of the new one are compared."""
    table = FingerprintTable.open(root)
    fresh = [replace(n.rows()[0], space="weights-2") for n in (BASE, *STRANGERS)]
    table.append(fresh)
    snapshot = open_snapshot(root, ["weights-2", "dna-1", "gif-1"])
    (base,) = snapshot.profiles(["lab/base"])
    assert base.weights is not None
    assert base.weights.space == "weights-2"
    (child,) = snapshot.profiles(["shop/child"])
    assert child.weights is None  # not sketched again


def test_an_empty_index_can_be_asked(tmp_path: Path) -> None:
    snapshot = _open(_table(tmp_path / "index", []).location)
    assert (snapshot.models, snapshot.nulls, snapshot.candidates(SUSPECT, 5)) == (0, {}, [])
    assert judge(SUSPECT, snapshot).verdict == "none"


# --- versions and cache


def test_a_newer_version_changes_no_older_snapshot(root: Path) -> None:
    before = _open(root)
    FingerprintTable.open(root).append(stranger("far/late", 77).rows())
    after = _open(root)
    assert after.names - before.names == {"far/late"}
    assert after.version > before.version
    assert _answers(before) == _answers(_open(root, before.version))


def test_a_deleted_or_damaged_cache_is_rebuilt(root: Path) -> None:
    first = _open(root)
    wanted = _answers(first)
    assert wanted[0][0] == "lab/base"
    (folder,) = (root / "cache").iterdir()
    files = sorted(file.name for file in folder.iterdir())
    assert {"weights.faiss", "biases.faiss", "image.faiss", "listing.json"} <= set(files)

    def assert_rebuilt() -> None:
        again = _open(root)
        assert _answers(again) == wanted
        _assert_same_nulls(again, first)
        assert sorted(file.name for file in folder.iterdir()) == files

    assert_rebuilt()
    for name in files:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 0xFF
        (folder / name).write_bytes(bytes(content))
        assert_rebuilt()
        assert (folder / name).read_bytes() != bytes(content)
        (folder / name).unlink()
        assert_rebuilt()
    for file in folder.iterdir():
        file.unlink()
    assert_rebuilt()


def test_what_is_read_from_the_cache_is_what_was_built(root: Path) -> None:
    built, cached = _open(root), _open(root)
    _assert_same_nulls(cached, built)
    assert built.nulls
    assert cached.cohorts.keys() == built.cohorts.keys()
    for space, cohort in built.cohorts.items():
        assert (cached.cohorts[space].size, cached.cohorts[space].origin) == (
            cohort.size,
            cohort.origin,
        )
        for name, mean in cohort.means.items():
            np.testing.assert_array_equal(cached.cohorts[space].means[name], mean)
    assert cached.searches.keys() == built.searches.keys() == {"weights", "biases", "image"}
    assert _answers(cached) == _answers(built)


def test_an_index_made_anew_at_the_same_place_takes_nothing_from_the_old_ones_cache(
    root: Path,
) -> None:
    """Both are at version 1, and on S3 the cache is not even beside the table."""
    _open(root)
    shutil.rmtree(root / "table")
    _table(root, STRANGERS[:4])
    assert set(_open(root).searches["weights"].keys) == {n.rows()[0].model for n in STRANGERS[:4]}


def test_the_cache_of_an_index_on_s3_is_local_and_used(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    table = _table(f"s3://{s3_bucket}/index", [BASE, CHILD, *STRANGERS])
    built = _open(table.location)
    (seal,) = (tmp_path / "caches").rglob("seal.json")
    sealed_at = seal.stat().st_mtime_ns
    again = _open(table.location)
    assert _answers(again) == _answers(built)
    assert _answers(again)[0][0] == "lab/base"
    assert seal.stat().st_mtime_ns == sealed_at
