"""Weights sketch: what a model is made of, without running any of its code.

Each tensor of two or more dimensions, minus its mean, over its norm, is count-sketched with a seed of its
normalised name and shape. Sketches add over tensors, so two models' cosine is the mean cosine of the weights
they share by name and shape: near 1 for a child, 0 +- 1/sqrt(m) for strangers and for twins of one recipe.
A second sketch holds the biases and gains: they start at a constant, so all that two models share there was
learned, where shared matrices may be no more than the same random start. Beside them: digests of every tensor
(exact copies, frozen parts), how many zeros and how many different values a tensor holds (pruning and quantisation
leave marks there), and its size and kurtosis (training moves both).

Of large tensors a sample of blocks can stand for the whole (`WeightsSettings.sample`); all of the above is then said of
the sample, and a model of which anything was left out has no digest of its own.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from provray.fingerprints.sample import block_count, chosen_blocks
from provray.fingerprints.seeds import key_of
from provray.fingerprints.settings import WeightsSettings
from provray.fingerprints.sketch import BLOCK, BlockSketcher, unit

_WRAPPERS = re.compile(
    r"^(?:base_model\.model|model|module|_orig_mod|backbone|transformer|bert|roberta|distilbert|electra|mpnet|albert|deberta|"
    r"xlm_roberta|camembert|gpt_neox|vit|deit|beit|swin|swinv2|resnet|regnet|convnext|convnextv2|mobilenet_v1|"
    r"mobilenet_v2|mobilevit|efficientnet|dinov2|segformer)\."
)
_BUFFERS = re.compile(
    r".*(?:^|\.)(?:position_ids|token_type_ids|relative_position_index|relative_coords_table|attn_mask|inv_freq|"
    r"embed_positions\.weights|attn\.(?:masked_)?bias|attention\.(?:masked_)?bias)"
)
"""Tables that a library computes, the same in every model of a kind (indices, causal masks, rotations): equal ones
show a common library, not a common ancestor. Old GPT-2 files hold a 1024x1024 mask per layer."""
_HEADS = re.compile(
    r"(?:classifier|score|lm_head|cls|qa_outputs|pre_classifier|vocab_\w+|predictions|cls_classifier|"
    r"distillation_classifier|fc|head|pooler)(?:\.\S+)?"
)
"""Output heads: whoever fine-tunes replaces them, so a missing or foreign one says nothing of the body. Counted, they
would draw two re-headed siblings together and away from their parent."""
_STATISTICS = re.compile(r".*(?:running_mean|running_var|num_batches_tracked)")
"""Kept by batch normalisation: they follow the data that went through, and are not learned."""
_SAMPLED_ROWS = 8

READOUTS = ("weights", "biases")
"""The sketches of a weights fingerprint: matrices, and one-dimensional tensors."""


def normalised_name(name: str) -> str:
    """The tensor's name without the prefixes that wrappers add: `bert.`, `model.`, `base_model.model.` ..."""
    while True:
        shorter = _WRAPPERS.sub("", name, count=1)
        if shorter == name:
            return name
        name = shorter


@dataclass(frozen=True)
class TensorMark:
    """What is kept of one tensor: normalised name, shape, digest of its bytes (16 hex digits), share of exact
    zeros, share of different values among the non-zero ones of a few rows (1 = all differ), root mean square of its
    values, and their kurtosis about zero (3 for a normal distribution, 0 for an empty tensor). Of a sampled tensor, all
    but name and shape are those of the sample."""

    name: str
    shape: tuple[int, ...]
    digest: str
    zeros: float
    distinct: float
    rms: float = 0.0
    kurtosis: float = 0.0


@dataclass
class TensorState:
    """Mergeable sketch of one tensor: add its blocks in any order and on any machine, then `finish`."""

    name: str
    shape: tuple[int, ...]
    dimensions: int
    values: npt.NDArray[np.float64] = field(init=False)
    ones: npt.NDArray[np.float64] = field(init=False)
    total: float = 0.0
    squares: float = 0.0
    fourths: float = 0.0
    zeros: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        self.values = np.zeros(self.dimensions)
        self.ones = np.zeros(self.dimensions)

    @property
    def key(self) -> int:
        """Seed of the tensor's hash stream."""
        return key_of("weights", self.name, *self.shape)

    def add(self, block: npt.NDArray[np.float32], number: int, sketcher: BlockSketcher) -> None:
        """Add block `number` (values `number * BLOCK` onwards, flattened row-major)."""
        values, ones = sketcher.add(block, self.key, number)
        self.values += values
        self.ones += ones
        self.count_values(block)

    def count_values(self, block: npt.NDArray[np.float32]) -> None:
        """Add a block to the moments alone."""
        wide = block.astype(np.float64)
        squares = wide * wide
        self.total += float(wide.sum())
        self.squares += float(squares.sum())
        self.fourths += float(squares @ squares)
        self.zeros += int(block.size - np.count_nonzero(block))
        self.count += block.size

    def merge(self, other: TensorState) -> None:
        """Add the state of other blocks of the same tensor."""
        if (self.name, self.shape) != (other.name, other.shape):
            raise ValueError(f"cannot merge tensor {other.name} into {self.name}")
        self.values += other.values
        self.ones += other.ones
        self.total += other.total
        self.squares += other.squares
        self.fourths += other.fourths
        self.zeros += other.zeros
        self.count += other.count

    def finish(self, size_power: float) -> npt.NDArray[np.float64]:
        """Sketch of (tensor - mean) / |tensor - mean| * n ** size_power. Shape (dimensions,).

        Mean and norm are those of the blocks that were added; n is the size of the whole tensor, so that sampled ones
        weigh among the others as they would whole.
        """
        if not self.count:
            return np.zeros(self.dimensions)
        mean = self.total / self.count
        norm = np.sqrt(max(self.squares - self.count * mean * mean, 0.0))
        # A constant tensor has nothing to compare; rounding must not turn it into a direction.
        if norm <= 1e-7 * np.sqrt(self.squares) or norm == 0:
            return np.zeros(self.dimensions)
        return (self.values - mean * self.ones) / norm * float(math.prod(self.shape)) ** size_power

    def mark(self, digest: str, distinct: float) -> TensorMark:
        """What is kept of the tensor beside its sketch."""
        count, squares = max(self.count, 1), self.squares
        kurtosis = self.fourths * count / squares**2 if squares > 0 else 0.0
        return TensorMark(
            self.name,
            self.shape,
            digest,
            self.zeros / count,
            distinct,
            float(np.sqrt(squares / count)),
            kurtosis if np.isfinite(kurtosis) else 0.0,
        )


@dataclass(frozen=True)
class WeightsFingerprint:
    """`vectors`: unit-norm float32 of shape (2, dimensions), in the order of `READOUTS`; a row is zero if no tensor
    counts for it. `marks`: one per tensor. `digest`: SHA-256 over names, types, shapes and bytes of all tensors,
    equal for bit-identical weights; empty if anything was left out, since a sample cannot show that."""

    vectors: npt.NDArray[np.float32]
    marks: tuple[TensorMark, ...]
    digest: str


@dataclass(frozen=True)
class TensorSource:
    """One tensor as the sketch reads it. `blocks` yields (float32 values, raw bytes) of at most `BLOCK`
    values each, in row-major order: the blocks of `chosen_blocks` and no others. `dtype`: safetensors' name (`F32`,
    `BF16`, `I64` ...)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    blocks: Iterable[tuple[npt.NDArray[np.float32], bytes | memoryview]]


def is_learned(tensor: TensorSource) -> bool:
    """Whether a tensor says what the body learned: fractions, no head, no table or statistic of the library's."""
    if not tensor.shape or not tensor.dtype.startswith(("F", "BF")):
        return False
    return not _BUFFERS.fullmatch(tensor.name) and is_body(normalised_name(tensor.name))


@lru_cache(maxsize=65536)
def is_body(name: str) -> bool:
    """Whether a normalised tensor name belongs to the learned body: no head, no table or statistic of the library's."""
    return not (_BUFFERS.fullmatch(name) or _STATISTICS.fullmatch(name) or is_head(name))


@lru_cache(maxsize=65536)
def is_head(name: str) -> bool:
    """Whether a normalised tensor name belongs to an output head."""
    return _HEADS.fullmatch(name) is not None


def fingerprint_weights(
    tensors: Iterable[TensorSource], settings: WeightsSettings
) -> WeightsFingerprint:
    """Weights fingerprint of a stream of tensors, in memory bounded by one block and the marks.

    Raises ValueError for a tensor whose blocks are not those that these settings choose.
    """
    sketcher = BlockSketcher(settings.dimensions)
    sketches = np.zeros((len(READOUTS), settings.dimensions))
    marks: list[TensorMark] = []
    identity: list[str] = []
    complete = True
    for tensor in tensors:
        state = TensorState(normalised_name(tensor.name), tensor.shape, settings.dimensions)
        digest = hashlib.sha256()
        numbers = chosen_blocks(tensor.shape, settings.sample)
        rows = _RowSampler(tensor.shape, numbers)
        matrix = len(tensor.shape) >= 2
        least = settings.min_elements if matrix else settings.min_bias_elements
        counts = is_learned(tensor) and np.prod(tensor.shape) >= least
        blocks = iter(tensor.blocks)
        for number, (values, raw) in zip(numbers, blocks, strict=False):
            digest.update(raw)
            rows.add(values, number * BLOCK)
            if counts:
                state.add(values, number, sketcher)
            else:
                state.count_values(values)
        if state.count != _values_in(numbers, tensor.shape) or next(blocks, None) is not None:
            raise ValueError(
                f"the blocks of {tensor.name} are not the {len(numbers)} of {block_count(tensor.shape)} that "
                f"sample {settings.sample} chooses: read those of chosen_blocks(shape, sample), in order"
            )
        complete = complete and len(numbers) == block_count(tensor.shape)
        if counts:
            power = settings.size_power if matrix else settings.bias_power
            sketches[0 if matrix else 1] += state.finish(power)
        marks.append(state.mark(digest.hexdigest()[:16], rows.distinct()))
        identity.append(f"{state.name}|{tensor.dtype}|{tensor.shape}|{digest.hexdigest()}")
    whole = hashlib.sha256("\n".join(sorted(identity)).encode()).hexdigest() if complete else ""
    return WeightsFingerprint(
        unit(sketches).astype(np.float32), tuple(sorted(marks, key=lambda m: m.name)), whole
    )


def _values_in(numbers: Sequence[int], shape: Sequence[int]) -> int:
    """How many values these blocks of a tensor hold."""
    size = math.prod(shape)
    return sum(min(BLOCK, size - number * BLOCK) for number in numbers)


class _RowSampler:
    """Counts different values in a few evenly spaced rows: rounding to a lattice is done per row or per tensor,
    so a row of an int8 tensor shows at most 255 values whatever its scale. Of a sampled tensor, rows that begin in the
    blocks `numbers`."""

    def __init__(self, shape: Sequence[int], numbers: Sequence[int]) -> None:
        rows = shape[0] if len(shape) >= 2 else 1
        self.width = math.prod(shape[1:]) if len(shape) >= 2 else math.prod(shape)
        if len(numbers) == block_count(shape):
            step = max(rows // _SAMPLED_ROWS, 1)
            starts = [row * self.width for row in range(0, rows, step)][:_SAMPLED_ROWS]
        else:
            spread = (len(numbers) * BLOCK * k // _SAMPLED_ROWS for k in range(_SAMPLED_ROWS))
            starts = sorted({self._row_from(numbers[p // BLOCK], p % BLOCK) for p in spread})
        self.starts = starts
        self.shares: list[float] = []

    def _row_from(self, number: int, offset: int) -> int:
        """Where the next row begins from a place in a block on; the place itself if none does in that block."""
        place = number * BLOCK + offset
        begin = -(-place // self.width) * self.width
        return begin if begin < (number + 1) * BLOCK else place

    def add(self, values: npt.NDArray[np.float32], offset: int) -> None:
        """Look at the sampled rows that lie in these values (the part of a row that this block holds)."""
        while self.starts and self.starts[0] < offset + values.size:
            begin = self.starts.pop(0) - offset
            if begin < 0:
                continue
            row = values[begin : begin + min(self.width, 4096)]
            row = row[row != 0]
            if row.size >= 16:
                self.shares.append(np.unique(row).size / row.size)

    def distinct(self) -> float:
        """Mean share of different values in the sampled rows; 1 if there was nothing to sample."""
        return float(np.mean(self.shares)) if self.shares else 1.0
