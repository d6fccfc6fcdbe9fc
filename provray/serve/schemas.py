"""What the service answers, as JSON: with `questions` the contract of `/v1`.

Every answer names the index version it was given on; answers about ancestry also the spaces that were compared and the
false discovery rate. Knows neither Ray nor FastAPI, so that clients can use it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from provray.serve.questions import Kind

_EXAMPLE_INDEX: dict[str, JsonValue] = {"name": "hub-index", "version": 12, "models": 4213}

Verdict = Literal["copy", "ancestor", "descendant", "sibling", "related", "none"]


class _Out(BaseModel):
    """A part of an answer: clients accept fields that a newer service adds."""

    model_config = ConfigDict(extra="ignore")


class IndexRef(_Out):
    """The index that was asked: its name, the version that the answer holds for, and how many models are compared."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE_INDEX]})

    name: str
    version: int
    models: int


class Suspect(_Out):
    """The model that was asked about, and the spaces in which it was compared."""

    model: str
    revision: str
    spaces: list[str]


class NullRef(_Out):
    """The scores of unrelated pairs that something was held against: how many, and what they have in common."""

    origin: str
    condition: str
    pairs: int
    families: int


class Evidence(_Out):
    """One score that was looked at. limit: what an unrelated pair exceeds with the allowed probability, null if that is
    not one number. decided: whether the verdict rests on it. text: what it means, in words."""

    axis: Literal["weights", "behaviour"]
    score: str
    value: float | None
    limit: float | None
    p_value: float
    null: NullRef | None
    decided: bool
    text: str


class Direction(_Out):
    """Which of two came first: `said` is `ancestor` (the candidate did), `descendant` or `unknown`."""

    said: str
    log_likelihood_ratio: float | None
    reasons: list[str]
    priors: list[str]


class Scores(_Out):
    """All scores of a pair. dna: by stratum and depth (`noise@1/6`, `mixed@probabilities`); gif: by scalar."""

    weights: float | None
    biases: float | None
    shared: float | None
    dna: dict[str, float | None]
    gif: dict[str, float | None]


class Candidate(_Out):
    """An indexed model held against the suspect; see `provray.ancestry.candidate.Candidate`."""

    model: str
    revision: str
    relation: str
    axis: str
    score: float
    probability: float | None
    p_value: float
    q_value: float
    shares_weights: bool
    inherits: bool
    direction: Direction | None
    evidence: list[Evidence]
    scores: Scores


class NullCurve(NullRef):
    """The null that says most on one axis. quantiles: pairs of level and score. values: each candidate's score."""

    score: str
    quantiles: list[tuple[float, float]]
    limit: float | None
    value: float | None
    p_value: float
    values: list[tuple[str, float]]


class Contradiction(_Out):
    """Where the model's card says otherwise."""

    kind: str
    declared: str
    inferred: str
    text: str


class Answer(_Out):
    """The answer: the same object that `provray query --json` prints, but for the index, which has a name here."""

    query: Suspect
    index: IndexRef
    fdr: float
    verdict: Verdict
    says: str
    axes: dict[str, str]
    ancestors: list[Candidate]
    candidates: list[Candidate]
    nulls: dict[Literal["weights", "behaviour"], NullCurve | None]
    contradictions: list[Contradiction]
    warnings: list[str]


class Job(_Out):
    """A question that waits for a fingerprint. Poll `GET /v1/ancestry/{id}` until it answers 200 or a problem."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5b0c5f1a6c1e4f0f9d3b8c1a2e7f4d60",
                    "state": "queued",
                    "model": "hf://lab/suspect@main",
                    "index": _EXAMPLE_INDEX,
                    "fdr": 0.05,
                    "submitted": "2026-11-22T10:00:00Z",
                    "poll_after_seconds": 1,
                }
            ]
        }
    )

    id: str
    state: Literal["queued", "running"]
    model: str
    index: IndexRef
    fdr: float
    submitted: datetime
    poll_after_seconds: int


class Problem(_Out):
    """What is wrong, as RFC 9457 has it (`application/problem+json`). type: `urn:provray:problem:` and a stable name;
    detail: the rule, the value and the way out. errors: each wrong field of a request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:provray:problem:unknown-model",
                    "title": "No such model in the index",
                    "status": 404,
                    "detail": "no indexed model is called 'lab/nothing' at version 12; search with GET /v1/models?q=",
                    "request_id": "0c0b9a54-6c0e-4a67-9a6d-0a8f3c0f9b1e",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    request_id: str = ""
    errors: list[dict[str, str]] = []


class BatchItem(_Out):
    """One question's outcome; `status` is what it would have got alone. One of the others is there."""

    status: int
    answer: Answer | None = None
    job: Job | None = None
    problem: Problem | None = None


class BatchAnswers(_Out):
    """Outcomes in the order of the questions."""

    results: list[BatchItem]


class ModelSummary(_Out):
    """A model of the index at its newest revision. status: `ok`, or why it could not be fingerprinted, or a
    part of it. kinds: what it has a fingerprint of. base_model, license: what its card declares."""

    model: str
    revision: str
    status: str
    reason: str
    kinds: list[Kind]
    modality: str
    model_type: str
    architecture: str
    parameters: int
    bytes: int
    base_model: list[str]
    license: str
    crawled: datetime


class ModelPage(_Out):
    """A page of the models found, by name. next: the `cursor` of the next page, null on the last one."""

    index: IndexRef
    total: int
    models: list[ModelSummary]
    next: str | None


class RowFacts(_Out):
    """One row of a model: what is known in one space, or why nothing is."""

    kind: str
    space: str
    status: str
    reason: str
    probes: str
    device: str
    dtype: str
    seconds: float
    crawled: datetime
    provray: str
    warnings: list[str]


class ModelDetail(ModelSummary):
    """Everything the index says of a model but its vectors. copies: models with bit-identical weights."""

    index: IndexRef
    revisions: list[str]
    weights_digest: str
    rows: list[RowFacts]
    copies: list[str]


class LineageNode(_Out):
    """A model of a lineage. depth: steps from the model asked about, negative upwards; root: no parent is known."""

    model: str
    depth: int
    root: bool


class LineageEdge(_Out):
    """parent → child. direction_known false: they share, but who came first is not shown."""

    parent: str
    child: str
    relation: str
    score: float
    direction_known: bool
    reasons: list[str]


class ModelLineage(_Out):
    """The lineage around a model. family: models of its whole family; complete: nothing of it was cut off by `depth`,
    `direction` or the limit on models."""

    index: IndexRef
    fdr: float
    spaces: list[str]
    model: str
    direction: Literal["up", "down", "both"]
    depth: int
    family: int
    complete: bool
    nodes: list[LineageNode]
    edges: list[LineageEdge]


class SpaceFacts(_Out):
    """How many models have a fingerprint in a space, and whether questions are asked in it."""

    kind: str
    space: str
    modality: str
    probes: str
    models: int
    asked: bool


class ProbeSetFacts(_Out):
    """A probe set of the index. default: one that comes with provray, of no one's domain."""

    name: str
    modality: str
    digest: str
    default: bool


class NullFacts(NullRef):
    """A null in force: for which score."""

    score: str


class IndexFacts(_Out):
    """The index as it is served. statuses: models by outcome. fdr: the rate unless a question names another.
    nulls: what unrelated pairs score is taken from these. sources: where models may be read from."""

    index: IndexRef
    fdr: float
    statuses: dict[str, int]
    spaces: list[SpaceFacts]
    probe_sets: list[ProbeSetFacts]
    nulls: list[NullFacts]
    sources: list[str]
    provray: str


class Health(_Out):
    """The service, or this part of it, is up."""

    status: Literal["ok"]
