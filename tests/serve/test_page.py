"""The page as its readers see it: in a real Chromium, over a running service."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from provray.index.table import FingerprintTable
from provray.serve.page import FOLDER, read_files
from tests.ancestry.networks import stranger
from tests.serve.browsing import Ask, Reader, link, open_family_list
from tests.serve.live import Live
from tests.serve.made_index import BROKEN, CHILD, COPY, GRANDCHILD, STRANGERS, rows

EVIL = stranger('evil/<img src=x onerror="document.title=1">\u202egnp', 5000)
EVIL_CHILD = EVIL.child("evil/<b>child</b>", 5001)
DECLARED = "<script>document.title='taken'</script>"


@pytest.fixture(scope="module")
def strange(live: Live) -> int:
    """A family whose names and card are markup; the version of the index that holds it."""
    declared = json.dumps({"base_model": DECLARED})
    child = [replace(row, declared=declared) for row in rows(EVIL_CHILD)]
    version = FingerprintTable.open(str(live.index)).append([*rows(EVIL), *child])
    until = time.monotonic() + 60
    with live.client() as client:
        while client.index().index.version < version:
            assert time.monotonic() < until, f"version {version} is not served"
            time.sleep(0.1)
    return version


# --- files


def test_files_are_served_with_type_policy_and_a_tag_that_saves_sending_them_again(
    live: Live,
) -> None:
    status, headers, body = live.ask("GET", "/", scope=None)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert body == (FOLDER / "index.html").read_bytes()
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    status, headers, _ = live.ask("GET", "/page/main.js", scope=None)
    assert (status, headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert headers["cache-control"] == "no-cache"
    again = live.ask("GET", "/page/main.js", headers={"If-None-Match": headers["etag"]}, scope=None)
    assert (again[0], again[2]) == (304, b"")
    changed = live.ask("GET", "/page/main.js", headers={"If-None-Match": '"other"'}, scope=None)
    assert changed[0] == 200


@pytest.mark.parametrize("name", ["../page.py", "%2e%2e/keys.py", "nothing.js", "", "/etc/passwd"])
def test_nothing_but_the_files_of_the_page_is_served(live: Live, name: str) -> None:
    status, headers, body = live.ask("GET", f"/page/{name}", scope=None)
    assert (status, headers["content-type"]) == (404, "application/problem+json")
    assert json.loads(body)["type"] == "urn:provray:problem:not-found"


def test_answers_of_the_api_are_still_not_stored_and_files_are_not_audited(live: Live) -> None:
    assert live.ask("GET", "/v1/index")[1]["cache-control"] == "no-store"
    before = len(live.audit())
    for name in ("", "page/look.css", "page/vendor/README.md"):
        assert live.ask("GET", f"/{name}", scope=None)[0] == 200
    assert live.ask("HEAD", "/", scope=None)[0] == 200
    assert len(live.audit()) == before


def test_no_file_names_another_host_or_makes_markup_of_data() -> None:
    """Of our own files; the library beside them never sees markup, and the policy holds it."""
    files = {name: file for name, file in read_files().items() if not name.startswith("vendor/")}
    assert len(files) > 20
    for name, file in files.items():
        text = file.content.decode()
        hosts = set(re.findall(r"https?://[^\s'\"`]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not hosts, name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text
        ), name


def test_the_library_is_the_one_its_notice_names() -> None:
    import hashlib

    notice = (FOLDER / "vendor" / "README.md").read_text(encoding="utf-8")
    (library,) = (FOLDER / "vendor").glob("*.mjs")
    assert f"`{library.name}`" in notice
    assert hashlib.sha256(library.read_bytes()).hexdigest() in notice
    assert "Permission is hereby granted" in (library.parent / "cytoscape-LICENSE.txt").read_text()


def test_the_page_is_a_part_of_the_package() -> None:
    import tomllib

    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["provray"]
    package = FOLDER.parents[1]
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    assert {path for path in FOLDER.rglob("*") if path.is_file()} <= packed


# --- asking


def test_typing_finds_models_and_choosing_one_by_keys_shows_its_verdict(
    live: Live, reader: Ask
) -> None:
    one = reader()
    page = one.open("", live.keys["admin"])
    box = page.locator("#model")
    box.fill("grandchild")
    option = page.get_by_role("option", name=GRANDCHILD.name)
    expect(option).to_be_visible()
    box.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    box.press("Enter")
    expect(page.locator("main h1", has_text="It inherits what")).to_be_visible()
    assert page.locator(".verdict .chip").inner_text() == "ancestor"
    with live.client() as client:
        answer = client.ask(GRANDCHILD.name)
    assert page.locator(".verdict h1").inner_text().lower() == answer.says.lower()
    names = page.locator(".ancestors h3 a").all_inner_texts()
    assert names == [found.model for found in answer.ancestors]
    tally = page.locator(".verdict .tally").inner_text()
    assert str(answer.index.models) in tally
    assert str(answer.fdr) in tally
    assert page.locator("figure.null svg[role=img]").count() >= 1
    said = page.get_by_role("img", name="Noise, by relative depth").get_attribute("aria-label")
    value = answer.candidates[0].scores.dna["noise@1/6"]
    assert value is not None
    assert said is not None
    assert f"{answer.candidates[0].model}: " in said
    assert f"{value:.2f} at 1/6" in said


def test_a_link_gives_the_same_view_again_and_the_way_back_works(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open(link("ask", GRANDCHILD.name, "&fdr=0.01"), live.keys["admin"])
    family = page.locator(".family .more")
    expect(family).to_contain_text("models")
    first = page.locator("article").inner_text()
    assert "0.01" in page.locator(".verdict .tally").inner_text()
    page.reload()
    expect(family).to_contain_text("models")
    assert page.locator("article").inner_text() == first
    page.get_by_role("link", name="Failures").click()
    expect(page.locator("main h1", has_text="What could not be read")).to_be_visible()
    page.go_back()
    expect(page.locator(".verdict h1")).to_be_visible()
    page.go_forward()
    expect(page.locator("main h1", has_text="What could not be read")).to_be_visible()


def test_an_answer_links_to_itself_on_its_version_of_the_index(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open(link("ask", CHILD.name), live.keys["admin"])
    page.get_by_role("link", name="this answer, on this version of the index").click()
    expect(page.get_by_text("As it stood in version")).to_be_visible()
    assert "as_of=" in page.url
    assert page.locator(".verdict .chip").inner_text() == "copy"


def test_a_model_that_is_not_indexed_is_waited_for_and_its_link_finds_the_answer_again(
    live: Live, reader: Ask
) -> None:
    one = reader()
    page = one.open("", live.keys["admin"])
    box = page.locator("#model")
    box.fill(str(live.models / "copy"))
    expect(page.get_by_text("A place to read from")).to_be_visible()
    box.press("Enter")
    expect(page.locator(".verdict .chip")).to_have_text("copy")
    expect(page.get_by_role("heading", name="Its ancestor")).to_be_visible()
    one.drawn()
    expect(page.locator("#family-place")).to_have_count(0)
    assert page.get_by_text("Declared licence").count() == 0
    assert page.get_by_text("Crawled", exact=True).count() == 0
    page.reload()
    one.drawn()
    expect(page.locator(".verdict .chip")).to_have_text("copy")


def test_a_dropped_reference_is_asked(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open("", live.keys["admin"])
    data = page.evaluate_handle(
        "name => { const d = new DataTransfer(); d.setData('text/plain', name); return d; }",
        COPY.name,
    )
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    expect(page.locator(".verdict .chip")).to_have_text("copy")
    expect(page.locator("#model")).to_have_value(COPY.name)


# --- what else is told


def test_failures_are_listed_with_their_reasons(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open("#/failures", live.keys["admin"])
    row = page.get_by_role("row").filter(has_text=BROKEN)
    expect(row).to_contain_text("broken")
    expect(row).to_contain_text("a header is missing")
    page.get_by_role("link", name="broken 1").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "status=broken" in page.url
    page.get_by_role("link", name=BROKEN).click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("a header is missing")


def test_the_index_view_says_what_is_served(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open("#/index", live.keys["admin"])
    with live.client() as client:
        facts = client.index()
    text = page.locator("main").inner_text()
    assert f"{facts.index.version}" in page.locator(".tally").inner_text()
    for said in (*(s.space for s in facts.spaces), *facts.sources, facts.provray):
        assert said in text
    assert page.get_by_role("region", name="Nulls").locator("tbody tr").count() == len(facts.nulls)


def test_models_are_listed_page_by_page_and_searched(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open("#/models?q=far", live.keys["admin"])
    expect(page.get_by_role("link", name=STRANGERS[0].name)).to_be_visible()
    page.locator("#model").fill("no such thing at all")
    expect(page.get_by_text("No indexed model has these words")).to_be_visible()
    page.goto(f"{live.url}/#/models?q=nothing-is-called-so")
    expect(page.get_by_text("No indexed model has all of these words")).to_be_visible()


# --- refusals


def test_an_unknown_model_is_a_problem_in_plain_words_with_a_way_out(
    live: Live, reader: Ask
) -> None:
    one = reader()
    page = one.open(link("ask", "no/such-model"), live.keys["admin"])
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("No such model in the index")
    expect(alert).to_contain_text("no/such-model")
    alert.get_by_role("link", name="See all models").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()


def test_a_key_is_asked_for_kept_in_the_tab_and_never_in_a_link(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open(link("ask", GRANDCHILD.name))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("A key is needed")
    alert.get_by_role("button", name="Enter a key").click()
    one.enter("pvr_00000000_wrong")
    expect(alert).to_contain_text("The key is not known")
    alert.get_by_role("button", name="Enter a key").click()
    one.enter(live.keys["query"])
    expect(page.locator(".verdict .chip")).to_have_text("ancestor")
    secret = live.keys["query"]
    assert secret not in page.url
    assert secret not in page.content()
    assert page.evaluate("Object.values({...localStorage}).join()").find(secret) < 0
    assert page.evaluate("Object.values({...sessionStorage})") == [secret]
    one.drawn()
    page.reload()
    expect(page.locator(".verdict .chip")).to_have_text("ancestor")
    page.get_by_role("button", name="Key set").click()
    page.get_by_role("button", name="Forget the key").click()
    expect(alert).to_contain_text("A key is needed")
    other = reader().open(link("ask", GRANDCHILD.name))
    expect(other.get_by_role("alert")).to_contain_text("A key is needed")


def test_a_key_without_the_scope_is_told_which_it_needs(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open(link("ask", GRANDCHILD.name), live.keys["read"])
    expect(page.get_by_role("alert")).to_contain_text("needs a key with the scope query")


def test_a_service_that_is_gone_is_said_so(live: Live, reader: Ask) -> None:
    one = reader()
    page = one.open("#/models", live.keys["admin"])
    page.context.set_offline(True)
    page.get_by_role("link", name="Index", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("main h1", has_text="What is served")).to_be_visible()


# --- hostile names


def test_hostile_names_and_cards_are_shown_as_text(live: Live, strange: int, reader: Ask) -> None:
    assert strange > 0
    one = reader()
    page = one.open(link("ask", EVIL_CHILD.name), live.keys["admin"])
    shown = EVIL.name.replace("\u202e", "\\u202e")
    expect(page.locator(".ancestors h3 a").first).to_have_text(shown)
    expect(page.locator(".findings")).to_contain_text(DECLARED)
    open_family_list(page)
    expect(page.locator(".kin")).to_contain_text(shown)
    page.locator("#model").fill("evil")
    expect(page.get_by_role("option").first).to_be_visible()
    assert page.locator("main img, main b b, main script, #found img").count() == 0
    assert page.title().startswith(EVIL_CHILD.name)
    page.goto(f"{live.url}/{link('family', EVIL.name)}")
    expect(page.locator("main h1")).to_have_text(shown)
    page.goto(f"{live.url}/#/models?q=evil")
    expect(page.get_by_role("link", name=shown)).to_be_visible()
    assert "\u202e" not in page.locator("body").inner_text()


def test_the_policy_lets_nothing_inline_run_and_nothing_elsewhere_be_asked(
    live: Live, browser: Browser
) -> None:
    one = Reader(browser, live.url)
    page = one.open("#/models", live.keys["admin"])
    assert one.complaints == []
    ran = page.evaluate(
        """async () => {
          const script = document.createElement('script');
          script.textContent = 'window.inlineRan = true';
          document.body.append(script);
          const image = new Image();
          image.setAttribute('onerror', 'window.handlerRan = true');
          image.src = 'page/nothing.png';
          document.body.append(image);
          await new Promise(done => setTimeout(done, 300));
          const elsewhere = await fetch('http://127.0.0.2:9/').then(() => 'asked', () => 'refused');
          return [window.inlineRan ?? false, window.handlerRan ?? false, elsewhere];
        }"""
    )
    assert ran == [False, False, "refused"]
    complaints = " ".join(one.complaints)
    one.close()
    assert "inline script" in complaints
    assert "127.0.0.2" in complaints
