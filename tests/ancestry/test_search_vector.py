"""Search vectors: one inner product that stands for several cosines."""

from __future__ import annotations

import numpy as np
import pytest

from provray.ancestry.cohort import Cohort
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.scores import compare
from provray.ancestry.search_vector import (
    DNA_READOUTS,
    GIF_READOUTS,
    behaviour_vector,
    weights_vector,
)
from provray.fingerprints.seeds import key_of
from provray.fingerprints.sketch import count_sketch
from provray.fingerprints.weights import READOUTS
from tests.ancestry.rows import axis, make_model, make_row

COHORTS = {
    "dna-1": Cohort("dna-1", {DNA_READOUTS[0]: 0.02 * np.ones(256)}, 16, "index"),
    "gif-1": Cohort("gif-1", {}, 0, "none"),
}
PARTS = len(DNA_READOUTS) + len(GIF_READOUTS)


def _model(name: str, seed: int, base: int = 99, gif: int = 256, dna: int = 256) -> Fingerprint:
    """A model half of whose behaviour is that of model `base`."""
    own, common = np.random.default_rng(seed), np.random.default_rng(base)
    readouts = {r: own.standard_normal(dna) + common.standard_normal(dna) for r in DNA_READOUTS}
    fields = {r: own.standard_normal(gif) + common.standard_normal(gif) for r in GIF_READOUTS}
    return make_model(name, None, readouts, fields)


def test_inner_product_is_the_mean_of_the_centred_cosines() -> None:
    a, b = _model("a", 0), _model("b", 1)
    scores = compare(a, b, COHORTS)
    expected = (sum(scores.dna.values()) + sum(scores.gif.values())) / PARTS
    found = float(behaviour_vector(a, COHORTS) @ behaviour_vector(b, COHORTS))
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0.3 < found < 0.7


def test_a_model_is_one_to_itself_and_short_enough_to_search() -> None:
    vector = behaviour_vector(_model("a", 2), COHORTS)
    assert vector.dtype == np.float32
    assert vector.shape == (1024,)
    assert float(vector @ vector) == pytest.approx(1, abs=1e-6)


def test_a_readout_that_is_missing_adds_nothing() -> None:
    whole = _model("a", 3)
    assert whole.dna is not None
    headless = make_model(
        "b", None, {r: whole.dna.vectors[i] for i, r in enumerate(DNA_READOUTS[:2])}
    )
    found = float(behaviour_vector(whole, COHORTS) @ behaviour_vector(headless, COHORTS))
    assert found == pytest.approx(2 / PARTS, abs=1e-6)
    np.testing.assert_array_equal(
        behaviour_vector(make_model("c", axis(0)), COHORTS), np.zeros(1024)
    )


def test_readouts_beyond_the_telling_ones_do_not_enter() -> None:
    a = _model("a", 4)
    assert a.dna is not None
    assert a.gif is not None
    vectors = dict(zip(a.dna.readouts, a.dna.vectors, strict=True))
    more = make_model(
        "a",
        None,
        {"natural@1": np.ones(256), **vectors},
        dict(zip(a.gif.readouts, a.gif.vectors, strict=True)),
    )
    np.testing.assert_array_equal(behaviour_vector(more, COHORTS), behaviour_vector(a, COHORTS))


def test_long_sketches_are_folded_into_shorter_sketches_of_the_same_thing() -> None:
    """Folding is again a count-sketch: the cosine stays, with the error of the shorter one."""
    rng = np.random.default_rng(5)
    errors = []
    for trial in range(40):
        x, y = rng.standard_normal((2, 300))
        y = 0.6 * x + 0.8 * y
        key = key_of("trial", trial)
        a, b = (
            make_model("m", None, None, {GIF_READOUTS[0]: count_sketch(v, key, 1024)})
            for v in (x, y)
        )
        found = PARTS * float(behaviour_vector(a, COHORTS) @ behaviour_vector(b, COHORTS))
        errors.append(found - x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    assert np.std(errors) < 1.5 / np.sqrt(256)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(40) + 2 / 256


def test_sketches_shorter_than_a_part_keep_the_vector_its_length() -> None:
    """Settings allow them; models with and without a readout must still fit one index."""
    cohorts = {"dna-1": Cohort("dna-1", {}, 0, "none"), "gif-1": COHORTS["gif-1"]}
    a = _model("a", 6, dna=128, gif=128)
    assert behaviour_vector(a, cohorts).shape == (1024,)
    assert float(behaviour_vector(a, cohorts) @ behaviour_vector(a, cohorts)) == pytest.approx(1)


@pytest.mark.parametrize("readout", READOUTS)
def test_weights_are_searched_by_their_own_sketches(readout: str) -> None:
    sketches = {"weights": axis(3), "biases": axis(5)}
    model = Fingerprint("a", "r1", make_row("a", "weights", sketches))
    found = weights_vector(model, readout)
    assert found is not None
    np.testing.assert_array_equal(found, sketches[readout].astype(np.float32))
    # a zero sketch says that there was nothing to sketch: it is near to nobody
    empty = Fingerprint("b", "r1", make_row("b", "weights", {**sketches, readout: np.zeros(64)}))
    assert weights_vector(empty, readout) is None
    assert weights_vector(make_model("c"), readout) is None
    broken = Fingerprint("d", "r1", make_row("d", "weights", status="broken"))
    assert weights_vector(broken, readout) is None
