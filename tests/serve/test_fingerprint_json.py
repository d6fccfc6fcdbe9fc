"""Ready fingerprints: what is sent is what arrives, and what cannot be compared is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provray.serve.fingerprint_json import fingerprint_from_json, fingerprint_to_json
from provray.serve.problems import Refused
from provray.serve.questions import FingerprintIn
from tests.serve.made_index import SUSPECT, fingerprint

SENT = fingerprint(SUSPECT)
SPACES = SENT.spaces


def _read(body: dict[str, Any]) -> Any:
    return fingerprint_from_json(FingerprintIn.model_validate(body), SPACES)


def test_a_fingerprint_arrives_as_it_was_sent() -> None:
    body = json.loads(json.dumps(fingerprint_to_json(SENT)))
    found = _read(body)
    assert (found.model, found.revision, found.spaces) == (SENT.model, SENT.revision, SPACES)
    for kind in ("weights", "dna", "gif"):
        ours, theirs = getattr(SENT, kind), getattr(found, kind)
        np.testing.assert_array_equal(theirs.vectors, ours.vectors)
        assert (theirs.readouts, theirs.scales, theirs.tensors) == (
            ours.readouts,
            ours.scales,
            ours.tensors,
        )
    assert found.contents == SENT.contents


def test_what_a_card_declares_travels_along() -> None:
    body = fingerprint_to_json(SENT)
    body["base_model"] = ["lab/base"]
    assert _read(body).declared == {"base_model": ["lab/base"]}


@pytest.mark.parametrize(
    ("row", "change", "said"),
    [
        (0, {"space": "weights-other"}, "lives in the space weights-other"),
        (0, {"dimensions": 512}, "have 1024 numbers, got 512"),
        (0, {"readouts": ["weights", "weights"]}, "names a readout twice"),
        (0, {"readouts": ["biases", "weights"]}, "has the readouts weights, biases"),
        (1, {"scales": [1.0]}, "scales"),
        (1, {"scales": []}, "scales"),
        (0, {"vectors": "%%%"}, "no base64"),
        (0, {"vectors": "AAAA"}, "8192 bytes, got 3"),
        (0, {"vectors": base64.b64encode(b"\0\0\xc0\x7f" * 2048).decode()}, "no unit vectors"),
        (0, {"vectors": base64.b64encode(b"\0\0\0\x3f" * 2048).decode()}, "no unit vectors"),
    ],
)
def test_what_cannot_be_compared_is_refused(row: int, change: dict[str, Any], said: str) -> None:
    body = fingerprint_to_json(SENT)
    body["rows"][row].update(change)
    with pytest.raises(Refused, match=said) as caught:
        _read(body)
    assert caught.value.name == "bad-fingerprint"


def test_two_rows_of_a_kind_are_refused() -> None:
    body = fingerprint_to_json(SENT)
    body["rows"].append(body["rows"][0])
    with pytest.raises((Refused, ValueError), match=r"two weights rows|at most 3"):
        _read(body)


@given(st.binary(max_size=64))
def test_no_bytes_in_place_of_vectors_do_more_than_be_refused(content: bytes) -> None:
    body = fingerprint_to_json(SENT)
    body["rows"][0]["vectors"] = base64.b64encode(content).decode()
    with pytest.raises(Refused):
        _read(body)
