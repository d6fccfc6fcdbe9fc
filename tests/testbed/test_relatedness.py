"""The relatedness score reproduces the published figures, and does what it says on orders known in advance."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provray.crawl.behaviour import Prober
from provray.crawl.fingerprinter import Fingerprinter
from provray.fingerprints.settings import FingerprintSettings
from provray.probes import ProbeSet, default_probes
from provray.sources import open_source
from provray.testbed import vision
from provray.testbed.relatedness import (
    behaviour,
    between_tasks,
    chance_scores,
    column_correlations,
    dissimilarities,
    field_distance,
    fields_of,
    interval,
    judge,
    pairwise,
    relatedness_score,
    resampled_scores,
    rsa_distance,
    signed_relatedness_score,
)


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((Path(__file__).parent / "taskonomy.json").read_text())
    return data


def random_matrix(seed: int, count: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).random((count, count))


@pytest.mark.parametrize(
    ("distance", "diagonal", "expected", "value"),
    [
        ("modelgif_distance", True, "gif_with_diagonal", 0.8349),
        ("modelgif_distance", False, "gif_without_diagonal", 0.8035),
        ("rsa_distance", True, "rsa_with_diagonal", 0.7771),
        ("rsa_distance", False, "rsa_without_diagonal", 0.7339),
    ],
)
def test_the_published_scores_come_out(
    published: dict[str, Any], distance: str, diagonal: bool, expected: str, value: float
) -> None:
    score = relatedness_score(published[distance], published["taskonomy_affinity"], diagonal)
    assert round(score, 4) == value == published["expected"][expected]


def test_no_published_column_has_the_wrong_sign(published: dict[str, Any]) -> None:
    for key in ("modelgif_distance", "rsa_distance"):
        rho = column_correlations(published[key], published["taskonomy_affinity"], diagonal=False)
        assert (rho < 0).all()
        signed = signed_relatedness_score(published[key], published["taskonomy_affinity"])
        assert signed == pytest.approx(np.abs(rho).mean())


@pytest.mark.parametrize("diagonal", [True, False])
def test_a_perfect_order_scores_one(diagonal: bool) -> None:
    affinity = random_matrix(1)
    # Spearman sees orders only: any falling function of the affinity will do
    for distance in (-affinity, np.exp(-5 * affinity), 1 / (0.1 + affinity)):
        assert relatedness_score(distance, affinity, diagonal) == pytest.approx(1)
        assert signed_relatedness_score(distance, affinity, diagonal) == pytest.approx(1)


def test_the_absolute_value_hides_a_wrong_order_and_the_sign_does_not() -> None:
    affinity = random_matrix(1)
    half = np.where(np.arange(8) < 4, 1.0, -1.0) * affinity
    assert relatedness_score(affinity, affinity) == pytest.approx(1)
    assert signed_relatedness_score(affinity, affinity) == pytest.approx(-1)
    assert relatedness_score(half, affinity) == pytest.approx(1)
    assert signed_relatedness_score(half, affinity) == pytest.approx(0)


def test_the_diagonal_counts_only_where_it_is_asked_for() -> None:
    distance, affinity = random_matrix(1), random_matrix(2)
    np.fill_diagonal(distance, 0)
    np.fill_diagonal(affinity, 9)
    other = affinity.copy()
    np.fill_diagonal(other, -9)
    assert relatedness_score(distance, affinity) == relatedness_score(distance, other)
    signed = [signed_relatedness_score(distance, a, diagonal=True) for a in (affinity, other)]
    assert signed[0] > signed_relatedness_score(distance, affinity) > signed[1]


@given(seed=st.integers(0, 10**6), diagonal=st.booleans())
def test_the_order_of_the_tasks_does_not_matter(seed: int, diagonal: bool) -> None:
    distance, affinity = random_matrix(seed), random_matrix(seed + 1)
    order = np.random.default_rng(seed).permutation(8)
    score = relatedness_score(distance, affinity, diagonal)
    dealt = relatedness_score(distance[order][:, order], affinity[order][:, order], diagonal)
    assert score == pytest.approx(dealt)
    assert 0 <= score <= 1
    assert abs(signed_relatedness_score(distance, affinity, diagonal)) <= score + 1e-12


@pytest.mark.parametrize(
    ("distance", "affinity", "match"),
    [
        (np.zeros((5, 4)), np.zeros((5, 4)), "square"),
        (random_matrix(1, 5), random_matrix(1, 6), "one shape"),
        (np.arange(5.0), np.arange(5.0), "square"),
        (random_matrix(1, 3), random_matrix(2, 3), "too few"),
        (random_matrix(1), np.where(random_matrix(2) > 0.9, np.nan, 1.0), "finite"),
        (np.ones((5, 5)), random_matrix(1, 5), "column 0 holds one value"),
    ],
)
def test_matrices_that_mean_nothing_are_refused(
    distance: np.ndarray, affinity: np.ndarray, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        relatedness_score(distance, affinity)
    with pytest.raises(ValueError, match=match):
        chance_scores(distance, affinity, draws=2, seed=1)


def test_chance_is_far_from_zero_for_the_absolute_score_and_zero_for_the_signed() -> None:
    distance, affinity = random_matrix(1, 12), random_matrix(2, 12)
    chance = chance_scores(distance, affinity, draws=400, seed=1)
    assert chance.shape == (400, 2)
    assert 0.2 < chance[:, 0].mean() < 0.3
    assert abs(chance[:, 1].mean()) < 0.03
    # the one order that is not shuffled is the score itself
    perfect = chance_scores(-affinity, affinity, draws=400, seed=1)
    assert perfect.max() < 1
    assert np.array_equal(chance, chance_scores(distance, affinity, draws=400, seed=1))


def test_intervals_over_tasks_hold_the_score_and_are_paired() -> None:
    affinity = random_matrix(1, 12)
    noisy = -affinity + 0.3 * random_matrix(2, 12)
    spread = resampled_scores(
        {"perfect": -affinity, "noisy": noisy, "again": 2 * noisy}, affinity, draws=200, seed=1
    )
    assert np.allclose(spread["perfect"], 1)
    assert np.array_equal(spread["noisy"], spread["again"])
    low, high = np.quantile(spread["noisy"][:, 1], (0.025, 0.975))
    assert low < signed_relatedness_score(noisy, affinity) < high < 1


def test_rsa_sees_neither_rotation_nor_scale_nor_width() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(20, 6))
    features -= features.mean(axis=1, keepdims=True)
    # a rotation that keeps the vector of ones keeps every correlation between inputs
    ones = np.full((6, 1), 6**-0.5)
    basis = np.linalg.qr(np.concatenate([ones, rng.normal(size=(6, 5))], axis=1))[0]
    turn = basis[:, 1:] @ np.linalg.qr(rng.normal(size=(5, 5)))[0] @ basis[:, 1:].T
    pairs = dissimilarities(features)
    assert pairs.shape == (190,)
    assert rsa_distance(pairs, dissimilarities(3 * features @ turn + 7)) == pytest.approx(0)
    wide = np.repeat(features, 2, axis=1)
    assert rsa_distance(pairs, dissimilarities(wide)) == pytest.approx(0)
    assert rsa_distance(pairs, -pairs) == pytest.approx(2)
    assert abs(rsa_distance(pairs, dissimilarities(rng.normal(size=(20, 6)))) - 1) < 0.4


def test_dissimilarities_by_hand() -> None:
    features = [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2.0, 4.0, 6.0], [5.0, 5.0, 5.0]]
    # pairs 01, 02, 03, 12, 13, 23; an input without spread is 1 away from all
    assert dissimilarities(features) == pytest.approx([2, 0, 1, 2, 1, 1])


def test_rsa_refuses_what_it_cannot_order() -> None:
    with pytest.raises(ValueError, match="three inputs"):
        dissimilarities(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="not comparable"):
        rsa_distance([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="constant"):
        rsa_distance([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])


def test_a_judgement_gathers_the_scores() -> None:
    affinity = random_matrix(1, 10)
    distances = {"good": -affinity + 0.2 * random_matrix(2, 10), "none": random_matrix(3, 10)}
    judged, spread = judge(distances, affinity, draws=200, seed=1)
    for name, found in judged.items():
        assert found.score == relatedness_score(distances[name], affinity)
        assert found.signed == pytest.approx(-np.mean(found.rho))
        assert found.with_diagonal == relatedness_score(distances[name], affinity, diagonal=True)
        assert found.interval == interval(spread[name][:, 0])
        assert 0.2 < found.chance < 0.4
    assert judged["good"].p_signed == pytest.approx(1 / 201)
    assert judged["none"].p_signed > 0.05


def test_distances_between_tasks_are_means_over_independent_models() -> None:
    # two seeds of two tasks: models a0, b0, a1, b1
    between = np.array(
        [[0.0, 0.5, 0.1, 0.7], [0.5, 0.0, 0.6, 0.2], [0.1, 0.6, 0.0, 0.8], [0.7, 0.2, 0.8, 0.0]]
    )
    mean, single = between_tasks(between, 2)
    assert mean == pytest.approx(np.array([[0.1, 0.65], [0.65, 0.2]]))
    assert single[0].tolist() == [[0, 0.5], [0.5, 0]]
    assert single[1].tolist() == [[0, 0.8], [0.8, 0]]
    with pytest.raises(ValueError, match="models of 3 seeds"):
        between_tasks(between, 3)
    with pytest.raises(ValueError, match="models of 1 seeds"):
        between_tasks(between, 1)


def test_pairs_and_fields_by_hand() -> None:
    x, y = np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.array([[[1.0, 0.0], [0.0, -1.0]]])
    assert field_distance(x, x) == 0
    # one point of the path alike, one opposite
    assert field_distance(x, y) == 1
    assert pairwise([x, y, x], field_distance).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    with pytest.raises(ValueError, match="not comparable"):
        field_distance(x, y[:, :1])


def test_behaviour_keeps_what_a_crawl_stores_and_the_fields_behind_it(tmp_path: Path) -> None:
    whole = default_probes("image")
    few = ProbeSet(
        "few", "image", tuple(p for s in ("natural", "mixed") for p in whole.stratum(s)[:20])
    )
    settings = FingerprintSettings()
    fingerprinter = Fingerprinter(settings, {"image": few.digest})
    model = vision.new_classifier("resnet", channels=3, size=16, classes=4, seed=1)
    vision.save_classifier(model, tmp_path / "model", size=16, title="model")
    ref = next(iter(open_source(str(tmp_path / "model")).models()))
    prober = Prober(fingerprinter)
    probed = prober.load(ref)
    seen = behaviour(probed, few, settings)
    stored = {}
    for row in fingerprinter.finish(prober.probe(ref, few.shards())):
        stored |= dict(zip(row.readouts, row.vectors, strict=True))
    assert seen.vectors.keys() == stored.keys()
    for name, vector in stored.items():
        assert seen.vectors[name] == pytest.approx(vector, abs=1e-4)
    assert seen.states.shape == (20, 96)
    assert seen.fields.keys() == {"top_logit", "feature_norm"}
    fields = seen.fields["top_logit"]
    assert fields.shape == (20, settings.gif.points, 256)
    assert np.linalg.norm(fields, axis=-1) == pytest.approx(1)
    again = fields_of(probed, few.stratum("mixed"), settings.gif)
    assert np.array_equal(again["top_logit"], fields)
