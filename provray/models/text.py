"""Text models as probed models: encoders, decoders, and the encoder side of encoder-decoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from tokenizers import Tokenizer

from provray.models.adapter import (
    TEXT_WORDS,
    Inputs,
    Readouts,
    all_hidden,
    count_activations,
    distribution,
    path_steps,
    require_finite,
)
from provray.models.errors import BrokenModel
from provray.probes.probe import Modality, Probe

MAX_TOKENS = 64
"""Tokens of a text that are read, special tokens included."""


@dataclass(frozen=True)
class TextInputs:
    """A batch of B texts, padded on the right to the longest, T tokens.

    embeddings: B×T×D word embeddings. mask: B×T, 1 for real tokens. fixed: B×T, true for special
    tokens and padding. words: B×T, index of the token's word, or `TEXT_WORDS` if it has none that
    counts. last: B, index of the last real token.
    """

    embeddings: torch.Tensor
    mask: torch.Tensor
    fixed: torch.Tensor
    words: torch.Tensor
    last: torch.Tensor

    def __len__(self) -> int:
        return int(self.mask.shape[0])

    def __getitem__(self, rows: slice) -> TextInputs:
        longest = int(self.last[rows].max()) + 1
        return TextInputs(
            self.embeddings[rows, :longest],
            self.mask[rows, :longest],
            self.fixed[rows, :longest],
            self.words[rows, :longest],
            self.last[rows],
        )


class TextModel:
    """A transformers text model that answers probes (see `ProbedModel`).

    body: the part of `model` that turns embeddings into states. last_token_head: the linear layer
    of a decoder that reads the last real token; None without a head, and for encoders, which are
    called as a whole.

    The input space is the word embeddings. The path starts at zeros, except at special tokens,
    which stay as they are and so attribute nothing. A scale-free model starts at the mean of its
    embedding table instead: from zero, its path would be one jump at the very start (a norm undoes
    the scale) and nothing afterwards, which no quadrature sees. Hidden states are averaged over
    real tokens.
    """

    modality: Modality = "text"
    positions: int = TEXT_WORDS

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        *,
        body: Any,
        last_token_head: torch.nn.Module | None,
        head: bool,
        model_type: str,
        scale_free: bool = False,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.model_type = model_type
        self.architecture = type(model).__name__
        self.parameters = sum(p.numel() for p in model.parameters())
        self.head = head
        self.warnings = warnings
        self._model = model
        self._body = body
        self._last_token_head = last_token_head
        self._tokenizer = tokenizer
        self._embed = body.get_input_embeddings()
        self._dtype = self._embed.weight.dtype
        self._device = self._embed.weight.device
        size = self._embed.embedding_dim
        self._start = torch.zeros(size, device=self._device)
        if scale_free:
            table = cast(torch.Tensor, self._embed.weight)
            mean = table.mean(dim=0, dtype=torch.float64)
            # Some embeddings are scaled when they are looked up: the mean must be as well.
            scale = getattr(self._embed, "embed_scale", 1.0)
            self._start = (mean * scale).float()
        self._last: torch.Tensor | None = None
        # A classifier does not return its body's last state, so it is taken on the way.
        body.register_forward_hook(self._keep_last)

    def prepare(self, probes: Sequence[Probe]) -> TextInputs:
        """Tokenise text probes; raises ValueError for an image probe, BrokenModel for ids the model
        lacks.
        """
        texts = [probe.content for probe in probes]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError("a text model is probed with one or more text probes")
        rows = [self._encode(cast(str, text)) for text in texts]
        longest = max(len(ids) for ids, _, _ in rows)
        shape = (len(rows), longest)
        ids = torch.zeros(shape, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        fixed = torch.ones(shape, dtype=torch.bool)
        words = torch.full(shape, TEXT_WORDS, dtype=torch.long)
        for row, (row_ids, row_fixed, row_words) in enumerate(rows):
            count = len(row_ids)
            ids[row, :count] = torch.tensor(row_ids)
            mask[row, :count] = 1
            fixed[row, :count] = torch.tensor(row_fixed)
            words[row, :count] = torch.tensor(row_words)
        device = self._device
        with torch.no_grad():
            embeddings = self._embed(ids.to(device)).float()
        return TextInputs(
            embeddings,
            mask.to(device),
            fixed.to(device),
            words.to(device),
            (mask.sum(dim=1) - 1).to(device),
        )

    def activation_bytes(self, inputs: Inputs) -> int:
        """Bytes of intermediate results per probe of this batch."""
        return count_activations(self._model, lambda: self.readouts(inputs)) // len(inputs)

    @torch.no_grad()
    def readouts(self, inputs: Inputs) -> Readouts:
        """Mean hidden states of every layer, and class or next-token probabilities; raises
        BrokenModel on NaN.
        """
        batch = cast(TextInputs, inputs)
        output, last = self._forward(batch.embeddings, batch, 1, states=True)
        hidden = [_pool(state, batch.mask) for state in all_hidden(output.hidden_states, last)]
        logits = self._logits(output, last, batch.last) if self.head else None
        probabilities = None if logits is None else distribution(logits)
        require_finite(hidden, probabilities)
        top = None if logits is None else logits.float().argmax(dim=1)
        return Readouts(hidden, probabilities, top)

    def endpoints(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Start of the path (special tokens already in place) and embeddings, each B×T×D."""
        batch = cast(TextInputs, inputs)
        start = torch.where(batch.fixed.unsqueeze(2), batch.embeddings, self._start)
        return start, batch.embeddings

    def scalars(
        self, points: torch.Tensor, inputs: Inputs, top: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """L2 norm of the mean last state, and the logit of each probe's class (or next token)
        `top`.
        """
        batch = cast(TextInputs, inputs)
        steps = path_steps(points, len(batch))
        output, last = self._forward(points, batch, steps, states=False)
        mask = batch.mask.repeat_interleave(steps, dim=0)
        norm = torch.linalg.vector_norm(_pool(last, mask), dim=1)
        if not self.head or top is None:
            return norm, None
        chosen = top.repeat_interleave(steps)
        linear = self._last_token_head
        if linear is None:
            return norm, output.logits.float().gather(1, chosen.unsqueeze(1)).squeeze(1)
        # One row of the output matrix is enough: a vocabulary of logits per point would be far
        # larger.
        states = _pick(last, batch.last.repeat_interleave(steps))
        logit = (states * cast(torch.Tensor, linear.weight)[chosen]).float().sum(dim=1)
        if linear.bias is not None:
            logit = logit + cast(torch.Tensor, linear.bias)[chosen]
        return norm, logit

    @torch.no_grad()
    def top_class(self, inputs: Inputs) -> torch.Tensor | None:
        """The class (or next token) of the largest logit, or None without a head."""
        if not self.head:
            return None
        batch = cast(TextInputs, inputs)
        output, last = self._forward(batch.embeddings, batch, 1, states=False)
        return self._logits(output, last, batch.last).float().argmax(dim=1)

    def attribute(self, g: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """Sum over embedding dimensions, then over the tokens of each of the first 32 words."""
        batch = cast(TextInputs, inputs)
        words = g.new_zeros((len(g), TEXT_WORDS + 1), dtype=torch.float32)
        index = batch.words.repeat_interleave(path_steps(g, len(batch)), dim=0)
        words.scatter_add_(1, index, g.float().sum(dim=2))
        return words[:, :TEXT_WORDS]

    def _encode(self, text: str) -> tuple[list[int], list[bool], list[int]]:
        try:
            encoding = self._tokenizer.encode(text)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the Rust library is no Exception
            raise BrokenModel(f"the tokenizer fails on a probe: {str(error)[:160]}") from None
        ids = encoding.ids
        if not ids:
            raise BrokenModel("the tokenizer turns a probe into no token at all")
        if max(ids) >= self._embed.num_embeddings:
            raise BrokenModel(
                f"the tokenizer gives token {max(ids)}, "
                f"the model has {self._embed.num_embeddings} embeddings"
            )
        fixed = [bool(flag) for flag in encoding.special_tokens_mask]
        words = []
        for (begin, end), special in zip(encoding.offsets, fixed, strict=True):
            if special:
                words.append(TEXT_WORDS)
                continue
            # The word of a token is that of its last character; a token that is only the space
            # before a word belongs to that word.
            upto = text[:end] if end > begin else text[: begin + 1]
            words.append(min(upto.count(" "), TEXT_WORDS))
        return ids, fixed, words

    def _forward(
        self, points: torch.Tensor, batch: TextInputs, steps: int, *, states: bool
    ) -> tuple[Any, torch.Tensor]:
        mask = batch.mask if steps == 1 else batch.mask.repeat_interleave(steps, dim=0)
        whole = self.head and self._last_token_head is None
        try:
            output = (self._model if whole else self._body)(
                inputs_embeds=points.to(self._dtype),
                attention_mask=mask,
                output_hidden_states=states,
            )
            assert self._last is not None
            return output, self._last
        finally:
            self._last = None

    def _logits(self, output: Any, last: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        if self._last_token_head is None:
            return cast(torch.Tensor, output.logits)
        return cast(torch.Tensor, self._last_token_head(_pick(last, position)))

    def _keep_last(self, module: Any, args: Any, output: Any) -> None:
        self._last = output.last_hidden_state


def _pool(state: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the real tokens of B×T×D, as float32."""
    weight = mask.unsqueeze(2).float()
    return (state.float() * weight).sum(dim=1) / weight.sum(dim=1)


def _pick(state: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """The state B×D at one position of each row."""
    return state[torch.arange(state.shape[0], device=state.device), position]
