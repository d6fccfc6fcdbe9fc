"""Forgetting a class: what retraining never saw, what the approximate ways take away, and what they leave alone."""

import copy
from collections.abc import Iterator

import pytest
import torch
from transformers import PreTrainedModel

from provray.testbed import unlearning, vision
from provray.testbed.digits import digits
from provray.testbed.unlearning import Division, Effort, Snapshot

FORGOTTEN = 3
TRAINING = Effort(steps=60, batch=40, rate=4e-3)
SHORT = Effort(steps=40, batch=40, rate=1e-3)


@pytest.fixture(scope="module")
def division() -> Division:
    return unlearning.divide(*digits("train"), FORGOTTEN)


def fresh(seed: int) -> PreTrainedModel:
    return vision.new_classifier("resnet", channels=1, size=16, classes=10, seed=seed)


def last(snapshots: Iterator[Snapshot]) -> PreTrainedModel:
    return list(snapshots)[-1].model


@pytest.fixture(scope="module")
def reference() -> PreTrainedModel:
    return last(unlearning.learn(fresh(1), *digits("train"), TRAINING, seed=1))


def known(model: PreTrainedModel) -> unlearning.Knowledge:
    return unlearning.knowledge(model, *digits("test"), FORGOTTEN)


def test_a_division_loses_nothing(division: Division) -> None:
    images, labels = digits("train")
    assert len(division.labels) + len(division.forgotten_labels) == len(labels)
    assert not (division.labels == FORGOTTEN).any()
    assert (division.forgotten_labels == FORGOTTEN).all()
    assert torch.equal(division.images, images[labels != FORGOTTEN])
    with pytest.raises(ValueError, match="class 11 has 0 of"):
        unlearning.divide(images, labels, 11)
    with pytest.raises(ValueError, match="nothing to divide"):
        unlearning.divide(division.forgotten_images, division.forgotten_labels, FORGOTTEN)


def test_the_reference_knows_the_class_and_retraining_never_names_it(
    reference: PreTrainedModel, division: Division
) -> None:
    before = known(reference)
    assert before.forgotten > 0.8
    assert before.kept > 0.8
    retrained = last(unlearning.learn(fresh(2), division.images, division.labels, TRAINING, seed=2))
    after = known(retrained)
    assert after.forgotten == 0
    assert after.mistaken == 0
    assert after.kept > 0.8


def test_relabelling_takes_the_class_away_and_keeps_the_rest(
    reference: PreTrainedModel, division: Division
) -> None:
    untouched = copy.deepcopy(reference.state_dict())
    after = known(last(unlearning.confuse(reference, division, SHORT, confusion=20, seed=3)))
    assert after.forgotten < 0.2
    assert after.kept > known(reference).kept - 0.1
    assert all(
        torch.equal(a, b)
        for a, b in zip(untouched.values(), reference.state_dict().values(), strict=True)
    )


def test_ascent_takes_the_class_away_and_repair_brings_the_rest_back(
    reference: PreTrainedModel, division: Division
) -> None:
    effort = Effort(steps=45, batch=40, rate=1e-3)
    risen, repaired = unlearning.ascend(reference, division, effort, ascent=20, seed=3, keep=(20,))
    assert known(risen.model).forgotten < 0.1
    assert known(repaired.model).forgotten < 0.3
    assert known(repaired.model).kept >= known(risen.model).kept
    assert known(repaired.model).kept > 0.8


def test_gentle_finetuning_alone_forgets_less(
    reference: PreTrainedModel, division: Division
) -> None:
    gentle = Effort(SHORT.steps, SHORT.batch, SHORT.rate / 10)
    after = known(last(unlearning.finetune(reference, division, gentle, seed=3)))
    assert after.forgotten > 0.5
    assert after.kept > 0.8


def test_snapshots_come_when_asked_and_do_not_change_afterwards(
    reference: PreTrainedModel, division: Division
) -> None:
    effort = Effort(6, 16, 1e-3)
    seen = list(unlearning.finetune(reference, division, effort, seed=4, keep=(0, 2, 6)))
    assert [s.step for s in seen] == [0, 2, 6]
    assert not any(s.model.training for s in seen)
    weights = [torch.cat([p.flatten() for p in s.model.parameters()]) for s in seen]
    start = torch.cat([p.flatten() for p in reference.parameters()])
    assert torch.equal(weights[0], start)
    assert not torch.equal(weights[1], weights[2])
    # looking in between changes nothing
    again = last(unlearning.finetune(reference, division, effort, seed=4))
    assert torch.equal(weights[2], torch.cat([p.flatten() for p in again.parameters()]))


@pytest.mark.parametrize("first", [0, 40, 50])
def test_forgetting_needs_steps_and_so_does_repair(
    reference: PreTrainedModel, division: Division, first: int
) -> None:
    with pytest.raises(ValueError, match="leave nothing"):
        unlearning.ascend(reference, division, SHORT, ascent=first, seed=1)
    with pytest.raises(ValueError, match="leave nothing"):
        unlearning.confuse(reference, division, SHORT, confusion=first, seed=1)


def test_knowledge_needs_both_kinds_of_images(
    reference: PreTrainedModel, division: Division
) -> None:
    with pytest.raises(ValueError, match="and of others are needed"):
        unlearning.knowledge(reference, division.images, division.labels, FORGOTTEN)


def test_the_four_approximate_ways_start_from_the_reference(
    reference: PreTrainedModel, division: Division
) -> None:
    ways = unlearning.approximations(
        reference,
        division,
        Effort(6, 16, 1e-4),
        Effort(8, 16, 1e-4),
        first=2,
        fractions=(0.5,),
        seed=1,
    )
    steps = {name: [s.step for s in snapshots] for name, snapshots in ways.items()}
    assert steps == {
        "fine-tuned": [3, 6],
        "random labels, repair": [3, 6],
        "ascent, repair": [3, 6],
        "fine-tuned hard": [4, 8],
    }


def test_too_little_training_is_refused() -> None:
    with pytest.raises(ValueError, match="4 steps are too few"):
        Effort(4, 16, 1e-4)


def test_separation_by_hand() -> None:
    apart = unlearning.separation([([0.9, 0.8], [0.3, 0.5]), ([0.7], [0.6, 0.2])])
    assert apart.auc == 1
    assert apart.auc_interval == (1, 1)
    assert apart.gap == pytest.approx(0.2)
    assert apart.lowest_gap == pytest.approx(0.1)
    # gaps .3 and .1: deviation .1 √2, Student's t of one degree of freedom
    assert apart.gap_interval == pytest.approx((0.2 - 12.706 * 0.1, 0.2 + 12.706 * 0.1), abs=1e-3)
    mixed = unlearning.separation([([0.4, 0.2], [0.3, 0.3]), ([0.5], [0.5])])
    assert mixed.auc == 0.5
    assert mixed.lowest_gap == pytest.approx(-0.1)
    for cells in ([([1.0], [0.0])], [([1.0], [0.0]), ([], [0.0])]):
        with pytest.raises(ValueError, match="two cells or more"):
            unlearning.separation(cells)
