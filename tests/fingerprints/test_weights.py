"""Weights sketches against the mean cosine of shared tensors, computed plainly."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.sketch import BLOCK, BlockSketcher
from provray.fingerprints.weights import (
    TensorSource,
    TensorState,
    WeightsFingerprint,
    fingerprint_weights,
    normalised_name,
)

F32 = npt.NDArray[np.float32]
PLAIN = WeightsSettings(dimensions=512, min_elements=64, size_power=0.0)
SIZED = WeightsSettings(dimensions=512, min_elements=64, size_power=0.125)


def _blocks(array: npt.NDArray[np.generic]) -> Iterator[tuple[F32, bytes]]:
    flat = array.ravel()
    for start in range(0, flat.size, BLOCK):
        part = flat[start : start + BLOCK]
        yield part.astype(np.float32), part.tobytes()


def _fingerprint(
    tensors: Mapping[str, npt.NDArray[np.generic]], chosen: WeightsSettings = PLAIN
) -> WeightsFingerprint:
    names = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(np.int32): "I32"}
    return fingerprint_weights(
        (TensorSource(n, names[a.dtype], a.shape, _blocks(a)) for n, a in tensors.items()), chosen
    )


def _cosine(a: WeightsFingerprint, b: WeightsFingerprint) -> float:
    return float(a.vectors[0] @ b.vectors[0])


def _exact(a: Mapping[str, F32], b: Mapping[str, F32], size_power: float) -> float:
    """Mean centred cosine of the tensors shared by name and shape, each weighing its size to twice the power."""

    def weight(tensor: F32) -> float:
        return float(tensor.size) ** (2 * size_power)

    total = 0.0
    for name in a.keys() & b.keys():
        if a[name].shape == b[name].shape:
            x, y = (t.astype(np.float64) - t.mean(dtype=np.float64) for t in (a[name], b[name]))
            total += weight(x) * np.sum(x * y) / np.linalg.norm(x) / np.linalg.norm(y)
    of_a, of_b = (sum(map(weight, tensors.values())) for tensors in (a, b))
    return float(total / np.sqrt(of_a * of_b))


def _network(seed: int, prefix: str = "") -> dict[str, F32]:
    rng = np.random.default_rng(seed)
    shapes = {"in.weight": (60, 80), "mid.weight": (120, 60), "conv.weight": (32, 16, 3, 3)}
    made = {n: 0.3 + 0.1 * rng.standard_normal(s) for n, s in shapes.items()}
    return {prefix + n: t.astype(np.float32) for n, t in made.items()}


def _child(parent: Mapping[str, F32], noise: float, seed: int) -> dict[str, F32]:
    rng = np.random.default_rng(seed)
    return {
        n: (t + noise * 0.1 * rng.standard_normal(t.shape)).astype(np.float32)
        for n, t in parent.items()
    }


# --- against the exact quantity


@pytest.mark.parametrize("chosen", [PLAIN, SIZED], ids=["plain", "sized"])
@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0, 3.0])
def test_cosine_is_the_mean_cosine_of_shared_weights(noise: float, chosen: WeightsSettings) -> None:
    """Tensor names seed the sketch, so renaming the network draws another one."""
    errors = []
    for t in range(24):
        parent = _network(0, f"net{t}.")
        child = _child(parent, noise, 1)
        exact = _exact(parent, child, chosen.size_power)
        errors.append(_cosine(_fingerprint(parent, chosen), _fingerprint(child, chosen)) - exact)
    rms = float(np.sqrt(np.mean(np.square(errors))))
    assert rms < 1.5 / np.sqrt(chosen.dimensions)
    assert abs(np.mean(errors)) < 4 * rms / np.sqrt(24) + 2 / chosen.dimensions


def test_tensors_that_only_one_model_has_lower_the_cosine_by_their_share() -> None:
    parent = _network(2)
    headless = {n: t for n, t in parent.items() if n != "mid.weight"}
    reshaped = {**parent, "mid.weight": _network(3)["mid.weight"][:60]}
    for other in (headless, reshaped):
        exact = _exact(parent, other, 0.0)
        assert exact < 0.9
        found = _cosine(_fingerprint(parent), _fingerprint(other))
        assert abs(found - exact) < 4 / np.sqrt(PLAIN.dimensions)


def test_tensors_of_several_blocks_are_compared_whole() -> None:
    rng = np.random.default_rng(4)
    parent = {"w": rng.standard_normal((500, 400)).astype(np.float32)}  # 3.05 blocks
    child = {"w": parent["w"].copy()}
    child["w"][200:] = rng.standard_normal((300, 400))  # all but the first block and a bit
    found = _cosine(_fingerprint(parent), _fingerprint(child))
    assert abs(found - _exact(parent, child, 0.0)) < 4 / np.sqrt(PLAIN.dimensions)
    assert 0.3 < _exact(parent, child, 0.0) < 0.5


def test_strangers_and_twins_of_one_recipe_are_nothing_to_each_other() -> None:
    """Their tensors have the same names, shapes, means (0.3) and spreads: all that a recipe fixes."""
    prints = [_fingerprint(_network(seed), SIZED).vectors[0] for seed in range(40)]
    others = (np.stack(prints) @ np.stack(prints).T)[np.triu_indices(40, 1)]
    assert np.abs(others).max() < 4.5 / np.sqrt(SIZED.dimensions)
    assert abs(others.mean()) < 0.01
    assert others.std() < 1.2 / np.sqrt(SIZED.dimensions)


def test_networks_of_many_small_tensors_are_no_less_exact() -> None:
    """Values at the same place of two tensors must not meet in the same bucket every time."""
    errors = []
    for t in range(40):
        rng = np.random.default_rng(t)
        ours, theirs = (
            {
                f"net{t}.{i}.weight": rng.standard_normal((8, 8)).astype(np.float32)
                for i in range(30)
            }
            for _ in range(2)
        )
        found = _cosine(_fingerprint(ours), _fingerprint(theirs))
        errors.append(found - _exact(ours, theirs, 0.0))
    assert float(np.sqrt(np.mean(np.square(errors)))) < 1.35 / np.sqrt(PLAIN.dimensions)


def test_scaled_and_shifted_weights_are_the_same_weights() -> None:
    parent = _network(5)
    changed = {n: (4 * t + 7).astype(np.float32) for n, t in parent.items()}
    assert _cosine(_fingerprint(parent), _fingerprint(changed)) == pytest.approx(1, abs=1e-4)


def test_permuted_neurons_are_not_seen() -> None:
    parent = _network(6)
    order = np.random.default_rng(7).permutation(120)
    permuted = {**parent, "mid.weight": parent["mid.weight"][order]}
    exact = _exact(parent, permuted, 0.0)
    found = _cosine(_fingerprint(parent), _fingerprint(permuted))
    assert abs(found - exact) < 4 / np.sqrt(PLAIN.dimensions)


# --- names


@pytest.mark.parametrize(
    "prefix",
    [
        "model.",
        "module.",
        "_orig_mod.",
        "bert.",
        "base_model.model.",
        "module.model.roberta.",
        "vit.",
    ],
)
def test_prefixes_that_wrappers_add_are_not_seen(prefix: str) -> None:
    bare, wrapped = _fingerprint(_network(8)), _fingerprint(_network(8, prefix))
    np.testing.assert_allclose(wrapped.vectors[0], bare.vectors[0], atol=1e-6)
    assert wrapped.digest == bare.digest
    assert [m.name for m in wrapped.marks] == [m.name for m in bare.marks]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert.encoder.layer.0.weight", "encoder.layer.0.weight"),
        ("base_model.model.model.layers.0.w", "layers.0.w"),
        ("distilbert.transformer.layer.0.w", "layer.0.w"),
        ("modeling.weight", "modeling.weight"),  # a prefix is a whole part of the name
        ("encoder.model.weight", "encoder.model.weight"),
        ("model", "model"),
    ],
)
def test_normalised_names(name: str, expected: str) -> None:
    assert normalised_name(name) == expected


def test_other_names_are_other_weights() -> None:
    a, b = _fingerprint(_network(9)), _fingerprint(_network(9, "tower."))
    assert abs(_cosine(a, b)) < 4.5 / np.sqrt(PLAIN.dimensions)
    assert a.digest != b.digest


# --- which tensors count


def test_vectors_and_small_tensors_are_marked_but_do_not_count() -> None:
    network = _network(10)
    extra = {
        "norm.weight": np.linspace(0, 1, 500, dtype=np.float32),
        "tiny.weight": np.linspace(0, 1, 63, dtype=np.float32).reshape(7, 9),
        "step": np.array(3.0, np.float32),
        "empty.weight": np.zeros((0, 100), np.float32),
    }
    with_extra, without = _fingerprint({**network, **extra}), _fingerprint(network)
    np.testing.assert_array_equal(with_extra.vectors[0], without.vectors[0])
    assert {m.name for m in with_extra.marks} == set(network) | set(extra)
    assert with_extra.digest != without.digest
    assert [m.shape for m in with_extra.marks if m.name == "step"] == [()]


@pytest.mark.parametrize(
    "name",
    [
        "embeddings.position_ids",
        "transformer.h.0.attn.bias",
        "gpt_neox.layers.3.attention.masked_bias",
        "rotary.inv_freq",
        "layers.0.attn.relative_position_index",
    ],
)
def test_tables_that_a_library_computes_make_no_kin(name: str) -> None:
    """Every model of a kind holds the same ones: they are in the digest, and in no comparison."""
    table = np.tril(np.ones((200, 200), np.float32))
    ours, theirs = (_fingerprint({**_network(seed), name: table}) for seed in (20, 21))
    np.testing.assert_array_equal(ours.vectors[0], _fingerprint(_network(20)).vectors[0])
    assert abs(_cosine(ours, theirs)) < 4.5 / np.sqrt(PLAIN.dimensions)
    assert ours.digest != _fingerprint(_network(20)).digest


def test_integers_are_no_learned_weights() -> None:
    indices = np.arange(40_000, dtype=np.int32).reshape(200, 200)
    with_indices = _fingerprint({**_network(22), "table.index": indices})
    np.testing.assert_array_equal(with_indices.vectors[0], _fingerprint(_network(22)).vectors[0])


@pytest.mark.parametrize(
    "name",
    ["layer.attention.self.relative_attention_bias.weight", "attn.bias_table", "myattn.bias"],
)
def test_learned_tables_with_similar_names_count(name: str) -> None:
    table = np.random.default_rng(23).standard_normal((32, 12)).astype(np.float32)
    assert np.linalg.norm(_fingerprint({name: table}).vectors[0]) == pytest.approx(1, abs=1e-6)


def test_min_elements_is_the_first_size_that_counts() -> None:
    tensor = {"w": np.random.default_rng(11).standard_normal((8, 8)).astype(np.float32)}
    at, above = (_fingerprint(tensor, WeightsSettings(min_elements=n)) for n in (64, 65))
    assert np.linalg.norm(at.vectors[0]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(above.vectors[0], 0)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e6])
def test_constant_tensors_do_not_count(value: float) -> None:
    network = _network(12)
    constant = np.full((400, 300), value, np.float32)
    both = _fingerprint({**network, "constant.weight": constant})
    np.testing.assert_allclose(both.vectors[0], _fingerprint(network).vectors[0], atol=1e-6)
    np.testing.assert_array_equal(_fingerprint({"constant.weight": constant}).vectors[0], 0)


def test_no_tensors_at_all() -> None:
    made = _fingerprint({})
    np.testing.assert_array_equal(made.vectors[0], np.zeros(512))
    assert made.marks == ()


# --- digests and marks


def test_digest_is_of_names_types_shapes_and_bits() -> None:
    network = _network(13)
    digest = _fingerprint(network).digest
    assert _fingerprint(dict(reversed(network.items()))).digest == digest
    one_bit = {n: t.copy() for n, t in network.items()}
    one_bit["in.weight"].view(np.uint32)[3, 3] ^= 1
    reshaped = {**network, "in.weight": network["in.weight"].reshape(80, 60)}
    halved = {**network, "in.weight": network["in.weight"].astype(np.float16)}
    same_bytes = {**network, "in.weight": network["in.weight"].view(np.int32)}
    others = [_fingerprint(t).digest for t in (one_bit, reshaped, halved, same_bytes)]
    assert len({digest, *others}) == 5


def test_tensor_digests_find_frozen_parts() -> None:
    parent = _network(14)
    child = {**_child(parent, 0.5, 15), "conv.weight": parent["conv.weight"]}
    ours, theirs = ({m.name: m.digest for m in _fingerprint(t).marks} for t in (parent, child))
    assert {n for n in ours if ours[n] == theirs[n]} == {"conv.weight"}
    assert all(len(d) == 16 for d in ours.values())


def test_marks_count_zeros() -> None:
    tensor = np.random.default_rng(16).standard_normal((300, 300)).astype(np.float32)
    pruned = np.where(np.abs(tensor) < np.quantile(np.abs(tensor), 0.5), 0, tensor)
    (mark,) = _fingerprint({"w": pruned.astype(np.float32)}).marks
    assert mark.zeros == pytest.approx(np.mean(pruned == 0), abs=1e-9)
    (mark,) = _fingerprint({"w": tensor}).marks
    assert mark.zeros == 0
    assert mark.distinct > 0.99


@pytest.mark.parametrize("shape", [(64, 2000), (3000, 40), (300, 300)])
def test_marks_see_rounding_to_a_lattice_in_any_row_scale(shape: tuple[int, int]) -> None:
    tensor = np.random.default_rng(17).standard_normal(shape).astype(np.float32)
    scale = np.abs(tensor).max(axis=1, keepdims=True) / 7
    rounded = (np.round(tensor / scale) * scale).astype(np.float32)
    (before,), (after,) = (_fingerprint({"w": t}).marks for t in (tensor, rounded))
    assert before.distinct > 0.99
    values = [np.unique(row[row != 0]).size / np.count_nonzero(row) for row in rounded]
    assert min(values) <= after.distinct <= max(values)


# --- merge laws

_SHAPE = (37, 8000)  # 4.5 blocks
_TENSOR = np.random.default_rng(18).standard_normal(_SHAPE).astype(np.float32) + 5
_SKETCHER = BlockSketcher(64)


def _state(numbers: list[int]) -> TensorState:
    state = TensorState("layer.weight", _SHAPE, 64)
    flat = _TENSOR.ravel()
    for number in numbers:
        state.add(flat[number * BLOCK : (number + 1) * BLOCK], number, _SKETCHER)
    return state


def _merged(*states: TensorState) -> TensorState:
    first, *rest = (copy.deepcopy(s) for s in states)
    for state in rest:
        first.merge(state)
    return first


def _assert_equal(a: TensorState, b: TensorState) -> None:
    ours, theirs = a.finish(0.125), b.finish(0.125)
    np.testing.assert_allclose(ours, theirs, atol=1e-6 * np.linalg.norm(theirs))
    assert (a.zeros, a.count) == (b.zeros, b.count)


@settings(max_examples=15)
@given(st.permutations(range(5)), st.lists(st.integers(1, 4), max_size=4), st.randoms())
def test_blocks_and_their_order_do_not_matter(
    order: list[int], cuts: list[int], random: object
) -> None:
    edges = [0, *sorted(set(cuts)), 5]
    parts = [_state(order[a:b]) for a, b in itertools.pairwise(edges)]
    random.shuffle(parts)  # type: ignore[attr-defined]
    _assert_equal(_merged(*parts), _state([0, 1, 2, 3, 4]))


def test_merging_is_commutative_and_associative_and_leaves_the_other_alone() -> None:
    a, b, c = _state([0, 3]), _state([1]), _state([2, 4])
    _assert_equal(_merged(a, b), _merged(b, a))
    _assert_equal(_merged(_merged(a, b), c), _merged(a, _merged(b, c)))
    _assert_equal(_merged(TensorState("layer.weight", _SHAPE, 64), a), a)
    before = copy.deepcopy(b)
    a.merge(b)
    np.testing.assert_array_equal(b.values, before.values)


def test_order_of_tensors_does_not_matter() -> None:
    network = _network(19)
    a, b = _fingerprint(network), _fingerprint(dict(reversed(network.items())))
    np.testing.assert_allclose(a.vectors[0], b.vectors[0], atol=1e-6)
    assert a.marks == b.marks


def test_two_tensors_cannot_be_merged() -> None:
    state = TensorState("a", (8, 8), 64)
    for other in (TensorState("b", (8, 8), 64), TensorState("a", (4, 16), 64)):
        with pytest.raises(ValueError, match="cannot merge"):
            state.merge(other)
