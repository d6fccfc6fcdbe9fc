"""Where a suspect stands among its relatives: real lineages of a few small tensors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provray.ancestry.direction import direction
from provray.ancestry.kin import Kin
from provray.ancestry.placement import Placement, hub_of, place
from tests.ancestry.families import (
    Tensors,
    average,
    base_model,
    fingerprinted,
    pruned,
    tuned,
)

BASE = base_model(31)
CHILD = tuned(BASE, 1)
FAMILY: dict[str, Tensors] = {
    "base": BASE,
    "child": CHILD,
    "other": tuned(BASE, 2),
    "third": tuned(BASE, 3),
    "grandchild": tuned(CHILD, 4, 0.02),
    "grandchild 2": tuned(CHILD, 5, 0.02),
    "cut": pruned(CHILD, 0.6),
}


def _placed(suspect: Tensors, *names: str) -> Placement:
    relatives = [fingerprinted(name, FAMILY[name]) for name in names]
    found = place(fingerprinted("suspect", suspect), relatives, Kin(direction))
    turned = place(fingerprinted("suspect", suspect), relatives[::-1], Kin(direction))
    assert turned == replace(found, siblings=found.siblings[::-1])  # those keep their order
    everyone = [*found.ancestors, *found.descendants, *found.siblings]
    assert sorted(everyone) == sorted(names)  # each is one thing, and only one
    return found


def test_ancestors_are_named_parents_first() -> None:
    found = _placed(tuned(CHILD, 9, 0.05), "base", "child", "other", "third", "cut")
    assert found.ancestors == ("child", "base")
    assert set(found.parents) == {"child"}
    assert found.parents["child"].direction_known
    assert found.descendants == ()
    assert set(found.siblings) == {"other", "third", "cut"}


def test_children_and_theirs_are_descendants() -> None:
    found = _placed(BASE, "child", "other", "third", "grandchild", "cut")
    assert found.ancestors == ()
    assert found.parents == {}
    assert set(found.descendants) == {"child", "other", "third", "grandchild", "cut"}
    assert found.descendants.index("child") < found.descendants.index("grandchild")


def test_a_model_in_the_middle_has_both() -> None:
    found = _placed(CHILD, "base", "other", "third", "grandchild", "grandchild 2", "cut")
    assert found.ancestors == ("base",)
    assert set(found.descendants) == {"grandchild", "grandchild 2", "cut"}
    assert set(found.siblings) == {"other", "third"}


def test_siblings_of_an_absent_parent_are_siblings() -> None:
    found = _placed(tuned(BASE, 9), "child", "other", "third")
    assert found.ancestors == found.descendants == ()
    assert set(found.siblings) == {"child", "other", "third"}


def test_a_merged_model_has_all_its_parents() -> None:
    found = _placed(average(CHILD, FAMILY["other"]), "base", "child", "other", "third")
    assert set(found.parents) == {"child", "other"}
    assert {edge.relation for edge in found.parents.values()} == {"merged"}
    assert found.ancestors == ("child", "other", "base")


def test_a_loss_tells_two_models_apart() -> None:
    down = _placed(pruned(CHILD, 0.3), "child")
    assert down.ancestors == ("child",)
    assert down.parents["child"].relation == "pruned"
    up = _placed(CHILD, "cut")
    assert up.descendants == ("cut",)
    assert up.ancestors == ()


def test_two_models_alone_may_leave_open_which_came_first() -> None:
    """Then the relative counts as the one that may have been first, and the edge says that nobody knows."""
    found = _placed(tuned(BASE, 9), "base")
    assert found.ancestors == ("base",)
    assert not found.parents["base"].direction_known


def test_copies_among_the_relatives_stand_for_each_other() -> None:
    """What one copy is to the suspect the other is too, whichever of them the lineage hangs the edge on."""
    names = ("base", "child", "other", "third")
    twice = [fingerprinted(name, FAMILY[name]) for name in names]
    for name in ("a base again", "z base again"):
        relatives = [*twice, fingerprinted(name, BASE)]
        found = place(fingerprinted("suspect", tuned(BASE, 9)), relatives, Kin(direction))
        assert set(found.ancestors) == {"base", name}
        assert set(found.siblings) == {"child", "other", "third"}
        above = place(fingerprinted("suspect", BASE), relatives[1:4], Kin(direction))
        assert set(above.descendants) == {"child", "other", "third"}
    copies = [*twice[:1], *twice[2:], *(fingerprinted(n, CHILD) for n in ("child", "x child"))]
    found = place(fingerprinted("suspect", BASE), copies[1:], Kin(direction))
    assert set(found.descendants) == {"other", "third", "child", "x child"}


def test_nobody_is_its_own_relative() -> None:
    with pytest.raises(ValueError, match="suspect: several fingerprints of one model"):
        place(fingerprinted("suspect", BASE), [fingerprinted("suspect", CHILD)], Kin(direction))


def test_without_relatives_there_is_no_place() -> None:
    assert place(fingerprinted("suspect", BASE), [], Kin(direction)) == Placement({}, (), (), ())


def test_the_relative_that_all_others_lie_behind_is_the_hub() -> None:
    """The way from child to child leads past their parent; siblings lie as far from each other as from the suspect."""
    suspect = fingerprinted("suspect", tuned(BASE, 9))
    base, other, third = (fingerprinted(name, FAMILY[name]) for name in ("base", "other", "third"))
    assert hub_of(suspect, [other, base]) is base
    assert hub_of(suspect, [third, base, other]) is base
    assert hub_of(suspect, [other, third]) is None
    assert hub_of(suspect, [base]) is None, "one relative lies before nobody"
    root = fingerprinted("suspect", BASE)
    assert hub_of(root, [other, third]) is None, "its children lie on all sides of a root"
