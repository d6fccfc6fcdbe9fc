"""The Hugging Face Hub as a source: one model at a revision, an author's models, or a filtered listing.

A listing is one series of pages and nothing else: each entry names its commit and its files, so a model whose commit
is known costs no request. Pages are read as plain JSON. The client's own `list_models` makes an object of each model's
card, and a card written for it (`ignore_metadata_errors: true`) ends the listing for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from huggingface_hub.errors import HfHubHTTPError

from provray.models.errors import UnavailableModel
from provray.sources import hub_http
from provray.sources.base import ModelRef, SourceError
from provray.sources.hub_entry import read_entry
from provray.sources.hub_http import Hub, OutOfReach
from provray.sources.hub_reader import HubReader
from provray.sources.hub_uri import SORTS, parse_hub_uri

__all__ = ["HubReader", "HubSource"]

_EXPAND = ["sha", "lastModified", "gated", "disabled", "siblings", "cardData"]


class HubSource:
    """The models an `hf://` URI names (forms: `hub_uri.parse_hub_uri`), through `HF_ENDPOINT` with the user's token.

    Without `sort`, the newest repositories come first; with `since` too, those that changed last. since: only models
    that changed then or later (UTC where it names no zone). Raises ValueError for a URI that is none.
    """

    def __init__(self, uri: str, since: datetime | None = None) -> None:
        self.uri = uri
        self.since = since.replace(tzinfo=UTC) if since and since.tzinfo is None else since
        self._asked = parse_hub_uri(uri)

    def models(self) -> Iterator[ModelRef]:
        """The models, each at a commit. One that cannot be had is listed with its problem and stops no other.

        Raises:
            SourceError: the Hub is out of reach, or refuses the question or the token.
            ValueError: offline mode is on, or `HF_ENDPOINT` is no address.
        """
        hub = hub_http.current_hub()
        for ref in self._one(hub) if self._asked.model else self._listing(hub):
            if not self._old(ref):
                yield ref

    def _old(self, ref: ModelRef) -> bool:
        return self.since is not None and ref.modified is not None and ref.modified < self.since

    def _listing(self, hub: Hub) -> Iterator[ModelRef]:
        asked = self._asked
        sort = asked.sort or ("last_modified" if self.since else "created_at")
        params = {
            "author": asked.author,
            "pipeline_tag": asked.task,
            "filter": [word for word in (asked.library, *asked.tags) if word],
            "sort": SORTS[sort],
            # To the Hub this is the size of a page; the count is kept here.
            "limit": asked.limit,
            "expand": _EXPAND,
        }
        pages = self._pages(hub, {key: value for key, value in params.items() if value})
        entries = (entry for page in pages for entry in page)
        for entry in islice(entries, asked.limit):
            ref = read_entry(entry, hub.signed_in)
            if ref is None:
                continue
            if sort == "last_modified" and self._old(ref):
                return
            yield ref

    def _pages(self, hub: Hub, question: Mapping[str, Any]) -> Iterator[list[Any]]:
        url = f"{hub.endpoint}/api/models"
        params: Mapping[str, Any] | None = question
        while True:
            try:
                response = hub.get(url, params)
            except (HfHubHTTPError, OutOfReach) as error:
                raise self._failed(hub, error) from None
            page = self._json(hub, response)
            if not isinstance(page, list):
                raise SourceError(
                    f"{hub.endpoint} answers {self.uri} with no list of models: is it a Hub?"
                )
            yield page
            following = response.links.get("next", {}).get("url")
            if following is None:
                return
            # Of the address only the question counts: a mirror may name the host that it mirrors.
            url, params = f"{hub.endpoint}/api/models?{urlsplit(following).query}", None

    def _one(self, hub: Hub) -> Iterator[ModelRef]:
        model, revision = self._asked.model, self._asked.revision
        url = f"{hub.endpoint}/api/models/{model}"
        if revision:
            url += f"/revision/{quote(revision, safe='')}"
        try:
            entry = self._json(hub, hub.get(url, {"blobs": True}))
        except (HfHubHTTPError, OutOfReach) as error:
            yield ModelRef(model, self.uri, "", {}, self._refused(hub, error))
            return
        ref = read_entry(entry, hub.signed_in)
        if ref is None:
            raise SourceError(f"{hub.endpoint} answers {self.uri} with no model: is it a Hub?")
        if ref.model != model:
            renamed = UnavailableModel(f"the model was renamed: crawl hf://{ref.model}")
            yield ModelRef(model, self.uri, "", {}, renamed)
        if ref.problem is None and entry.get("gated"):
            try:
                hub.get(f"{hub.endpoint}/api/models/{ref.model}/auth-check")
            except (HfHubHTTPError, OutOfReach) as error:
                ref = replace(ref, problem=self._refused(hub, error))
        yield ref

    def _refused(self, hub: Hub, error: HfHubHTTPError | OutOfReach) -> UnavailableModel:
        if isinstance(error, HfHubHTTPError):
            reason = hub_http.refusal(error, self._asked.revision)
            if reason is not None:
                return UnavailableModel(reason)
        raise self._failed(hub, error) from None

    def _failed(self, hub: Hub, error: HfHubHTTPError | OutOfReach) -> SourceError:
        if isinstance(error, OutOfReach):
            return SourceError(
                f"{hub.endpoint} {error}: check HF_ENDPOINT and the network, or try later"
            )
        if hub_http.is_bad_token(error):
            return SourceError(
                f"{hub.endpoint} refuses the token: set HF_TOKEN to a valid one, or unset it"
            )
        return SourceError(
            f"{hub.endpoint} refuses {self.uri} with HTTP {error.response.status_code}: "
            "check the filters and the token"
        )

    def _json(self, hub: Hub, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except (ValueError, RecursionError):
            raise SourceError(
                f"{hub.endpoint} answers {self.uri} with no JSON: is it a Hub?"
            ) from None
