"""Tensors that two models hold in common, under whatever name, order and storage."""

from __future__ import annotations

import numpy as np
import pytest

from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.shared_tensors import shared_values
from provray.fingerprints.weights import TensorMark
from provray.index.row import rows_from_table, rows_to_table
from tests.ancestry.families import Tensors, fingerprinted
from tests.ancestry.rows import make_row

RNG = np.random.default_rng(0)
TENSOR = RNG.standard_normal((64, 32)).astype(np.float32)
OTHER = RNG.standard_normal((64, 32)).astype(np.float32)
RNG_BIAS = RNG.standard_normal(40).astype(np.float32)


def _print(tensors: Tensors) -> Fingerprint:
    return fingerprinted("m", tensors)


def _shared(ours: Tensors, theirs: Tensors) -> float | None:
    there = shared_values(_print(ours).contents, _print(theirs).contents)
    assert there == shared_values(_print(theirs).contents, _print(ours).contents)
    return there


def _with(tensor: np.ndarray, name: str = "layer.0.weight") -> dict[str, np.ndarray]:
    """A body of which this tensor is half."""
    rest = np.random.default_rng(tensor.size + len(name)).standard_normal(tensor.shape)
    return {name: tensor, "rest.weight": rest.astype(np.float32)}


def _half(child: np.ndarray, parent: np.ndarray = TENSOR, name: str = "layer.7.weight") -> float:
    """Share of a body that it has in common with another one of which only this tensor may be the same."""
    rest = np.random.default_rng(9).standard_normal(child.shape).astype(np.float32)
    found = _shared(_with(parent), {name: child, "other.weight": rest})
    assert found is not None
    return found


def test_the_same_values_are_shared_and_others_are_not() -> None:
    assert _half(TENSOR) == 0.5
    assert _half(OTHER) == 0.0


def test_under_another_name_in_another_order_and_shape() -> None:
    """Layers move up when one is dropped; neurons can stand in any order; a matrix can be stored turned."""
    rng = np.random.default_rng(1)
    assert _half(TENSOR, name="tower.block.3.dense.weight") == 0.5
    assert _half(TENSOR[rng.permutation(64)]) == 0.5
    assert _half(np.ascontiguousarray(TENSOR[:, rng.permutation(32)])) == 0.5
    assert _half(np.ascontiguousarray(TENSOR.T)) == 0.5
    assert _half(TENSOR.reshape(32, 64)) == 0.5


def test_half_precision_kept_as_single() -> None:
    """Same values in another storage; rounding them is another thing."""
    half = TENSOR.astype(np.float16)
    assert _half(half, half.astype(np.float32)) == 0.5
    assert _half(half, TENSOR) == 0.0


@pytest.mark.parametrize("change", ["one value", "scaled", "tuned", "pruned"])
def test_changed_values_are_not_shared(change: str) -> None:
    changed = TENSOR.copy()
    if change == "one value":
        changed[3, 3] += 0.1
    elif change == "scaled":
        changed *= 1.001
    elif change == "tuned":
        changed += 1e-3 * OTHER
    else:
        changed[np.abs(changed) < 0.05] = 0
    assert _half(changed) == 0.0


def test_a_start_is_nothing_learned() -> None:
    """Gains of one, biases of zero, signs of one size: everybody begins with those."""
    for start in (
        np.ones(64),
        np.zeros(64),
        np.full(64, 0.02),
        np.where(OTHER[:, 0] > 0, 1.0, -1.0),
    ):
        tensors = {"norm.weight": start.astype(np.float32)}
        assert _print(tensors).contents.total() == 0
        assert _shared({**tensors, "w": TENSOR}, {**tensors, "w": OTHER}) == 0.0
        assert _shared(tensors, tensors) is None


@pytest.mark.parametrize(
    "name",
    [
        "classifier.weight",
        "lm_head.weight",
        "pooler.dense.weight",
        "bn.running_mean",
        "layer.1.bn.running_var",
        "embeddings.position_ids",
        "h.0.attn.bias",
    ],
)
def test_heads_statistics_and_tables_are_no_body(name: str) -> None:
    assert _shared({name: TENSOR, "w": TENSOR}, {name: TENSOR, "w": OTHER}) == 0.0
    assert _shared({"v": TENSOR, "w": TENSOR}, {"v": TENSOR, "w": OTHER}) == 0.5


def test_a_handful_of_values_may_be_the_same_by_chance() -> None:
    few, enough = np.arange(7, dtype=np.float32), np.arange(8, dtype=np.float32)
    assert _print({"b": few}).contents.total() == 0
    assert _print({"b": enough}).contents.total() == 1


def test_the_share_is_of_the_smaller_body_and_by_values() -> None:
    small = {"a": TENSOR, "b": RNG_BIAS}
    large = {**small, "c": OTHER}
    assert _shared(small, large) == 1.0
    assert _shared({"a": TENSOR, "c": OTHER}, small) == pytest.approx(2048 / 2088)
    assert _shared({"b": RNG_BIAS, "c": OTHER}, {"a": TENSOR, "b": RNG_BIAS}) == pytest.approx(
        40 / 2088
    )


def test_a_tensor_counts_as_often_as_both_hold_it() -> None:
    """Stacking a layer three times makes no three shared layers with a model that has it once."""
    thrice = {f"layer.{i}.weight": TENSOR for i in range(3)}
    assert _shared(thrice, {"layer.0.weight": TENSOR, "c": OTHER}) == 0.5
    assert _shared(thrice, {"a": TENSOR, "b": TENSOR, "c": OTHER}) == pytest.approx(2 / 3)


def test_models_without_learned_tensors_have_no_share() -> None:
    assert _shared({}, {"a": TENSOR}) is None
    assert not Fingerprint("m", "r1").contents


def test_what_the_table_keeps_is_enough() -> None:
    """Marks are stored in single precision; a suspect is held in double."""
    fresh = _print({"a": TENSOR, "b": RNG_BIAS})
    assert fresh.weights is not None
    stored = Fingerprint("m", "r1", *rows_from_table(rows_to_table([fresh.weights])))
    assert stored.contents == fresh.contents


def test_strangers_of_one_recipe_share_nothing() -> None:
    """Two thousand draws of one distribution: no two agree in both moments."""
    rng = np.random.default_rng(2)
    marks = [
        TensorMark(f"w{i}", (16, 16), str(i), 0.0, 1.0, *_moments(rng.standard_normal(256)))
        for i in range(2000)
    ]
    row = make_row("m", "weights", {"weights": np.ones(4)}, tensors=tuple(marks))
    contents = Fingerprint("m", "r1", row).contents
    assert max(contents.values()) == 1
    assert len(contents) == 2000


def _moments(values: np.ndarray) -> tuple[float, float]:
    squares = values**2
    return float(np.sqrt(squares.mean())), float((squares**2).mean() / squares.mean() ** 2)
