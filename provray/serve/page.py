"""The page of the service: fixed files, read once, under a policy that lets the browser load nothing else.

The page holds no data: it asks `/v1` like any other caller, with the key that its reader enters.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).with_suffix("")
ROUTES = ("/", "/page/{name:path}")
"""Of the page itself, and of the files it loads."""

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy: scripts, styles and requests from this service alone, nothing inline."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".md": "text/markdown; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent. etag: of these very bytes, in quotes."""

    content: bytes
    media_type: str
    etag: str


def read_files() -> dict[str, PageFile]:
    """Every file of the page by its path below the page's folder, with slashes."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            name = path.relative_to(FOLDER).as_posix()
            found[name] = PageFile(content, _TYPES[path.suffix], etag)
    return found


def add_page(app: FastAPI) -> None:
    """Serve the page at `/` and its files below `/page/`. Neither needs a key, nor stands in the OpenAPI document."""
    files = read_files()

    async def send(request: Request) -> Response:
        file = files.get(request.path_params.get("name", "index.html"))
        if file is None:
            raise HTTPException(404)
        headers = {
            "Content-Security-Policy": POLICY,
            "Referrer-Policy": "no-referrer",
            # Kept, and asked for again each time: a new release is seen at once, and a known file is not sent again.
            "Cache-Control": "no-cache",
            "ETag": file.etag,
        }
        known = request.headers.get("if-none-match", "")
        if file.etag in (part.strip().removeprefix("W/") for part in known.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers={**headers, "Content-Type": file.media_type})

    for route in ROUTES:
        app.add_api_route(route, send, methods=["GET", "HEAD"], include_in_schema=False)
