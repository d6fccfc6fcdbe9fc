"""A real Chromium over the page of a running service."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

PATIENCE = 60_000
"""Milliseconds that anything may take on a busy machine."""

_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DRAWN = "#view[aria-busy=false]"
# A refused request is told by the browser itself, whatever the page makes of it.
_OF_THE_BROWSER = "Failed to load resource"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the tests are skipped where none is installed, but never in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        reason = (
            "the page is tested in Chromium, and none is on the PATH: install Debian's chromium"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=list(_ARGUMENTS))
        yield browser
        browser.close()


class Reader:
    """Someone who reads the page, and everything the browser complained of meanwhile."""

    def __init__(self, browser: Browser, url: str, **settings: Any) -> None:
        self._context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, **settings}
        )
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []
        self._url = url
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, link: str = "", key: str | None = None) -> Page:
        """Go to a link of the page; with a key, enter it in the page's own dialog first."""
        if key is not None:
            self.page.goto(self._url + "/")
            self.enter(key)
            self.drawn()
        self.page.goto(f"{self._url}/{link}")
        self.drawn()
        return self.page

    def enter(self, key: str) -> None:
        """Enter a key."""
        if not self.page.locator("#key-dialog").is_visible():
            self.page.get_by_role("button", name="Key", exact=False).first.click()
        self.page.get_by_label("Key", exact=True).fill(key)
        self.page.get_by_role("button", name="Use this key").click()

    def drawn(self) -> None:
        """Wait until the view stands."""
        self.page.wait_for_selector(DRAWN)

    def close(self) -> None:
        """Leave."""
        self._context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and _OF_THE_BROWSER not in message.text:
            self.complaints.append(message.text)


Ask = Callable[..., Reader]


def link(view: str, model: str, more: str = "") -> str:
    """A deep link to a view of a model."""
    return f"#/{view}?model={quote(model, safe='')}{more}"


def open_family_list(page: Page) -> None:
    """Open the list below a family's picture. Once the picture is drawn: until then everything below it still moves."""
    expect(page.locator(".family .more")).not_to_be_empty()
    page.get_by_text("The same as a list").click()
    expect(page.locator(".kin")).to_be_visible()
