"""Fitting the arrow on questions made by hand."""

from __future__ import annotations

import math

import pytest

from provray.ancestry.direction import LIMIT
from provray.ancestry.direction_cues import CHANGES, CUES, MARKS, Comparison
from provray.testbed.fitting.direction import Pair, fit_direction, score_direction


def _pair(family: int, sign: int, zeros: int = 0, size: float = 0.0) -> Pair:
    """A question; `zeros` and `size` as if the suspect were the child."""
    marks = dict.fromkeys(MARKS, 0) | {"zeros": zeros * sign}
    cues = (size * sign,) + (0.0,) * (len(CUES) - 1)
    compared = Comparison(marks, CHANGES[0], cues, {})
    architecture = ("vit", "bert")[family // 2 % 2]
    return Pair(compared, sign, f"m-{family}", "made", family, family % 2, architecture)


def test_a_mark_weighs_the_families_it_was_right_in() -> None:
    pairs = [_pair(family, sign, zeros=1) for family in range(7) for sign in (1, -1)]
    assert fit_direction(pairs).marks["zeros"] == pytest.approx(math.log(8))
    pairs += [_pair(6, 1, zeros=-1)]
    assert fit_direction(pairs).marks["zeros"] == pytest.approx(math.log(7 / 2))


def test_a_cue_that_is_a_coin_toss_is_never_said() -> None:
    pairs = [_pair(f, s, size=size) for f in range(8) for s in (1, -1) for size in (0.5, -0.5)]
    assert fit_direction(pairs).threshold > LIMIT


def test_scores_come_from_the_other_fold() -> None:
    """Zeros mean the child in one fold and the parent in the other: each fold misleads the other."""
    pairs = [_pair(family, 1, zeros=1 if family % 2 else -1) for family in range(24)]
    pairs += [_pair(family, 1, size=0.9) for family in range(24)]
    scores = score_direction(pairs)
    assert scores.sources["marks"].right.value == 0.0
    assert scores.sources["cues, part kept"].right.value == 1.0
    assert set(scores.architectures) == {"vit", "bert"}


def test_one_family_is_too_few() -> None:
    with pytest.raises(ValueError, match="two families"):
        fit_direction([_pair(0, 1, zeros=1)])
