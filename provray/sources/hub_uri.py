"""What an `hf://` URI asks for."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from huggingface_hub.utils import validate_repo_id

SORTS = {
    "created_at": "createdAt",
    "downloads": "downloads",
    "last_modified": "lastModified",
    "likes": "likes",
    "trending_score": "trendingScore",
}
"""The orders the Hub lists in, by the names its Python client gives them. The largest or latest comes first."""

_KEYS = ("author", "task", "library", "tag", "sort", "limit")
_FORMS = "hf://org/name[@revision], hf://org or hf://?author=…&task=…"


@dataclass(frozen=True)
class HubUri:
    """One model, or a listing with its filters.

    model: `org/name`, empty for a listing. revision: branch, tag or commit, empty for the default branch. sort: a key
    of `SORTS`, empty for no wish. limit: at most so many models.
    """

    model: str = ""
    revision: str = ""
    author: str = ""
    task: str = ""
    library: str = ""
    tags: tuple[str, ...] = ()
    sort: str = ""
    limit: int | None = None


def parse_hub_uri(uri: str) -> HubUri:
    """Read `hf://org/name[@revision]`, `hf://org[?filters]` or `hf://?filters`.

    Raises:
        ValueError: another form, a filter that is not known, or one that is given twice.
    """
    path, _, query = uri.removeprefix("hf://").partition("?")
    path, at, revision = path.partition("@")
    path = path.strip("/")
    if "/" in path:
        if query:
            raise ValueError(f"{uri}: one model takes no filters, leave out ?{query}")
        if at and not revision:
            raise ValueError(f"{uri}: no revision after the @, name a branch, a tag or a commit")
        return HubUri(model=valid_model(path, uri), revision=revision)
    if at:
        raise ValueError(f"{uri}: a revision belongs to one model, as in hf://org/name@{revision}")
    found = _filters(uri, query)
    if path and "author" in found:
        raise ValueError(f"{uri} names the author twice: {path} and {found['author'][0]}")
    author = path or _one(uri, found, "author")
    if not author and not found:
        raise ValueError(
            f"{uri} would list every model there is: name an author or a filter, {_FORMS}"
        )
    if author:
        valid_model(author, uri)
    return HubUri(
        author=author,
        task=_one(uri, found, "task"),
        library=_one(uri, found, "library"),
        tags=tuple(found.get("tag", ())),
        sort=_sort(uri, _one(uri, found, "sort")),
        limit=_limit(uri, _one(uri, found, "limit")),
    )


def valid_model(name: str, uri: str) -> str:
    """A name the Hub can have, `org/name` or `name`. Raises ValueError, naming the URI, for any other."""
    try:
        validate_repo_id(name)
    except ValueError:
        raise ValueError(f"{uri}: {name[:120]!r} is no name on the Hub, write {_FORMS}") from None
    return name


def _filters(uri: str, query: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _KEYS:
            raise ValueError(f"{uri}: {key!r} is no filter, there are {', '.join(_KEYS)}")
        if not value:
            raise ValueError(f"{uri}: the filter {key} has no value")
        found.setdefault(key, []).append(value)
    return found


def _one(uri: str, found: dict[str, list[str]], key: str) -> str:
    values = found.get(key, [""])
    if len(values) > 1:
        raise ValueError(f"{uri} gives {key} {len(values)} times: only tag may be repeated")
    return values[0]


def _sort(uri: str, sort: str) -> str:
    if sort and sort not in SORTS:
        raise ValueError(f"{uri}: sort={sort} is no order, there are {', '.join(SORTS)}")
    return sort


def _limit(uri: str, limit: str) -> int | None:
    if not limit:
        return None
    if not limit.isascii() or not limit.isdigit() or int(limit) < 1:
        raise ValueError(f"{uri}: limit={limit} is not a whole number of at least 1")
    return int(limit)
