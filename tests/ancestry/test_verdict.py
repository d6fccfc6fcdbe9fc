"""The judgement on two axes: what makes an ancestor, what only makes a relative or a look-alike, and at which
error rate."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from provray.ancestry.answer_json import answer_to_json
from provray.ancestry.calibration import shipped_calibration
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.scores import LOWER_HALF
from provray.ancestry.snapshot import Snapshot, open_snapshot
from provray.ancestry.verdict import Answer, copies, judge
from provray.ancestry.weighing import weigh
from provray.fingerprints.space import SpaceMismatch
from provray.index.table import FingerprintTable
from provray.probes.build import DEFAULT_DIGESTS
from tests.ancestry.families import average, base_model, pruned, rounded
from tests.ancestry.networks import (
    ANSWERS,
    SPACES,
    Network,
    permuted,
    same_start,
    stranger,
)

BASE = stranger("lab/base", 1000)
SIBLING = BASE.child("shop/sibling", 50)
SECOND = BASE.child("shop/second", 51)
STRANGERS = [stranger(f"far/{i}", i) for i in range(20)]
SUSPECT = BASE.child("who/knows", 60)
"""A fine-tune of the base."""
Opened = Callable[..., Snapshot]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """An index of twenty strangers and these."""
    made: dict[tuple[str, ...], Snapshot] = {}

    def open_with(*networks: Network, strangers: Sequence[Network] = STRANGERS) -> Snapshot:
        key = tuple(network.name for network in (*networks, *strangers))
        if key not in made:
            table = FingerprintTable.create(tmp_path_factory.mktemp("index"))
            table.append([row for network in (*networks, *strangers) for row in network.rows()])
            made[key] = open_snapshot(table.location, SPACES)
        return made[key]

    return open_with


def _ask(suspect: Network, snapshot: Snapshot, **changed: object) -> Answer:
    return judge(suspect.fingerprint(), snapshot, **changed)  # type: ignore[arg-type]


def _relations(answer: Answer) -> dict[str, str]:
    return {c.model: c.relation for c in answer.candidates if c.relation}


# --- inherited weights


def test_a_child_names_its_parent_and_not_its_sibling(indexed: Opened) -> None:
    answer = _ask(SUSPECT, indexed(BASE, SIBLING))
    assert answer.verdict == "ancestor"
    assert [a.model for a in answer.ancestors] == ["lab/base"]
    assert _relations(answer) == {"lab/base": "fine-tune", "shop/sibling": "sibling"}
    (parent,) = answer.ancestors
    assert parent.axis == "weights"
    assert parent.direction is not None
    assert parent.direction.said == "ancestor"
    assert {e.axis for e in parent.evidence if e.decided} == {"weights"}
    assert "weights" not in {
        e.score for e in parent.evidence if e.decided
    }  # matrices alone never do
    assert parent.probability > 0.99
    assert parent.q_value < 0.001
    assert "lab/base" in answer.says


def test_a_grandchild_names_its_parent_first(indexed: Opened) -> None:
    suspect = SIBLING.child("who/knows", 61)
    answer = _ask(suspect, indexed(BASE, SIBLING, SECOND))
    assert [a.model for a in answer.ancestors] == ["shop/sibling", "lab/base"]
    assert _relations(answer)["shop/second"] == "sibling"
    assert answer.ancestors[1].direction is not None
    assert answer.ancestors[1].direction.reasons == ("an ancestor of shop/sibling",)


@pytest.mark.parametrize("relation", ["pruned", "quantised"])
def test_an_edit_is_named(indexed: Opened, relation: str) -> None:
    made = pruned(BASE.tensors, 0.5) if relation == "pruned" else rounded(BASE.tensors, 7)
    answer = _ask(BASE.named("who/knows", made), indexed(BASE, SIBLING))
    assert [(a.model, a.relation) for a in answer.ancestors] == [("lab/base", relation)]


def test_a_merge_names_both_its_parents(indexed: Opened) -> None:
    merged = BASE.named("who/knows", average(SIBLING.tensors, SECOND.tensors))
    answer = _ask(merged, indexed(BASE, SIBLING, SECOND))
    assert {a.model for a in answer.ancestors if a.relation == "merged"} == {
        "shop/sibling",
        "shop/second",
    }


def test_siblings_without_their_parent_are_siblings(indexed: Opened) -> None:
    answer = _ask(SUSPECT, indexed(SIBLING, SECOND))
    assert answer.verdict == "sibling"
    assert answer.ancestors == ()
    assert _relations(answer) == {"shop/sibling": "sibling", "shop/second": "sibling"}
    assert "not shown to be indexed" in answer.says


def test_the_same_body_under_another_head_is_no_sibling(indexed: Opened) -> None:
    """Nothing in identical bodies says which came first: the model that has it is named, and the doubt with it."""
    head = np.random.default_rng(4).standard_normal((7, 16)).astype(np.float32)
    reheaded = BASE.named("who/reheaded", {**BASE.tensors, "classifier.weight": head})
    answer = _ask(reheaded, indexed(BASE, SIBLING))
    assert answer.verdict == "ancestor"
    assert answer.ancestors[0].model == "lab/base"
    assert answer.ancestors[0].relation == "new head"
    assert answer.ancestors[0].direction is not None
    assert answer.ancestors[0].direction.said == "unknown"


def test_one_relative_alone_leaves_open_which_came_first(indexed: Opened) -> None:
    """A sibling and a parent look alike where nobody else is there: the answer must say so."""
    answer = _ask(SUSPECT, indexed(SIBLING))
    assert [a.model for a in answer.ancestors] == ["shop/sibling"]
    assert answer.ancestors[0].direction is not None
    assert answer.ancestors[0].direction.said == "unknown"
    assert "which of the two came first is not shown" in answer.says


def test_a_parent_asked_against_its_children_is_told_that_they_descend(indexed: Opened) -> None:
    cut = BASE.named("shop/cut", pruned(BASE.tensors, 0.5))
    for children in ((SIBLING, SECOND), (cut,)):
        answer = _ask(BASE, indexed(*children))
        assert answer.verdict == "descendant"
        assert answer.ancestors == ()
        assert _relations(answer) == {child.name: "descendant" for child in children}
        assert "came after it" in answer.says


def test_permuted_neurons_are_found_by_the_values_they_hold(indexed: Opened) -> None:
    answer = _ask(permuted(BASE, "who/knows", 5), indexed(BASE, SIBLING))
    assert answer.ancestors[0].model == "lab/base"
    assert answer.ancestors[0].scores.shared == 1.0
    assert answer.ancestors[0].scores.weights == pytest.approx(0, abs=0.15)


# --- a common start, and look-alikes


def test_a_network_of_the_same_start_is_related_and_no_ancestor(indexed: Opened) -> None:
    """Its matrices are nearer than those of many a child."""
    for behaviour in (0.0, 0.4):
        suspect = same_start(BASE, "who/knows", 5)
        profile = BASE.behaving(behaviour, 8, only=LOWER_HALF).behaviour
        suspect = replace(suspect, behaviour=profile)
        answer = _ask(suspect, indexed(BASE, strangers=STRANGERS))
        (twin,) = [c for c in answer.candidates if c.model == "lab/base"]
        assert twin.scores.weights == pytest.approx(0.9, abs=0.05)
        assert twin.scores.biases == pytest.approx(0.1, abs=0.1)
        assert answer.verdict == "related"
        assert answer.ancestors == ()
        assert _relations(answer) == {"lab/base": "shares weights"}
        assert "the same start" in answer.says


def test_alike_behaviour_on_default_probes_is_related_and_names_nobody(indexed: Opened) -> None:
    """They are made for inheritance, of nobody's domain: theft is not asked, and the answer says so."""
    digest = next(iter(DEFAULT_DIGESTS.values()))
    own = [replace(n, probes=digest, name=f"{n.name} (default)") for n in (BASE, *STRANGERS)]
    alike = BASE.behaving(0.9, 3, only=("noise@1", "mixed@1", *ANSWERS)).behaviour
    suspect = Network("who/knows", base_model(7777), alike, probes=digest)
    answer = _ask(suspect, indexed(own[0], strangers=own[1:]))
    assert answer.verdict == "related"
    assert answer.ancestors == ()
    assert answer.resemblance is None
    assert _relations(answer) == {"lab/base (default)": "behaves alike"}
    assert any("theft through outputs was not asked" in w for w in answer.warnings)


def test_a_thief_is_named_by_answers_alone(indexed: Opened) -> None:
    stolen = BASE.behaving(0.8, 3, only=ANSWERS).behaviour
    answer = _ask(Network("who/knows", base_model(7777), stolen), indexed(BASE, SIBLING))
    assert answer.verdict == "ancestor"
    assert [(a.model, a.axis, a.relation) for a in answer.ancestors] == [
        ("lab/base", "behaviour", "distilled or stolen")
    ]
    assert not answer.ancestors[0].inherits
    assert answer.resemblance is not None
    assert answer.resemblance.p_value <= answer.fdr
    assert "nothing learned is shown to be inherited by weights" in answer.says


def test_who_learned_the_same_answers_like_many_and_is_no_thief(indexed: Opened) -> None:
    """Several families agree with it as much: none stands out."""
    learned = STRANGERS[0].behaving(0.8, 70, only=ANSWERS)
    others = [
        replace(
            n, name=f"peer/{i}", behaviour=STRANGERS[0].behaving(0.8, 80 + i, ANSWERS).behaviour
        )
        for i, n in enumerate(stranger(f"p{i}", 300 + i) for i in range(3))
    ]
    answer = _ask(
        learned.named("who/knows", base_model(7777)), indexed(*others, strangers=STRANGERS[1:])
    )
    assert answer.resemblance is not None
    assert answer.resemblance.p_value > 0.05
    assert answer.ancestors == ()


def test_a_stranger_has_no_ancestor(indexed: Opened) -> None:
    answer = _ask(stranger("who/knows", 5000), indexed(BASE, SIBLING), top_k=5)
    assert answer.verdict == "none"
    assert answer.ancestors == ()
    assert _relations(answer) == {}
    assert len(answer.candidates) == 5
    assert not any(c.shares or c.inherits or c.axis for c in answer.candidates)


def test_strangers_are_rarely_said_to_share_anything(indexed: Opened) -> None:
    """Sixty strangers, of which at most one in twenty may be given a relative at this rate."""
    snapshot = indexed(BASE, SIBLING)
    said = [_ask(stranger("who/knows", 6000 + i), snapshot).verdict for i in range(60)]
    # 3 are expected at most; 9 or more of 60 at a rate of .05 come by chance less than once in 300 times
    assert said.count("none") > 60 - 9
    assert said.count("ancestor") <= 1


# --- what may be asked


@pytest.mark.parametrize("fdr", [0.0, -0.1, 0.51, 1.0, float("nan")])
def test_the_rate_must_be_one(indexed: Opened, fdr: float) -> None:
    with pytest.raises(ValueError, match=r"fdr must be above 0 and at most 0\.5"):
        _ask(SUSPECT, indexed(BASE, SIBLING), fdr=fdr)


def test_the_rate_decides(indexed: Opened) -> None:
    snapshot = indexed(BASE, SIBLING)
    q = {c.model: c.q_value for c in _ask(SUSPECT, snapshot).candidates}
    assert 0 < q["lab/base"] < 0.05
    strict = _ask(SUSPECT, snapshot, fdr=q["lab/base"] / 10)
    assert strict.fdr == q["lab/base"] / 10
    assert strict.ancestors == ()
    loose = _ask(SUSPECT, snapshot, fdr=0.5)
    assert [a.model for a in loose.ancestors] == ["lab/base"]


def test_a_larger_index_asks_for_more(indexed: Opened) -> None:
    """Models that were not looked at count as tests too."""
    snapshot, suspect = indexed(BASE, SIBLING), SUSPECT.fingerprint()
    others = snapshot.gallery.line_up(n.name for n in STRANGERS)
    q = [
        [c.q_value for c in weigh(suspect, others, snapshot, shipped_calibration(), 0.05, tests)]
        for tests in (20, 60)
    ]
    assert min(q[0]) < 1
    assert min(q[1]) > min(q[0])


def test_who_is_left_out_is_not_named(indexed: Opened) -> None:
    answer = _ask(SUSPECT, indexed(BASE, SIBLING, SECOND), leave_out=["lab/base"])
    assert "lab/base" not in {c.model for c in answer.candidates}
    assert answer.verdict == "sibling"
    again = _ask(BASE, indexed(BASE, SIBLING, SECOND), leave_out=["lab/base"])
    assert again.verdict == "descendant"


def test_an_index_of_a_few_models_rests_on_the_shipped_nulls_and_says_so(indexed: Opened) -> None:
    few = indexed(BASE, strangers=STRANGERS[:2])
    assert few.nulls == {}
    answer = _ask(SUSPECT, few)
    assert [a.model for a in answer.ancestors] == ["lab/base"]
    nulls = [e.null for a in answer.ancestors for e in a.evidence if e.null is not None]
    assert {null.origin for null in nulls} == {"shipped"}
    assert any("rest on the shipped null" in w for w in answer.warnings)
    large = _ask(SUSPECT, indexed(BASE, SIBLING))
    origins = {e.score: e.null.origin for e in large.ancestors[0].evidence if e.null is not None}
    assert origins["biases"] == "index"
    assert not any("rest on the shipped null" in w for w in large.warnings)


def test_an_empty_index_names_nobody(indexed: Opened) -> None:
    answer = _ask(SUSPECT, indexed(BASE, strangers=()), leave_out=["lab/base"])
    assert (answer.verdict, answer.candidates) == ("none", ())


def test_a_card_that_names_another_base_is_contradicted(indexed: Opened) -> None:
    suspect = SUSPECT.fingerprint()
    assert suspect.weights is not None
    card = json.dumps({"base_model": "far/3"})
    told = replace(suspect, weights=replace(suspect.weights, declared=card))
    snapshot = indexed(BASE, SIBLING)
    (found,) = judge(told, snapshot).contradictions
    assert "far/3" in found.declared
    assert "lab/base" in found.inferred
    (undeclared,) = judge(suspect, snapshot).contradictions
    assert (undeclared.declared, undeclared.inferred) == ("", "lab/base")
    true = json.dumps({"base_model": "lab/base"})
    honest = replace(suspect, weights=replace(suspect.weights, declared=true))
    assert judge(honest, snapshot).contradictions == ()


def test_equal_digests_are_copies(indexed: Opened) -> None:
    snapshot, original = indexed(BASE, SIBLING), BASE.fingerprint()
    assert original.weights is not None
    assert snapshot.same_weights(original.weights.weights_digest) == ("lab/base",)
    assert snapshot.same_weights("") == ()
    assert snapshot.twins(original, ()) == ["lab/base"]
    assert snapshot.twins(original, {"lab/base"}) == []
    assert snapshot.twins(replace(original, weights=None), ()) == []
    answer = copies(replace(original, model="who/knows"), snapshot, ["lab/base"])
    assert answer.ancestors[0].scores.dna == answer.ancestors[0].scores.gif == {}
    assert answer.verdict == "copy"
    assert [(a.model, a.relation, a.q_value) for a in answer.ancestors] == [("lab/base", "copy", 0)]
    assert answer.ancestors[0].scores.weights == pytest.approx(1, abs=1e-6)
    assert "bit-identical to lab/base" in answer.says


def test_another_space_is_an_error_not_a_low_score(indexed: Opened) -> None:
    row = SUSPECT.rows()[0]
    suspect = Fingerprint("x", "y", replace(row, space="weights-other"))
    with pytest.raises(SpaceMismatch, match="weights-other"):
        judge(suspect, indexed(BASE, SIBLING))


def test_an_answer_is_plain_data(indexed: Opened) -> None:
    answer = _ask(SUSPECT, indexed(BASE, SIBLING))
    plain = json.loads(json.dumps(answer_to_json(answer), allow_nan=False))
    assert plain["verdict"] == "ancestor"
    assert plain["fdr"] == 0.05
    assert [c["model"] for c in plain["ancestors"]] == ["lab/base"]
    null = plain["nulls"]["weights"]
    assert (null["score"], null["origin"]) == ("biases", "index")
    assert null["value"] > null["limit"]
    assert dict(null["values"])["lab/base"] == null["value"]
    assert np.all(np.diff([value for _, value in null["quantiles"]]) >= 0)
