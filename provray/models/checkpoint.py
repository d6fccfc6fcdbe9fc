"""Checks of safetensors files, and streaming of their tensors, before any tensor library sees them.

A safetensors file is eight bytes (little-endian header length), a JSON header and the tensors'
bytes. Everything the header claims is compared with the file itself. Only NumPy and the standard
library are used here.

Source: the safetensors format description (huggingface/safetensors, README, "Format").
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from provray.models.errors import BrokenModel, TooLargeModel, UnsafeModel, UnsupportedModel
from provray.models.files import (
    DEFAULT_LIMITS,
    Limits,
    parse_object,
    plain_name,
    read_json_object,
    regular_size,
    show,
)

__all__ = [
    "DEFAULT_LIMITS",
    "INDEX_SUFFIX",
    "ITEM_BYTES",
    "Checkpoint",
    "Limits",
    "TensorEntry",
    "iter_blocks",
    "iter_bytes",
    "iter_tensor",
    "open_checkpoint",
]

INDEX_SUFFIX = ".safetensors.index.json"

ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}
"""Bytes per value of each dtype that can be read, by its safetensors name."""

_NUMPY = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "I16": "<i2",
    "U16": "<u2",
    "F16": "<f2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "I64": "<i8",
    "U64": "<u8",
    "F64": "<f8",
}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor's place in a file: bytes `begin` to `end`, counted from the start of `file`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return self.end - self.begin


@dataclass(frozen=True)
class Checkpoint:
    """The weight files of one model folder after every check has passed; tensors are sorted by
    name.
    """

    folder: Path
    files: tuple[Path, ...]
    tensors: tuple[TensorEntry, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(entry.nbytes for entry in self.tensors)

    @property
    def parameters(self) -> int:
        """Values of all tensors together (buffers that are stored included)."""
        return sum(entry.elements for entry in self.tensors)


def open_checkpoint(folder: Path, limits: Limits = DEFAULT_LIMITS) -> Checkpoint:
    """Read and check the headers of all weight files in `folder`.

    `model.safetensors` is taken if it is there, else the shards of the one
    `*.safetensors.index.json`, else every `*.safetensors` file. No tensor is read.

    Raises:
        UnsafeModel: a bound or a path rule is broken, or a file is a renamed pickle.
        BrokenModel: a header contradicts itself, its file or the shard index.
        UnsupportedModel: a dtype that cannot be read.
        TooLargeModel: the files exceed `limits.total_bytes`.
    """
    folder = Path(folder)
    files, weight_map = _weight_files(folder, limits)
    total = sum(regular_size(path) for path in files)
    if limits.total_bytes is not None and total > limits.total_bytes:
        raise TooLargeModel(
            f"the weight files hold {total:,} bytes, more than the limit of "
            f"{limits.total_bytes:,}: raise the size limit to index this model"
        )
    tensors: dict[str, TensorEntry] = {}
    for path in files:
        for entry in _read_header(path, limits, room=limits.tensors - len(tensors)):
            if entry.name in tensors:
                raise BrokenModel(
                    f"tensor {show(entry.name)} is in two files, "
                    f"{tensors[entry.name].file.name} and {path.name}"
                )
            tensors[entry.name] = entry
    for name, file in weight_map.items():
        if name not in tensors or tensors[name].file.name != file:
            raise BrokenModel(
                f"the shard index places tensor {show(name)} in {file}, which lacks it"
            )
    if not tensors:
        raise BrokenModel("the weight files hold no tensor")
    return Checkpoint(folder, tuple(files), tuple(tensors[name] for name in sorted(tensors)))


def iter_bytes(
    entry: TensorEntry, nbytes: int, numbers: Iterable[int] | None = None
) -> Iterator[memoryview]:
    """Yield a tensor's raw bytes in pieces of at most `nbytes`; each piece is overwritten by the
    next one.

    numbers: which pieces, counted from 0, and in which order; None for all of them. No byte of
    another piece is read.

    Raises:
        BrokenModel: the file ends early (it changed after the checks).
        ValueError: the tensor has no piece of such a number.
    """
    if nbytes < 1:
        raise ValueError(f"nbytes must be at least 1, not {nbytes}")
    pieces = -(-entry.nbytes // nbytes)
    buffer = memoryview(bytearray(min(nbytes, entry.nbytes)))
    with entry.file.open("rb", buffering=0) as file:
        for number in range(pieces) if numbers is None else numbers:
            if not 0 <= number < pieces:
                raise ValueError(
                    f"tensor {show(entry.name)} has {pieces} pieces of {nbytes} bytes, "
                    f"and no number {number}: count from 0"
                )
            begin = number * nbytes
            piece = buffer[: min(nbytes, entry.nbytes - begin)]
            file.seek(entry.begin + begin)
            filled = 0
            while filled < len(piece):
                got = file.readinto(piece[filled:])
                if not got:
                    raise BrokenModel(f"{entry.file.name} ended inside tensor {show(entry.name)}")
                filled += got
            yield piece


def iter_tensor(
    entry: TensorEntry, elements: int, numbers: Iterable[int] | None = None
) -> Iterator[tuple[np.ndarray, memoryview]]:
    """Yield a tensor in storage order as (float32 values, raw bytes) of at most `elements` values
    each.

    numbers: which of these blocks, counted from 0; None for all of them. The others are not read,
    so what they hold is neither known nor checked.

    Memory stays bounded by a few blocks whatever the tensor's size; raw bytes are overwritten by
    the next block. Integers and booleans become floats.

    Raises:
        BrokenModel: a value is NaN or infinite (as float32), or the file ends early.
        ValueError: the tensor has no block of such a number.
    """
    if elements < 1:
        raise ValueError(f"elements must be at least 1, not {elements}")
    decode = _decoder(entry.dtype)
    for piece in iter_bytes(entry, elements * ITEM_BYTES[entry.dtype], numbers):
        with np.errstate(over="ignore", invalid="ignore"):
            block = decode(piece)
        if not np.isfinite(block).all():
            raise BrokenModel(f"tensor {show(entry.name)} holds NaN or infinite values")
        yield block, piece


def iter_blocks(entry: TensorEntry, elements: int) -> Iterator[np.ndarray]:
    """The values of `iter_tensor`, without the raw bytes."""
    for block, _ in iter_tensor(entry, elements):
        yield block


def _weight_files(folder: Path, limits: Limits) -> tuple[list[Path], dict[str, str]]:
    single = folder / "model.safetensors"
    if single.exists():
        return [single], {}
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        raise BrokenModel(f"the folder cannot be listed: {error.strerror}") from None
    indexes = [name for name in names if name.endswith(INDEX_SUFFIX)]
    if len(indexes) > 1:
        raise BrokenModel(f"the folder holds {len(indexes)} shard indexes and no model.safetensors")
    if not indexes:
        files = [folder / name for name in names if name.endswith(".safetensors")]
        if not files:
            raise UnsupportedModel(
                "the folder holds no *.safetensors file: other formats are not read"
            )
        return files, {}
    # A shard index names every tensor once, so the bound of a header holds for it as well.
    index = read_json_object(folder / indexes[0], limits.header_bytes)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BrokenModel(f"{indexes[0]} has no weight_map object")
    if len(weight_map) > limits.tensors:
        raise UnsafeModel(
            f"{indexes[0]} names {len(weight_map):,} tensors, limit {limits.tensors:,}"
        )
    for file in weight_map.values():
        if not isinstance(file, str):
            raise BrokenModel(f"{indexes[0]} maps a tensor to {show(file)}, not to a file name")
        if not plain_name(file):
            raise UnsafeModel(
                f"{indexes[0]} points to {show(file)}: "
                "only plain file names inside the folder are allowed"
            )
        if not file.endswith(".safetensors"):
            raise UnsafeModel(f"{indexes[0]} points to {show(file)}, which is no .safetensors file")
    shards = sorted(set(weight_map.values()))
    for shard in shards:
        if not (folder / shard).exists():
            raise BrokenModel(f"{indexes[0]} points to {show(shard)}, which is not in the folder")
    return [folder / shard for shard in shards], weight_map


def _read_header(path: Path, limits: Limits, room: int) -> Iterator[TensorEntry]:
    size = regular_size(path)
    if size < 8:
        raise BrokenModel(f"{path.name} has {size} bytes, too few for a safetensors header")
    with path.open("rb") as file:
        start = file.read(8)
        (length,) = struct.unpack("<Q", start)
        if length > limits.header_bytes or length > size - 8:
            if start[:4] == b"PK\x03\x04" or (start[0] == 0x80 and 2 <= start[1] <= 5):
                raise UnsafeModel(f"{path.name} is a pickle archive renamed to .safetensors")
            if length > limits.header_bytes:
                raise UnsafeModel(
                    f"{path.name} declares a header of {length:,} bytes, "
                    f"limit {limits.header_bytes:,}"
                )
            raise BrokenModel(
                f"{path.name} is truncated: its header claims {length:,} bytes, "
                f"the file has {size - 8:,}"
            )
        header = file.read(length)
    if len(header) != length:
        raise BrokenModel(f"{path.name} is truncated inside its header")
    if header.count(b'"data_offsets"') > room:
        raise UnsafeModel(
            f"{path.name} takes the tensor count beyond the limit of {limits.tensors:,}"
        )
    if not header.startswith(b"{"):
        raise BrokenModel(f"{path.name} has no JSON object as its header")
    fields = parse_object(header, f"the header of {path.name}")
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise BrokenModel(f"the __metadata__ of {path.name} is not an object")
    if len(fields) > room:
        raise UnsafeModel(
            f"{path.name} takes the tensor count beyond the limit of {limits.tensors:,}"
        )
    base = 8 + length
    entries = [_entry(name, value, path, base, limits) for name, value in fields.items()]
    _check_layout(entries, path, base, size)
    yield from entries


def _entry(name: str, value: Any, path: Path, base: int, limits: Limits) -> TensorEntry:
    if not isinstance(value, dict):
        raise BrokenModel(f"tensor {show(name)} has no description object in {path.name}")
    dtype, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise UnsupportedModel(
            f"tensor {show(name)} has dtype {show(dtype)}; readable are {', '.join(ITEM_BYTES)}"
        )
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise BrokenModel(f"tensor {show(name)} has shape {show(shape)}, not a list of sizes")
    if len(shape) > limits.rank:
        raise UnsafeModel(f"tensor {show(name)} has rank {len(shape)}, limit {limits.rank}")
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(n) is int and n >= 0 for n in offsets)
        or offsets[0] > offsets[1]
    ):
        raise BrokenModel(f"tensor {show(name)} has data_offsets {show(offsets)}, not [begin, end]")
    begin, end = offsets
    need = math.prod(shape) * ITEM_BYTES[dtype]
    if end - begin != need:
        raise BrokenModel(
            f"tensor {show(name)} declares {end - begin:,} bytes; "
            f"{dtype} of shape {shape} takes {need:,}"
        )
    return TensorEntry(name, dtype, tuple(shape), path, base + begin, base + end)


def _check_layout(entries: list[TensorEntry], path: Path, base: int, size: int) -> None:
    place = base
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin < place:
            raise BrokenModel(f"tensor {show(entry.name)} overlaps another one in {path.name}")
        if entry.begin > place:
            raise BrokenModel(
                f"{path.name} has {entry.begin - place:,} bytes before tensor {show(entry.name)} "
                "that belong to no tensor"
            )
        place = entry.end
    if place > size:
        raise BrokenModel(
            f"{path.name} is truncated: its tensors end at {place:,}, the file at {size:,}"
        )
    if place < size:
        raise BrokenModel(f"{path.name} has {size - place:,} bytes after its last tensor")


def _decoder(dtype: str) -> Callable[[memoryview], np.ndarray]:
    if dtype == "BF16":

        def decode_bf16(piece: memoryview) -> np.ndarray:
            # bfloat16 is the upper half of a float32.
            return (np.frombuffer(piece, "<u2").astype("<u4") << 16).view("<f4").astype(np.float32)

        return decode_bf16
    if dtype == "F8_E5M2":

        def decode_e5m2(piece: memoryview) -> np.ndarray:
            # E5M2 is the upper half of a float16.
            return (np.frombuffer(piece, "u1").astype("<u2") << 8).view("<f2").astype(np.float32)

        return decode_e5m2
    if dtype == "F8_E4M3":
        table = _e4m3_table()
        return lambda piece: table[np.frombuffer(piece, "u1")]
    kind = _NUMPY[dtype]
    return lambda piece: np.frombuffer(piece, kind).astype(np.float32)


def _e4m3_table() -> np.ndarray:
    """The 256 values of E4M3 (finite variant: bias 7, no infinities, all ones is NaN)."""
    codes = np.arange(256)
    exponent, mantissa = (codes >> 3) & 15, codes & 7
    size = np.where(
        exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0)
    )
    size[(codes & 127) == 127] = np.nan
    return np.where(codes & 128, -size, size).astype(np.float32)
