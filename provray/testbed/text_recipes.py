"""How the text models of a zoo are made."""

from collections.abc import Sequence
from pathlib import Path

import torch

from provray.testbed import children, text
from provray.testbed.build import Job, Outcome
from provray.testbed.corpora import (
    Corpus,
    corpus_texts,
    encode,
    read_tokenizer,
    train_tokenizer,
    write_tokenizer,
)
from provray.testbed.folders import load_own_model, save_model


def _passages(documents: Sequence[str], words: int) -> list[str]:
    """The first passage of every document, then the second of every document."""
    split = [document.split() for document in documents]
    first = [" ".join(document[:words]) for document in split]
    return first + [" ".join(document[words : 2 * words]) for document in split]


def text_base(job: Job) -> Outcome:
    """Train a small text network and its tokenizer from scratch on `corpus` for `objective`.

    `start` is the seed of the initial weights; without it, the item's own.
    """
    given = job.item.settings
    parts = corpus_texts(given["corpus"], given.get("use", "zoo"))
    tokenizer = train_tokenizer(given["tokenizer"], parts.train.texts, given["vocabulary"])
    shape = text.TextShape(
        given["family"],
        tokenizer.get_vocab_size(),
        given["hidden"],
        given["layers"],
        given["heads"],
    )
    objective = given["objective"]
    model = text.new_text_model(
        shape,
        objective,
        classes=len(parts.train.classes),
        seed=given.get("start", job.item.seed),
    )
    training = text.TextTraining(given["steps"], given["batch"], given["rate"])
    if objective == "contrast":
        words = given.get("words", given["length"])
        tokens = encode(tokenizer, _passages(parts.train.texts, words), given["length"])
        labels = torch.zeros(len(tokens.ids), dtype=torch.long)
    else:
        tokens = encode(tokenizer, parts.train.texts, given["length"])
        labels = torch.tensor(parts.train.labels)
    text.train_text(model, tokens, labels, training, objective=objective, seed=job.item.seed)
    measured: float | None = None
    if objective == "classify":
        held_out = encode(tokenizer, parts.test.texts[:300], given["length"])
        measured = text.text_accuracy(model, held_out, torch.tensor(parts.test.labels[:300]))

    def inputs(folder: Path) -> None:
        write_tokenizer(tokenizer, folder, max_length=shape.positions)

    save_model(model, job.folder, title=job.title, inputs=inputs)
    return Outcome(None if measured is None else round(measured, 4))


def text_classify(job: Job) -> Outcome:
    """Fine-tune the parent on `corpus` under a new classification head, or its own if `same_head`.

    `groups` regroups the labels, `frozen` trains the head alone, `adapter` (a rank) low-rank additions,
    `masked` keeps zero weights zero.
    """
    given = job.item.settings
    tokenizer = read_tokenizer(job.sources[0])
    parts = corpus_texts(given["corpus"], "zoo")
    groups = torch.tensor(given.get("groups", range(len(parts.train.classes))))
    model = load_own_model(job.sources[0])
    if not given.get("same_head", False):
        model = text.classifier_on(model, int(groups.max()) + 1, job.item.seed)
    training = text.TextTraining(
        given["steps"], given["batch"], given["rate"], given.get("head_rate")
    )
    change = children.unchanged(model)
    if "adapter" in given:
        change = children.low_rank(model, given["adapter"], job.item.seed)
    elif given.get("masked", False):
        change = children.zeros_stay(model)
    with change:
        text.train_text(
            model,
            encode(tokenizer, parts.train.texts[:2000], given["length"]),
            groups[torch.tensor(parts.train.labels[:2000])],
            training,
            objective="classify",
            seed=job.item.seed,
            head_only=given.get("frozen", False),
        )
    count = given.get("test", 100)
    held_out = encode(tokenizer, parts.test.texts[:count], given["length"])
    labels = groups[torch.tensor(parts.test.labels[:count])]
    measured = text.text_accuracy(model, held_out, labels)
    save_model(model, job.folder, title=job.title, inputs=job.sources[0])
    return Outcome(round(measured, 4))


def text_contrast(job: Job) -> Outcome:
    """Go on training the parent's body as an encoder: two passages of one text of `corpus` belong together."""
    given = job.item.settings
    tokenizer = read_tokenizer(job.sources[0])
    documents = corpus_texts(given.get("corpus", "news"), "zoo").train.texts
    words = given.get("words", given["length"])
    tokens = encode(tokenizer, _passages(documents, words), given["length"])
    model = load_own_model(job.sources[0])
    training = text.TextTraining(given["steps"], given["batch"], given["rate"])
    none = torch.zeros(len(tokens.ids), dtype=torch.long)
    text.train_text(model, tokens, none, training, objective="contrast", seed=job.item.seed)
    save_model(model, job.folder, title=job.title, inputs=job.sources[0])
    return Outcome()


def text_distil(job: Job) -> Outcome:
    """Train a small student from scratch on the parent's embeddings of `texts` snippets, outputs alone.

    `accuracy` is the correlation of the student's cosines with the teacher's.
    """
    given = job.item.settings
    tokenizer = read_tokenizer(job.sources[0])
    teacher = load_own_model(job.sources[0])
    half = given["texts"] // 2
    snippets = [
        *corpus_texts("reviews", "zoo").train.texts[:half],
        *corpus_texts("news", "zoo").train.texts[:half],
    ]
    tokens = encode(tokenizer, snippets, given["length"])
    shape = text.TextShape(
        "bert", int(teacher.config.vocab_size), given["hidden"], given["layers"], given["heads"]
    )
    student = text.new_text_model(shape, "contrast", classes=2, seed=job.item.seed)
    training = text.TextTraining(given["steps"], given["batch"], given["rate"])
    wanted = text.embed(teacher, tokens)
    likeness = text.distil(wanted, student, tokens, training, seed=job.item.seed)
    save_model(student, job.folder, title=job.title, inputs=job.sources[0])
    return Outcome(round(likeness, 4))


def text_steal(job: Job) -> Outcome:
    """Train a network from scratch on the parent's answers to `queries` texts: probabilities, or labels if `hard`.

    The texts are those of `corpus` that the victim was not trained on, or with `use` zoo its own: distillation by
    its owner. `family` other than the victim's
    brings a tokenizer of its own, trained on the queries.
    """
    given = job.item.settings
    victim = load_own_model(job.sources[0])
    if given.get("use") == "zoo":
        snippets = list(corpus_texts(given["corpus"], "zoo").train.texts[: given["queries"]])
    else:
        snippets = _thief_texts(given["corpus"])[: given["queries"]]
    asked = encode(read_tokenizer(job.sources[0]), snippets, given["length"])
    answers = text.text_probabilities(victim, asked)
    own = train_tokenizer(given["tokenizer"], snippets, given["vocabulary"])
    shape = text.TextShape(
        given["family"], own.get_vocab_size(), given["hidden"], given["layers"], given["heads"]
    )
    thief = text.new_text_model(shape, "classify", classes=answers.shape[1], seed=job.item.seed)
    training = text.TextTraining(given["steps"], given["batch"], given["rate"])
    targets = answers.argmax(1) if given["hard"] else answers
    text.train_text(
        thief,
        encode(own, snippets, given["length"]),
        targets,
        training,
        objective="classify",
        seed=job.item.seed,
    )
    held_out = corpus_texts(given["corpus"], "zoo").test
    tokens = encode(own, held_out.texts[:300], given["length"])
    measured = text.text_accuracy(thief, tokens, torch.tensor(held_out.labels[:300]))

    def inputs(folder: Path) -> None:
        write_tokenizer(own, folder, max_length=shape.positions)

    save_model(thief, job.folder, title=job.title, inputs=inputs)
    return Outcome(round(measured, 4))


def _thief_texts(corpus: Corpus) -> list[str]:
    """Texts of the other use, and passages from within the zoo's own documents: what a thief could gather."""
    rest = corpus_texts(corpus, "cohort").train.texts
    inner = [
        " ".join(words[at : at + 40])
        for text in corpus_texts(corpus, "zoo").train.texts
        for words in [text.split()]
        for at in range(40, len(words) - 20, 60)
    ]
    return [*rest, *inner]
