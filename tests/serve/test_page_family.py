"""A family on the page: its picture, its list, its size."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.serve.browsing import Ask, link, open_family_list
from tests.serve.live import Live
from tests.serve.made_index import BASE, CHILD, COPY, GRANDCHILD


def test_a_family_is_drawn_and_walked_with_the_keyboard(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open(link("family", CHILD.name), live.keys["admin"])
    canvas = page.get_by_role("application")
    expect(canvas.locator("canvas").first).to_be_visible()
    with live.client() as client:
        lineage = client.lineage(CHILD.name)
    expect(page.get_by_text(f"{lineage.family} models.")).to_be_visible()
    canvas.focus()
    seen = set()
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown", "ArrowDown"):
        canvas.press(key)
        seen.add(page.locator(".told").inner_text().split(":")[0])
    assert len((seen - {""}) & {node.model for node in lineage.nodes}) >= 2
    here = page.url
    canvas.press("Enter")
    page.wait_for_url(lambda url: url != here)
    one.drawn()
    expect(page.locator("main h1")).not_to_have_text(CHILD.name)


def test_a_click_on_a_box_opens_its_model(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open(link("family", CHILD.name), live.keys["admin"])
    canvas = page.get_by_role("application")
    expect(canvas.locator("canvas").first).to_be_visible()
    page.get_by_role("button", name="Show all of it").click()
    frame = canvas.bounding_box()
    assert frame is not None
    # A box is where the cursor becomes a hand: looked for as a person does, along a grid.
    for share_y in (0.2, 0.35, 0.5, 0.65, 0.8):
        for share_x in (0.2, 0.35, 0.5, 0.65, 0.8):
            at = frame["x"] + share_x * frame["width"], frame["y"] + share_y * frame["height"]
            page.mouse.move(*at)
            name = (canvas.get_attribute("title") or "").split(":")[0]
            if name and name != CHILD.name:
                page.mouse.click(*at)
                expect(page.locator("main h1")).to_have_text(name)
                return
    pytest.fail("no box was found")


def test_the_list_says_what_the_picture_says_and_arrow_keys_walk_it(
    live: Live, reader: Ask
) -> None:
    one = reader()
    page = one.open(link("ask", GRANDCHILD.name), live.keys["admin"])
    open_family_list(page)
    links = page.locator(".kin a")
    with live.client() as client:
        lineage = client.lineage(GRANDCHILD.name)
    expect(links).to_have_count(len(lineage.nodes))
    assert sorted(links.all_inner_texts()) == sorted(node.model for node in lineage.nodes)
    links.first.focus()
    page.keyboard.press("ArrowDown")
    expect(links.nth(1)).to_be_focused()
    chosen = links.nth(1).inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("#model")).to_have_value(chosen)


def test_direction_and_depth_of_a_family_are_part_of_its_link(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open(link("family", GRANDCHILD.name), live.keys["admin"])
    with page.expect_response(lambda r: "direction=up" in r.url) as caught:
        page.get_by_label("Show", exact=True).select_option("up")
    nodes = [node["model"] for node in caught.value.json()["nodes"]]
    assert "direction=up" in page.url
    page.get_by_label("as far as").select_option("1")
    page.wait_for_url("**depth=1**")
    page.reload()
    one.drawn()
    expect(page.get_by_label("Show", exact=True)).to_have_value("up")
    expect(page.get_by_label("as far as")).to_have_value("1")
    assert set(nodes) <= {BASE.name, CHILD.name, COPY.name, GRANDCHILD.name}


def _large(route: Route) -> None:
    """The lineage of a family of a thousand, with what the live service says of everything else."""
    told = route.fetch().json()
    names = [told["model"], *(f"crowd/member-{k:04d}" for k in range(999))]
    edges = [
        {
            "parent": names[(k - 1) // 9 if k % 3 else 0],
            "child": names[k],
            "relation": ("fine-tune", "quantised", "pruned", "merged")[k % 4],
            "score": 0.9,
            "direction_known": k % 7 != 0,
            "reasons": ["the suspect's matrices are larger"],
        }
        for k in range(1, 1000)
    ]
    nodes = [{"model": name, "depth": 0, "root": k == 0} for k, name in enumerate(names)]
    told |= {"family": 1000, "complete": True, "nodes": nodes, "edges": edges}
    route.fulfill(json=told)


def test_a_family_of_a_thousand_is_folded_and_every_member_can_be_found(
    live: Live, reader: Ask, record_property: Callable[[str, object], None]
) -> None:
    one = reader()
    one.open("", live.keys["admin"])
    one.page.route("**/lineage?**", _large)
    page = one.open(link("family", BASE.name))
    words = page.get_by_text("of them drawn as boxes")
    expect(words).to_be_visible()
    found = re.search(r"1,000 models, (\d+) of them drawn", words.inner_text())
    assert found
    assert 10 <= int(found[1]) <= 150
    took = page.evaluate("performance.getEntriesByName('family').map(entry => entry.duration)")
    print(f"a family of 1,000 was laid out and drawn in {took[-1]:.0f} ms")
    record_property("family_of_1000_ms", took[-1])
    open_family_list(page)
    assert page.locator(".kin > li").count() == 1000
    page.get_by_label("Find in this family").fill("member-0815")
    expect(page.locator(".kin > li:visible")).to_have_count(1)
    canvas = page.get_by_role("application")
    canvas.focus()
    # Walk to a fold and open it: more boxes are drawn, and the page goes on answering.
    for key in ["ArrowRight", *["ArrowDown"] * 120]:
        canvas.press(key)
        if page.locator(".told").inner_text().startswith("+ "):
            break
    canvas.press("Enter")
    expect(page.locator(".told")).to_contain_text("Opened")
    opened = re.search(r"(\d+) of them drawn", words.inner_text())
    assert opened
    assert int(opened[1]) > int(found[1])
