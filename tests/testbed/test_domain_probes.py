"""Probe sets of a zoo's own domains."""

from __future__ import annotations

import pytest

from provray.testbed.corpora import corpus_texts
from provray.testbed.digits import as_pictures, digits
from provray.testbed.domain_probes import TOTAL, domain_probes
from provray.testbed.scoreboard.outputs import COUNT


def test_pictures_no_model_was_trained_on() -> None:
    (made,) = domain_probes({"digits", "photographs"}).values()
    assert made.modality == "image"
    natural = made.stratum("natural")
    assert len(natural) == TOTAL
    trained = {picture.tobytes() for picture in as_pictures(digits("train")[0])}
    held_out = {picture.tobytes() for picture in as_pictures(digits("probe")[0])}
    shown = [p.content.tobytes() for p in natural if not isinstance(p.content, str)]
    assert len(shown) == TOTAL
    assert held_out.issuperset(shown)
    assert not trained & set(shown)
    assert domain_probes({"digits"})["digits"].digest == made.digest


def test_one_set_of_texts_for_each_corpus() -> None:
    made = domain_probes({"news", "reviews"})
    assert list(made) == ["news", "reviews"]
    for probes in made.values():
        assert probes.modality == "text"
        assert len(probes.stratum("mixed")) == TOTAL
    # fidelity is measured on the first test texts; the news have fewer than TOTAL others
    left = len(corpus_texts("news", "zoo").test) - COUNT
    assert 64 < left < TOTAL
    assert len(made["news"].stratum("natural")) == left
    # the same review may stand twice
    assert TOTAL - 8 <= len(made["reviews"].stratum("natural")) <= TOTAL
    trained = {text[:80] for text in corpus_texts("reviews", "zoo").train.texts}
    shown = {str(p.content)[:80] for p in made["reviews"].stratum("natural")}
    assert len(shown & trained) < 8


def test_nothing_known_is_an_error() -> None:
    with pytest.raises(ValueError, match="no known domain among photographs"):
        domain_probes({"photographs"})
