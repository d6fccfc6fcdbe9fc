"""Classifiers asked about inputs of their own domain, each once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from provray.index.table import FingerprintTable
from provray.testbed.domain_index import domain_fingerprints, domain_of
from provray.testbed.folders import read_truth, write_truth
from tests.models import tiny
from tests.testbed.made_zoo import record


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text classifier with a child, and an encoder of no domain."""
    root = tmp_path_factory.mktemp("zoo")
    bert = tiny.build("bert", "BertForSequenceClassification")
    tiny.save(root / "indexed" / "news" / "bert-0", bert)
    for parameter in bert.parameters():
        parameter.data.mul_(1.05)
    tiny.save(root / "indexed" / "news" / "bert-0.tuned", bert)
    tiny.save(root / "indexed" / "encoders" / "bert-0", tiny.build("bert"))
    truth = [
        record("news/bert-0", "base"),
        record("news/bert-0.tuned", "fine-tune", ("news/bert-0",)),
        record("encoders/bert-0", "base"),
    ]
    write_truth(root, [replace(r, path=f"indexed/{r.model}") for r in truth])
    return root


def test_a_domain_is_the_first_folder() -> None:
    assert domain_of("news/bert-0.steal soft") == "news"


@pytest.mark.usefixtures("ray_cluster")
def test_bases_answer_for_both_domains_and_children_for_their_own(zoo: Path) -> None:
    told: list[tuple[int, int]] = []
    found = domain_fingerprints(zoo, workers=1, progress=lambda *of: told.append(of))
    assert set(found) == {
        ("news", "news/bert-0"),
        ("news", "news/bert-0.tuned"),
        ("reviews", "news/bert-0"),
    }
    assert told == [(1, 3), (2, 3), (3, 3)]
    for (_, model), fingerprint in found.items():
        assert fingerprint.model == model
        assert fingerprint.weights is fingerprint.gif is None
        assert fingerprint.dna is not None
        for readout in ("natural@probabilities", "mixed@probabilities"):
            vector = fingerprint.dna.vector(readout)
            assert vector is not None
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)
    spaces = {domain: f.dna.space for (domain, _), f in found.items() if f.dna is not None}
    assert spaces["news"] != spaces["reviews"]

    version = FingerprintTable.open(zoo / "domain-index").version
    again = domain_fingerprints(zoo, progress=lambda *of: told.append(of))
    assert set(again) == set(found)
    assert len(told) == 3, "what is there is not measured again"
    assert FingerprintTable.open(zoo / "domain-index").version == version


@pytest.mark.usefixtures("ray_cluster")
def test_what_is_new_is_measured_alone(zoo: Path) -> None:
    before = domain_fingerprints(zoo, workers=1)
    second = tiny.build("bert", "BertForSequenceClassification")
    tiny.save(zoo / "indexed" / "reviews" / "bert-1.tuned", second)
    late = replace(record("reviews/bert-1.tuned", "fine-tune", ("news/bert-0",)), path="indexed")
    write_truth(zoo, [*read_truth(zoo), late])
    told: list[tuple[int, int]] = []
    found = domain_fingerprints(zoo, workers=1, progress=lambda *of: told.append(of))
    assert told == [(1, 1)]
    assert set(found) - set(before) == {("reviews", "reviews/bert-1.tuned")}


def test_a_zoo_of_no_known_domain_is_refused(tmp_path: Path) -> None:
    tiny.save(tmp_path / "indexed" / "encoders" / "bert-0", tiny.build("bert"))
    write_truth(tmp_path, [record("encoders/bert-0", "base")])
    with pytest.raises(ValueError, match="no known domain"):
        domain_fingerprints(tmp_path)
