"""Parts that must not mix do not, and what is drawn is drawn the same every time."""

import pytest
import torch

from provray.testbed import assets, corpora, digits, photos, text, theft, vision


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_the_parts_of_the_digits_are_disjoint() -> None:
    parts = {name: digits.digits(name) for name in ("train", "test", "probe", "cohort")}
    assert sum(len(labels) for _, labels in parts.values()) == 1797
    union = set().union(*(rows(images) for images, _ in parts.values()))
    assert len(union) == sum(len(rows(images)) for images, _ in parts.values())
    assert parts["test"][0].shape == (250, 1, 16, 16)
    with pytest.raises(ValueError, match="'validation'"):
        digits.digits("validation")  # type: ignore[arg-type]


def test_tasks_relabel_all_digits() -> None:
    labels = torch.arange(10)
    assert digits.relabel(labels, "parity").tolist() == [0, 1] * 5
    assert digits.classes("holes") == 3
    with pytest.raises(ValueError, match="'colour'"):
        digits.relabel(labels, "colour")


def test_mixtures_are_seeded_and_stay_in_range() -> None:
    images, _ = digits.digits("train")
    mixed = digits.mixtures(images, 40, seed=1, noise=0.25)
    assert mixed.shape == (40, 1, 16, 16)
    assert float(mixed.min()) >= 0
    assert float(mixed.max()) <= 1
    assert torch.equal(mixed, digits.mixtures(images, 40, seed=1, noise=0.25))
    assert not torch.equal(mixed, digits.mixtures(images, 40, seed=2, noise=0.25))
    assert digits.as_pictures(digits.tint(mixed, digits.generator(1))).shape == (40, 16, 16, 3)


def test_soft_and_hard_theft_ask_only_for_answers() -> None:
    images, labels = digits.digits("train")
    victim = vision.new_classifier("resnet", channels=1, size=16, classes=10, seed=1)
    training = vision.Training(epochs=3, batch=40, rate=4e-3)
    vision.train(victim, images, labels, training, seed=1)
    oracle = theft.oracle_of(victim)
    asked: list[int] = []

    def counted(batch: torch.Tensor) -> torch.Tensor:
        asked.append(len(batch))
        return oracle(batch)

    budget = theft.Budget(1200, 0.1, vision.Training(epochs=2, batch=40, rate=4e-3))
    for hard in (False, True):
        thief = vision.new_classifier("resnet", channels=1, size=16, classes=10, seed=2)
        before = theft.agreement(vision.answers(thief), vision.answers(victim))
        theft.steal(counted, thief, images, budget, hard=hard, seed=3)
        after = theft.agreement(vision.answers(thief), vision.answers(victim))
        assert after > before + 0.3
    assert asked == [1200, 1200]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_tokenizers_are_the_same_every_time(kind: corpora.TokenizerKind) -> None:
    texts = [f"the {word} film is {word}ly good, is it?" for word in ("sad", "glad", "bad", "mad")]
    first = corpora.train_tokenizer(kind, texts, 280)
    assert first.to_str() == corpora.train_tokenizer(kind, texts, 280).to_str()
    tokens = corpora.encode(first, ["a sad film", "good"], length=6)
    assert tokens.ids.shape == tokens.mask.shape
    assert tokens.mask[1].sum() < tokens.mask[0].sum()
    assert tokens.ids[1][tokens.mask[1] == 0].eq(0).all()
    assert tokens.ids[0, 0] == 2


@pytest.mark.parametrize("family", text.FAMILIES)
@pytest.mark.parametrize("objective", ["classify", "masked", "causal", "contrast"])
def test_every_text_family_trains(family: str, objective: text.Objective) -> None:
    if (objective == "causal") != (family == "gpt2") and objective in {"masked", "causal"}:
        pytest.skip("no such head")
    if (family, objective) == ("gpt2", "contrast"):
        pytest.skip("decoders are not trained so")
    shape = text.TextShape(family, 60, 16, 2, 2, positions=16)
    model = text.new_text_model(shape, objective, classes=3, seed=1)
    before = [parameter.clone() for parameter in model.parameters()]
    ids = torch.randint(5, 60, (12, 10), generator=digits.generator(1))
    tokens = corpora.Tokens(ids, torch.ones_like(ids))
    training = text.TextTraining(steps=2, batch=4, rate=1e-3)
    labels = torch.arange(12) % 3
    text.train_text(model, tokens, labels, training, objective=objective, seed=1)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.skipif(not assets.has_package("scikit-image"), reason="needs scikit-image")
def test_crops_are_seeded_and_labelled() -> None:
    names = ["chelsea.png", "grass.png"]
    images, labels = photos.crops(names, 6, 16, seed=1)
    assert images.shape == (6, 3, 16, 16)
    assert labels.tolist() == [0, 1] * 3
    assert torch.equal(images, photos.crops(names, 6, 16, seed=1)[0])
    upright, quarters = photos.turned(images, seed=2)
    assert torch.equal(torch.rot90(upright[0], -int(quarters[0]), (1, 2)), images[0])


@pytest.mark.skipif(
    not assets.has_package(assets.NEWS_PACKAGE), reason=f"needs {assets.NEWS_PACKAGE}"
)
def test_zoo_and_cohort_read_different_news() -> None:
    zoo, cohort = corpora.corpus_texts("news", "zoo"), corpora.corpus_texts("news", "cohort")
    counts = [len(part) for part in (zoo.train, zoo.test, cohort.train, cohort.test)]
    assert sum(counts) == 2225
    # the collection holds the odd document twice
    shared = {*zoo.train.texts, *zoo.test.texts} & {*cohort.train.texts, *cohort.test.texts}
    assert len(shared) < 60
