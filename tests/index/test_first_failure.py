"""Which failure of a model still holds."""

from __future__ import annotations

import numpy as np
import pytest

from provray.index.row import Row, first_failure

VECTOR = np.ones((1, 4), np.float32) / 2


def _ok(kind: str, space: str) -> Row:
    return Row("m", "r", kind, space, readouts=("x",), vectors=VECTOR)


def _failed(kind: str, space: str, status: str = "unsupported") -> Row:
    return Row("m", "r", kind, space, status=status, reason="why")


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([_ok("weights", "weights-1"), _ok("dna", "dna-1")], None),
        ([_ok("weights", "weights-1"), _failed("dna", "dna-none")], "unsupported"),
        # It was tried again once its kind was supported.
        ([_ok("weights", "weights-1"), _failed("dna", "dna-none"), _ok("dna", "dna-1")], None),
        # Another probe set's success says nothing of this one's failure.
        ([_ok("dna", "dna-1"), _failed("dna", "dna-2", "crashed")], "crashed"),
        ([_failed("weights", "weights-1", "unsafe")], "unsafe"),
        ([], None),
    ],
)
def test_a_success_outweighs_a_failure_in_no_space_alone(
    rows: list[Row], status: str | None
) -> None:
    found = first_failure(rows)
    assert (found.status if found else None) == status
