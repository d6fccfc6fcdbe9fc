"""What is lined up from an index is what its whole fingerprints give, and only theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.gallery import Gallery, pack_contents, unpack_contents
from provray.ancestry.lineup import Lineup, line_up
from provray.ancestry.scores import compare, compare_all
from provray.ancestry.shared_tensors import shared_values
from provray.ancestry.snapshot import Snapshot, open_snapshot
from provray.index.row import Row
from provray.index.table import FingerprintTable
from tests.ancestry.networks import SPACES, Network, stranger

BASE = stranger("lab/base", 1000)
CHILD = BASE.child("shop/child", 50)
STRANGERS = [stranger(f"far/{i:02}", i) for i in range(20)]
SUSPECT = BASE.child("who/knows", 60).fingerprint()
_LAB = 4


def _rows() -> list[Row]:
    """Whole models, one of text, one without behaviour, one without biases, one without weights, one older revision."""
    models = [network.rows() for network in (BASE, CHILD, *STRANGERS)]
    models[2] = [replace(row, modality="text") for row in models[2]]
    models[3] = models[3][:1]
    weights = models[_LAB][0]
    models[_LAB][0] = replace(weights, readouts=("weights",), vectors=weights.vectors[:1])
    models[5] = models[5][1:]
    old = [replace(row, revision="r0", created=row.created.replace(year=2020)) for row in models[6]]
    models[6] = [replace(row, vectors=-row.vectors) for row in old] + models[6]
    return [row for rows in models for row in rows]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Of an index with a hole of every kind."""
    root = tmp_path_factory.mktemp("gallery") / "index"
    FingerprintTable.create(root).append(_rows())
    return open_snapshot(root, SPACES)


def _vectors(lineup: Lineup) -> dict[tuple[str, str, str], Sequence[float]]:
    """By model, kind and readout."""
    return {
        (lineup.models[number], rows.layout.kind, readout): vectors[place].tolist()
        for rows in lineup.rows
        for number, vectors in zip(rows.numbers, rows.vectors, strict=True)
        for place, readout in enumerate(rows.layout.readouts)
    }


def _contents(lineup: Lineup, number: int) -> list[tuple[int, ...]]:
    table = lineup.contents.take([number])
    return list(zip(*(a.tolist() for a in (table.keys, table.values, table.counts)), strict=True))


def test_a_line_up_is_that_of_the_whole_fingerprints(snapshot: Snapshot) -> None:
    names = sorted(snapshot.names)
    found, whole = snapshot.gallery.line_up(names), line_up(snapshot.profiles(names))
    assert (found.models, found.revisions) == (whole.models, whole.revisions)
    assert list(found.types) == list(whole.types)
    assert _vectors(found) == _vectors(whole)
    assert len(_vectors(found)) > 20 * 10
    for number in range(len(names)):
        assert _contents(found, number) == _contents(whole, number)
    assert found.contents.sizes.tolist() == [f.body_size for f in snapshot.profiles(names)]
    assert len(set(found.families)) == len(names) - 1 == len(set(whole.families))


def test_scores_of_a_line_up_are_those_of_each_pair(snapshot: Snapshot) -> None:
    names = sorted(snapshot.names)
    table = compare_all(SUSPECT, snapshot.gallery.line_up(names), snapshot.cohorts)
    found = [table.of(number) for number in range(len(names))]
    alone = [compare(SUSPECT, other, snapshot.cohorts) for other in snapshot.profiles(names)]
    assert found == alone
    by_name = dict(zip(names, found, strict=True))
    assert by_name["lab/base"].biases is not None
    assert by_name["lab/base"].biases > 0.5
    assert by_name[STRANGERS[_LAB - 2].name].biases is None
    assert by_name[STRANGERS[3].name].weights is None


def test_names_are_sorted_once_each_and_unknown_ones_left_out(snapshot: Snapshot) -> None:
    asked = ["shop/child", "nobody/knows", "lab/base", "shop/child"]
    assert snapshot.gallery.line_up(asked).models == ["lab/base", "shop/child"]
    nobody = snapshot.gallery.line_up([])
    assert (len(nobody), nobody.families) == (0, [])
    assert len(compare_all(SUSPECT, nobody, snapshot.cohorts)) == 0


def test_a_subset_shares_what_it_shares_by_itself(snapshot: Snapshot) -> None:
    for names in (["far/03", "shop/child"], ["lab/base"], ["far/04", "far/03", "lab/base"]):
        found = snapshot.gallery.line_up(names).contents.shared(SUSPECT.contents)
        whole = line_up(snapshot.profiles(names)).contents.shared(SUSPECT.contents)
        np.testing.assert_array_equal(found, whole)


def test_contents_come_back_from_their_file(snapshot: Snapshot) -> None:
    members = snapshot.profiles(snapshot.names)
    found = unpack_contents(pack_contents(members))
    assert len(found.starts) == len(members) + 1
    assert found.starts[-1] == len(found.keys) == sum(len(f.contents) for f in members)
    nothing = unpack_contents(pack_contents([]))
    assert nothing.take([]).sizes.tolist() == []
    bare = unpack_contents(pack_contents([Fingerprint("a", "r1")]))
    assert bare.sizes.tolist() == [0]


def test_contents_of_other_models_are_refused(snapshot: Snapshot) -> None:
    members = snapshot.profiles(snapshot.names)
    with pytest.raises(ValueError, match=r"22 models, contents of 21"):
        Gallery(members, snapshot.store, unpack_contents(pack_contents(members[:-1])))


def test_contents_held_twice_count_as_often_as_both_hold_them() -> None:
    def network(name: str, times: int) -> Network:
        tensors = {f"layer.{n}.weight": BASE.tensors["layer.0.weight"] for n in range(times)}
        return BASE.named(name, {**BASE.tensors, **tensors})

    ours, theirs = (network(str(times), times).fingerprint() for times in (2, 3))

    for a, b in ((ours, theirs), (theirs, ours)):
        (found,) = line_up([b]).contents.shared(a.contents).tolist()
        assert found == shared_values(a.contents, b.contents)
