"""Scores of a pair: each kept apart, none across spaces."""

from __future__ import annotations

import numpy as np
import pytest

from provray.ancestry.cohort import Cohort
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.inheritance import features
from provray.ancestry.lineup import line_up
from provray.ancestry.scores import (
    BEHAVIOUR,
    LOWER_HALF,
    Scores,
    behaviour_score,
    compare,
    compare_all,
    lower_profile,
)
from provray.fingerprints.sketch import cosine
from provray.fingerprints.space import SpaceMismatch
from tests.ancestry.families import base_model, fingerprinted
from tests.ancestry.rows import axis, make_model, make_row


def _random(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(64)


def test_scores_are_cosines_by_readout() -> None:
    a = make_model(
        "a", _random(0), {"noise@0": _random(1), "noise@1": _random(2)}, {"mixed@f": _random(3)}
    )
    b = make_model(
        "b", _random(4), {"noise@0": _random(5), "noise@1": _random(6)}, {"mixed@f": _random(7)}
    )
    scores = compare(a, b, {})
    assert scores.weights == pytest.approx(float(cosine(_random(0), _random(4))), abs=1e-6)
    assert scores.dna == pytest.approx(
        {
            "noise@0": float(cosine(_random(1), _random(5))),
            "noise@1": float(cosine(_random(2), _random(6))),
        },
        abs=1e-6,
    )
    assert scores.gif == pytest.approx({"mixed@f": float(cosine(_random(3), _random(7)))}, abs=1e-6)


def test_matrices_and_biases_are_compared_apart() -> None:
    def model(name: str, matrices: np.ndarray, biases: np.ndarray | None) -> Fingerprint:
        sketches = {"weights": matrices} | ({} if biases is None else {"biases": biases})
        return Fingerprint(name, "r1", make_row(name, "weights", sketches))

    ours = model("a", axis(0), axis(1))
    twin = compare(ours, model("b", axis(0) + axis(2), axis(3)), {})
    assert twin.weights == pytest.approx(np.sqrt(0.5), abs=1e-6)
    assert twin.biases == pytest.approx(0, abs=1e-6)
    # nothing to compare is no score of zero
    for other in (None, np.zeros(64)):
        scores = compare(ours, model("b", axis(0), other), {})
        assert scores.weights == pytest.approx(1)
        assert scores.biases is None
    assert compare(ours, model("b", np.zeros(64), axis(1)), {}).weights is None


def test_tensors_in_common_are_a_score() -> None:
    base, other = base_model(1), base_model(2)
    mixed = {n: (base if n == "layer.0.weight" else other)[n] for n in base}
    body = sum(t.size for n, t in base.items() if not n.startswith("classifier"))
    ours = fingerprinted("a", base)
    assert compare(ours, fingerprinted("b", mixed), {}).shared == pytest.approx(96 * 128 / body)
    assert compare(ours, fingerprinted("c", other), {}).shared == 0.0
    assert (
        compare(ours, make_model("d", ours.weights.vectors[0] if ours.weights else None), {}).shared
        is None
    )


def test_the_lower_profile_is_the_lowest_and_behaviour_the_mean() -> None:
    values = dict(zip(LOWER_HALF, (0.9, 0.8, 0.3, 0.5), strict=True))
    assert lower_profile(Scores(dna={**values, "noise@1": -1.0})) == 0.3
    assert (
        lower_profile(Scores(dna={n: v for n, v in values.items() if n != LOWER_HALF[0]})) is None
    )
    answers = dict(zip(BEHAVIOUR, (0.2, 0.4, 0.6), strict=True))
    assert behaviour_score(Scores(dna={**values, **answers})) == pytest.approx(0.4)
    assert behaviour_score(Scores(dna=answers, gif={"x": 0.8})) == pytest.approx(0.5)
    assert behaviour_score(Scores(dna=values)) is None


def test_many_at_once_are_each_alone() -> None:
    ours, *others = (
        make_model(n, _random(i), {"noise@1": _random(i + 30)}) for i, n in enumerate("abcd")
    )
    cohorts = {"dna-1": Cohort("dna-1", {"noise@1": 0.1 * _random(99)}, 16, "index")}
    alone = [compare(ours, o, cohorts) for o in others]
    found = compare_all(ours, line_up(others), cohorts)
    assert [found.of(n) for n in range(len(found))] == alone
    assert len(compare_all(ours, line_up([]), cohorts)) == 0


def test_columns_are_the_scores_of_each() -> None:
    """Of models that lack some readouts, a kind, or the weights."""
    names = [*LOWER_HALF, *BEHAVIOUR]
    held = [names, names[1:], names[:4], []]
    models = [
        make_model(
            f"m{i}",
            _random(i) if i != 1 else None,
            {name: _random(10 * i + j) for j, name in enumerate(kept)} if kept else None,
            {"mixed@f": _random(i + 70)} if i != 2 else None,
        )
        for i, kept in enumerate(held)
    ]
    found = compare_all(models[0], line_up(models), {})
    alone = [compare(models[0], other, {}) for other in models]
    for column, single in (
        (found.behaviour, behaviour_score),
        (found.lower_profile, lower_profile),
    ):
        told = [None if value != value else value for value in column.tolist()]
        assert told == [single(scores) for scores in alone]
        assert None in told
    assert [list(features(scores).values()) for scores in alone] == [
        [value for value in row if value == value] for row in found.features.tolist()
    ]


def test_behaviour_is_centred_and_weights_are_not() -> None:
    common = axis(0)
    a = make_model("a", common + axis(1), {"noise@1": common + axis(1)})
    b = make_model("b", common + axis(2), {"noise@1": common + axis(2)})
    cohort = Cohort("dna-1", {"noise@1": common / np.sqrt(2)}, 20, "index")
    scores = compare(a, b, {"dna-1": cohort})
    assert scores.weights == pytest.approx(0.5, abs=1e-6)
    assert scores.dna["noise@1"] == pytest.approx(0, abs=1e-6)
    assert compare(a, b, {}).dna["noise@1"] == pytest.approx(0.5, abs=1e-6)


def test_scores_do_not_depend_on_who_is_asked_about() -> None:
    a = make_model("a", _random(8), {"noise@1": _random(9)}, {"mixed@f": _random(10)})
    b = make_model("b", _random(11), {"noise@1": _random(12)}, {"mixed@f": _random(13)})
    cohorts = {"dna-1": Cohort("dna-1", {"noise@1": 0.1 * _random(14)}, 16, "index")}
    there, back = compare(a, b, cohorts), compare(b, a, cohorts)
    assert there.weights == pytest.approx(back.weights)
    assert there.dna == pytest.approx(back.dna)
    assert there.gif == pytest.approx(back.gif)


def test_a_model_is_all_one_to_itself() -> None:
    a = make_model("a", _random(15), {"noise@1": _random(16)}, {"mixed@f": _random(17)})
    scores = compare(a, a, {"dna-1": Cohort("dna-1", {"noise@1": 0.1 * _random(18)}, 16, "index")})
    found = [scores.weights, *scores.dna.values(), *scores.gif.values()]
    np.testing.assert_allclose(np.array(found, float), 1, atol=1e-6)


def test_what_one_of_them_lacks_is_left_out() -> None:
    whole = make_model(
        "a",
        axis(0),
        {"noise@1": axis(1), "noise@probabilities": axis(2)},
        {"mixed@feature_norm": axis(3), "mixed@top_logit": axis(4)},
    )
    headless = make_model("b", axis(0), {"noise@1": axis(1)}, {"mixed@feature_norm": axis(3)})
    scores = compare(whole, headless, {})
    assert set(scores.dna) == {"noise@1"}
    assert set(scores.gif) == {"mixed@feature_norm"}
    assert compare(whole, make_model("c"), {}) == Scores()
    assert compare(make_model("c", dna={"noise@1": axis(1)}), whole, {}).weights is None


def test_behaviour_of_two_modalities_is_not_compared_but_weights_are() -> None:
    image = make_model("a", axis(0), {"noise@1": axis(1)})
    text = make_model("b", axis(0), {"noise@1": axis(1)}, modality="text")
    scores = compare(image, text, {})
    assert scores.weights == pytest.approx(1)
    assert scores.dna == {}


@pytest.mark.parametrize("kind", ["weights", "dna", "gif"])
def test_two_spaces_are_an_error_and_no_low_score(kind: str) -> None:
    vectors = {
        "weights": {"weights": axis(0)},
        "dna": {"dna": {"noise@1": axis(0)}},
        "gif": {"gif": {"mixed@f": axis(0)}},
    }[kind]
    ours = make_model("a", **vectors)  # type: ignore[arg-type]
    theirs = make_model("b", **vectors, space=f"{kind}-2")  # type: ignore[arg-type]
    with pytest.raises(SpaceMismatch, match=rf"{kind}-1.*{kind}-2"):
        compare(ours, theirs, {})
