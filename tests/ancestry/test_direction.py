"""Which of two models came first: real sketches of arrays that are edited the way children are made."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from provray.ancestry.direction import LIMIT, Direction, direction, shipped
from provray.ancestry.direction_cues import CHANGES, CUES, MARKS, compare
from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.space import SpaceMismatch
from provray.fingerprints.weights import TensorSource, fingerprint_weights
from tests.ancestry.rows import make_row

Tensors = dict[str, np.ndarray]
Edit = Callable[[Tensors], Tensors]
READOUTS = ("natural@1", "natural@probabilities")


def _base(layers: int = 3) -> Tensors:
    rng = np.random.default_rng(0)
    made = {}
    for layer in range(layers):
        made[f"encoder.layer.{layer}.dense.weight"] = rng.standard_normal((96, 96))
        made[f"encoder.layer.{layer}.dense.bias"] = rng.standard_normal(96)
    made["embeddings.word_embeddings.weight"] = rng.standard_normal((200, 96))
    made["classifier.weight"] = rng.standard_normal((10, 96))
    return {name: tensor.astype(np.float32) for name, tensor in made.items()}


def _matrices(tensors: Tensors) -> list[str]:
    return [n for n, t in tensors.items() if t.ndim >= 2 and not n.startswith("classifier")]


def _pruned(tensors: Tensors) -> Tensors:
    cut = {n: np.where(np.abs(tensors[n]) < 0.8, 0, tensors[n]) for n in _matrices(tensors)}
    return tensors | cut


def _rounded(tensors: Tensors) -> Tensors:
    return tensors | {n: np.round(tensors[n] * 20) / 20 for n in _matrices(tensors)}


def _bfloat16(tensors: Tensors) -> Tensors:
    """All tensors, the upper 16 bits."""
    return {
        n: ((t.view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32) for n, t in tensors.items()
    }


def _trained(tensors: Tensors, by: float = 0.05, seed: int = 1) -> Tensors:
    """Steps unrelated to the weights."""
    rng = np.random.default_rng(seed)
    return {
        n: t + (by * rng.standard_normal(t.shape)).astype(np.float32) for n, t in tensors.items()
    }


def _fingerprint(model: str, tensors: Tensors, **changed: Any) -> Fingerprint:
    sources = [
        TensorSource(n, "F32", t.shape, [(t.astype(np.float32).ravel(), t.tobytes())])
        for n, t in tensors.items()
    ]
    made = fingerprint_weights(sources, WeightsSettings())
    row = make_row(model, "weights", tensors=made.marks, **changed)
    row = replace(row, vectors=made.vectors, readouts=("weights", "biases"))
    return Fingerprint(model, "r1", row)


def _ask(child: Tensors, parent: Tensors) -> Direction:
    """The answer about the parent, after checking that the other order answers the opposite."""
    a, b = _fingerprint("child", child), _fingerprint("parent", parent)
    there, back = direction(a, b), direction(b, a)
    assert there.log_likelihood_ratio == -back.log_likelihood_ratio
    opposite = {"ancestor": "descendant", "descendant": "ancestor", "unknown": "unknown"}
    assert back.said == opposite[there.said]
    return there


@pytest.mark.parametrize(
    ("edit", "word"), [(_pruned, "zeros"), (_rounded, "rounding"), (_bfloat16, "rounding")]
)
def test_an_edit_that_loses_something_made_the_child(edit: Edit, word: str) -> None:
    answer = _ask(edit(_base()), _base())
    assert answer.said == "ancestor"
    assert any(word in reason and "%" in reason for reason in answer.reasons)


@pytest.mark.parametrize("edit", [_pruned, _rounded])
def test_zeros_and_lattice_say_nothing_once_everything_was_trained(edit: Edit) -> None:
    dense = _trained(edit(_base()))
    compared = compare(_fingerprint("child", dense), _fingerprint("parent", edit(_base())))
    assert not any(compared.marks.values())
    assert any("may" in word for word in compared.words.values())


def test_an_adapter_on_a_pruned_model_does_not_pass_for_its_parent() -> None:
    """Biases stay the same and the zeros are gone, at a fraction of what making them costs."""
    rng = np.random.default_rng(2)
    pruned = _pruned(_base())
    low_rank = {
        n: pruned[n] + 0.01 * np.multiply.outer(*(rng.standard_normal(k) for k in pruned[n].shape))
        for n in _matrices(pruned)
    }
    compared = compare(_fingerprint("child", pruned | low_rank), _fingerprint("parent", pruned))
    assert not any(compared.marks.values())
    assert "filled zeros in" in compared.words["zeros"]


def test_dropped_layers() -> None:
    fewer = {n: t for n, t in _base().items() if ".2." not in n}
    answer = _ask(fewer, _base())
    assert answer.said == "ancestor"
    assert "layers were dropped" in " ".join(answer.reasons)


def test_copied_layers_are_no_dropped_ones() -> None:
    more = _base()
    more |= {n.replace(".2.", ".3."): t for n, t in _base().items() if ".2." in n}
    assert _ask(more, _base()).said == "unknown"


def test_a_body_that_only_grew_with_another_head_is_the_childs() -> None:
    child = _trained(_base()) | {"classifier.weight": np.ones((4, 96), np.float32)}
    answer = _ask(child, _base())
    assert answer.said == "ancestor"
    assert answer.log_likelihood_ratio <= LIMIT
    assert "larger" in " ".join(answer.reasons)


def test_a_counter_of_batches_counts_up() -> None:
    counted = {"norm.num_batches_tracked": np.array(400, np.int64)}
    later = {"norm.num_batches_tracked": np.array(450, np.int64)}
    compared = compare(
        _fingerprint("child", _trained(_base()) | later), _fingerprint("parent", _base() | counted)
    )
    assert compared.cues[CUES.index("batches counted")] == 1.0
    assert "450 batches" in compared.words["batches counted"]


def test_a_merge_does_not_pass_for_the_parent_of_what_was_merged() -> None:
    """An average is smaller than each of its parts, as a parent is smaller than its fine-tune."""
    parts = [_trained(_base(), seed=seed) for seed in (1, 2)]
    merged = {n: (parts[0][n] + parts[1][n]) / 2 for n in parts[0]}
    compared = compare(_fingerprint("child", merged), _fingerprint("parent", parts[0]))
    assert compared.cues[CUES.index("size")] < -0.2
    assert _ask(merged, parts[0]).said == "unknown"


def test_the_same_body_says_nothing() -> None:
    answer = _ask(_base() | {"classifier.weight": np.ones((4, 96), np.float32)}, _base())
    assert (answer.said, answer.log_likelihood_ratio) == ("unknown", 0.0)
    assert "bit for bit" in " ".join(answer.reasons)


def test_marks_that_contradict_each_other_are_no_answer() -> None:
    """Coarser on one side, zeros on the other, under the same biases."""
    a, b = _fingerprint("one", _rounded(_base())), _fingerprint("two", _pruned(_base()))
    assert compare(a, b).marks == {"zeros": -1, "lattice": 1, "layers": 0}
    assert direction(a, b).said == "unknown"
    assert "contradict" in direction(a, b).reasons[-1]


def test_behaviour_of_another_probe_set_is_left_out() -> None:
    def behaved(model: str, tensors: Tensors, space: str, trace: float) -> Fingerprint:
        vectors = {name: np.ones(4) for name in READOUTS}
        dna = make_row(model, "dna", vectors, space=space, scales=(1.0, trace, 1.0, trace))
        return replace(_fingerprint(model, tensors), dna=dna)

    child = behaved("child", _trained(_base()), "dna-1", 4.0)
    same = compare(child, behaved("parent", _base(), "dna-1", 2.0))
    other = compare(child, behaved("parent", _base(), "dna-2", 2.0))
    behaviour = slice(CUES.index("rank"), CUES.index("confidence") + 1)
    assert min(same.cues[behaviour]) > 0
    assert other.cues[behaviour] == (0.0, 0.0)


def test_behaviour_of_which_a_part_is_gone_is_named() -> None:
    dna = make_row("child", "dna", {name: np.ones(4) for name in READOUTS}, scales=(1.0, 2.0, 1.0))
    child = replace(_fingerprint("child", _trained(_base())), dna=dna)
    whole = replace(dna, model="parent", scales=(1.0, 2.0, 1.0, 2.0))
    parent = replace(_fingerprint("parent", _base()), dna=whole)
    for pair in ((child, parent), (parent, child)):
        with pytest.raises(ValueError, match=r"dna row of child holds 3 scales, not 4.*verify"):
            compare(*pair)


def test_a_card_is_a_prior_and_never_moves_the_number() -> None:
    plain = _fingerprint("hub/child", _base()), _fingerprint("hub/parent", _base())
    card = json.dumps({"base_model": ["hub/parent"]})
    told = _fingerprint("hub/child", _base(), declared=card), plain[1]
    assert direction(*plain).priors == ()
    answer = direction(*told)
    assert answer.priors == ("declared: the card of hub/child names hub/parent as its base",)
    assert (answer.said, answer.log_likelihood_ratio) == ("unknown", 0.0)


def test_a_longer_vocabulary_is_a_prior() -> None:
    longer = _base()
    name = "embeddings.word_embeddings.weight"
    longer[name] = np.concatenate([longer[name], longer[name][:3] + 1])
    answer = _ask(longer, _base())
    assert answer.said == "unknown"
    assert answer.priors[0].startswith("custom: the embedding of child has 203 rows")


def test_no_weights_no_direction() -> None:
    answer = direction(_fingerprint("child", _base()), Fingerprint("parent", "r1"))
    assert answer == Direction("unknown", 0.0, ("no weights of parent are indexed",))


def test_two_spaces_are_an_error() -> None:
    with pytest.raises(SpaceMismatch, match="weights-2"):
        direction(
            _fingerprint("child", _base()), _fingerprint("parent", _base(), space="weights-2")
        )


def test_what_ships_is_complete() -> None:
    coefficients = shipped()
    assert set(coefficients.marks) == set(MARKS)
    assert np.array(coefficients.weights).shape == (len(CHANGES), len(CUES))
    assert 0 < coefficients.threshold < min(LIMIT, *coefficients.marks.values())
    assert all(0 < weight < math.log(100) for weight in coefficients.marks.values())
