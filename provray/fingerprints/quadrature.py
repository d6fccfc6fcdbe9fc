"""Gauss-Legendre quadrature on [0, 1]: where a path is sampled, and what each sample weighs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt


@lru_cache(maxsize=32)
def gauss_legendre(steps: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Nodes in (0, 1) and weights that sum to 1, exact for polynomials up to degree `2 * steps - 1`.

    Raises ValueError if `steps` is not positive.
    """
    if steps < 1:
        raise ValueError(f"quadrature needs at least 1 step, got {steps}")
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2
