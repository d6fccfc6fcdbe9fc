"""A probe set: an ordered, content-addressed list of probes, kept as one Parquet file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from provray.fingerprints.settings import STRATA
from provray.probes.probe import MODALITIES, Modality, Probe, make_probe

SHARD_PROBES = 32
_FORMAT = "1"
_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("stratum", pa.string()),
        ("position", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("content", pa.binary()),
    ]
)


class ProbeSetError(ValueError):
    """A probe set cannot be built or read."""


@dataclass(frozen=True)
class Shard:
    """Consecutive probes of one stratum. `start`: position of the first one in its stratum."""

    stratum: str
    start: int
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class ProbeSet:
    """Probes of one modality, grouped by stratum in the order natural, mixed, noise."""

    name: str
    modality: Modality
    probes: tuple[Probe, ...]

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ProbeSetError(f"modality must be one of {MODALITIES}, got {self.modality!r}")
        ranks = [STRATA.index(p.stratum) if p.stratum in STRATA else -1 for p in self.probes]
        if not ranks or -1 in ranks or ranks != sorted(ranks):
            raise ProbeSetError(f"a probe set holds probes of the strata {STRATA}, in that order")
        if len({p.id for p in self.probes}) != len(self.probes):
            raise ProbeSetError(
                f"probe set {self.name!r} holds the same input twice; remove duplicates"
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over strata and contents in order: the identity of the set, whatever file it is in."""
        whole = hashlib.sha256(f"{_FORMAT}|{self.modality}".encode())
        for probe in self.probes:
            content = _content_bytes(probe)
            whole.update(f"|{probe.stratum}|{_shape(probe)}|".encode())
            whole.update(hashlib.sha256(content).digest())
        return whole.hexdigest()

    def stratum(self, name: str) -> tuple[Probe, ...]:
        """The probes of one stratum, in order."""
        return tuple(p for p in self.probes if p.stratum == name)

    def shards(self, size: int = SHARD_PROBES) -> tuple[Shard, ...]:
        """The set cut into shards of at most `size` probes of one stratum each."""
        return tuple(
            Shard(stratum, start, probes[start : start + size])
            for stratum in STRATA
            if (probes := self.stratum(stratum))
            for start in range(0, len(probes), size)
        )


def _content_bytes(probe: Probe) -> bytes:
    if isinstance(probe.content, str):
        return probe.content.encode()
    return np.ascontiguousarray(probe.content).tobytes()


def _shape(probe: Probe) -> tuple[int, int]:
    if isinstance(probe.content, str):
        return 0, 0
    return int(probe.content.shape[0]), int(probe.content.shape[1])


def write_probes(probes: ProbeSet, path: Path) -> None:
    """Write the set to one Parquet file, atomically."""
    content = probes_to_bytes(probes)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def probes_to_bytes(probes: ProbeSet) -> bytes:
    """The set as the content of a Parquet file."""
    counters = dict.fromkeys(STRATA, 0)
    rows: list[dict[str, Any]] = []
    for probe in probes.probes:
        height, width = _shape(probe)
        rows.append(
            {
                "id": probe.id,
                "stratum": probe.stratum,
                "position": counters[probe.stratum],
                "height": height,
                "width": width,
                "content": _content_bytes(probe),
            }
        )
        counters[probe.stratum] += 1
    metadata = {
        "provray.format": _FORMAT,
        "provray.name": probes.name,
        "provray.modality": probes.modality,
        "provray.digest": probes.digest,
    }
    table = pa.Table.from_pylist(rows, schema=_COLUMNS.with_metadata(metadata))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def read_probes(path: Path) -> ProbeSet:
    """Read a set back and check that its contents still have the digest it was written with.

    Raises ProbeSetError if the file is missing, is not a probe set, or was changed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProbeSetError(
            f"cannot read probe set {path}: {error}; make one with `provray probes build`"
        ) from error
    return probes_from_bytes(content, str(path))


def probes_from_bytes(content: bytes, path: str) -> ProbeSet:
    """A set from the content of its file; checked as `read_probes` does. path: what to call it in an error.

    Raises ProbeSetError if it is not a probe set, or was changed.
    """
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (OSError, pa.ArrowInvalid) as error:
        raise ProbeSetError(
            f"cannot read probe set {path}: {error}; make one with `provray probes build`"
        ) from error
    raw = table.schema.metadata or {}
    metadata = {k.decode(): v.decode() for k, v in raw.items() if k.startswith(b"provray.")}
    if metadata.get("provray.format") != _FORMAT:
        raise ProbeSetError(
            f"{path} is not a probe set of format {_FORMAT}; make one with `provray probes build`"
        )
    try:
        probes = probes_from_rows(table.to_pylist())
        result = ProbeSet(
            metadata["provray.name"], cast(Modality, metadata["provray.modality"]), probes
        )
        written = metadata["provray.digest"]
    except ProbeSetError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ProbeSetError(
            f"{path} was changed after it was written: {error}; build it again"
        ) from error
    if result.digest != written:
        raise ProbeSetError(
            f"{path} was changed after it was written: digest {result.digest[:12]}… instead of "
            f"{written[:12]}…; build it again"
        )
    return result


def probes_from_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[Probe, ...]:
    """Probes from rows of the Parquet file, in any order; sorted back to the set's own order."""
    ordered: Sequence[Mapping[str, Any]] = sorted(
        rows, key=lambda r: (STRATA.index(r["stratum"]), r["position"])
    )
    probes = []
    for row in ordered:
        if row["height"]:
            flat = np.frombuffer(row["content"], np.uint8)
            content: Any = flat.reshape(row["height"], row["width"], 3)
        else:
            content = bytes(row["content"]).decode()
        probe = make_probe(row["stratum"], content)
        if probe.id != row["id"]:
            raise ProbeSetError(
                f"probe {row['id']} does not match its content; build the set again"
            )
        probes.append(probe)
    return tuple(probes)
