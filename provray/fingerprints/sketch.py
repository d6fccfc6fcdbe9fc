"""Count-sketches: short linear images of long vectors that keep inner products in expectation.

Charikar, Chen & Farach-Colton, "Finding frequent items in data streams" (2002); as a feature hash:
Weinberger et al., ICML 2009. For x, y of any length, E<cs(x), cs(y)> = <x, y> with a standard deviation
of at most |x||y| * sqrt(2 / m). The sketch is linear, so sketches of parts add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from provray.fingerprints.seeds import key_of, permutation, signs, words

F64 = npt.NDArray[np.float64]


def count_sketch(
    values: npt.NDArray[np.floating], key: int, dimensions: int, start: int = 0
) -> F64:
    """Count-sketch of `values`, coordinates `start` .. of a longer vector with hash stream `key`.

    values: shape (n,). Returns shape (dimensions,), float64; `dimensions` is a power of two.
    """
    places = _places(key, values.size, start, dimensions)
    return _binned(values, *places, dimensions)


def count_sketch_sum(values: npt.NDArray[np.floating], keys: Sequence[int], dimensions: int) -> F64:
    """Sum of the count-sketches of n vectors, each with a hash stream of its own, in one pass.

    values: shape (n, size). Returns shape (dimensions,). Raises ValueError unless there are n keys.
    """
    if len(values) != len(keys):
        raise ValueError(f"{len(values)} vectors need as many keys, got {len(keys)}")
    places = zip(*(_places(key, values.shape[1], 0, dimensions) for key in keys), strict=True)
    buckets, sign = (np.concatenate(part) for part in places)
    return _binned(values.ravel(), buckets, sign, dimensions)


def _binned(
    values: npt.NDArray[np.floating],
    buckets: npt.NDArray[np.int64],
    sign: F64,
    dimensions: int,
) -> F64:
    sketch: F64 = np.bincount(buckets, weights=values * sign, minlength=dimensions).astype(
        np.float64
    )
    return sketch


@lru_cache(maxsize=1024)
def _places(
    key: int, count: int, start: int, dimensions: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Bucket and sign of each coordinate. A worker sketches every model's fields with the same seeds."""
    hashes = words(key, count, start)
    buckets = (hashes >> np.uint64(64 - dimensions.bit_length() + 1)).astype(np.int64)
    return buckets, np.where(hashes & np.uint64(1), 1.0, -1.0)


def unit(vector: npt.NDArray[np.floating]) -> F64:
    """The vector over its norm along the last axis; a zero vector stays zero."""
    vector = np.asarray(vector, np.float64)
    norm = np.linalg.norm(vector, axis=-1, keepdims=True)
    result: F64 = np.divide(vector, norm, out=np.zeros_like(vector), where=norm > 0)
    return result


def cosine(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Cosine along the last axis; 0 where either vector is zero."""
    result: F64 = np.sum(unit(a) * unit(b), axis=-1)
    return result


BLOCK = 65_536
"""Values per block of a `BlockSketcher`; a power of two."""


class BlockSketcher:
    """Count-sketch for hundreds of millions of values: balanced buckets and packed random signs, block by block.

    Every block of `BLOCK` values is put in one fixed random order and cut into rows of `dimensions`: a value's place
    in its row is its bucket, so buckets are balanced and no structure of the tensor (rows, columns) lines up
    with them. Signs are fresh for each block, and so is a rotation of the buckets: without it, values at the
    same place of two tensors would always share one, and small tensors disturb each other more than by chance.
    Costs a gather and a multiply-add per value, where hashing each index costs ten times that.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._order = permutation(key_of("block-order", BLOCK), BLOCK)

    def add(
        self, block: npt.NDArray[np.float32], key: int, number: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Sketch of block `number` of the vector with hash stream `key`, and the sketch of all ones there.

        block: shape (n,), n <= BLOCK, and n = BLOCK but for a vector's last one. Returns two arrays of shape
        (dimensions,). Raises ValueError for a longer block.
        """
        n = block.size
        if n > BLOCK:
            raise ValueError(f"a block holds at most {BLOCK} values, got {n}")
        stream = key_of(key, number)
        sign = signs(stream, BLOCK)
        turn = stream % self.dimensions
        if n < BLOCK:
            # Values past the end are zero and so are their signs: they count for nothing in either sketch.
            block = np.concatenate([block, np.zeros(BLOCK - n, np.float32)])
            sign[self._order >= n] = 0
        ordered = block[self._order]
        ordered *= sign
        shape = (-1, self.dimensions)
        return (
            np.roll(ordered.reshape(shape).sum(axis=0, dtype=np.float64), turn),
            np.roll(sign.reshape(shape).sum(axis=0, dtype=np.int64).astype(np.float64), turn),
        )
