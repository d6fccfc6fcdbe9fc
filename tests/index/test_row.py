"""Rows: what the table keeps of a model comes back as it was."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from provray.fingerprints.weights import TensorMark
from provray.index.row import SCHEMA, STATUSES, Row, rows_from_table, rows_to_table


def _full() -> Row:
    """A row with something in every column."""
    return Row(
        model="family/child",
        revision="r1",
        kind="dna",
        space="dna-1",
        status="ok",
        reason="a reason",
        location="somewhere",
        declared='{"base_model": "ü"}',
        modality="image",
        model_type="vit",
        architecture="ViTModel",
        parameters=2**33,
        bytes=2**35,
        weights_digest="d" * 64,
        probes="p" * 64,
        readouts=("noise@0", "noise@1"),
        vectors=np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32),
        scales=(1.0, float("nan"), 1e-300),
        tensors=(
            TensorMark("a.weight", (3, 4), "0" * 16, 0.5, 0.25, 0.75, 3.125),
            TensorMark("b", (), "f", 0, 1),
        ),
        warnings=("first", "second"),
        device="cpu",
        dtype="float32",
        seconds=1.25,
        created=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        provray="0.1",
    )


def _assert_equal(a: Row, b: Row) -> None:
    for field in fields(Row):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        if field.name in ("vectors", "scales"):
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert ours == theirs, field.name


def test_every_column_comes_back() -> None:
    row = _full()
    default = Row("", "", "", "")
    blank = [f.name for f in fields(Row) if getattr(row, f.name) is getattr(default, f.name)]
    assert blank == ["status"]  # so that a column added later is added here too
    (back,) = rows_from_table(rows_to_table([row]))
    _assert_equal(back, row)
    assert back.vectors.dtype == np.float32


@pytest.mark.parametrize("status", STATUSES)
def test_a_row_without_vectors_comes_back(status: str) -> None:
    row = Row("m", "r", "dna", "s", status=status, reason="why")
    (back,) = rows_from_table(rows_to_table([row]))
    _assert_equal(back, row)


def test_sizes_and_kurtoses_are_kept_in_single_precision() -> None:
    """As tensors held in common are looked up by: to the last bit of it."""
    mark = TensorMark("a", (9,), "f", 0.1, 0.2, 1 / 3, 3 + 1e-12)
    table = rows_to_table([Row("m", "r", "weights", "s", tensors=(mark,))])
    ((back,),) = (row.tensors for row in rows_from_table(table))
    assert back.rms == float(np.float32(1 / 3)) != mark.rms
    assert back.kurtosis == 3.0


def test_vectors_are_binary_and_the_schema_says_how_to_read_them() -> None:
    table = rows_to_table([_full()])
    field = table.schema.field("vectors")
    assert field.type == pa.binary()
    assert field.metadata[b"dtype"] == b"float32"
    assert field.metadata[b"byteorder"] == b"little"
    raw, dimensions = table["vectors"][0].as_py(), table["dimensions"][0].as_py()
    np.testing.assert_array_equal(
        np.frombuffer(raw, "<f4").reshape(-1, dimensions), _full().vectors
    )


def test_vectors_of_another_layout_are_stored_in_the_stated_one() -> None:
    vectors = np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3))
    row = Row("m", "r", "dna", "s", readouts=("a", "b"), vectors=vectors)  # type: ignore[arg-type]
    (back,) = rows_from_table(rows_to_table([row]))
    np.testing.assert_array_equal(back.vectors, [[0, 1, 2], [3, 4, 5]])


def test_columns_that_were_not_read_keep_their_defaults() -> None:
    columns = ["model", "revision", "kind", "space", "status", "readouts", "created"]
    (back,) = rows_from_table(rows_to_table([_full()]).select(columns))
    assert back.key == _full().key
    assert back.readouts == ()  # readouts without their vectors would not fit
    assert back.tensors == ()


def test_rows_of_several_chunks_and_missing_values_come_back() -> None:
    rows = [_full(), Row("m", "r", "dna", "s", status="broken", reason="why"), _full()]
    table = pa.concat_tables([rows_to_table(rows), rows_to_table(rows[1:])])
    for back, row in zip(rows_from_table(table), [*rows, *rows[1:]], strict=True):
        _assert_equal(back, row)
    nothing = pa.array([None] * 3, SCHEMA.field("tensors").type)
    place = SCHEMA.get_field_index("tensors")
    blank = rows_to_table(rows).set_column(place, SCHEMA.field("tensors"), nothing)
    assert [row.tensors for row in rows_from_table(blank)] == [(), (), ()]


def test_a_readout_by_name() -> None:
    row = _full()
    np.testing.assert_array_equal(row.vector("noise@1"), row.vectors[1])
    assert row.vector("mixed@1") is None


def test_key_is_model_revision_and_space() -> None:
    assert _full().key == ("family/child", "r1", "dna-1")


def test_what_is_no_row_is_an_error() -> None:
    with pytest.raises(ValueError, match="'fine'"):
        Row("m", "r", "dna", "s", status="fine")
    with pytest.raises(ValueError, match="2 readouts"):
        Row("m", "r", "dna", "s", readouts=("a", "b"), vectors=np.zeros((1, 4), np.float32))


def test_schema_keeps_keys_from_being_empty() -> None:
    required = {f.name for f in SCHEMA if not f.nullable}
    assert required == {"model", "revision", "kind", "space", "status", "created"}


@pytest.mark.parametrize(
    ("declared", "card", "base_models"),
    [
        ("{}", {}, ()),
        ("", {}, ()),
        ("{", {}, ()),
        ('["lab/base"]', {}, ()),
        ('{"base_model": null}', {"base_model": None}, ()),
        ('{"base_model": " lab/base "}', {"base_model": " lab/base "}, ("lab/base",)),
        ('{"base_model": ["a", 1, "b", "a"]}', {"base_model": ["a", 1, "b", "a"]}, ("a", "b")),
    ],
)
def test_what_a_card_declares(
    declared: str, card: dict[str, object], base_models: tuple[str, ...]
) -> None:
    row = Row("lab/child", "r1", "weights", "space", declared=declared)
    assert (row.card, row.base_models) == (card, base_models)
