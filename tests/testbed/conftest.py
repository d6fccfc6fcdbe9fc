"""One made-up zoo, and what it says, for all tests that fit or score verdicts."""

from __future__ import annotations

import pytest

from provray.ancestry.fingerprint import Fingerprint
from provray.testbed.fitting.pairs import make_pairs
from provray.testbed.fitting.theft import make_questions
from provray.testbed.fitting.verdict import Evidence
from tests.testbed.made_zoo import make_zoo


@pytest.fixture(scope="session")
def evidence() -> Evidence:
    records, fingerprints = make_zoo()
    answers = {
        ("digits", f.model): Fingerprint(f.model, f.revision, dna=f.dna) for f in fingerprints
    }
    margins = {r.model: 0.1 for r in records if r.relation == "stolen"}
    return Evidence(
        tuple(records),
        tuple(fingerprints),
        make_pairs(fingerprints, records),
        tuple(make_questions(records, answers, margins)),
    )
