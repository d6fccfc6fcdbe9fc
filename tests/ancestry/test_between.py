"""What the others of a family say of a pair, for many pairs at once."""

from __future__ import annotations

import numpy as np
import pytest

from provray.ancestry import between
from provray.ancestry.kinship import Family


def _family(size: int, seed: int) -> Family:
    rng = np.random.default_rng(seed)

    def squared() -> np.ndarray:
        places = rng.standard_normal((size, 6))
        return np.square(places[:, None] - places[None]).sum(-1)

    tensors = rng.integers(0, 2, (size, 9))
    return Family(
        distances=np.stack([squared(), squared()]),
        tensors=tensors,
        shared=np.array([np.minimum(row, tensors).sum(1) for row in tensors]),
        counts=np.full(size, 10),
        zeros=rng.random(size) * 0.04,
        coarse=rng.random(size) * 0.1,
        may_descend=rng.random((size, size)) > 0.3,
        heads=np.ones((size, size), bool),
    )


@pytest.mark.parametrize("size", [2, 7, 90])  # the last has more members than are asked
def test_many_pairs_at_once_are_each_alone(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    family = _family(size, size)
    others = np.random.default_rng(1).random(size) > 0.1
    children = [child for child in (0, 3, size - 1) if child < size]
    others[children] = True
    pairs = [(c, p) for c in children for p in range(min(size, 17)) if p != c]
    alone = [between.look_between(family, [pair], others)[0] for pair in pairs]
    together = between.look_between(family, pairs, others)
    monkeypatch.setattr(between, "_VALUES", 1)  # every pair by itself
    apart = between.look_between(family, pairs, others)
    for one, many, part in zip(alone, together, apart, strict=True):
        wanted = pytest.approx((one.hidden, one.above, one.weight), abs=1e-12)
        assert (many.hidden, many.above, many.weight) == wanted
        assert (part.hidden, part.above, part.weight) == wanted
    assert size == 2 or len({b.hidden for b in together}) > 3


def test_who_is_alone_hears_nothing() -> None:
    nobody = np.zeros(7, bool)
    (found,) = between.look_between(_family(7, 1), [(0, 3)], nobody)
    assert found == between.Between(0.0, 0.0, 0.0)
    assert between.look_between(_family(7, 1), [], ~nobody) == []
