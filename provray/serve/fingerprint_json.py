"""Ready fingerprints on their way to the service: rows of the index as JSON, and back, every number checked."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import numpy as np

from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.weights import READOUTS, TensorMark
from provray.index.row import SCHEMA, Row, scale_count
from provray.serve.problems import Refused
from provray.serve.questions import FingerprintIn, RowIn

_DIMENSIONS = {
    kind: int(SCHEMA.field("vectors").metadata[f"dimensions.{kind}".encode()])
    for kind in ("weights", "dna", "gif")
}
_UNIT = 1e-3
"""How far from 1 the length of a vector may be."""


def fingerprint_to_json(fingerprint: Fingerprint) -> dict[str, Any]:
    """A fingerprint as `FingerprintIn` has it."""
    rows = (fingerprint.weights, fingerprint.dna, fingerprint.gif)
    return {
        "model": fingerprint.model,
        "revision": fingerprint.revision,
        "base_model": list(fingerprint.base_models),
        "rows": [_row_to_json(row) for row in rows if row is not None],
    }


def _row_to_json(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "space": row.space,
        "readouts": list(row.readouts),
        "dimensions": int(row.vectors.shape[1]),
        "vectors": base64.b64encode(row.vectors.astype("<f4").tobytes()).decode(),
        "scales": list(row.scales),
        "tensors": [
            {
                "name": mark.name,
                "shape": list(mark.shape),
                "digest": mark.digest,
                "zeros": mark.zeros,
                "distinct": mark.distinct,
                "rms": mark.rms,
                "kurtosis": mark.kurtosis,
            }
            for mark in row.tensors
        ],
        "weights_digest": row.weights_digest,
        "modality": row.modality,
        "model_type": row.model_type,
        "architecture": row.architecture,
        "parameters": row.parameters,
        "probes": row.probes,
    }


def fingerprint_from_json(given: FingerprintIn, spaces: tuple[str, ...]) -> Fingerprint:
    """The fingerprint that was sent. spaces: those of the index.

    Raises Refused `bad-fingerprint` for what cannot be compared: another space, two rows of a kind, vectors that do not
    fit their readouts or are no unit vectors.
    """
    rows: dict[str, Row] = {}
    for row in given.rows:
        if row.kind in rows:
            raise Refused("bad-fingerprint", f"two {row.kind} rows: send one of each kind")
        if row.space not in spaces:
            raise Refused(
                "bad-fingerprint",
                f"the {row.kind} row lives in the space {row.space}; this index is asked in {', '.join(spaces)}: "
                "fingerprint with the same provray and probe sets",
            )
        rows[row.kind] = _row_from_json(row, given)
    return Fingerprint(
        given.model, given.revision, rows.get("weights"), rows.get("dna"), rows.get("gif")
    )


def _row_from_json(row: RowIn, given: FingerprintIn) -> Row:
    dimensions = _DIMENSIONS[row.kind]
    if row.dimensions != dimensions:
        raise Refused(
            "bad-fingerprint", f"{row.kind} vectors have {dimensions} numbers, got {row.dimensions}"
        )
    if len(set(row.readouts)) != len(row.readouts):
        raise Refused("bad-fingerprint", f"the {row.kind} row names a readout twice")
    if row.kind == "weights" and tuple(row.readouts) != READOUTS:
        raise Refused("bad-fingerprint", f"a weights row has the readouts {', '.join(READOUTS)}")
    wanted = scale_count(row.kind, len(row.readouts))
    if (row.scales and len(row.scales) != wanted) or (row.kind == "dna" and not row.scales):
        raise Refused(
            "bad-fingerprint",
            f"a {row.kind} row of {len(row.readouts)} readouts has {wanted} scales",
        )
    return Row(
        model=given.model,
        revision=given.revision,
        kind=row.kind,
        space=row.space,
        declared=json.dumps({"base_model": given.base_model} if given.base_model else {}),
        modality=row.modality,
        model_type=row.model_type,
        architecture=row.architecture,
        parameters=row.parameters,
        weights_digest=row.weights_digest,
        probes=row.probes,
        readouts=tuple(row.readouts),
        vectors=_vectors(row),
        scales=tuple(row.scales),
        tensors=tuple(
            TensorMark(m.name, tuple(m.shape), m.digest, m.zeros, m.distinct, m.rms, m.kurtosis)
            for m in row.tensors
        ),
    )


def _vectors(row: RowIn) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        content = base64.b64decode(row.vectors, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("bad-fingerprint", f"the {row.kind} vectors are no base64") from None
    if len(content) != 4 * row.dimensions * len(row.readouts):
        raise Refused(
            "bad-fingerprint",
            f"{len(row.readouts)} readouts of {row.dimensions} float32 numbers are "
            f"{4 * row.dimensions * len(row.readouts)} bytes, got {len(content)} in the {row.kind} row",
        )
    vectors = np.frombuffer(content, "<f4").reshape(-1, row.dimensions).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    # A sketch of nothing is zero.
    if not np.isfinite(vectors).all() or (np.minimum(abs(lengths - 1), lengths) > _UNIT).any():
        raise Refused("bad-fingerprint", f"the {row.kind} vectors are no unit vectors")
    return vectors
