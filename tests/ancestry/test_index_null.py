"""The nulls of an index: what its own strangers score, each family heard alike."""

from __future__ import annotations

import numpy as np
import pytest

from provray.ancestry.cohort import MINIMUM
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.index_null import index_nulls
from provray.ancestry.inheritance import OTHER, SAME
from provray.ancestry.scores import LOWER_HALF
from provray.fingerprints.sketch import unit
from tests.ancestry.rows import axis, make_model, make_row

SIZE = 1024


def _weighed(name: str, vector: np.ndarray, model_type: str = "vit") -> Fingerprint:
    rng = np.random.default_rng([len(name), *name.encode()])
    vectors = {"weights": vector, "biases": rng.standard_normal(SIZE)}
    return Fingerprint(name, "r1", make_row(name, "weights", vectors, model_type=model_type))


def _strangers(
    count: int, seed: int = 0, model_type: str = "vit", common: float = 0.0
) -> list[Fingerprint]:
    """Models of random weights; `common`: cosine of each with the first axis."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        own = unit(rng.standard_normal(SIZE))
        vector = common * axis(0, SIZE) + np.sqrt(1 - common**2) * own
        made.append(_weighed(f"{model_type}{seed}/{number}", vector, model_type))
    return made


def _children(of: Fingerprint, count: int) -> list[Fingerprint]:
    assert of.weights is not None
    rng = np.random.default_rng(9)
    return [
        _weighed(
            f"{of.model}/child{n}", of.weights.vectors[0] + 0.1 * unit(rng.standard_normal(SIZE))
        )
        for n in range(count)
    ]


def test_too_few_families_have_no_nulls() -> None:
    assert index_nulls(_strangers(MINIMUM - 1), {}) == {}
    assert index_nulls([], {}) == {}
    first, *rest = _strangers(MINIMUM - 1)
    assert index_nulls([first, *rest, *_children(first, 50)], {}) == {}
    assert index_nulls(_strangers(MINIMUM), {})


def test_models_without_weights_are_no_families_of_it() -> None:
    bare = [make_model(f"b{i}", dna={"noise@0": axis(i)}) for i in range(30)]
    assert index_nulls([*_strangers(MINIMUM - 1), *bare], {}) == {}


def test_nulls_are_those_of_random_weights() -> None:
    """Cosines of random directions in m dimensions are normal with deviation 1/sqrt(m)."""
    nulls = index_nulls(_strangers(100), {})
    assert set(nulls) == {("weights", SAME), ("biases", SAME)}
    for null in nulls.values():
        assert (null.origin, null.condition, null.families) == ("index", SAME, 100)
        assert null.pairs == 100 * 99 // 2
        assert float(np.interp(0.5, np.linspace(0, 0.9, 46), null.quantiles[:-1])) == pytest.approx(
            0, abs=0.003
        )
        assert null.edge == pytest.approx(1.2816 / np.sqrt(SIZE), rel=0.08)
        assert 2.3 / np.sqrt(SIZE) * 0.9 < null.limit(0.01) < 2.5 / np.sqrt(SIZE) * 1.1


def test_kin_are_not_held_for_strangers() -> None:
    members = []
    for stranger in _strangers(20):
        members += [stranger, *_children(stranger, 3)]
    null = index_nulls(members, {})["weights", SAME]
    assert null.families == 20
    assert null.pairs == 20 * 19 // 2 * 16
    assert null.quantiles[-1] < 0.2  # kin are at .99


def test_architectures_have_nulls_of_their_own() -> None:
    """Of one architecture all have something in common, of the other nothing."""
    members = [*_strangers(30, 1, "vit", common=0.5), *_strangers(30, 2, "resnet")]
    nulls = index_nulls(members, {})
    assert nulls["weights", SAME].pairs == 2 * (30 * 29 // 2)
    assert nulls["weights", OTHER].pairs == 30 * 30
    assert nulls["weights", SAME].edge > 0.2
    assert nulls["weights", OTHER].edge < 0.1
    assert nulls["weights", OTHER].condition == OTHER
    few = index_nulls([*_strangers(30, 1), *_strangers(1, 2, "resnet")], {})
    assert set(few) == {("weights", SAME), ("biases", SAME)}  # one model in 30 pairs is no null


def test_one_large_family_does_not_dominate() -> None:
    """It is nearer to everyone than they are to each other; five hundred members make that no more common."""
    strangers = _strangers(40, 3, common=0.25)
    loud = _strangers(1, 4, common=0.9)[0]
    few = index_nulls([*strangers, loud], {})["weights", SAME]
    many = index_nulls([*strangers, loud, *_children(loud, 300)], {})["weights", SAME]
    assert many.families == few.families == 41
    assert many.pairs <= few.pairs + 3 * 40  # four of them count
    middle = len(many.quantiles) // 2
    assert many.quantiles[middle] == pytest.approx(few.quantiles[middle], abs=0.02)
    assert many.quantiles[middle] < 0.12 < 0.25 * 0.9


def test_behaviour_of_the_lower_layers_has_a_null_where_it_was_measured() -> None:
    rng = np.random.default_rng(5)
    members = []
    for stranger in _strangers(40, 6):
        vectors = {name: rng.standard_normal(256) for name in LOWER_HALF}
        row = make_row(stranger.model, "dna", vectors, model_type="vit")
        members.append(Fingerprint(stranger.model, "r1", stranger.weights, row))
    null = index_nulls(members, {})["lower profile", SAME]
    # the lowest of four cosines of random directions
    lowest = np.random.default_rng(7).standard_normal((200_000, 4)).min(1) / 16
    assert null.edge == pytest.approx(np.quantile(lowest, 0.9), abs=0.01)
    assert null.quantiles[0] < np.quantile(lowest, 0.05)


def test_shared_tensors_have_no_null_of_the_index() -> None:
    """Whoever shares one counts as family, so it would hold nothing but zeros."""
    assert not [key for key in index_nulls(_strangers(30), {}) if key[0] == "shared"]
