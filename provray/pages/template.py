"""Templates of the HTML pages. Model names and cards are hostile input: whatever is shown goes through here."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from provray.pages.profile import number


def environment() -> Environment:
    """The environment of every page: names are paths inside the package, everything is escaped, and a name that is not
    there is an error."""
    pages = Environment(
        loader=PackageLoader("provray", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(number=number, breakable=breakable)
    return pages


@cache
def page(name: str) -> Template:
    """A page's template by its path inside the package."""
    return environment().get_template(name)


def breakable(name: str) -> Markup:
    """`name`, escaped, with leave to break the line after a slash."""
    return Markup("/<wbr>").join(escape(part) for part in name.split("/"))


def visible(text: str) -> str:
    """`text` with everything that does not print as itself (line breaks, direction overrides) written as an escape."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def all_visible(value: Any) -> Any:
    """Plain data with every text in it made `visible`, keys included."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): all_visible(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [all_visible(item) for item in value]
    return value


def script(path: Path) -> tuple[Markup, str]:
    """A script to stand in a page, and the source by which the page's policy lets this one run and no other."""
    text = path.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return Markup(text), f"sha256-{digest}"  # noqa: S704 - a file of this package, not input
