"""Nearest neighbours with exact scores, and index files that fit their keys."""

from __future__ import annotations

import numpy as np
import pytest

from provray.fingerprints.sketch import unit
from provray.index.search import build, from_bytes


def _vectors(count: int, seed: int, d: int = 24) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, d))).astype(np.float32)


def test_search_is_the_sorted_inner_product() -> None:
    vectors, queries = _vectors(200, 0), _vectors(10, 1)
    keys = [f"model/{i}" for i in range(200)]
    index = build(keys, vectors)
    for query in queries:
        exact = vectors @ query
        best = np.argsort(-exact)[:7]
        found = index.search(query, 7)
        assert [key for key, _ in found] == [keys[i] for i in best]
        np.testing.assert_allclose([score for _, score in found], exact[best], atol=1e-6)


def test_a_member_finds_itself_first() -> None:
    vectors = _vectors(50, 2)
    index = build([str(i) for i in range(50)], vectors)
    for i, vector in enumerate(vectors):
        key, score = index.search(vector, 1)[0]
        assert key == str(i)
        assert score == pytest.approx(1, abs=1e-6)


def test_no_more_is_found_than_there_is() -> None:
    index = build(["a", "b"], _vectors(2, 3))
    assert len(index.search(_vectors(1, 4)[0], 10)) == 2
    assert index.search(_vectors(1, 4)[0], 0) == []
    assert build([], np.zeros((0, 24), np.float32)).search(_vectors(1, 4)[0], 5) == []


def test_a_zero_vector_finds_everything_at_zero() -> None:
    found = build(["a", "b", "c"], _vectors(3, 5)).search(np.zeros(24, np.float32), 3)
    assert sorted(key for key, _ in found) == ["a", "b", "c"]
    assert [score for _, score in found] == [0, 0, 0]


def test_an_index_from_its_bytes_answers_the_same() -> None:
    vectors, query = _vectors(30, 6), _vectors(1, 7)[0]
    index = build([str(i) for i in range(30)], vectors)
    again = from_bytes(index.keys, index.to_bytes())
    assert again.search(query, 30) == index.search(query, 30)


def _families(count: int, seed: int, cosine: float, d: int = 1024) -> np.ndarray:
    """Unit vectors; each five after a multiple of six lie at this cosine from it."""
    vectors = _vectors(count, seed, d)
    heads = np.repeat(vectors[::6], 6, axis=0)[:count]
    near = cosine * heads + np.sqrt(1 - cosine**2) * vectors
    near[::6] = vectors[::6]
    return unit(near).astype(np.float32)


def test_of_many_models_relatives_are_found_with_their_exact_scores() -> None:
    vectors = _families(3000, 9, cosine=0.4)
    keys = [str(number) for number in range(len(vectors))]
    index = build(keys, vectors, all_compared=len(vectors) - 1)
    assert "Refine" in type(index.faiss_index).__name__
    for head in range(0, 3000, 300):
        found = dict(index.search(vectors[head], 24))
        assert {str(number) for number in range(head, head + 6)} <= found.keys()
        for key, score in found.items():
            assert score == pytest.approx(float(vectors[head] @ vectors[int(key)]), abs=1e-5)
    together = index.search_many(vectors[:5], 24)
    assert together == [index.search(vector, 24) for vector in vectors[:5]]


def test_up_to_the_limit_all_models_are_compared() -> None:
    vectors = _vectors(300, 10)
    index = build([str(number) for number in range(300)], vectors, all_compared=300)
    exact = np.argsort(-(vectors @ vectors[0]))
    assert [key for key, _ in index.search(vectors[0], 300)] == [str(n) for n in exact]


def test_an_index_of_many_from_its_bytes_answers_the_same_and_gives_its_vectors_back() -> None:
    vectors, query = _families(400, 11, cosine=0.5), _vectors(1, 12, 1024)[0]
    index = build([str(i) for i in range(400)], vectors, all_compared=0)
    again = from_bytes(index.keys, index.to_bytes())
    assert again.search(query, 24) == index.search(query, 24)
    np.testing.assert_array_equal(again.faiss_index.reconstruct_n(0, 400), vectors)


def test_bytes_that_do_not_fit_their_keys_are_an_error() -> None:
    content = build(["a", "b"], _vectors(2, 8)).to_bytes()
    with pytest.raises(ValueError, match="2 vectors does not fit 3 models"):
        from_bytes(["a", "b", "c"], content)
