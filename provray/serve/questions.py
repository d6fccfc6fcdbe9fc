"""What the service is asked, as JSON: a question, a batch of them, a ready fingerprint.

Knows neither Ray nor FastAPI, so that clients can use it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FDR = 0.05
TOP_K = 10
MAX_TOP_K = 100
MAX_BATCH = 100
MAX_TENSORS = 100_000
MAX_READOUTS = 64

Kind = Literal["weights", "dna", "gif"]
Name = Annotated[str, Field(min_length=1, max_length=512)]
Short = Annotated[str, Field(max_length=512)]
Version = Annotated[int, Field(ge=0, le=2**53)]


class _In(BaseModel):
    """A part of a request: a field nobody knows is an error, not a silent nothing."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class TensorMarkIn(_In):
    """What is kept of one tensor; see `provray.fingerprints.weights.TensorMark`."""

    name: Short
    shape: Annotated[list[Annotated[int, Field(ge=0, le=2**48)]], Field(max_length=8)]
    digest: Annotated[str, Field(max_length=64)]
    zeros: Annotated[float, Field(ge=0, le=1)]
    distinct: Annotated[float, Field(ge=0, le=1)]
    rms: Annotated[float, Field(ge=0)] = 0.0
    kurtosis: Annotated[float, Field(ge=0)] = 0.0


class RowIn(_In):
    """One kind of a ready fingerprint: `vectors` are base64 of float32, little-endian, readouts × dimensions."""

    kind: Kind
    space: Name
    readouts: Annotated[list[Short], Field(min_length=1, max_length=MAX_READOUTS)]
    dimensions: Annotated[int, Field(ge=1, le=4096)]
    vectors: Annotated[str, Field(max_length=4 * 2**20)]
    scales: Annotated[list[float], Field(max_length=4 * MAX_READOUTS)] = []
    tensors: Annotated[list[TensorMarkIn], Field(max_length=MAX_TENSORS)] = []
    weights_digest: Annotated[str, Field(max_length=128)] = ""
    modality: Literal["", "image", "text"] = ""
    model_type: Short = ""
    architecture: Short = ""
    parameters: Annotated[int, Field(ge=0, le=2**53)] = 0
    probes: Short = ""


class FingerprintIn(_In):
    """A fingerprint that was made elsewhere, with provray and the probe sets of this index."""

    model: Name = "suspect"
    revision: Short = ""
    base_model: Annotated[list[Short], Field(max_length=16)] = []
    rows: Annotated[list[RowIn], Field(min_length=1, max_length=3)]


class Question(_In):
    """Which indexed model is this one's ancestor?

    model: the name of an indexed model, or where to read it from, if this service allows that place: a folder,
    `hf://org/name[@revision]`, `s3://bucket/prefix`. fingerprint: a ready one instead. as_of: an older index version.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["model"], "properties": {"model": {"type": "string"}}},
                {"required": ["fingerprint"], "properties": {"fingerprint": {"type": "object"}}},
            ],
            "examples": [
                {"model": "lab/base"},
                {"model": "hf://lab/suspect@main", "top_k": 5, "fdr": 0.01},
            ],
        }
    )

    model: Name | None = None
    fingerprint: FingerprintIn | None = None
    top_k: Annotated[int, Field(ge=1, le=MAX_TOP_K)] = TOP_K
    fdr: Annotated[float, Field(ge=1e-6, le=0.5)] = FDR
    as_of: Version | None = None

    @model_validator(mode="after")
    def _one_suspect(self) -> Question:
        if (self.model is None) == (self.fingerprint is None):
            raise ValueError("give either `model` or `fingerprint`")
        return self


class Batch(_In):
    """Several questions at once; each is answered for itself."""

    questions: Annotated[list[Question], Field(min_length=1, max_length=MAX_BATCH)]
