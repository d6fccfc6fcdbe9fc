"""Whole verdicts on a zoo, each fold judged by what was fitted on the other one."""

from __future__ import annotations

import pytest

from provray.testbed.fitting.verdict import Evidence
from provray.testbed.scoreboard.verdicts import (
    AWAY,
    INDEXED,
    Said,
    ask_fold,
    discover_fold,
    discoveries,
)
from tests.ancestry.networks import stranger


@pytest.fixture(scope="module")
def answers(evidence: Evidence) -> list[Said]:
    told: list[str] = []
    said = [a for fold in (0, 1) for a in ask_fold(evidence, fold, 0.05, told.append)]
    assert len(told) == 4
    return said


def test_every_model_is_asked_about_twice(evidence: Evidence, answers: list[Said]) -> None:
    asked = [(a.suspect, a.setting) for a in answers]
    assert len(asked) == len(set(asked)) == 2 * len(evidence.records)


def test_children_name_their_parent(answers: list[Said]) -> None:
    children = [a for a in answers if a.relation == "fine-tune" and a.setting == INDEXED]
    assert len(children) == 16
    for said in children:
        base = said.suspect.removesuffix(".tuned")
        assert said.truth == said.ancestry == (base,)
        assert (said.verdict, said.named[0][0]) == ("ancestor", base)
        assert said.relatives == (base,)
        assert said.probability > 0.9


def test_without_its_kin_nothing_is_a_relative(answers: list[Said]) -> None:
    """Networks of the same start stay in the index: they are the ones to be mistaken for kin."""
    away = [a for a in answers if a.setting == AWAY]
    assert sum(bool(a.strangers) for a in away) <= 0.05 * len(away)
    for said in away:
        assert said.relatives == said.strangers
        assert set(said.relatives) <= set(said.sharing)
        if said.relation == "fine-tune":
            assert said.truth == said.ancestry == ()


def test_thieves_name_their_victim_by_behaviour(answers: list[Said]) -> None:
    for said in answers:
        if said.relation == "stolen":
            assert said.ancestry == (), "no weights come from the victim"
            assert said.truth == (said.suspect.removesuffix(".thief"),)
            assert said.named[0][:2] == (*said.truth, "distilled or stolen")
            assert said.relatives == ()


def test_false_claims_and_found_ancestors_are_counted() -> None:
    outcomes = [
        (50, 0.05, "kin indexed", 0.5, True, 1.0, 1),
        (50, 0.05, "kin indexed", 0.0, False, 0.0, 2),
        (50, 0.05, "kin indexed", 0.0, False, None, 3),
        (50, 0.05, "kin indexed", 0.0, False, None, 4),
        (50, 0.1, "kin indexed", 1.0, True, None, 1),
    ]
    low, high = discoveries(outcomes)
    assert (low.size, low.rate, low.setting) == (50, 0.05, "kin indexed")
    assert (low.fdr.value, low.any.value, low.power.value) == (0.125, 0.25, 0.5)
    assert (low.fdr.count, low.power.count) == (4, 2)
    assert (high.fdr.value, high.power.count) == (1.0, 0)


def test_an_index_of_a_fold_grows_by_the_other_fold_and_strangers(evidence: Evidence) -> None:
    strangers = [stranger(f"far/{n}", 9000 + n).fingerprint() for n in range(3)]
    told: list[str] = []
    outcomes = discover_fold(
        evidence, 1, strangers, (30, 56, 500), (0.05,), suspects=24, progress=told.append
    )
    assert told == [f"fold 1: index of {size}" for size in (30, 56, 115)]
    assert len(outcomes) == 3 * 24 * 2
    by = {(d.size, d.setting): d for d in discoveries(outcomes)}
    for discovery in by.values():
        assert discovery.fdr.value <= discovery.any.value <= 0.1
    assert by[56, INDEXED].power.count >= 2
    assert by[56, INDEXED].power.value == by[115, INDEXED].power.value == 1.0
    assert by[115, AWAY].power.count == 0
