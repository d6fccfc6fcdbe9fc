"""Models side by side: which of them count as one family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.lineup import line_up
from tests.ancestry.families import base_model, fingerprinted
from tests.ancestry.rows import axis, make_model, make_row

READOUT = "noise@1"


def _families(models: Sequence[Fingerprint]) -> list[int]:
    return line_up(models).families


def _stranger(number: int) -> Fingerprint:
    return make_model(f"m{number}", axis(number), {READOUT: axis(number + 1)})


def _child(number: int, of: int) -> Fingerprint:
    behaviour = np.random.default_rng(number).standard_normal(64)
    return make_model(f"m{of}/child{number}", axis(of) + 0.1 * axis(60), {READOUT: behaviour})


def test_strangers_are_families_of_one() -> None:
    assert len(set(_families([_stranger(i) for i in range(10)]))) == 10


def test_models_alike_through_others_are_one_family() -> None:
    """a is like b, b is like c, a is not like c."""
    chain = [
        make_model("a", axis(0)),
        make_model("c", axis(1)),
        make_model("b", axis(0) + axis(1)),
        make_model("d", axis(2)),
    ]
    a, c, b, d = _families(chain)
    assert a == b == c != d


def test_models_without_weights_are_families_of_their_own() -> None:
    nothing = make_row("broken", "weights", status="broken")
    members = [
        make_model("x", dna={READOUT: axis(1)}),
        make_model("y", dna={READOUT: axis(1)}),
        Fingerprint("broken", "r1", nothing),
        _stranger(0),
        _child(1, of=0),
    ]
    numbers = _families(members)
    assert len(set(numbers)) == 4
    assert numbers[3] == numbers[4]
    assert _families([]) == []


def test_biases_alike_or_a_tensor_in_common_make_a_family() -> None:
    def model(name: str, matrices: int, biases: np.ndarray) -> Fingerprint:
        sketches = {"weights": axis(matrices), "biases": biases}
        return Fingerprint(name, "r1", make_row(name, "weights", sketches))

    a, b, c, d = _families(
        [
            model("a", 0, axis(9)),
            model("b", 1, axis(9)),
            model("c", 2, np.zeros(64)),
            model("d", 3, np.zeros(64)),  # no biases is nothing in common
        ]
    )
    assert a == b
    assert len({a, c, d}) == 3

    base, other = base_model(1), base_model(2)
    renamed = {**other, "tower.weight": base["layer.0.weight"][::-1]}
    start = {"norm.weight": np.ones(64, np.float32)}
    first, second, third = _families(
        [
            fingerprinted("base", {**base, **start}),
            fingerprinted("holds one", renamed),
            fingerprinted("stranger", {**base_model(3), **start}),
        ]
    )
    assert first == second != third


def test_opposite_weights_are_no_family() -> None:
    a, b = _families([make_model("a", axis(0)), make_model("b", -axis(0))])
    assert a != b
