"""The HTTP routes of the service, and the OpenAPI 3.1 document that describes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import Response

import provray
from provray.index.row import STATUSES
from provray.serve import schemas
from provray.serve.allowed import without_secrets
from provray.serve.audit import AuditLog
from provray.serve.edge import Edge, Seen
from provray.serve.guard import Guard
from provray.serve.metrics import MEDIA_TYPE as METRICS_TYPE
from provray.serve.metrics import Metrics
from provray.serve.page import add_page
from provray.serve.problems import MEDIA_TYPE, TITLES, Refused
from provray.serve.questions import FDR, Batch, Question
from provray.serve.reply import Reply, refusal, to_bytes
from provray.serve.service import Service

MAX_WAIT = 30.0
MAX_DEPTH = 100

AsOf = Annotated[
    int | None, Query(ge=0, le=2**53, description="An older index version to answer from.")
]
Name = Annotated[
    str,
    Path(
        min_length=1,
        max_length=512,
        description="A model's name; slashes are part of it.",
        examples=["lab/base"],
    ),
]
Prefer = Annotated[
    str | None,
    Header(
        max_length=200,
        description="`wait=N`: seconds (at most 30) to wait for a fingerprint.",
        examples=["wait=10"],
    ),
]
Fdr = Annotated[float, Query(ge=1e-6, le=0.5, description="False discovery rate.")]
Status = Literal["", "failed", *STATUSES]  # type: ignore[valid-type]


def create_app(service: Service, guard: Guard, metrics: Metrics, audit: AuditLog) -> FastAPI:
    """The application of one front replica."""
    settings = service.settings
    app = FastAPI(
        title="provray",
        version=provray.__version__,
        summary="Which indexed model is this one's ancestor?",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.add_middleware(
        Edge,
        guard=guard,
        metrics=metrics,
        audit=audit,
        body_bytes=settings.body_bytes,
        seconds=settings.request_seconds,
    )
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    read, query, watch = (_may(guard, scope) for scope in ("read", "query", "metrics"))

    @app.post(
        "/v1/ancestry",
        response_model=schemas.Answer,
        responses={
            **_JOB,
            **_errors(400, 403, 404, 413, 422, 429, 500, 503, keyed=guard.keyed),
        },
        summary="Ask which indexed model is this one's ancestor",
        tags=["ancestry"],
    )
    async def ask(
        request: Request, question: Question, caller: str = query, prefer: Prefer = None
    ) -> Response:
        seen = _seen(request)
        seen.asked = _asked(question)
        return _respond(await service.ask(question, caller, _wait(prefer)), seen)

    @app.post(
        "/v1/ancestry:batch",
        response_model=schemas.BatchAnswers,
        responses=_errors(400, 413, 422, 429, 500, 503, keyed=guard.keyed),
        summary="Ask about several models",
        tags=["ancestry"],
    )
    async def ask_batch(request: Request, batch: Batch, caller: str = query) -> Response:
        seen = _seen(request)
        seen.asked = {"questions": [_asked(question) for question in batch.questions]}
        guard.take(caller, request.state.per_minute, len(batch.questions) - 1)
        return _respond(await service.batch(batch, caller), seen)

    @app.get(
        "/v1/ancestry/{id}",
        response_model=schemas.Answer,
        responses={**_JOB, **_errors(400, 404, 422, 429, 500, 503, keyed=guard.keyed)},
        summary="The outcome of a question that had to wait",
        tags=["ancestry"],
        dependencies=[query],
    )
    async def job(
        request: Request, id: Annotated[str, Path(max_length=64)], prefer: Prefer = None
    ) -> Response:
        seen = _seen(request)
        seen.asked = {"job": id}
        return _respond(await service.job(id, _wait(prefer)), seen)

    @app.get(
        "/v1/models",
        response_model=schemas.ModelPage,
        responses=_errors(400, 404, 422, 429, 500, 503, keyed=guard.keyed),
        summary="Search the index by name",
        tags=["models"],
        dependencies=[read],
    )
    async def models(
        request: Request,
        q: Annotated[str, Query(max_length=200, description="Words that all occur.")] = "",
        status: Annotated[Status, Query(description="`failed`: anything but `ok`.")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: Annotated[
            str, Query(max_length=512, description="`next` of the page before.")
        ] = "",
        as_of: AsOf = None,
    ) -> Response:
        seen = _seen(request)
        seen.asked = {"q": q, "status": status, "as_of": as_of}
        return _respond(await service.look("models", q, status, cursor, limit, as_of=as_of), seen)

    @app.get(
        "/v1/models/{id:path}/lineage",
        response_model=schemas.ModelLineage,
        responses=_errors(400, 404, 422, 429, 500, 503, keyed=guard.keyed),
        summary="Who it came from, and what came from it",
        tags=["models"],
        dependencies=[read],
    )
    async def lineage(
        request: Request,
        id: Name,
        direction: Literal["up", "down", "both"] = "both",
        depth: Annotated[int, Query(ge=1, le=MAX_DEPTH)] = 3,
        fdr: Fdr = FDR,
        as_of: AsOf = None,
    ) -> Response:
        seen = _seen(request)
        seen.asked = {"lineage": id, "direction": direction, "depth": depth, "as_of": as_of}
        reply = await service.look("lineage", id, fdr, direction, depth, as_of=as_of)
        return _respond(reply, seen)

    @app.get(
        "/v1/models/{id:path}",
        response_model=schemas.ModelDetail,
        responses=_errors(400, 404, 422, 429, 500, 503, keyed=guard.keyed),
        summary="What the index says of a model",
        tags=["models"],
        dependencies=[read],
    )
    async def model(request: Request, id: Name, as_of: AsOf = None) -> Response:
        seen = _seen(request)
        seen.asked = {"model": id, "as_of": as_of}
        return _respond(await service.look("model", id, as_of=as_of), seen)

    @app.get(
        "/v1/index",
        response_model=schemas.IndexFacts,
        responses=_errors(400, 404, 422, 429, 500, 503, keyed=guard.keyed),
        summary="The index: version, spaces, counts, error rates in force",
        tags=["index"],
        dependencies=[read],
    )
    async def index(request: Request, as_of: AsOf = None) -> Response:
        return _respond(await service.look("facts", as_of=as_of), _seen(request))

    @app.get(
        "/healthz", response_model=schemas.Health, responses=_errors(400, 500), tags=["service"]
    )
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz", response_model=schemas.Health, responses=_errors(400, 500, 503), tags=["service"]
    )
    async def readyz() -> dict[str, str]:
        metrics.serve(await service.current())
        return {"status": "ok"}

    @app.get(
        "/metrics",
        response_class=Response,
        responses={
            200: {"content": {METRICS_TYPE: {"schema": {"type": "string"}}}},
            **_errors(400, 429, 500, 503, keyed=guard.keyed),
        },
        tags=["service"],
        dependencies=[watch],
    )
    async def counted() -> Response:
        text = metrics.text(await service.suspects(), settings.queue * settings.front_replicas)
        return Response(text, headers={"Content-Type": METRICS_TYPE})

    add_page(app)
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        # The framework knows only of models that are JSON: problems are of a media type of their own.
        document = generated()
        document["components"]["schemas"].setdefault("Problem", schemas.Problem.model_json_schema())
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


_JOB: dict[int | str, dict[str, Any]] = {
    202: {
        "model": schemas.Job,
        "description": "The model is being fingerprinted",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Where the outcome will be"},
            "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"},
        },
    }
}


def _errors(*statuses: int, keyed: bool = False) -> dict[int | str, dict[str, Any]]:
    """The documented refusals of a route; 403 and 405 may meet every request, 401 every one that needs a key."""
    listed = sorted({*statuses, 403, 405, *((401,) if keyed else ())})
    schema = {"$ref": "#/components/schemas/Problem"}
    found: dict[int | str, dict[str, Any]] = {}
    for status in listed:
        names = [name for name, (of, _) in TITLES.items() if of == status]
        found[status] = {
            "description": "; ".join(f"`{name}`: {TITLES[name][1].lower()}" for name in names),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        if status in (429, 503):
            found[status]["headers"] = {
                "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}
            }
    return found


def _may(guard: Guard, scope: str) -> Any:
    """A dependency: the caller's key has this scope, and a request left. Gives the key's id."""

    def admit(request: Request, secret: str | None) -> str:
        caller, per_minute = guard.admit(scope, secret)
        _seen(request).caller = caller
        request.state.per_minute = per_minute
        guard.take(caller, per_minute)
        return caller

    async def local(request: Request) -> str:
        return admit(request, None)

    bearer = HTTPBearer(auto_error=False, description=f"A key with the scope {scope}, or admin.")

    # As a default: `bearer` is a local name, which an annotation would not find.
    needed: HTTPAuthorizationCredentials | None = Depends(bearer)

    async def keyed(request: Request, given: HTTPAuthorizationCredentials | None = needed) -> str:
        return admit(request, given.credentials if given else None)

    chosen: Callable[..., Any] = keyed if guard.keyed else local
    return Depends(chosen)


def _wait(prefer: str | None) -> float:
    """Seconds of a `Prefer: wait=N` header; what is not understood is ignored, as RFC 7240 wants it."""
    found = re.search(r"(?:^|[,;\s])wait=(\d{1,4})", prefer or "")
    return min(float(found[1]), MAX_WAIT) if found else 0.0


def _asked(question: Question) -> dict[str, Any]:
    """A question as the audit log keeps it."""
    if question.model is not None:
        suspect = {"model": without_secrets(question.model)}
    else:
        assert question.fingerprint is not None
        suspect = {"fingerprint of": question.fingerprint.model}
    return {**suspect, "top_k": question.top_k, "fdr": question.fdr, "as_of": question.as_of}


def _seen(request: Request) -> Seen:
    seen: Seen = request.scope["provray"]
    return seen


def _respond(reply: Reply, seen: Seen) -> Response:
    seen.told, seen.version = dict(reply.told), reply.version
    if reply.status < 400:
        return Response(reply.body, reply.status, dict(reply.headers), "application/json")
    # A search replica does not know who asked.
    problem = {**json.loads(reply.body), "request_id": seen.request_id}
    return Response(to_bytes(problem), reply.status, dict(reply.headers), MEDIA_TYPE)


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    seen = _seen(request)
    return _respond(refusal(error, seen.request_id), seen)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [
        {"at": ".".join(str(part) for part in found["loc"])[:200], "error": str(found["msg"])[:500]}
        for found in error.errors()[:20]
    ]
    detail = "; ".join(f"{found['at']}: {found['error']}" for found in wrong[:3])
    return await _on_refused(request, Refused("invalid", detail, errors=wrong))


async def _on_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself."""
    assert isinstance(error, HTTPException)
    names = {404: "not-found", 405: "method-not-allowed"}
    name = names.get(error.status_code, "bad-request")
    details = {
        "not-found": f"there is no route {request.url.path[:200]!r}; GET /openapi.json lists them",
        "method-not-allowed": "GET /openapi.json says which methods a route has",
    }
    response = await _on_refused(request, Refused(name, details.get(name, str(error.detail))))
    response.headers.update(error.headers or {})
    return response
