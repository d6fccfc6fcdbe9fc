"""Putting a model's fingerprint together from its rows."""

from __future__ import annotations

import itertools

from provray.ancestry.fingerprint import Fingerprint, assemble
from provray.index.row import Row
from tests.ancestry.rows import axis, make_model, make_row


def _rows(model: str, revision: str, seconds: int) -> list[Row]:
    return [
        make_row(model, kind, {"x": axis(0)}, revision=revision, seconds=seconds + i)
        for i, kind in enumerate(("weights", "dna", "gif"))
    ]


def test_rows_of_a_model_become_one_fingerprint() -> None:
    weights, dna, gif = _rows("b", "r1", 0)
    alone = make_row("a", "weights", {"x": axis(1)})
    for order in itertools.permutations([weights, dna, gif, alone]):
        first, second = assemble(order)
        assert (first.model, second.model) == ("a", "b")
        assert (first.weights, first.dna, first.gif) == (alone, None, None)
        assert second.weights is weights
        assert second.dna is dna
        assert second.gif is gif
    assert assemble([]) == []


def test_the_newest_revision_is_taken_whatever_order_rows_come_in() -> None:
    older, newer = _rows("m", "zzz", 0), _rows("m", "aaa", 100)
    for rows in (older + newer, newer + older, [*older[:1], *newer, *older[1:]]):
        (found,) = assemble(rows)
        assert found.revision == "aaa"
        assert {row.revision for row in (found.weights, found.dna, found.gif) if row} == {"aaa"}


def test_kinds_of_two_revisions_are_never_put_together() -> None:
    (found,) = assemble([*_rows("m", "old", 0), _rows("m", "new", 100)[0]])
    assert found.revision == "new"
    assert found.weights is not None
    assert (found.dna, found.gif) == (None, None)


def test_an_older_revision_that_was_probed_late_stays_the_older_one() -> None:
    """Its weights came first; that its behaviour was measured last says nothing."""
    older = _rows("m", "old", 0)
    older[1] = make_row("m", "dna", {"x": axis(0)}, revision="old", seconds=500)
    (found,) = assemble([*older, *_rows("m", "new", 100)])
    assert found.revision == "new"


def test_a_model_known_by_behaviour_alone_has_one_newest_revision_too() -> None:
    older, newer = _rows("m", "zzz", 0)[1:], _rows("m", "aaa", 100)[1:]
    found = assemble([*older, *newer])
    assert [f.revision for f in found] == ["aaa"]


def test_modality_and_spaces_are_those_of_its_rows() -> None:
    model = make_model("m", axis(0), {"x": axis(0)}, {"x": axis(0)}, modality="text")
    assert model.modality == "text"
    assert model.spaces == ("weights-1", "dna-1", "gif-1")
    empty = Fingerprint("m", "r")
    assert (empty.modality, empty.spaces) == ("", ())
    unknown = make_row("m", "weights", {"weights": axis(0)}, modality="")
    assert Fingerprint("m", "r", unknown).modality == ""
