"""Scores of all pairs at once are the scores of each pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from provray.ancestry.cohort import Cohort
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.inheritance import FEATURES, SAME, condition, features
from provray.ancestry.matrices import same_architecture, score_matrices
from provray.ancestry.scores import compare
from tests.ancestry.networks import READOUTS, permuted, same_start, stranger


@pytest.fixture(scope="module")
def members() -> list[Fingerprint]:
    base, other = stranger("base", 1), stranger("other", 2, model_type="resnet")
    made = [
        base,
        base.child("child", 3),
        permuted(base, "permuted", 4),
        same_start(base, "twin", 5),
        other,
        other.named("no biases", {n: t for n, t in other.tensors.items() if t.ndim > 1}),
    ]
    whole = [network.fingerprint() for network in made]
    unprobed = replace(stranger("unprobed", 6).fingerprint(), dna=None)
    weightless = replace(base.fingerprint(), model="weightless", weights=None)
    return [*whole, unprobed, weightless, Fingerprint("unknown", "r1")]


def test_each_entry_is_the_score_of_the_pair(members: list[Fingerprint]) -> None:
    mean = 0.02 * np.random.default_rng(0).standard_normal(256)
    cohorts = {"dna-1": Cohort("dna-1", dict.fromkeys(READOUTS, mean), 20, "index")}
    matrices = score_matrices(members, cohorts)
    assert set(matrices) == set(FEATURES)
    seen = dict.fromkeys(FEATURES, 0)
    for i, a in enumerate(members):
        for j, b in enumerate(members):
            expected = features(compare(a, b, cohorts))
            for name, matrix in matrices.items():
                found = matrix[i, j]
                if name in expected:
                    assert found == pytest.approx(expected[name], abs=1e-6), (
                        name,
                        a.model,
                        b.model,
                    )
                    seen[name] += i != j
                else:
                    assert np.isnan(found), (name, a.model, b.model)
    assert min(seen.values()) > 20
    assert sum(seen.values()) < 4 * len(members) * (len(members) - 1)  # some are missing


def test_behaviour_of_two_spaces_has_no_entry() -> None:
    a, b, c = (stranger(name, seed).fingerprint() for name, seed in (("a", 1), ("b", 2), ("c", 3)))
    assert c.dna is not None
    elsewhere = replace(c, dna=replace(c.dna, space="dna-2"))
    profile = score_matrices([a, b, elsewhere], {})["lower profile"]
    np.testing.assert_array_equal(np.isnan(profile), [[0, 0, 1], [0, 0, 1], [1, 1, 0]])


def test_architectures_are_told_apart_as_for_one_pair(members: list[Fingerprint]) -> None:
    known = [m for m in members if m.weights is not None or m.dna is not None]
    expected = [[condition(a.model_type, b.model_type) == SAME for b in known] for a in known]
    np.testing.assert_array_equal(same_architecture(known), expected)
    assert not same_architecture(known).all()


def test_no_models_have_no_pairs() -> None:
    for matrix in score_matrices([], {}).values():
        assert matrix.shape == (0, 0)
