"""How the page looks and is reached: small screens, contrast, dark colours, the keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.serve.browsing import DRAWN, Ask, link
from tests.serve.live import Live
from tests.serve.made_index import GRANDCHILD

CONTRASTS = Path(__file__).with_name("contrasts.js")
VIEWS = {
    "models": "#/models",
    "answer": link("ask", GRANDCHILD.name),
    "family": link("family", GRANDCHILD.name),
    "failures": "#/failures",
    "index": "#/index",
    "problem": link("ask", "no/such-model"),
}


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_cut_off_on_a_screen_of_360_pixels(live: Live, reader: Ask, view: str) -> None:
    one = reader(viewport={"width": 360, "height": 740}, has_touch=True)
    page = one.open(VIEWS[view], live.keys["admin"])
    wide = page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(e =>
             e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 &&
             e.checkVisibility() && !e.closest('.canvas')).map(e => e.outerHTML.slice(0, 200))"""
    )
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_text_has_the_contrast_of_wcag_aa(
    live: Live, reader: Ask, view: str, scheme: str
) -> None:
    one = reader(color_scheme=scheme)
    page = one.open(VIEWS[view], live.keys["admin"])
    found = page.evaluate(CONTRASTS.read_text(encoding="utf-8"))
    assert len(found) > 10
    assert found[0][0] >= 4.5, found[:5]


def test_dark_colours_follow_the_system_and_can_be_chosen(live: Live, reader: Ask) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = reader(color_scheme="dark").open("#/models", live.keys["admin"]).evaluate(ground)
    one = reader(color_scheme="light")
    page = one.open(link("family", GRANDCHILD.name), live.keys["admin"])
    light = page.evaluate(ground)
    assert light != dark
    toggle = page.get_by_role("button", name="Dark colours")
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(ground) == dark
    page.reload()
    page.wait_for_selector(DRAWN)
    assert page.evaluate(ground) == dark


def test_the_keyboard_reaches_everything_and_its_place_is_seen(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open(link("ask", GRANDCHILD.name), live.keys["admin"])
    page.reload()
    one.drawn()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the answer")
    expect(skip).to_be_focused()
    assert (skip.bounding_box() or {"y": -1})["y"] >= 0
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    outlines = []
    for _ in range(12):
        page.keyboard.press("Tab")
        outlines.append(page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert set(outlines) == {"solid"}
    assert page.evaluate("document.querySelectorAll('[id]').length") == page.evaluate(
        "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
    )
