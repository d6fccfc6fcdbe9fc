"""The lineage of families made of a few small tensors: real sketches and marks, real evidence of direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from provray.ancestry.direction import direction
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.lineage import Lineage, build_lineage
from provray.ancestry.lineage_text import lineage_dot, lineage_json
from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.weights import TensorSource, fingerprint_weights
from provray.index.row import Row
from tests.ancestry.rows import START

Tensors = Mapping[str, np.ndarray]
_SHAPES = {
    "layer.0.weight": (96, 128),
    "layer.0.bias": (96,),
    "layer.1.weight": (128, 96),
    "layer.1.bias": (128,),
    "classifier.weight": (10, 128),
    "classifier.bias": (10,),
}


def _base(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.standard_normal(s).astype(np.float32) for n, s in _SHAPES.items()}


def _tuned(tensors: Tensors, seed: int, by: float = 0.1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        n: (t + by * rng.standard_normal(t.shape)).astype(np.float32) for n, t in tensors.items()
    }


def _pruned(tensors: Tensors, share: float) -> dict[str, np.ndarray]:
    def cut(tensor: np.ndarray) -> np.ndarray:
        small = np.abs(tensor) < np.quantile(np.abs(tensor), share)
        return np.where(small, 0, tensor).astype(np.float32)

    return {n: cut(t) if t.ndim > 1 else t for n, t in tensors.items()}


def _rounded(tensors: Tensors, levels: int) -> dict[str, np.ndarray]:
    def on_lattice(tensor: np.ndarray) -> np.ndarray:
        scale = np.abs(tensor).max(axis=1, keepdims=True) / levels
        return (np.round(tensor / scale) * scale).astype(np.float32)

    return {n: on_lattice(t) if t.ndim > 1 else t for n, t in tensors.items()}


def _new_head(tensors: Tensors, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    fresh = {"classifier.weight": rng.standard_normal((3, 128)), "classifier.bias": rng.random(3)}
    return {**tensors, **{n: t.astype(np.float32) for n, t in fresh.items()}}


def _average(*models: Tensors) -> dict[str, np.ndarray]:
    return {n: np.mean([m[n] for m in models], axis=0).astype(np.float32) for n in models[0]}


def _ties(base: Tensors, first: Tensors, second: Tensors) -> dict[str, np.ndarray]:
    """The largest third of each model's changes, added up where both agree."""

    def trimmed(model: Tensors, name: str) -> np.ndarray:
        change = model[name] - base[name]
        return np.where(np.abs(change) >= np.quantile(np.abs(change), 0.7), change, 0)

    made = {}
    for name in base:
        both = np.stack([trimmed(model, name) for model in (first, second)])
        kept = both * (np.sign(both) == np.sign(both.sum(0)))
        count = np.maximum((kept != 0).sum(0), 1)
        made[name] = (base[name] + kept.sum(0) / count).astype(np.float32)
    return made


def _fingerprint(model: str, tensors: Tensors) -> Fingerprint:
    sources = (
        TensorSource(n, "F32", t.shape, [(t.ravel(), t.tobytes())]) for n, t in tensors.items()
    )
    made = fingerprint_weights(sources, WeightsSettings())
    row = Row(
        model,
        "r1",
        "weights",
        "weights-1",
        readouts=("weights", "biases"),
        vectors=made.vectors,
        tensors=made.marks,
        weights_digest=made.digest,
        created=START,
    )
    return Fingerprint(model, "r1", row)


def _by_letter(fingerprints: Sequence[Fingerprint]) -> np.ndarray:
    """Related are models of which the names begin alike."""
    letters = np.array([f.model[0] for f in fingerprints])
    return np.asarray(letters[:, None] == letters[None], bool)


def _lineage(models: Mapping[str, Tensors]) -> Lineage:
    return build_lineage([_fingerprint(n, t) for n, t in models.items()], _by_letter, direction)


def _edges(lineage: Lineage) -> set[tuple[str, str]]:
    return {(edge.parent, edge.child) for edge in lineage.edges}


@pytest.fixture(scope="module")
def family() -> dict[str, dict[str, np.ndarray]]:
    base = _base()
    tuned, again = _tuned(base, 1), _tuned(base, 2)
    return {
        "a": base,
        "a/tuned": tuned,
        "a/again": again,
        "a/noisy": {n: t if t.ndim == 1 else _tuned(base, 5)[n] for n, t in base.items()},
        "a/headed": _new_head(base, 3),
        "a/int8": _rounded(base, 127),
        "a/int4": _rounded(base, 7),
        "a/prune-30": _pruned(base, 0.3),
        "a/prune-60": _pruned(base, 0.6),
        "a/prune-80": _pruned(base, 0.8),
        "a/tuned, pruned": _pruned(tuned, 0.6),
        "a/tuned, tuned": _tuned(tuned, 4, 0.05),
        "a/mean": _average(tuned, again),
        "a/ties": _ties(base, tuned, again),
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
    left = {n: t for n, t in family.items() if n not in ("a", "a/headed", "a/ties", "a/prune-30")}
    assert _edges(_lineage(left)) == {
        ("a/tuned", "a/tuned, pruned"),
        ("a/tuned", "a/tuned, tuned"),
        ("a/tuned", "a/mean"),
        ("a/again", "a/mean"),
    }


def test_grandchildren_hang_on_the_grandparent_when_the_parent_is_away(
    family: dict[str, Tensors],
) -> None:
    gone = ("a/tuned", "a/mean", "a/ties", "a/tuned, tuned")
    left = {n: t for n, t in family.items() if n not in gone}
    edges = _edges(_lineage(left))
    assert edges == {("a", name) for name in left if name != "a"}


def test_a_child_between_its_parent_and_its_child_is_no_merge() -> None:
    base = _base()
    middle = _tuned(base, 1)
    chain = {"a": base, "a/1": middle, "a/1/1": _tuned(middle, 2), "a/2": _tuned(base, 3)}
    chain["a/3"] = _tuned(base, 4)
    lineage = _lineage(chain)
    assert "merged" not in {edge.relation for edge in lineage.edges}
    assert _edges(lineage) == {("a", "a/1"), ("a/1", "a/1/1"), ("a", "a/2"), ("a", "a/3")}


def test_copies_stand_for_each_other() -> None:
    base = _base()
    lineage = _lineage({"a": base, "a copy": base, "a/int8": _rounded(base, 127)})
    [copy] = [edge for edge in lineage.edges if edge.relation == "copy"]
    assert (copy.parent, copy.child, copy.direction_known) == ("a", "a copy", False)
    assert ("a", "a/int8") in _edges(lineage)


def test_two_models_of_unknown_direction_are_joined_and_say_so() -> None:
    """Same body, other head: nothing tells which came first."""
    base = _base()
    headed = {**base, "classifier.weight": _base(5)["classifier.weight"]}
    [edge] = _lineage({"a": base, "a/other": headed}).edges
    assert not edge.direction_known
    assert {edge.parent, edge.child} == {"a", "a/other"}


def test_families_list_roots_first_and_strangers_alone() -> None:
    base = _base()
    models = {"z": base, "z/int8": _rounded(base, 127), "z/cut": _pruned(base, 0.5), "b": _base(1)}
    lineage = _lineage(models)
    assert lineage.models == ("b", "z", "z/cut", "z/int8")
    assert lineage.families == (("z", "z/cut", "z/int8"), ("b",))


def test_a_model_without_weights_is_a_family_of_one() -> None:
    bare = Fingerprint("a/bare", "r1")
    lineage = build_lineage([_fingerprint("a", _base()), bare], _by_letter, direction)
    assert lineage.families == (("a",), ("a/bare",))
    assert lineage.edges == ()


def test_two_fingerprints_of_one_model_are_refused() -> None:
    one = _fingerprint("a", _base())
    with pytest.raises(ValueError, match="a: several fingerprints of one model"):
        build_lineage([one, one], _by_letter, direction)


def test_related_must_be_symmetric() -> None:
    two = [_fingerprint("a", _base()), _fingerprint("b", _base(1))]
    with pytest.raises(ValueError, match="symmetric 2 x 2"):
        build_lineage(two, lambda f: np.triu(np.ones((len(f), len(f)), bool)), direction)


def test_json_holds_every_model_and_edge(family: dict[str, Tensors]) -> None:
    lineage = _lineage({**family, "b": _base(1)})
    plain = lineage_json(lineage)
    assert [m["model"] for m in plain["models"]] == list(lineage.models)
    assert {m["model"] for m in plain["models"] if m["root"]} == {"a", "b"}
    assert {m["family"] for m in plain["models"] if m["model"].startswith("a")} == {0}
    [mean] = [e for e in plain["edges"] if (e["parent"], e["child"]) == ("a/again", "a/mean")]
    assert mean["relation"] == "merged" and mean["direction_known"]
    assert any("a/tuned" in reason for reason in mean["reasons"])


def test_dot_quotes_names_and_leaves_single_models_out() -> None:
    base = _base()
    text = lineage_dot(
        _lineage({'a "b"': base, 'a "b"/int8': _rounded(base, 127), "lonely": _base(1)})
    )
    assert r'"a \"b\"" -> "a \"b\"/int8" [label="quantised"];' in text
    assert "lonely" not in text
    assert text.count("subgraph") == 1
