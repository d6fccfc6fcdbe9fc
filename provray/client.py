"""Clients of the query service: `Client` and `AsyncClient`, typed, and patient where the service asks for patience.

Every request may be sent twice without harm: a question has one id however often it is asked. So both try again on 429
and 503, after the time that `Retry-After` names; on lost connections; and on a bare 500 or 408, which comes from the
proxy in front when the process behind it died with the request.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel

from provray.ancestry.fingerprint import Fingerprint
from provray.serve.fingerprint_json import fingerprint_to_json
from provray.serve.problems import MEDIA_TYPE
from provray.serve.questions import FDR, TOP_K, Question
from provray.serve.schemas import (
    Answer,
    BatchAnswers,
    IndexFacts,
    Job,
    ModelDetail,
    ModelLineage,
    ModelPage,
    Problem,
)

Body = TypeVar("Body", bound=BaseModel)

_ATTEMPTS = 8
_LONGEST_PAUSE = 30.0
_WAIT = 20
"""Seconds that a poll asks the service to hold the answer back until it is known."""


class ServiceError(Exception):
    """The service cannot be reached, or did not answer as it should."""


class Refusal(ServiceError):
    """The service refused. `problem`: what is wrong, and the way out."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.title} ({problem.status}): {problem.detail}")
        self.problem = problem


@dataclass(frozen=True)
class _Call:
    """One request."""

    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class _Calls:
    """What both clients share: how requests look and what answers mean. `retried`: requests that were sent again."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.retried = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _pause(
        self, outcome: httpx2.Response | httpx2.TransportError, attempt: int
    ) -> float | None:
        """Seconds until the request is worth sending again; None if it is not, or was sent often enough."""
        if attempt >= _ATTEMPTS:
            return None
        grown = min(0.1 * 2**attempt, 5.0) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if isinstance(outcome, httpx2.TransportError):
            return grown
        if outcome.status_code in (429, 503):
            said = outcome.headers.get("Retry-After", "")
            return min(float(said), _LONGEST_PAUSE) if said.isdigit() else grown
        from_proxy = not outcome.headers.get("Content-Type", "").startswith(MEDIA_TYPE)
        return grown if outcome.status_code in (408, 500, 502, 504) and from_proxy else None

    def _checked(self, response: httpx2.Response) -> httpx2.Response:
        """The response of a request that was granted. Raises Refusal, ServiceError."""
        if response.is_success:
            return response
        try:
            problem = Problem.model_validate_json(response.content)
        except ValueError:
            raise ServiceError(
                f"{self.url} answered {response.status_code} without saying why"
            ) from None
        raise Refusal(problem)

    def _gave_up(self, error: httpx2.TransportError) -> ServiceError:
        return ServiceError(f"{self.url} cannot be reached: {type(error).__name__}")


def _headers(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def question(
    model: str | Fingerprint, top_k: int = TOP_K, fdr: float = FDR, as_of: int | None = None
) -> Question:
    """A question about a model by its name or place, or about a ready fingerprint.

    Raises pydantic's ValidationError, a ValueError, for values that the service would refuse.
    """
    given: dict[str, Any] = {"top_k": top_k, "fdr": fdr, "as_of": as_of}
    if isinstance(model, Fingerprint):
        return Question(**given, fingerprint=fingerprint_to_json(model))  # type: ignore[arg-type]
    return Question(**given, model=model)


def _ask(asked: Question, wait: int) -> _Call:
    body = asked.model_dump(mode="json", exclude_none=True)
    return _Call("POST", "/v1/ancestry", body=body, headers=_prefer(wait))


def _poll(job_id: str, wait: int) -> _Call:
    return _Call("GET", f"/v1/ancestry/{quote(job_id, safe='')}", headers=_prefer(wait))


def _prefer(wait: int) -> dict[str, str]:
    return {"Prefer": f"wait={wait}"} if wait else {}


def _batch(asked: Sequence[Question]) -> _Call:
    bodies = [one.model_dump(mode="json", exclude_none=True) for one in asked]
    return _Call("POST", "/v1/ancestry:batch", body={"questions": bodies})


def _models(q: str, status: str, limit: int, cursor: str, as_of: int | None) -> _Call:
    params = {"q": q, "status": status, "limit": limit, "cursor": cursor, "as_of": as_of}
    return _Call("GET", "/v1/models", _given(params))


def _model(name: str, as_of: int | None) -> _Call:
    return _Call("GET", f"/v1/models/{quote(name, safe='/')}", _given({"as_of": as_of}))


def _lineage(name: str, direction: str, depth: int, fdr: float, as_of: int | None) -> _Call:
    params = {"direction": direction, "depth": depth, "fdr": fdr, "as_of": as_of}
    return _Call("GET", f"/v1/models/{quote(name, safe='/')}/lineage", _given(params))


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value not in (None, "")}


def _answer_or_job(response: httpx2.Response) -> Answer | Job:
    kind: type[Answer] | type[Job] = Job if response.status_code == 202 else Answer
    return kind.model_validate_json(response.content)


class Client(_Calls):
    """A client for threads. Use it as a context manager, or `close` it.

    url: of the service. key: its secret text, where the service has keys. timeout: seconds without a byte after which a
    connection counts as lost. verify: whom to trust over TLS, the system's authorities by default.

    Methods raise Refusal for what the service refuses, and ServiceError if it cannot be reached.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = 60.0,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        super().__init__(url)
        self._http = httpx2.Client(
            base_url=self.url,
            headers=_headers(key),
            timeout=timeout,
            verify=verify,
            follow_redirects=False,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connections."""
        self._http.close()

    def ask(
        self,
        model: str | Fingerprint,
        top_k: int = TOP_K,
        fdr: float = FDR,
        as_of: int | None = None,
        patience: float = 900.0,
    ) -> Answer:
        """The answer, however long the model's fingerprint takes, up to `patience` seconds.

        Raises TimeoutError after them; the question goes on and can be asked again.
        """
        until = time.monotonic() + patience
        found = _answer_or_job(self._send(_ask(question(model, top_k, fdr, as_of), _WAIT)))
        while isinstance(found, Job):
            if time.monotonic() > until:
                raise TimeoutError(f"no answer about {found.model} within {patience:g} s")
            time.sleep(found.poll_after_seconds)
            found = _answer_or_job(self._send(_poll(found.id, _WAIT)))
        return found

    def submit(self, asked: Question) -> Answer | Job:
        """The answer if there is one at once, else the job to poll."""
        return _answer_or_job(self._send(_ask(asked, 0)))

    def job(self, job_id: str) -> Answer | Job:
        """How a job stands: its answer, or itself."""
        return _answer_or_job(self._send(_poll(job_id, 0)))

    def batch(self, asked: Sequence[Question]) -> BatchAnswers:
        """Each question's own outcome, in order."""
        return self._get(_batch(asked), BatchAnswers)

    def models(
        self,
        q: str = "",
        status: str = "",
        limit: int = 50,
        cursor: str = "",
        as_of: int | None = None,
    ) -> ModelPage:
        """A page of models by name; `next` of a page is the `cursor` of the one after it."""
        return self._get(_models(q, status, limit, cursor, as_of), ModelPage)

    def model(self, name: str, as_of: int | None = None) -> ModelDetail:
        """What the index says of a model."""
        return self._get(_model(name, as_of), ModelDetail)

    def lineage(
        self,
        name: str,
        direction: Literal["up", "down", "both"] = "both",
        depth: int = 3,
        fdr: float = FDR,
        as_of: int | None = None,
    ) -> ModelLineage:
        """Who a model came from, and what came from it."""
        return self._get(_lineage(name, direction, depth, fdr, as_of), ModelLineage)

    def index(self, as_of: int | None = None) -> IndexFacts:
        """Version, spaces, counts, error rates in force."""
        return self._get(_Call("GET", "/v1/index", _given({"as_of": as_of})), IndexFacts)

    def _get(self, call: _Call, kind: type[Body]) -> Body:
        return kind.model_validate_json(self._send(call).content)

    def _send(self, call: _Call) -> httpx2.Response:
        attempt = 0
        while True:
            try:
                outcome: httpx2.Response | httpx2.TransportError = self._http.request(
                    call.method, call.path, params=call.params, json=call.body, headers=call.headers
                )
            except httpx2.TransportError as error:
                outcome = error
            pause = self._pause(outcome, attempt)
            if pause is None:
                if isinstance(outcome, httpx2.TransportError):
                    raise self._gave_up(outcome) from outcome
                return self._checked(outcome)
            attempt += 1
            self.retried += 1
            time.sleep(pause)


class AsyncClient(_Calls):
    """The same for asyncio; see `Client`."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = 60.0,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        super().__init__(url)
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            headers=_headers(key),
            timeout=timeout,
            verify=verify,
            follow_redirects=False,
        )

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give up the connections."""
        await self._http.aclose()

    async def ask(
        self,
        model: str | Fingerprint,
        top_k: int = TOP_K,
        fdr: float = FDR,
        as_of: int | None = None,
        patience: float = 900.0,
    ) -> Answer:
        """See `Client.ask`."""
        until = time.monotonic() + patience
        found = _answer_or_job(await self._send(_ask(question(model, top_k, fdr, as_of), _WAIT)))
        while isinstance(found, Job):
            if time.monotonic() > until:
                raise TimeoutError(f"no answer about {found.model} within {patience:g} s")
            await asyncio.sleep(found.poll_after_seconds)
            found = _answer_or_job(await self._send(_poll(found.id, _WAIT)))
        return found

    async def submit(self, asked: Question) -> Answer | Job:
        """See `Client.submit`."""
        return _answer_or_job(await self._send(_ask(asked, 0)))

    async def job(self, job_id: str) -> Answer | Job:
        """See `Client.job`."""
        return _answer_or_job(await self._send(_poll(job_id, 0)))

    async def batch(self, asked: Sequence[Question]) -> BatchAnswers:
        """See `Client.batch`."""
        return await self._get(_batch(asked), BatchAnswers)

    async def models(
        self,
        q: str = "",
        status: str = "",
        limit: int = 50,
        cursor: str = "",
        as_of: int | None = None,
    ) -> ModelPage:
        """See `Client.models`."""
        return await self._get(_models(q, status, limit, cursor, as_of), ModelPage)

    async def model(self, name: str, as_of: int | None = None) -> ModelDetail:
        """See `Client.model`."""
        return await self._get(_model(name, as_of), ModelDetail)

    async def lineage(
        self,
        name: str,
        direction: Literal["up", "down", "both"] = "both",
        depth: int = 3,
        fdr: float = FDR,
        as_of: int | None = None,
    ) -> ModelLineage:
        """See `Client.lineage`."""
        return await self._get(_lineage(name, direction, depth, fdr, as_of), ModelLineage)

    async def index(self, as_of: int | None = None) -> IndexFacts:
        """See `Client.index`."""
        return await self._get(_Call("GET", "/v1/index", _given({"as_of": as_of})), IndexFacts)

    async def _get(self, call: _Call, kind: type[Body]) -> Body:
        return kind.model_validate_json((await self._send(call)).content)

    async def _send(self, call: _Call) -> httpx2.Response:
        attempt = 0
        while True:
            try:
                outcome: httpx2.Response | httpx2.TransportError = await self._http.request(
                    call.method, call.path, params=call.params, json=call.body, headers=call.headers
                )
            except httpx2.TransportError as error:
                outcome = error
            pause = self._pause(outcome, attempt)
            if pause is None:
                if isinstance(outcome, httpx2.TransportError):
                    raise self._gave_up(outcome) from outcome
                return self._checked(outcome)
            attempt += 1
            self.retried += 1
            await asyncio.sleep(pause)
