"""Probe sets as content-addressed lists: their order, their shards, their file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provray.probes import (
    Modality,
    Probe,
    ProbeSet,
    ProbeSetError,
    make_probe,
    read_probes,
    write_probes,
)
from provray.probes.probe_set import probes_from_rows


def _texts(natural: int = 3, mixed: int = 3, noise: int = 3) -> tuple[Probe, ...]:
    counts = {"natural": natural, "mixed": mixed, "noise": noise}
    return tuple(make_probe(s, f"{s} text {i} ü") for s, n in counts.items() for i in range(n))


def _images() -> tuple[Probe, ...]:
    rng = np.random.default_rng(0)
    sizes = {"natural": (6, 6), "mixed": (4, 9), "noise": (2, 2)}
    return tuple(
        make_probe(s, rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        for s, size in sizes.items()
        for _ in range(3)
    )


def _set(modality: Modality = "text") -> ProbeSet:
    return ProbeSet("some", modality, _texts() if modality == "text" else _images())


# --- what a set may hold


def test_strata_come_in_their_order() -> None:
    probes = _texts()
    with pytest.raises(ProbeSetError, match="in that order"):
        ProbeSet("x", "text", tuple(reversed(probes)))
    with pytest.raises(ProbeSetError, match="in that order"):
        ProbeSet("x", "text", (probes[0], probes[3], probes[1]))
    with pytest.raises(ProbeSetError, match="strata"):
        ProbeSet("x", "text", (*probes, make_probe("other", "a b c")))
    with pytest.raises(ProbeSetError, match="strata"):
        ProbeSet("x", "text", ())


def test_an_input_may_be_there_once() -> None:
    probes = _texts()
    with pytest.raises(ProbeSetError, match="'x' holds the same input twice"):
        ProbeSet("x", "text", (probes[0], probes[0], *probes[3:]))
    # In two strata it is two questions.
    ProbeSet("x", "text", (make_probe("natural", "a b"), make_probe("noise", "a b")))


def test_modality_is_image_or_text() -> None:
    with pytest.raises(ProbeSetError, match="'sound'"):
        ProbeSet("x", "sound", _texts())  # type: ignore[arg-type]


def test_digest_is_of_content_order_and_modality_and_not_of_the_name() -> None:
    probes = _texts()
    digest = ProbeSet("a", "text", probes).digest
    assert ProbeSet("b", "text", probes).digest == digest
    swapped = (probes[1], probes[0], *probes[2:])
    changed = (make_probe("natural", "another text"), *probes[1:])
    moved = (*probes[:2], make_probe("mixed", probes[2].content), *probes[3:])
    others = [ProbeSet("a", "text", p).digest for p in (swapped, changed, moved, probes[:-1])]
    others.append(ProbeSet("a", "image", probes).digest)
    assert len({digest, *others}) == 6


# --- shards


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 12))
def test_shards_cover_everything_once(natural: int, mixed: int, noise: int, size: int) -> None:
    whole = ProbeSet("x", "text", _texts(natural, mixed, noise))
    shards = whole.shards(size)
    assert [p for shard in shards for p in shard.probes] == list(whole.probes)
    for shard in shards:
        assert 1 <= len(shard.probes) <= size
        assert {p.stratum for p in shard.probes} == {shard.stratum}
        own = whole.stratum(shard.stratum)
        assert own[shard.start : shard.start + len(shard.probes)] == shard.probes


# --- the file


@pytest.mark.parametrize("modality", ["text", "image"])
def test_a_set_read_back_is_the_set_that_was_written(tmp_path: Path, modality: Modality) -> None:
    path = tmp_path / "made" / "set.parquet"
    before = _set(modality)
    write_probes(before, path)
    after = read_probes(path)
    assert (after.name, after.modality, after.digest) == ("some", modality, before.digest)
    for ours, theirs in zip(before.probes, after.probes, strict=True):
        assert (ours.id, ours.stratum) == (theirs.id, theirs.stratum)
        np.testing.assert_array_equal(ours.content, theirs.content)
    assert [p.name for p in path.parent.iterdir()] == ["set.parquet"]  # nothing partial is left


def test_writing_again_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    write_probes(_set("image"), path)
    write_probes(_set("text"), path)
    assert read_probes(path).modality == "text"


def test_rows_may_come_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    write_probes(_set(), path)
    rows = pq.read_table(path).to_pylist()
    np.random.default_rng(0).shuffle(rows)
    assert probes_from_rows(rows) == _set().probes


Change = Callable[[pa.Table], pa.Table]


def _cell(column: str, value: Any, row: int = 0) -> Change:
    """One cell of the file changed."""

    def change(table: pa.Table) -> pa.Table:
        values = table.column(column).to_pylist()
        values[row] = value
        at = table.schema.get_field_index(column)
        return table.set_column(
            at, table.schema.field(at), [pa.array(values, table.schema.field(at).type)]
        )

    return change


def _metadata(**changed: str | None) -> Change:
    """Entries of the file's metadata changed, or removed if None."""

    def change(table: pa.Table) -> pa.Table:
        entries = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
        for name, value in changed.items():
            entries.pop(f"provray.{name}", None)
            if value is not None:
                entries[f"provray.{name}"] = value
        return table.replace_schema_metadata(entries)

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_cell("content", b"a text that was not there"), id="content"),
        pytest.param(_cell("content", b"\xff\xfe\xfd"), id="content-not-utf8"),
        pytest.param(_cell("id", "0" * 16), id="id"),
        pytest.param(_cell("stratum", "mixed"), id="stratum"),
        pytest.param(_cell("stratum", "other"), id="stratum-unknown"),
        pytest.param(_cell("height", 5), id="height"),
        pytest.param(_cell("position", 9), id="order"),
        pytest.param(lambda t: t.slice(1), id="row-removed"),
        pytest.param(lambda t: t.slice(0, 0), id="all-rows-removed"),
        pytest.param(lambda t: pa.concat_tables([t, t.slice(0, 1)]), id="row-doubled"),
        pytest.param(lambda t: t.drop_columns(["position"]), id="column-removed"),
        pytest.param(_metadata(digest="0" * 64), id="digest"),
        pytest.param(_metadata(modality="image"), id="modality"),
        pytest.param(_metadata(modality="sound"), id="modality-unknown"),
        pytest.param(_metadata(format="2"), id="format"),
        pytest.param(_metadata(name=None), id="no-name"),
        pytest.param(_metadata(digest=None), id="no-digest"),
        pytest.param(lambda t: t.replace_schema_metadata(None), id="no-metadata"),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path: Path, change: Change) -> None:
    path = tmp_path / "set.parquet"
    write_probes(_set(), path)
    read_probes(path)
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ProbeSetError):
        read_probes(path)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_cell("content", bytes(6 * 6 * 3)), id="pixels"),
        pytest.param(_cell("content", b"123"), id="too-few-pixels"),
        pytest.param(_cell("height", 3), id="shape"),
        pytest.param(_cell("width", 0), id="no-width"),
    ],
)
def test_a_file_of_changed_images_is_refused(tmp_path: Path, change: Change) -> None:
    path = tmp_path / "set.parquet"
    write_probes(_set("image"), path)
    read_probes(path)
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ProbeSetError):
        read_probes(path)


def test_two_shapes_of_the_same_pixels_are_two_sets(tmp_path: Path) -> None:
    pixels = np.arange(36, dtype=np.uint8)
    noise = make_probe("noise", pixels[:12].reshape(2, 2, 3))
    a = ProbeSet("x", "image", (make_probe("natural", pixels.reshape(3, 4, 3)), noise))
    b = ProbeSet("x", "image", (make_probe("natural", pixels.reshape(4, 3, 3)), noise))
    assert a.digest != b.digest


def test_what_is_no_probe_set_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no parquet at all")
    (tmp_path / "empty.parquet").write_bytes(b"")
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "other.parquet")
    (tmp_path / "folder.parquet").mkdir()
    for name in ("text", "empty", "other", "folder", "missing"):
        with pytest.raises(ProbeSetError, match=rf"{name}\.parquet.*provray probes build"):
            read_probes(tmp_path / f"{name}.parquet")
