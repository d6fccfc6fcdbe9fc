"""Gauss-Legendre nodes and weights on [0, 1]."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

from provray.fingerprints.quadrature import gauss_legendre


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8, 16, 50])
def test_weights_are_positive_and_sum_to_one(steps: int) -> None:
    nodes, weights = gauss_legendre(steps)
    assert nodes.shape == weights.shape == (steps,)
    assert np.all(weights > 0)
    assert abs(weights.sum() - 1) < 1e-14
    assert np.all((nodes > 0) & (nodes < 1))
    assert np.all(np.diff(nodes) > 0)  # the path is walked from the baseline to the probe
    np.testing.assert_allclose(nodes + nodes[::-1], 1, atol=1e-14)
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-14)


@given(st.integers(1, 12), st.data())
def test_polynomials_up_to_degree_2n_minus_1_are_exact(steps: int, data: st.DataObject) -> None:
    coefficients = data.draw(
        st.lists(st.floats(-5, 5), min_size=2 * steps, max_size=2 * steps), label="coefficients"
    )
    polynomial = Polynomial(coefficients)
    nodes, weights = gauss_legendre(steps)
    assert abs(weights @ polynomial(nodes) - polynomial.integ()(1.0)) < 1e-12


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_degree_2n_is_beyond_it(steps: int) -> None:
    """So the rule is Gauss-Legendre and no better than it claims; the error is the textbook one."""
    nodes, weights = gauss_legendre(steps)
    error = 1 / (2 * steps + 1) - weights @ nodes ** (2 * steps)
    orthogonal = Polynomial.fromroots(nodes)
    assert error == pytest.approx((orthogonal**2).integ()(1.0), rel=1e-9)
    assert error > 1e-6


def test_two_steps_are_the_known_ones() -> None:
    nodes, weights = gauss_legendre(2)
    np.testing.assert_allclose(nodes, [0.5 - 0.5 / np.sqrt(3), 0.5 + 0.5 / np.sqrt(3)], atol=1e-15)
    np.testing.assert_allclose(weights, [0.5, 0.5], atol=1e-15)


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_is_an_error(steps: int) -> None:
    with pytest.raises(ValueError, match=str(steps)):
        gauss_legendre(steps)
