"""One row of the index: what is known of one model in one space, or why nothing is.

A model that was fingerprinted has one `ok` row per space (weights, DNA, GiF). A model that could not be is
a row too, of the kind where it stopped, with a status and a reason a person understands.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from provray.fingerprints.weights import TensorMark

STATUSES = (
    "ok",
    "unsupported",
    "unsafe",
    "broken",
    "crashed",
    "timeout",
    "too_large",
    "unavailable",
)

SCHEMA = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("space", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("location", pa.string()),
        pa.field(
            "declared",
            pa.string(),
            metadata={"content": "JSON; what the card says, never evidence"},
        ),
        pa.field("modality", pa.string()),
        pa.field("model_type", pa.string()),
        pa.field("architecture", pa.string()),
        pa.field("parameters", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("weights_digest", pa.string()),
        pa.field("probes", pa.string()),
        pa.field("readouts", pa.list_(pa.string())),
        pa.field("dimensions", pa.int32()),
        pa.field(
            "vectors",
            pa.binary(),
            metadata={
                "dtype": "float32",
                "byteorder": "little",
                "shape": "len(readouts) x dimensions, row-major, unit norm per readout",
                "dimensions.weights": "1024",
                "dimensions.dna": "256",
                "dimensions.gif": "512",
            },
        ),
        pa.field("scales", pa.list_(pa.float64())),
        pa.field(
            "tensors",
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("shape", pa.list_(pa.int64())),
                        ("digest", pa.string()),
                        ("zeros", pa.float32()),
                        ("distinct", pa.float32()),
                        ("rms", pa.float32()),
                        ("kurtosis", pa.float32()),
                    ]
                )
            ),
        ),
        pa.field("warnings", pa.list_(pa.string())),
        pa.field("device", pa.string()),
        pa.field("dtype", pa.string()),
        pa.field("seconds", pa.float64()),
        pa.field("created", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("provray", pa.string()),
    ]
)

Key = tuple[str, str, str]
"""(model, revision, space)."""


@dataclass(frozen=True)
class Row:
    """One row; see `SCHEMA`.

    vectors: float32 (readouts, dimensions). scales: numbers beside the vectors; DNA keeps two per readout (norm and
    trace of the Gram matrix), GiF the completeness error of each readout.
    """

    model: str
    revision: str
    kind: str
    space: str
    status: str = "ok"
    reason: str = ""
    location: str = ""
    declared: str = "{}"
    modality: str = ""
    model_type: str = ""
    architecture: str = ""
    parameters: int = 0
    bytes: int = 0
    weights_digest: str = ""
    probes: str = ""
    readouts: tuple[str, ...] = ()
    vectors: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    scales: tuple[float, ...] = ()
    tensors: tuple[TensorMark, ...] = ()
    warnings: tuple[str, ...] = ()
    device: str = ""
    dtype: str = ""
    seconds: float = 0.0
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    provray: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {STATUSES}, got {self.status!r}")
        if self.vectors.shape[0] != len(self.readouts):
            raise ValueError(
                f"{len(self.readouts)} readouts but vectors of shape {self.vectors.shape}"
            )

    @property
    def key(self) -> Key:
        """(model, revision, space): the newest row of a key is the one that counts."""
        return self.model, self.revision, self.space

    @property
    def card(self) -> dict[str, Any]:
        """What the model's card declares; never evidence. Nothing if what was kept of it is no JSON object."""
        try:
            said = json.loads(self.declared or "{}")
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    @property
    def base_models(self) -> tuple[str, ...]:
        """The names that the card gives as `base_model`, one or several."""
        return texts(self.card.get("base_model"))

    def vector(self, readout: str) -> npt.NDArray[np.float32] | None:
        """The vector of one readout, or None where the model has no such readout."""
        if readout not in self.readouts:
            return None
        vector: npt.NDArray[np.float32] = self.vectors[self.readouts.index(readout)]
        return vector


def scale_count(kind: str, readouts: int) -> int:
    """How many scales a row of this kind has beside so many readouts; see `Row`."""
    return {"dna": 2 * readouts, "gif": readouts}.get(kind, 0)


def texts(value: object) -> tuple[str, ...]:
    """A declared value as names: one text or several; anything else was not declared."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    said = (text.strip() for text in values if isinstance(text, str))
    return tuple(dict.fromkeys(text for text in said if text))


def first_failure(rows: Iterable[Row]) -> Row | None:
    """Of one model's newest rows, the first that says what went wrong and still holds.

    A model whose modality was not known when it failed has a failed row in no space; a later success stands in another
    space, and outweighs it.
    """
    rows = list(rows)
    done = {row.kind for row in rows if row.status == "ok"}
    for row in rows:
        if row.status != "ok" and not (row.space.endswith("-none") and row.kind in done):
            return row
    return None


def rows_to_table(rows: list[Row]) -> pa.Table:
    """Rows as an Arrow table of `SCHEMA`."""
    return pa.Table.from_pylist([_plain(row) for row in rows], schema=SCHEMA)


def _plain(row: Row) -> dict[str, Any]:
    plain = {name: getattr(row, name) for name in SCHEMA.names if hasattr(row, name)}
    plain["dimensions"] = int(row.vectors.shape[1])
    plain["vectors"] = row.vectors.astype("<f4").tobytes()
    for name in ("readouts", "scales", "warnings"):
        plain[name] = list(plain[name])
    plain["tensors"] = [
        {
            "name": m.name,
            "shape": list(m.shape),
            "digest": m.digest,
            "zeros": m.zeros,
            "distinct": m.distinct,
            "rms": m.rms,
            "kurtosis": m.kurtosis,
        }
        for m in row.tensors
    ]
    return plain


def rows_from_table(table: pa.Table | pa.RecordBatch) -> list[Row]:
    """The rows of an Arrow table of `SCHEMA`, column by column: converting row by row costs several times as much.
    Columns that were not read, and missing values, are the defaults of `Row`."""
    columns: dict[str, Sequence[Any]] = {}
    for name in table.column_names:
        column = table.column(name)
        if name == "tensors":
            columns[name] = _tensors(column)
        elif name != "vectors":
            found = column.to_pylist()
            if name in _TUPLES:
                found = [None if value is None else tuple(value) for value in found]
            columns[name] = found
    dimensions = columns.pop("dimensions", None)
    if "vectors" in table.column_names and dimensions is not None:
        stored = zip(table.column("vectors"), dimensions, strict=True)
        columns["vectors"] = [_matrix(value.as_buffer(), width) for value, width in stored]
    else:
        columns.pop("readouts", None)  # without their vectors they would not fit
    names = tuple(columns)
    return [
        Row(**{n: v for n, v in zip(names, values, strict=True) if v is not None})
        for values in zip(*columns.values(), strict=True)
    ]


_TUPLES = ("readouts", "scales", "warnings")
_MARK_FIELDS = tuple(field.name for field in fields(TensorMark))


def _matrix(raw: Any, dimensions: int | None) -> npt.NDArray[np.float32] | None:
    if raw is None or dimensions is None:
        return None
    flat = np.frombuffer(raw, "<f4")
    return flat.reshape(-1, dimensions) if flat.size else np.zeros((0, 0), np.float32)


def _tensors(column: pa.ChunkedArray | pa.Array) -> list[tuple[TensorMark, ...] | None]:
    """Each row's marks; all marks of the column are converted together."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    found: list[tuple[TensorMark, ...] | None] = []
    for chunk in chunks:
        flat = chunk.flatten()
        parts = {name: flat.field(name).to_pylist() for name in _MARK_FIELDS}
        parts["shape"] = [tuple(shape) for shape in parts["shape"]]
        marks = iter(map(TensorMark, *(parts[name] for name in _MARK_FIELDS)))
        for length in pc.list_value_length(chunk).to_pylist():
            found.append(None if length is None else tuple(itertools.islice(marks, length)))
    return found
