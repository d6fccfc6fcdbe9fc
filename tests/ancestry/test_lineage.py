"""The lineage of families made of a few small tensors: real sketches and marks, real evidence of direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from provray.ancestry.direction import direction
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.lineage import Lineage, build_lineage
from provray.ancestry.lineage_text import lineage_dot, lineage_json
from tests.ancestry.families import (
    Tensors,
    average,
    base_model,
    fingerprinted,
    new_head,
    pruned,
    rounded,
    ties,
    tuned,
)


def _by_letter(fingerprints: Sequence[Fingerprint]) -> np.ndarray:
    """Related are models of which the names begin alike."""
    letters = np.array([f.model[0] for f in fingerprints])
    return np.asarray(letters[:, None] == letters[None], bool)


def _lineage(models: Mapping[str, Tensors]) -> Lineage:
    return build_lineage([fingerprinted(n, t) for n, t in models.items()], _by_letter, direction)


def _edges(lineage: Lineage) -> set[tuple[str, str]]:
    return {(edge.parent, edge.child) for edge in lineage.edges}


@pytest.fixture(scope="module")
def family() -> dict[str, dict[str, np.ndarray]]:
    base = base_model()
    first, again = tuned(base, 1), tuned(base, 2)
    return {
        "a": base,
        "a/tuned": first,
        "a/again": again,
        "a/noisy": {n: t if t.ndim == 1 else tuned(base, 5)[n] for n, t in base.items()},
        "a/headed": new_head(base, 3),
        "a/int8": rounded(base, 127),
        "a/int4": rounded(base, 7),
        "a/prune-30": pruned(base, 0.3),
        "a/prune-60": pruned(base, 0.6),
        "a/prune-80": pruned(base, 0.8),
        "a/tuned, pruned": pruned(first, 0.6),
        "a/tuned, tuned": tuned(first, 4, 0.05),
        "a/mean": average(first, again),
        "a/ties": ties(base, first, again),
    }


def test_every_kind_of_child_hangs_on_its_own_parent(family: dict[str, Tensors]) -> None:
    """Pruned to 60 % lies nearer to pruned to 30 % than to the original, and still comes from the original."""
    assert _edges(_lineage(family)) == {
        ("a", "a/tuned"),
        ("a", "a/again"),
        ("a", "a/noisy"),
        ("a", "a/headed"),
        ("a", "a/int8"),
        ("a", "a/int4"),
        ("a", "a/prune-30"),
        ("a", "a/prune-60"),
        ("a", "a/prune-80"),
        ("a/tuned", "a/tuned, pruned"),
        ("a/tuned", "a/tuned, tuned"),
        ("a/tuned", "a/mean"),
        ("a/again", "a/mean"),
        ("a/tuned", "a/ties"),
        ("a/again", "a/ties"),
    }


def test_the_order_of_the_models_changes_nothing(family: dict[str, Tensors]) -> None:
    turned = dict(reversed(family.items()))
    assert _lineage(turned) == _lineage(family)


def test_siblings_without_their_parent_stay_apart(family: dict[str, Tensors]) -> None:
    """What is left of the family still names what is there: the fine-tune and what was made of it."""
    gone = ("a", "a/noisy", "a/ties", "a/int8", "a/prune-30", "a/prune-60")
    left = {n: t for n, t in family.items() if n not in gone}
    assert _edges(_lineage(left)) == {
        ("a/tuned", "a/tuned, pruned"),
        ("a/tuned", "a/tuned, tuned"),
        ("a/tuned", "a/mean"),
        ("a/again", "a/mean"),
    }


def test_grandchildren_hang_on_the_grandparent_when_the_parent_is_away(
    family: dict[str, Tensors],
) -> None:
    gone = ("a/tuned", "a/mean", "a/ties", "a/tuned, tuned", "a/prune-60")
    left = {n: t for n, t in family.items() if n not in gone}
    edges = _edges(_lineage(left))
    assert edges == {("a", name) for name in left if name != "a"}


def test_a_child_between_its_parent_and_its_child_is_no_merge() -> None:
    base = base_model()
    middle = tuned(base, 1)
    chain = {"a": base, "a/1": middle, "a/1/1": tuned(middle, 2), "a/2": tuned(base, 3)}
    chain["a/3"] = tuned(base, 4)
    lineage = _lineage(chain)
    assert "merged" not in {edge.relation for edge in lineage.edges}
    assert _edges(lineage) == {("a", "a/1"), ("a/1", "a/1/1"), ("a", "a/2"), ("a", "a/3")}


def test_copies_stand_for_each_other() -> None:
    base = base_model()
    lineage = _lineage({"a": base, "a copy": base, "a/int8": rounded(base, 127)})
    [copy] = [edge for edge in lineage.edges if edge.relation == "copy"]
    assert (copy.parent, copy.child, copy.direction_known) == ("a", "a copy", False)
    assert ("a", "a/int8") in _edges(lineage)


def test_two_models_of_unknown_direction_are_joined_and_say_so() -> None:
    """Same body, other head: nothing tells which came first."""
    base = base_model()
    headed = {**base, "classifier.weight": base_model(5)["classifier.weight"]}
    [edge] = _lineage({"a": base, "a/other": headed}).edges
    assert not edge.direction_known
    assert {edge.parent, edge.child} == {"a", "a/other"}


def test_families_list_roots_first_and_strangers_alone() -> None:
    base = base_model()
    models = {
        "z": base,
        "z/int8": rounded(base, 127),
        "z/cut": pruned(base, 0.5),
        "b": base_model(1),
    }
    lineage = _lineage(models)
    assert lineage.models == ("b", "z", "z/cut", "z/int8")
    assert lineage.families == (("z", "z/cut", "z/int8"), ("b",))


def test_a_model_without_weights_is_a_family_of_one() -> None:
    bare = Fingerprint("a/bare", "r1")
    lineage = build_lineage([fingerprinted("a", base_model()), bare], _by_letter, direction)
    assert lineage.families == (("a",), ("a/bare",))
    assert lineage.edges == ()


def test_two_fingerprints_of_one_model_are_refused() -> None:
    one = fingerprinted("a", base_model())
    with pytest.raises(ValueError, match="a: several fingerprints of one model"):
        build_lineage([one, one], _by_letter, direction)


def test_related_must_be_symmetric() -> None:
    two = [fingerprinted("a", base_model()), fingerprinted("b", base_model(1))]
    with pytest.raises(ValueError, match="symmetric 2 x 2"):
        build_lineage(two, lambda f: np.triu(np.ones((len(f), len(f)), bool)), direction)


def test_json_holds_every_model_and_edge(family: dict[str, Tensors]) -> None:
    lineage = _lineage({**family, "b": base_model(1)})
    plain = lineage_json(lineage)
    assert [m["model"] for m in plain["models"]] == list(lineage.models)
    assert {m["model"] for m in plain["models"] if m["root"]} == {"a", "b"}
    assert {m["family"] for m in plain["models"] if m["model"].startswith("a")} == {0}
    [mean] = [e for e in plain["edges"] if (e["parent"], e["child"]) == ("a/again", "a/mean")]
    assert mean["relation"] == "merged"
    assert mean["direction_known"]
    assert any("a/tuned" in reason for reason in mean["reasons"])


def test_dot_quotes_names_and_leaves_single_models_out() -> None:
    base = base_model()
    text = lineage_dot(
        _lineage({'a "b"': base, 'a "b"/int8': rounded(base, 127), "lonely": base_model(1)})
    )
    assert r'"a \"b\"" -> "a \"b\"/int8" [label="quantised"];' in text
    assert "lonely" not in text
    assert text.count("subgraph") == 1
