"""The HTTP side of the local hub: one handler a connection, with the paths, headers and error codes of the Hub.

Written after what `huggingface_hub` sends and reads (its `hf_api.py`, `file_download.py` and `utils/_http.py`).
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from time import sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from provray.testbed.local_hub import Commit, File, LocalHub, Repository

_PIECE = 64 * 1024
_MODEL = r"(?P<model>[^/]+/[^/]+)"
_LARGE = ".safetensors"
"""What the Hub keeps apart from Git: redirected to the store, with a SHA-256 for a tag."""


class _Refused(Exception):
    def __init__(self, status: int, **headers: str) -> None:
        self.status = status
        self.headers = {name.replace("_", "-").title(): value for name, value in headers.items()}


class HubHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection for the `LocalHub` it belongs to."""

    hub: LocalHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Begin with a connection."""
        super().setup()
        self.hub.watch(self.connection, open=True)

    def finish(self) -> None:
        """End with a connection, which the other side may have left."""
        self.hub.watch(self.connection, open=False)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        """Serve until either side closes."""
        with suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal: the hub keeps a log."""

    def do_GET(self) -> None:
        """GET."""
        self._serve()

    def do_HEAD(self) -> None:
        """HEAD."""
        self._serve()

    def do_POST(self) -> None:
        """POST."""
        self._serve()

    def _serve(self) -> None:
        from provray.testbed.local_hub import Request

        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self._token = self.headers.get("authorization", "").removeprefix("Bearer ")
        self._question = parse_qs(url.query)
        self._form = parse_qs(body.decode()) if body else {}
        self._log = Request(
            self.command,
            unquote(url.path),
            url.query,
            self.headers.get("range", ""),
            bool(self._token),
        )
        self.hub.requests.append(self._log)
        sleep(self.hub.latency)
        fault = self.hub.take_fault(self._log.path)
        self._cut = fault.cut if fault is not None else -1
        if fault is not None and fault.status:
            self._send(fault.status, fault.headers)
            return
        try:
            if self._token and self._token not in self.hub.tokens:
                raise _Refused(401, x_error_message="Invalid credentials in Authorization header")
            self._route(url.path)
        except _Refused as refused:
            self._send(refused.status, refused.headers)

    def _route(self, path: str) -> None:
        routes: list[tuple[str, Callable[..., None]]] = [
            (r"/api/models", self._list),
            (rf"/api/models/{_MODEL}", self._model),
            (rf"/api/models/{_MODEL}/revision/(?P<revision>[^/]+)", self._model),
            (rf"/api/models/{_MODEL}/refs", self._refs),
            (rf"/api/models/{_MODEL}/auth-check", self._auth_check),
            (rf"/api/models/{_MODEL}/paths-info/(?P<revision>[^/]+)", self._paths_info),
            (rf"/{_MODEL}/resolve/(?P<revision>[^/]+)/(?P<name>.+)", self._resolve),
        ]
        for pattern, answer in routes:
            found = re.fullmatch(pattern, path)
            if found is not None:
                answer(**{key: unquote(value) for key, value in found.groupdict().items()})
                return
        raise _Refused(404)

    def _list(self) -> None:
        one = {key: values[-1] for key, values in self._question.items()}
        wanted = set(self._question.get("filter", ()))
        found = []
        for model, repository in list(self.hub.repositories.items()):
            commit = repository.commit("main")
            if commit is None or (repository.private and not self._may_read(model)):
                continue
            entry = _entry(model, repository, commit)
            if one.get("author", model.split("/")[0]) != model.split("/")[0]:
                continue
            if one.get("pipeline_tag", entry["pipeline_tag"]) != entry["pipeline_tag"]:
                continue
            if wanted <= set(entry["tags"]):
                found.append(entry)
        found.sort(key=lambda entry: entry["id"])
        found.sort(key=lambda entry: entry[one.get("sort", "downloads")], reverse=True)
        begin = int(one.get("cursor", 0))
        end = begin + min(int(one.get("limit", self.hub.page)), self.hub.page)
        fields = {"id", *self._question.get("expand", found[0] if found else ())}
        headers = {}
        if end < len(found):
            question = urlencode({**self._question, "cursor": end}, doseq=True)
            headers["Link"] = f'<{self.hub.endpoint}/api/models?{question}>; rel="next"'
        page = [
            {key: value for key, value in entry.items() if key in fields}
            for entry in found[begin:end]
        ]
        self._send_json(page, headers)

    def _model(self, model: str, revision: str = "main") -> None:
        repository = self._repository(model)
        commit = self._commit(repository, revision)
        self._send_json(_entry(model, repository, commit, blobs="blobs" in self._question))

    def _refs(self, model: str) -> None:
        repository = self._repository(model)
        kinds = {"branches": ("heads", repository.branches), "tags": ("tags", repository.tags)}
        refs = {
            kind: [
                {"name": name, "ref": f"refs/{place}/{name}", "targetCommit": sha}
                for name, sha in named.items()
            ]
            for kind, (place, named) in kinds.items()
        }
        self._send_json({**refs, "converts": []})

    def _auth_check(self, model: str) -> None:
        if self._repository(model).gated and not self._may_read(model):
            raise _Refused(403, x_error_code="GatedRepo")
        self._send(200)

    def _paths_info(self, model: str, revision: str) -> None:
        files = self._commit(self._repository(model), revision).files
        wanted = [name for name in self._form.get("paths", ()) if name in files]
        self._send_json(
            [
                {
                    "type": "file",
                    "path": name,
                    "size": files[name].size,
                    "oid": _tag(name, files[name]),
                }
                | _lfs(name, files[name])
                for name in wanted
            ]
        )

    def _resolve(self, model: str, revision: str, name: str) -> None:
        repository = self._repository(model)
        if repository.gated and not self._may_read(model):
            raise _Refused(403 if self._token else 401, x_error_code="GatedRepo")
        commit = self._commit(repository, "main" if self.hub.stale else revision)
        file = commit.files.get(name)
        if file is None:
            raise _Refused(404, x_error_code="EntryNotFound", x_repo_commit=commit.sha)
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{_tag(name, file)}"'}
        if name.endswith(_LARGE):
            headers |= {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.sha256}"'}
            if self.hub.store is not None:
                self._send(302, {**headers, "Location": self.hub.store + self.path})
                return
        self._send_file(file, headers)

    def _repository(self, model: str) -> Repository:
        if model in self.hub.renamed:
            raise _Refused(307, location=self.path.replace(model, self.hub.renamed[model]))
        repository = self.hub.repositories.get(model)
        if repository is None or (repository.private and not self._may_read(model)):
            # Whether it exists is nobody's business: both look alike.
            raise _Refused(404 if self._token else 401, x_error_code="RepoNotFound")
        if repository.disabled:
            raise _Refused(403, x_error_message="Access to this resource is disabled.")
        return repository

    def _commit(self, repository: Repository, revision: str) -> Commit:
        commit = repository.commit(revision)
        if commit is None:
            raise _Refused(404, x_error_code="RevisionNotFound")
        return commit

    def _may_read(self, model: str) -> bool:
        return model in self.hub.tokens.get(self._token, ())

    def _send_file(self, file: File, headers: Mapping[str, str]) -> None:
        size = file.path.stat().st_size
        begin, end, status = 0, size, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self._log.range)
        if asked is not None and self.hub.ranges:
            begin = int(asked[1])
            end = min(size, int(asked[2]) + 1) if asked[2] else size
            if begin >= end:
                self._send(416, {"Content-Range": f"bytes */{size}"})
                return
            status = 206
            headers = {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{size}"}
        if self.hub.ranges:
            headers = {**headers, "Accept-Ranges": "bytes"}
        self._begin(status, headers, end - begin)
        with file.path.open("rb") as source:
            source.seek(begin)
            while begin < end and self.command != "HEAD":
                piece = source.read(min(_PIECE, end - begin))
                if not piece or not self._write(piece):
                    return
                begin += len(piece)

    def _send_json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self._send(
            200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode()
        )

    def _send(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        self._begin(status, headers or {}, len(body))
        if self.command != "HEAD" and body:
            self._write(body)

    def _begin(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self._log.status = status
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, piece: bytes) -> bool:
        """Send a piece of the body; False when the connection was closed instead of its end."""
        whole = self._cut < 0 or self._log.sent + len(piece) <= self._cut
        if not whole:
            piece = piece[: self._cut - self._log.sent]
        self.hub.wait_for_link(len(piece))
        # Counted before it is sent: whoever has received it finds it in the log.
        self._log.sent += len(piece)
        self.wfile.write(piece)
        if not whole:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        return whole


def _entry(
    model: str, repository: Repository, commit: Commit, blobs: bool = False
) -> dict[str, Any]:
    card = dict(commit.card)
    library, task = card.get("library_name"), card.get("pipeline_tag")
    listed = card.get("tags")
    tags = [library, task, *(listed if isinstance(listed, list) else ())]
    created = min(one.moment for one in repository.commits.values())
    siblings = []
    for name, file in commit.files.items():
        sibling: dict[str, Any] = {"rfilename": name}
        if blobs:
            sibling |= {"size": file.size, "blobId": _tag(name, file)} | _lfs(name, file)
        siblings.append(sibling)
    return {
        "_id": commit.sha[:24],
        "id": model,
        "modelId": model,
        "author": model.split("/")[0],
        "sha": commit.sha,
        "lastModified": f"{commit.moment:%Y-%m-%dT%H:%M:%S}.000Z",
        "createdAt": f"{created:%Y-%m-%dT%H:%M:%S}.000Z",
        "private": repository.private,
        "gated": "manual" if repository.gated else False,
        "disabled": repository.disabled,
        "downloads": repository.downloads,
        "likes": 0,
        "trendingScore": 0,
        "library_name": library,
        "pipeline_tag": task,
        "tags": [tag for tag in tags if isinstance(tag, str)],
        "cardData": card,
        "siblings": siblings,
    }


def _tag(name: str, file: File) -> str:
    return file.sha256 if name.endswith(_LARGE) else file.sha256[:40]


def _lfs(name: str, file: File) -> dict[str, Any]:
    if not name.endswith(_LARGE):
        return {}
    lfs = {"size": file.size, "sha256": file.sha256, "oid": file.sha256, "pointerSize": 134}
    return {"lfs": lfs}
