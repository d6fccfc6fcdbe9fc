"""Hostile and sound safetensors files: what is refused, with which status, and what is read."""

from __future__ import annotations

import json
import pickle
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from provray.models.checkpoint import (
    Limits,
    TensorEntry,
    iter_blocks,
    iter_bytes,
    iter_tensor,
    open_checkpoint,
)
from provray.models.errors import (
    BrokenModel,
    ModelError,
    TooLargeModel,
    UnsafeModel,
    UnsupportedModel,
)


def write(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(
    begin: int, end: int, shape: list[int] | None = None, dtype: str = "F32"
) -> dict[str, Any]:
    shape = [(end - begin) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def refused(folder: Path, kind: type[ModelError], match: str, limits: Limits | None = None) -> None:
    with pytest.raises(kind, match=match) as caught:
        open_checkpoint(folder, limits or Limits())
    assert caught.value.reason
    assert str(folder) not in caught.value.reason


def test_sound_file(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(4), "empty": torch.zeros(0, 5)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = open_checkpoint(tmp_path)
    assert [t.name for t in checkpoint.tensors] == ["a", "b", "empty"]
    assert checkpoint.parameters == 10
    assert checkpoint.nbytes == 40
    found = checkpoint.tensors[1]
    assert found.shape == (2, 3)
    raw = (tmp_path / "model.safetensors").read_bytes()[found.begin : found.end]
    assert np.frombuffer(raw, "<f4").tolist() == [0, 1, 2, 3, 4, 5]


def test_oversized_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 1 << 36) + b"{")
        file.truncate(1 << 37)  # sparse: the file really is as long as it claims
    tracemalloc.start()
    began = time.perf_counter()
    refused(tmp_path, UnsafeModel, "declares a header of 68,719,476,736 bytes")
    assert time.perf_counter() - began < 1
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("header", "data", "kind", "match"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, BrokenModel, "overlaps"),
        ({"a": entry(0, 8), "b": entry(0, 8)}, 8, BrokenModel, "overlaps"),
        ({"a": entry(0, 4), "b": entry(8, 12)}, 12, BrokenModel, "belong to no tensor"),
        ({"a": entry(4, 8)}, 8, BrokenModel, "belong to no tensor"),
        ({"a": entry(0, 8, [3])}, 8, BrokenModel, "declares 8 bytes"),
        ({"a": entry(0, 8, [2], "F64")}, 8, BrokenModel, "declares 8 bytes"),
        ({"a": entry(0, 8)}, 4, BrokenModel, "truncated"),
        ({"a": entry(0, 8)}, 9, BrokenModel, "1 bytes after its last tensor"),
        ({"a": entry(8, 0, [0])}, 8, BrokenModel, "data_offsets"),
        ({"a": entry(-8, 0, [2])}, 8, BrokenModel, "data_offsets"),
        ({"a": entry(0, 4, [-1, -1])}, 4, BrokenModel, "shape"),
        ({"a": entry(0, 4, [True])}, 4, BrokenModel, "shape"),
        ({"a": entry(0, 4, [1.0])}, 4, BrokenModel, "shape"),  # type: ignore[list-item]
        ({"a": entry(0, 4, [1] * 9)}, 4, UnsafeModel, "rank 9, limit 8"),
        ({"a": entry(0, 4, [1] * 50_000)}, 4, UnsafeModel, "rank 50000"),
        ({"a": entry(0, 4, [10**4000])}, 4, BrokenModel, "declares 4 bytes"),
        ({"a": entry(0, 4, [1], "Q4_K")}, 4, UnsupportedModel, "Q4_K"),
        ({"a": entry(0, 4, [1], 7)}, 4, UnsupportedModel, "dtype"),  # type: ignore[arg-type]
        ({"a": 3}, 0, BrokenModel, "no description"),
        ({"a": {}}, 0, UnsupportedModel, "dtype"),
        ({}, 0, BrokenModel, "no tensor"),
        ({"__metadata__": 3, "a": entry(0, 4)}, 4, BrokenModel, "__metadata__"),
        (b"[1, 2]", 0, BrokenModel, "no JSON object"),
        (b"{bad", 0, BrokenModel, "not valid JSON"),
        (b'{"a": \xff}', 0, BrokenModel, "not valid JSON"),
        (b'{"a": NaN}', 0, BrokenModel, "NaN"),
        (b'{"a": ' + b"9" * 5000 + b"}", 0, BrokenModel, "not valid JSON"),
        (b'{"a":' * 200_000, 0, UnsafeModel, "nests JSON"),
        (b'{"a":' + b"[" * 200_000, 0, UnsafeModel, "nests JSON"),
        (b'{"a": 1, "a": 2}', 0, BrokenModel, "twice"),
    ],
)
def test_headers_that_contradict_themselves(
    tmp_path: Path, header: Any, data: int, kind: type[ModelError], match: str
) -> None:
    write(tmp_path / "model.safetensors", header, bytes(data))
    refused(tmp_path, kind, match)


@pytest.mark.parametrize("size", [0, 3, 8, 20])
def test_short_files(tmp_path: Path, size: int) -> None:
    whole = write(tmp_path / "full", {"a": entry(0, 8)}, bytes(8)).read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:size])
    refused(tmp_path, BrokenModel, "too few|truncated")


def test_renamed_pickles(tmp_path: Path) -> None:
    for protocol in (2, 4, 5):
        data = pickle.dumps({"a": list(range(100))}, protocol=protocol)
        (tmp_path / "model.safetensors").write_bytes(data)
        refused(tmp_path, UnsafeModel, "pickle")
    torch.save({"a": torch.ones(3)}, tmp_path / "model.safetensors")
    refused(tmp_path, UnsafeModel, "pickle")


def test_a_header_length_that_looks_like_a_pickle_is_fine(tmp_path: Path) -> None:
    text = json.dumps({"a": entry(0, 4)}).encode().ljust(0x0280)  # bytes 80 02: a pickle's start
    write(tmp_path / "model.safetensors", text, bytes(4))
    assert len(open_checkpoint(tmp_path).tensors) == 1


def test_too_many_tensors_are_refused_quickly(tmp_path: Path) -> None:
    header = {
        f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(100_001)
    }
    write(tmp_path / "model.safetensors", header)
    began = time.perf_counter()
    refused(tmp_path, UnsafeModel, "limit of 100,000")
    assert time.perf_counter() - began < 1


def test_total_size(tmp_path: Path) -> None:
    save_file({"a": torch.ones(100)}, tmp_path / "model.safetensors")
    refused(tmp_path, TooLargeModel, "limit of 300", Limits(total_bytes=300))


def test_not_regular_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    refused(tmp_path, UnsafeModel, "not a regular file")
    (tmp_path / "model.safetensors").rmdir()
    (tmp_path / "model.safetensors").symlink_to("/dev/zero")
    refused(tmp_path, UnsafeModel, "not a regular file")
    (tmp_path / "model.safetensors").unlink()
    refused(tmp_path, UnsupportedModel, "no \\*.safetensors")


def shards(folder: Path, weight_map: Any, **files: dict[str, torch.Tensor]) -> None:
    for name, tensors in files.items():
        save_file(tensors, folder / f"{name}.safetensors")
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards(tmp_path: Path) -> None:
    mapping = {"a": "one.safetensors", "b": "two.safetensors"}
    shards(tmp_path, mapping, one={"a": torch.ones(2)}, two={"b": torch.ones(3)})
    (tmp_path / "stray.safetensors").write_bytes(b"not part of the index")
    checkpoint = open_checkpoint(tmp_path)
    assert [path.name for path in checkpoint.files] == ["one.safetensors", "two.safetensors"]
    assert checkpoint.parameters == 5


def test_one_name_in_two_shards(tmp_path: Path) -> None:
    mapping = {"a": "one.safetensors", "b": "two.safetensors"}
    shards(
        tmp_path, mapping, one={"a": torch.ones(2)}, two={"a": torch.ones(2), "b": torch.ones(3)}
    )
    refused(tmp_path, BrokenModel, "in two files")


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("../outside.safetensors", UnsafeModel),
        ("/outside.safetensors", UnsafeModel),
        ("sub/../../outside.safetensors", UnsafeModel),
        ("..", UnsafeModel),
        ("C:\\outside.safetensors", UnsafeModel),
        ("a\0.safetensors", UnsafeModel),
        ("", UnsafeModel),
        ("weights.bin", UnsafeModel),
        ("absent.safetensors", BrokenModel),
        (7, BrokenModel),
        (["one.safetensors"], BrokenModel),
    ],
)
def test_paths_in_the_shard_index(tmp_path: Path, place: Any, kind: type[ModelError]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.ones(2)}, tmp_path / "outside.safetensors")
    shards(folder, {"b": "one.safetensors", "a": place}, one={"b": torch.ones(2)})
    refused(folder, kind, "index.json")


def test_shard_index_that_lies(tmp_path: Path) -> None:
    shards(tmp_path, {"a": "one.safetensors", "z": "one.safetensors"}, one={"a": torch.ones(2)})
    refused(tmp_path, BrokenModel, "'z'")
    shards(tmp_path, {})
    refused(tmp_path, BrokenModel, "weight_map")
    (tmp_path / "model.safetensors.index.json").write_text("[" * 100_000)
    refused(tmp_path, UnsafeModel, "nests JSON")


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.bool,
    ],
)
def test_blocks_equal_torch(tmp_path: Path, dtype: torch.dtype) -> None:
    values = (torch.randn(1003, generator=torch.Generator().manual_seed(1)) * 50).to(dtype)
    save_file({"first": torch.ones(3), "t": values}, tmp_path / "model.safetensors")
    found = next(t for t in open_checkpoint(tmp_path).tensors if t.name == "t")
    blocks = list(iter_blocks(found, 100))
    assert [len(block) for block in blocks] == [100] * 10 + [3]
    assert all(block.dtype == np.float32 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), values.float().numpy())
    assert b"".join(bytes(piece) for piece in iter_bytes(found, 77)) == bytes(
        values.view(torch.uint8).numpy()
    )


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_every_float8_code(tmp_path: Path, dtype: torch.dtype) -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(dtype)
    codes = codes[torch.isfinite(codes.float())]
    save_file({"t": codes}, tmp_path / "model.safetensors")
    (block,) = iter_blocks(open_checkpoint(tmp_path).tensors[0], 1000)
    np.testing.assert_array_equal(block, codes.float().numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite(tmp_path: Path, dtype: torch.dtype, bad: float) -> None:
    values = torch.ones(500)
    values[400] = bad
    save_file({"layer.weight": values.to(dtype)}, tmp_path / "model.safetensors")
    found = open_checkpoint(tmp_path).tensors[0]
    with pytest.raises(BrokenModel, match=r"'layer.weight' holds NaN or infinite"):
        list(iter_blocks(found, 64))


def test_values_beyond_float32(tmp_path: Path) -> None:
    save_file({"t": torch.tensor([1e300], dtype=torch.float64)}, tmp_path / "model.safetensors")
    with pytest.raises(BrokenModel, match="infinite"):
        list(iter_blocks(open_checkpoint(tmp_path).tensors[0], 64))


@pytest.mark.parametrize("numbers", [[0], [10], [2, 3], [9, 0, 4, 4], []])
def test_chosen_blocks_are_those_of_the_whole(tmp_path: Path, numbers: list[int]) -> None:
    save_file({"t": torch.arange(1003).float()}, tmp_path / "model.safetensors")
    found = open_checkpoint(tmp_path).tensors[0]
    whole = [(block, bytes(raw)) for block, raw in iter_tensor(found, 100)]
    chosen = [(block, bytes(raw)) for block, raw in iter_tensor(found, 100, numbers)]
    assert len(chosen) == len(numbers)
    for number, (block, raw) in zip(numbers, chosen, strict=True):
        np.testing.assert_array_equal(block, whole[number][0])
        assert raw == whole[number][1]


def test_blocks_that_are_not_chosen_are_neither_read_nor_checked(tmp_path: Path) -> None:
    values = torch.full((1003,), float("nan"))
    values[200:300] = 1
    save_file({"t": values}, tmp_path / "model.safetensors")
    found = open_checkpoint(tmp_path).tensors[0]
    (block,) = (block for block, _ in iter_tensor(found, 100, [2]))
    assert block.tolist() == [1.0] * 100
    for number in (1, 3, 10):
        with pytest.raises(BrokenModel, match="NaN"):
            list(iter_tensor(found, 100, [2, number]))


@pytest.mark.parametrize("number", [-1, 11, 10**12])
def test_blocks_that_a_tensor_lacks(tmp_path: Path, number: int) -> None:
    save_file({"t": torch.ones(1003)}, tmp_path / "model.safetensors")
    found = open_checkpoint(tmp_path).tensors[0]
    with pytest.raises(ValueError, match=f"has 11 pieces of 400 bytes, and no number {number}"):
        list(iter_tensor(found, 100, [0, number]))


def test_blocks_need_little_memory(tmp_path: Path) -> None:
    save_file({"t": torch.ones(8_000_000, dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
    found = open_checkpoint(tmp_path).tensors[0]
    tracemalloc.start()
    assert sum(float(block.sum()) for block in iter_blocks(found, 100_000)) == 8_000_000
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_file_that_shrank_after_the_checks(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(bytes(10))
    with pytest.raises(BrokenModel, match="ended inside"):
        list(iter_blocks(TensorEntry("t", "F32", (8,), path, 0, 32), 4))
