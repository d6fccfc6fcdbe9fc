"""Small text networks trained from scratch, and training for text models of any size.

Objectives: `classify` (labels of the collection), `masked` (15 % of the tokens), `causal` (next token),
`contrast` (two passages of one document belong together; for encoders without a head).
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
import transformers as hf
from torch import Tensor
from transformers import PreTrainedModel

from provray.testbed.children import with_new_head
from provray.testbed.corpora import Tokens
from provray.testbed.digits import generator
from provray.testbed.vision import head

Objective = Literal["classify", "masked", "causal", "contrast"]
IGNORED = -100


@dataclass(frozen=True)
class TextShape:
    """The size of a text network."""

    family: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    positions: int = 64


def _bert_like(shape: TextShape) -> dict[str, Any]:
    return {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": 2 * shape.hidden,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        # two extra: RoBERTa counts positions from the padding index
        "max_position_embeddings": shape.positions + 2,
        "initializer_range": 0.05,
    }


def _distilbert(shape: TextShape) -> dict[str, Any]:
    return {
        "vocab_size": shape.vocabulary,
        "dim": shape.hidden,
        "n_layers": shape.layers,
        "n_heads": shape.heads,
        "hidden_dim": 2 * shape.hidden,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "max_position_embeddings": shape.positions,
        "initializer_range": 0.05,
    }


def _gpt2(shape: TextShape) -> dict[str, Any]:
    return {
        "vocab_size": shape.vocabulary,
        "n_embd": shape.hidden,
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_positions": shape.positions,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "initializer_range": 0.05,
    }


# the names transformers gives its classes: {prefix}Config, {prefix}ForSequenceClassification …
_FAMILIES: Mapping[str, tuple[str, Callable[[TextShape], dict[str, Any]]]] = {
    "bert": ("Bert", _bert_like),
    "roberta": ("Roberta", _bert_like),
    "electra": ("Electra", _bert_like),
    "distilbert": ("DistilBert", _distilbert),
    "gpt2": ("GPT2", _gpt2),
}
_CLASSES: Mapping[Objective, str] = {
    "classify": "ForSequenceClassification",
    "masked": "ForMaskedLM",
    "causal": "LMHeadModel",
    "contrast": "Model",
}
FAMILIES = tuple(_FAMILIES)


def new_text_model(
    shape: TextShape, objective: Objective, *, classes: int, seed: int
) -> PreTrainedModel:
    """Return a text network of `shape` for `objective`, with weights drawn from `seed`.

    Token ids follow `corpora.train_tokenizer`: padding 0, begin 2, end 3.
    """
    if shape.family not in _FAMILIES:
        raise ValueError(f"family {shape.family!r} is none of {', '.join(FAMILIES)}")
    prefix, settings = _FAMILIES[shape.family]
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "num_labels": classes}
    config = getattr(hf, f"{prefix}Config")(**settings(shape), **special)
    torch.manual_seed(seed)
    model: PreTrainedModel = getattr(hf, prefix + _CLASSES[objective])(config)
    return model.eval()


def random_weights_like(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return a model of the same class and configuration with weights drawn from `seed`."""
    torch.manual_seed(seed)
    return type(model)(model.config).eval()


def classifier_on(encoder: PreTrainedModel, classes: int, seed: int) -> PreTrainedModel:
    """Return a sequence classifier whose body is `encoder` (headless or not) under a new random head."""
    if hasattr(encoder, "classifier") or hasattr(encoder, "score"):
        return with_new_head(encoder, classes, seed)
    kind = type(encoder).__name__.removesuffix("Model") + "ForSequenceClassification"
    config = copy.deepcopy(encoder.config)
    config.num_labels = classes
    torch.manual_seed(seed)
    model: PreTrainedModel = getattr(hf, kind)(config)
    getattr(model, model.base_model_prefix).load_state_dict(encoder.state_dict())
    return model.eval()


def pooled(model: PreTrainedModel, tokens: Tokens) -> Tensor:
    """Return the mean of the last hidden states over real tokens, at unit length, N×d."""
    body = getattr(model, model.base_model_prefix, model)
    states = body(input_ids=tokens.ids, attention_mask=tokens.mask).last_hidden_state
    weights = tokens.mask[..., None].to(states.dtype)
    return F.normalize((states * weights).sum(1) / weights.sum(1), dim=1)


def _hide(tokens: Tokens, mask_token: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Replace 15 % of the tokens by the mask token; targets are the ids there, IGNORED elsewhere."""
    # special tokens have ids below 5 in every tokenizer trained here
    hidden = (torch.rand(tokens.ids.shape, generator=draw) < 0.15) & (tokens.ids >= 5)
    return tokens.ids.masked_fill(hidden, mask_token), tokens.ids.masked_fill(~hidden, IGNORED)


def _loss(
    model: PreTrainedModel,
    tokens: Tokens,
    labels: Tensor,
    objective: Objective,
    draw: torch.Generator,
) -> Tensor:
    if objective == "classify":
        logits = model(input_ids=tokens.ids, attention_mask=tokens.mask).logits
        return F.cross_entropy(logits, labels)
    if objective == "masked":
        ids, targets = _hide(tokens, 4, draw)
        logits = model(input_ids=ids, attention_mask=tokens.mask).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    if objective == "causal":
        logits = model(input_ids=tokens.ids, attention_mask=tokens.mask).logits[:, :-1]
        targets = tokens.ids[:, 1:].masked_fill(tokens.mask[:, 1:] == 0, IGNORED)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    # rows 0..n-1 and n..2n-1 are two passages of the same documents
    first, second = pooled(model, tokens).chunk(2)
    return F.cross_entropy(20.0 * first @ second.T, torch.arange(len(first)))


@dataclass(frozen=True)
class TextTraining:
    """Steps of AdamW on batches of `batch`, linear warm-up and decay peaking at `rate`.

    `head_rate` is the rate of the head (a new one wants more than the body it sits on); None: the same.
    """

    steps: int
    batch: int
    rate: float
    head_rate: float | None = None


def train_text(
    model: PreTrainedModel,
    tokens: Tokens,
    labels: Tensor,
    training: TextTraining,
    *,
    objective: Objective,
    seed: int,
    head_only: bool = False,
) -> None:
    """Train `model` in place. For `contrast`, rows i and i + N/2 of `tokens` are one document's passages."""
    model.train()
    torch.manual_seed(seed)  # dropout
    draw = generator(seed, 2)
    tops = list(head(model).parameters()) if objective == "classify" else []
    chosen = {id(parameter) for parameter in tops}
    body = [p for p in model.parameters() if id(p) not in chosen and p.requires_grad]
    if head_only:
        body = []
    groups = [{"params": body, "lr": training.rate}] if body else []
    if tops:
        groups.append({"params": tops, "lr": training.head_rate or training.rate})
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    warm = max(1, training.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / warm, (training.steps - step) / training.steps),
    )
    pairs = objective == "contrast"
    count = len(tokens.ids) // 2 if pairs else len(tokens.ids)
    size = training.batch // 2 if pairs else training.batch
    order = torch.empty(0, dtype=torch.long)
    for _ in range(training.steps):
        if len(order) < size:
            order = torch.randperm(count, generator=draw)
        rows, order = order[:size], order[size:]
        if pairs:
            rows = torch.cat([rows, rows + count])
        loss = _loss(model, tokens.rows(rows), labels[rows], objective, draw)
        optimiser.zero_grad()
        torch.autograd.backward(loss, inputs=[*body, *tops])
        optimiser.step()
        schedule.step()
    model.eval()


@torch.no_grad()
def text_probabilities(model: PreTrainedModel, tokens: Tokens) -> Tensor:
    """Return the class probabilities, N×k, of texts; the model is put in evaluation mode."""
    model.eval()
    parts = [tokens.rows(rows) for rows in torch.arange(len(tokens.ids)).split(50)]
    logits = [model(input_ids=part.ids, attention_mask=part.mask).logits for part in parts]
    return torch.cat(logits).softmax(1)


def text_accuracy(model: PreTrainedModel, tokens: Tokens, labels: Tensor) -> float:
    """Return the share of texts whose most probable class is their label."""
    return float((text_probabilities(model, tokens).argmax(1) == labels).float().mean())


@torch.no_grad()
def embed(model: PreTrainedModel, tokens: Tokens, batch: int = 32) -> Tensor:
    """Return the pooled embeddings of all rows, N×d, in evaluation mode."""
    model.eval()
    parts = torch.arange(len(tokens.ids)).split(batch)
    return torch.cat([pooled(model, tokens.rows(rows)) for rows in parts])


def distil(
    teacher_embeddings: Tensor,
    student: PreTrainedModel,
    tokens: Tokens,
    training: TextTraining,
    *,
    seed: int,
) -> float:
    """Train `student` in place to place texts relative to each other as the teacher's embeddings do.

    The loss compares cosines within a batch, so student and teacher may have different widths. Returns
    the correlation of the cosines over the last tenth of the steps: 1 is a perfect copy of function.
    """
    student.train()
    torch.manual_seed(seed)
    draw = generator(seed, 4)
    parameters = list(student.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=training.rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.rate, total_steps=training.steps + 1, pct_start=0.1
    )
    apart = ~torch.eye(training.batch, dtype=torch.bool)
    last: list[float] = []
    for step in range(training.steps):
        rows = torch.randperm(len(tokens.ids), generator=draw)[: training.batch]
        target = teacher_embeddings[rows]
        output = pooled(student, tokens.rows(rows))
        wanted, given = (target @ target.T)[apart], (output @ output.T)[apart]
        loss = 10 * F.mse_loss(given, wanted)
        optimiser.zero_grad()
        # a pooler that takes no part has no gradient
        loss.backward()
        optimiser.step()
        schedule.step()
        if step >= 0.9 * training.steps:
            both = torch.stack([given.detach(), wanted])
            last.append(float(torch.corrcoef(both)[0, 1]))
    student.eval()
    return sum(last) / len(last)
