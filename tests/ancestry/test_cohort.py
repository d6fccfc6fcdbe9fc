"""The cohort: each family counts once, and what all share is taken away."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

from provray.ancestry.cohort import (
    MINIMUM,
    SAMPLE,
    Cohort,
    choose_cohort,
    mean_by_family,
    reference_cohort,
    sample,
)
from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.sketch import unit
from tests.ancestry.rows import axis, make_model, make_row

READOUT = "noise@1"


def _stranger(number: int, share: float = 0.5) -> Fingerprint:
    """A model with weights of its own; `share` of its behaviour is what all models have in common."""
    behaviour = share * axis(0) + np.sqrt(1 - share**2) * axis(number + 1)
    return make_model(f"m{number}", axis(number), {READOUT: behaviour})


def _child(number: int, of: int) -> Fingerprint:
    behaviour = np.random.default_rng(number).standard_normal(64)
    return make_model(f"m{of}/child{number}", axis(of) + 0.1 * axis(60), {READOUT: behaviour})


def test_a_big_family_counts_once() -> None:
    few = [_stranger(i) for i in range(4)]
    mean, size = mean_by_family(few, "dna")
    expected = np.mean([f.dna.vectors[0] for f in few if f.dna], axis=0)
    np.testing.assert_allclose(mean[READOUT], expected, atol=1e-6)
    assert size == 4

    twenty = [make_model(f"copy{i}", axis(0), {READOUT: axis(40)}) for i in range(20)]
    crowded, size = mean_by_family([*few, *twenty], "dna")
    assert size == 4
    # The family's own mean is 1/21 the old member and 20/21 the copies; it weighs a quarter.
    assert few[0].dna is not None
    family = (few[0].dna.vectors[0] + 20 * axis(40)) / 21
    rest = [f.dna.vectors[0] for f in few[1:] if f.dna]
    np.testing.assert_allclose(crowded[READOUT], np.mean([family, *rest], axis=0), atol=1e-6)


def test_each_readout_is_averaged_over_the_models_that_have_it() -> None:
    members = [
        make_model("a", axis(0), {"noise@1": axis(1), "noise@probabilities": axis(2)}),
        make_model("b", axis(1), {"noise@1": axis(3)}),
    ]
    means, size = mean_by_family(members, "dna")
    assert size == 2
    np.testing.assert_allclose(means["noise@1"], (axis(1) + axis(3)) / 2, atol=1e-6)
    np.testing.assert_allclose(means["noise@probabilities"], axis(2), atol=1e-6)


def test_models_without_this_kind_do_not_count() -> None:
    members = [_stranger(0), make_model("b", axis(9)), make_model("c", gif={"mixed@x": axis(3)})]
    means, size = mean_by_family(members, "dna")
    assert size == 1
    assert set(means) == {READOUT}
    assert mean_by_family([], "dna") == ({}, 0)


# --- the choice


def test_an_index_of_enough_families_is_its_own_cohort() -> None:
    members = [_stranger(i) for i in range(MINIMUM)]
    cohort = choose_cohort(members, "dna", "dna-1")
    assert (cohort.origin, cohort.size, cohort.space) == ("index", MINIMUM, "dna-1")
    means, _ = mean_by_family(members, "dna")
    np.testing.assert_array_equal(cohort.means[READOUT], means[READOUT])


def test_children_do_not_make_an_index_large_enough() -> None:
    members = [_stranger(i) for i in range(MINIMUM - 1)] + [_child(i, of=0) for i in range(30)]
    cohort = choose_cohort(members, "dna", "dna-1")
    assert cohort.origin == "none"
    assert cohort.size == MINIMUM - 1
    assert dict(cohort.means) == {}


def test_models_of_other_spaces_are_not_in_a_cohort() -> None:
    members = [_stranger(i) for i in range(MINIMUM)]
    elsewhere = [
        make_model(f"e{i}", axis(i + 20), {READOUT: axis(50)}, space="dna-2") for i in range(20)
    ]
    together = choose_cohort([*members, *elsewhere], "dna", "dna-1")
    alone = choose_cohort(members, "dna", "dna-1")
    assert together.size == alone.size
    np.testing.assert_array_equal(together.means[READOUT], alone.means[READOUT])
    assert choose_cohort(members, "dna", "dna-2").origin == "none"


def test_no_reference_cohort_is_invented_for_a_space_it_does_not_know() -> None:
    assert reference_cohort("dna-unheard-of") is None
    assert reference_cohort("") is None


def test_the_shipped_reference_cohort_serves_small_indexes_of_its_spaces() -> None:
    file = resources.files("provray.ancestry") / "data" / "cohort.safetensors"
    if not file.is_file():
        pytest.skip("this version ships no reference cohort")
    tensors = load_safetensors(file.read_bytes())
    for space in {name.split("/")[0] for name in tensors}:
        cohort = choose_cohort([], space.split("-")[0], space)
        assert cohort.origin == "reference"
        assert cohort.size >= MINIMUM
        assert cohort.means
        for name, mean in cohort.means.items():
            np.testing.assert_array_equal(mean, tensors[f"{space}/{name}"].astype(np.float64))
            assert 0 < np.linalg.norm(mean) <= 1 + 1e-6  # a mean of unit vectors


def test_a_sample_is_the_same_whatever_order_models_come_in() -> None:
    members = [Fingerprint(f"m{i}", f"{i * 7919 % 5000:05d}") for i in range(SAMPLE + 300)]
    shuffled = list(members)
    np.random.default_rng(0).shuffle(shuffled)  # type: ignore[arg-type]
    assert sample(members) == sample(shuffled)
    assert len(sample(members)) == SAMPLE
    assert len(sample(members[:10])) == 10


# --- centring


def test_centring_takes_the_mean_away_and_leaves_unit_norm() -> None:
    mean = np.linspace(-0.1, 0.1, 64)
    row = make_row("a", "dna", {"noise@0": axis(1), READOUT: axis(2)})
    centred = Cohort("dna-1", {READOUT: mean}, 20, "index").centre(row)
    np.testing.assert_allclose(centred[READOUT], unit(axis(2) - mean), atol=1e-6)
    np.testing.assert_allclose(centred["noise@0"], axis(1), atol=1e-6)  # nothing known of it


def test_without_a_cohort_nothing_is_taken_away() -> None:
    row = make_row("a", "dna", {READOUT: axis(2)})
    centred = Cohort("dna-1", {}, 3, "none").centre(row)
    np.testing.assert_allclose(centred[READOUT], axis(2), atol=1e-6)


def test_centring_makes_strangers_of_models_that_share_only_the_common_part() -> None:
    members = [_stranger(i, share=0.9) for i in range(MINIMUM)]
    cohort = choose_cohort(members, "dna", "dna-1")
    a, b = (cohort.centre(f.dna)[READOUT] for f in members[:2] if f.dna is not None)
    assert members[0].dna is not None
    assert members[1].dna is not None
    before = float(members[0].dna.vectors[0] @ members[1].dna.vectors[0])
    assert before == pytest.approx(0.81, abs=1e-6)
    # n vectors at equal angles from their mean are -1/(n - 1) to each other.
    assert float(a @ b) == pytest.approx(-1 / (MINIMUM - 1), abs=1e-6)


def test_a_row_of_another_space_cannot_be_centred() -> None:
    cohort = Cohort("dna-1", {}, 0, "none")
    with pytest.raises(ValueError, match=r"dna-2.*dna-1"):
        cohort.centre(make_row("a", "dna", {READOUT: axis(0)}, space="dna-2"))
