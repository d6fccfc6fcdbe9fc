"""What is remembered of models that are related, and of whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provray.ancestry.direction import Direction, direction
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.kin import Kin, KnownKin
from provray.ancestry.snapshot import Snapshot, open_snapshot
from provray.ancestry.verdict import judge
from provray.index.table import FingerprintTable
from tests.ancestry.networks import SPACES, stranger

BASE = stranger("lab/base", 1000)
CHILD = BASE.child("shop/child", 50)
DEEP = CHILD.child("shop/deep", 51)
STRANGERS = [stranger(f"far/{i:02}", i) for i in range(20)]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Three relatives among strangers."""
    table = FingerprintTable.create(tmp_path / "index")
    table.append([row for n in (BASE, CHILD, DEEP, *STRANGERS) for row in n.rows()])
    return open_snapshot(tmp_path / "index", SPACES)


class _Counting:
    """`direction`, and the pairs that it was asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, suspect: Fingerprint, other: Fingerprint) -> Direction:
        self.asked.append((suspect.model, other.model))
        return direction(suspect, other)


def test_each_pair_is_asked_once() -> None:
    counting = _Counting()
    members = [network.fingerprint() for network in (BASE, CHILD, DEEP)]
    kin = Kin(counting)
    assert kin.lineage(members) is kin.lineage(members[::-1])
    for _ in range(2):
        assert kin.direction(members[1], members[0]) == direction(members[1], members[0])
    assert len(set(counting.asked)) == len(counting.asked) > 0


def test_a_family_of_the_index_is_placed_once(snapshot: Snapshot) -> None:
    counting = _Counting()
    names = ("lab/base", "shop/child", "shop/deep")
    answers = []
    for _ in range(2):
        for suspect in snapshot.profiles(names):
            answer = judge(suspect, snapshot, leave_out=[suspect.model], direction_of=counting)
            answers.append(answer)
    assert len(set(counting.asked)) == len(counting.asked)
    assert answers[:3] == answers[3:]
    apart = [
        judge(replace(suspect), snapshot, leave_out=[suspect.model])  # equal, but not remembered
        for suspect in snapshot.profiles(names)
    ]
    assert answers[:3] == apart


def test_who_only_bears_the_name_of_an_indexed_model_is_placed_for_itself(
    snapshot: Snapshot,
) -> None:
    (child,) = snapshot.profiles(["shop/child"])
    before = judge(child, snapshot, leave_out=[child.model])
    other = BASE.child("shop/child", 77).fingerprint()
    found = judge(other, snapshot, leave_out=[child.model])
    fresh = judge(replace(other, revision="r2"), snapshot, leave_out=[child.model])
    assert found == fresh
    assert judge(child, snapshot, leave_out=[child.model]) == before != found


def test_no_more_members_are_kept_than_allowed() -> None:
    known = KnownKin(5)
    first = known.of(["a", "b"], direction)
    assert known.of(["b", "a"], direction) is first
    assert known.of(["a", "b"], _Counting()) is not first
    assert known.of(["a", "b"], direction) is first
    known.of(["c", "d"], direction)
    assert known.of(["a", "b"], direction) is not first
