"""A sample of each tensor: which of its blocks are read.

A cosine needs no whole matrix: a few blocks of `BLOCK` values, the same ones in every model, estimate it. Which ones
follows from the tensor's shape alone, never from what it holds. Nor from its name: a tensor that moved to another
name, as layers do where one was dropped, is sampled at the same places and still known by its bytes.

A tensor of n blocks is cut into as many equal runs as blocks are wanted, and one block of each run is drawn. So a
sample is spread over the tensor, and no place is always in it. The first block would be a bad one to rely on: a
vocabulary begins with its control and spare tokens, which training hardly touches.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from provray.fingerprints.seeds import key_of, words
from provray.fingerprints.sketch import BLOCK


def block_count(shape: Sequence[int]) -> int:
    """How many blocks a tensor of this shape has; the last one may hold fewer than `BLOCK` values."""
    return -(-math.prod(shape) // BLOCK)


def chosen_blocks(shape: Sequence[int], sample: int) -> Sequence[int]:
    """Numbers of the blocks that are read of a tensor of this shape, ascending.

    All of them if `sample` is 0 or the tensor has no more than that. Otherwise `sample` of the full ones: a last block
    of a few values would be alike by chance. Costs no more for a larger tensor.
    """
    if not sample or block_count(shape) <= sample:
        return range(block_count(shape))
    full = math.prod(shape) // BLOCK
    draws = words(key_of("sampled blocks", *shape), sample).tolist()
    edges = [run * full // sample for run in range(sample + 1)]
    return [
        begin + (draw * (end - begin) >> 64)
        for draw, (begin, end) in zip(draws, itertools.pairwise(edges), strict=True)
    ]
