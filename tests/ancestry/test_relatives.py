"""Which pairs share what was learned: the rule of the verdict, over all pairs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from provray.ancestry.calibration import shipped_calibration
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.index_null import index_nulls
from provray.ancestry.inheritance import FEATURES, condition, features, inheritance
from provray.ancestry.null import adjusted
from provray.ancestry.relatives import relatives
from provray.ancestry.scores import compare
from tests.ancestry.families import pruned
from tests.ancestry.networks import permuted, same_start, stranger

KIN = ("base", "child", "grandchild", "cut", "permuted")


@pytest.fixture(scope="module")
def members() -> list[Fingerprint]:
    base = stranger("base", 100)
    child = base.child("child", 101)
    made = [
        base,
        child,
        child.child("grandchild", 102),
        base.named("cut", pruned(base.tensors, 0.5)),
        permuted(base, "permuted", 103),
        same_start(base, "twin", 104),
        *(stranger(f"far/{i}", i) for i in range(20)),
    ]
    return [network.fingerprint() for network in made]


def _related(members: Sequence[Fingerprint], fdr: float = 0.05) -> np.ndarray:
    nulls = index_nulls(members, {})
    assert nulls
    return relatives(members, {}, shipped_calibration(), nulls, fdr)


def test_kin_are_related_and_nobody_else(members: list[Fingerprint]) -> None:
    found = _related(members)
    names = [m.model for m in members]
    pairs = {(names[i], names[j]) for i, j in zip(*np.nonzero(np.triu(found)), strict=True)}
    whole = [name for name in KIN if name != "permuted"]
    assert pairs >= {(a, b) for n, a in enumerate(whole) for b in whole[n + 1 :]}
    assert ("base", "permuted") in pairs  # its tensors hold the same values in another order
    assert {name for pair in pairs for name in pair} == set(KIN)


def test_a_network_of_the_same_start_is_no_relative(members: list[Fingerprint]) -> None:
    twin = [m.model for m in members].index("twin")
    scores = compare(members[0], members[twin], {})
    assert scores.weights is not None
    assert scores.weights > 0.8
    assert not _related(members)[twin].any()


def test_the_matrix_is_symmetric_and_nobody_is_its_own_relative(
    members: list[Fingerprint],
) -> None:
    found = _related(members)
    np.testing.assert_array_equal(found, found.T)
    assert not found.diagonal().any()


def test_the_order_of_the_models_does_not_matter(members: list[Fingerprint]) -> None:
    np.testing.assert_array_equal(_related(members[::-1])[::-1, ::-1], _related(members))


@pytest.mark.parametrize(("fdr", "some_found"), [(1e-6, False), (0.05, True), (0.5, True)])
def test_it_is_the_rule_of_one_pair(
    members: list[Fingerprint], fdr: float, some_found: bool
) -> None:
    """Computed plainly, pair by pair, with biases, profile or both missing for some."""
    some = [m for m in members if not m.model.startswith("far")] + members[-14:]
    some[2] = replace(some[2], dna=None)
    assert some[4].weights is not None
    some[4] = replace(
        some[4],
        weights=replace(
            some[4].weights, readouts=("weights",), vectors=some[4].weights.vectors[:1]
        ),
    )
    nulls, calibration = index_nulls(members, {}), shipped_calibration()
    pairs = [(i, j) for i in range(len(some)) for j in range(i + 1, len(some))]
    measured = [features(compare(some[i], some[j], {})) for i, j in pairs]
    shown = inheritance(
        np.array([[found.get(name, np.nan) for name in FEATURES] for found in measured]),
        [condition(some[i].model_type, some[j].model_type) for i, j in pairs],
        calibration,
        nulls,
    )
    q = adjusted(shown.p_shares.tolist(), len(pairs))
    kept = [n for n, value in enumerate(q) if value <= fdr]
    starts = adjusted(shown.p_start[kept].tolist(), len(kept))
    expected = np.zeros((len(some), len(some)), bool)
    for n, start in zip(kept, starts, strict=True):
        if start <= fdr and shown.log_odds[n] >= 0:
            expected[pairs[n]] = expected[pairs[n][::-1]] = True
    assert expected.any() == some_found
    found = relatives(some, {}, calibration, nulls, fdr)
    np.testing.assert_array_equal(found, expected)


def test_one_model_or_none_has_no_relatives(members: list[Fingerprint]) -> None:
    for some in ([], members[:1]):
        found = relatives(some, {}, shipped_calibration(), {}, 0.05)
        assert found.shape == (len(some), len(some))
        assert not found.any()
