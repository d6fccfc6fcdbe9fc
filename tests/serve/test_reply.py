"""Replies as bytes: JSON that every reader takes, and no number that is none."""

from __future__ import annotations

import json

import pytest

from provray.serve.reply import to_bytes


def test_what_is_sent_reads_as_what_it_was() -> None:
    told = {"p": 1e-300, "q": 0.1, "n": 3, "words": "é \u2028 \"'", "none": None, "all": [True]}
    assert json.loads(to_bytes(told)) == told


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_bytes({"score": [value]})


def test_a_model_may_be_called_like_no_number() -> None:
    told = {"model": "lab/NaN-7B", "base": "Infinity"}
    assert json.loads(to_bytes(told)) == told
