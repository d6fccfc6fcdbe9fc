"""Listing models of a hub, against a real server with its API: pages, filters, commits, and models not to be had."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provray.models.errors import ModelError, UnavailableModel, UnsupportedModel
from provray.sources import ModelRef, SourceError, hub_http, open_source
from provray.sources.hub import HubReader, HubSource
from provray.testbed.local_hub import LocalHub, Repository
from tests.sources.hub_models import folder

TOKEN = "hf_a-token-nobody-may-ever-see"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    monkeypatch.setattr(hub_http, "FIRST_WAIT", 0.01)
    with LocalHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


def listed(uri: str, since: datetime | None = None) -> list[ModelRef]:
    return list(open_source(uri, since=since).models())


def names(uri: str, since: datetime | None = None) -> list[str]:
    return [ref.model for ref in listed(uri, since)]


def problem(ref: ModelRef) -> ModelError:
    assert ref.problem is not None
    return ref.problem


def test_an_author_s_models_come_page_by_page_each_at_its_commit(
    hub: LocalHub, tmp_path: Path
) -> None:
    pushed = {}
    for number in range(7):
        name = f"org/m{number}"
        pushed[name] = hub.push(name, folder(tmp_path, name))
    hub.push("other/m", folder(tmp_path, "other/m"))
    hub.page = 3
    refs = listed("hf://org")
    assert {ref.model: ref.revision for ref in refs} == pushed
    assert [ref.model for ref in refs] == sorted(pushed, reverse=True)
    assert all(ref.problem is None for ref in refs)
    assert refs[0].location == f"hf://org/m6@{pushed['org/m6']}"
    assert refs[0].remote
    # Three pages are all that is asked: no request for each model.
    assert [request.path for request in hub.requests] == ["/api/models"] * 3


def test_pages_are_asked_for_only_as_far_as_they_are_read(hub: LocalHub, tmp_path: Path) -> None:
    for number in range(4):
        hub.push(f"org/m{number}", folder(tmp_path, f"m{number}"))
    hub.page = 1
    models = HubSource("hf://org").models()
    assert next(models).model == "org/m3"
    assert len(hub.requests) == 1
    assert names("hf://org?limit=2") == ["org/m3", "org/m2"]
    assert len(hub.requests) == 3


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("task=text-classification", {"b", "c"}),
        ("library=transformers", {"a", "b"}),
        ("tag=en", {"a", "c"}),
        ("tag=en&tag=news", {"c"}),
        ("task=text-classification&library=transformers", {"b"}),
        ("author=nobody", set()),
    ],
)
def test_each_filter_narrows_the_listing(
    hub: LocalHub, tmp_path: Path, question: str, found: set[str]
) -> None:
    cards = {
        "a": "library_name: transformers\npipeline_tag: fill-mask\ntags: [en]",
        "b": "library_name: transformers\npipeline_tag: text-classification",
        "c": "library_name: timm\npipeline_tag: text-classification\ntags: [en, news]",
    }
    for name, card in cards.items():
        hub.push(f"org/{name}", folder(tmp_path, name, card))
    assert set(names(f"hf://?{question}")) == {f"org/{name}" for name in found}


def test_sort_is_the_hub_s_order(hub: LocalHub, tmp_path: Path) -> None:
    for name, downloads in (("a", 5), ("b", 9), ("c", 7)):
        hub.push(f"org/{name}", folder(tmp_path, name))
        hub.repositories[f"org/{name}"].downloads = downloads
    hub.push("org/a", folder(tmp_path, "a2"))
    assert names("hf://org?sort=downloads&limit=2") == ["org/b", "org/c"]
    assert names("hf://org?sort=last_modified") == ["org/a", "org/c", "org/b"]
    assert names("hf://org") == ["org/c", "org/b", "org/a"]


def test_since_lists_what_changed_then_or_later_and_stops_there(
    hub: LocalHub, tmp_path: Path
) -> None:
    for day in range(1, 7):
        made = folder(tmp_path, f"m{day}")
        hub.push(f"org/m{day}", made, moment=datetime(2026, 5, day, 12, tzinfo=UTC))
    hub.page = 2
    assert names("hf://org", datetime(2026, 5, 5, 12, tzinfo=UTC)) == ["org/m6", "org/m5"]
    assert len(hub.requests) == 2
    assert names("hf://org?sort=created_at", datetime(2026, 5, 6)) == ["org/m6"]
    assert names("hf://org/m1", datetime(2026, 5, 2, tzinfo=UTC)) == []


def test_one_model_at_a_branch_a_tag_or_a_commit_is_pinned_to_the_commit(
    hub: LocalHub, tmp_path: Path
) -> None:
    first = hub.push("org/m", folder(tmp_path, "one"))
    second = hub.push("org/m", folder(tmp_path, "two"))
    side = hub.push("org/m", folder(tmp_path, "three"), branch="refs/pr/1")
    hub.repositories["org/m"].tags["v1"] = first
    asked = {"": second, "@main": second, "@v1": first, f"@{first}": first, "@refs/pr/1": side}
    for suffix, commit in asked.items():
        (ref,) = listed(f"hf://org/m{suffix}")
        assert (ref.model, ref.revision) == ("org/m", commit)
        assert ref.location == f"hf://org/m@{commit}"
    reader = HubReader(listed("hf://org/m@v1")[0])
    assert reader.head(listed("hf://org/m@v1")[0].files[1], 99)[0] == b'{"name": "one"}'


def test_only_what_a_model_is_made_of_is_named(hub: LocalHub, tmp_path: Path) -> None:
    made = folder(
        tmp_path,
        "m",
        tokenizer__json=b"{}",
        spiece__model=b"x",
        pytorch_model__bin=b"x",
        modeling__py=b"x",
        other__safetensors=b"x",
    )
    (made / "onnx").mkdir()
    (made / "onnx" / "config.json").write_text("{}")
    (made / "onnx" / "model.safetensors").write_bytes(b"x")
    (made / "onnx" / "spiece.model").write_bytes(b"x")
    hub.push("org/m", made)
    (one,), (many,) = listed("hf://org/m"), listed("hf://org")
    expected = ["README.md", "config.json", "model.safetensors", "spiece.model", "tokenizer.json"]
    assert [file.name for file in one.files] == [file.name for file in many.files] == expected
    sizes = {file.name: file.size for file in one.files}
    assert sizes["model.safetensors"] == 1000
    assert sizes["tokenizer.json"] == 2
    tags = {file.name: file.tag for file in one.files if file.tag}
    assert tags == {
        "model.safetensors": "sha256:"
        + hub.repositories["org/m"].commits[one.revision].files["model.safetensors"].sha256
    }
    # A listing knows names alone.
    assert {file.size for file in many.files} == {-1}


def test_of_two_copies_of_the_weights_one_travels(hub: LocalHub, tmp_path: Path) -> None:
    made = folder(tmp_path, "m", consolidated__safetensors=b"x")
    index = "model.safetensors.index.json"
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name in (index, *shards):
        (made / name).write_bytes(b"{}")
    hub.push("org/whole", made)
    (made / "model.safetensors").unlink()
    hub.push("org/shards", made)
    (made / index).unlink()
    hub.push("org/loose", made)
    weights = {
        ref.model: [file.name for file in ref.files if "safetensors" in file.name]
        for ref in listed("hf://org")
    }
    assert weights == {
        "org/whole": ["model.safetensors"],
        "org/shards": sorted([index, *shards]),
        "org/loose": sorted(["consolidated.safetensors", *shards]),
    }


def test_a_card_declares_and_a_hostile_one_stops_nobody(hub: LocalHub, tmp_path: Path) -> None:
    cards = {
        "good": "base_model: org/base\nlicense: mit\nmodel_name: Good",
        "merged": "base_model: [org/a, org/b]\nlicense: [mit]",
        # Each of these ends the listing in the client's own parser.
        "x1": "ignore_metadata_errors: true",
        "x2": "self: 1",
        "x3": "tags: 5\nbase_model: {a: b}\nlicense: 7",
    }
    for name, card in cards.items():
        hub.push(f"org/{name}", folder(tmp_path, name, card))
    declared = {ref.model: ref.declared for ref in listed("hf://org")}
    assert declared == {
        "org/good": {"base_model": ["org/base"], "license": "mit", "name": "Good"},
        "org/merged": {"base_model": ["org/a", "org/b"], "license": "mit"},
        "org/x1": {},
        "org/x2": {},
        "org/x3": {},
    }
    assert listed("hf://org/x1")[0].problem is None


def test_a_repository_that_holds_no_readable_model_is_listed_with_the_reason(
    hub: LocalHub, tmp_path: Path
) -> None:
    for name in ("no-config", "no-weights", "good"):
        made = folder(tmp_path, name, pytorch_model__bin=b"x")
        if name == "no-config":
            (made / "config.json").unlink()
        if name == "no-weights":
            (made / "model.safetensors").unlink()
        hub.push(f"org/{name}", made)
    found = {ref.model: ref for ref in listed("hf://org")}
    assert found["org/good"].problem is None
    for name, missing in (("no-config", "config.json"), ("no-weights", "safetensors")):
        ref = found[f"org/{name}"]
        assert isinstance(ref.problem, UnsupportedModel)
        assert missing in ref.problem.reason
        assert len(ref.revision) == 40


def test_models_that_cannot_be_had_are_rows_with_a_reason_and_stop_no_other(
    hub: LocalHub, tmp_path: Path
) -> None:
    for name in ("good", "gated", "private", "disabled"):
        hub.push(f"org/{name}", folder(tmp_path, name))
    hub.repositories["org/gated"].gated = True
    hub.repositories["org/private"].private = True
    hub.repositories["org/disabled"].disabled = True
    hub.repositories["org/empty"] = Repository()
    found = {ref.model: ref for ref in listed("hf://org")}
    # A listing keeps silent about private models, and an empty repository has no commit to list.
    assert set(found) == {"org/good", "org/gated", "org/disabled"}
    assert found["org/good"].problem is None
    assert "is gated" in problem(found["org/gated"]).reason
    assert "was disabled" in problem(found["org/disabled"]).reason
    reasons = {
        "hf://org/gated": "the model is gated: ask for access on its page",
        "hf://org/disabled": "the model was disabled",
        "hf://org/private": "the model does not exist (any more) or is private: check the name",
        "hf://org/deleted": "the model does not exist (any more) or is private",
        "hf://org/empty": "no revision",
        "hf://org/good@gone": "the model has no revision 'gone' (any more)",
    }
    for uri, reason in reasons.items():
        (ref,) = listed(uri)
        assert isinstance(ref.problem, UnavailableModel), uri
        assert reason in ref.problem.reason


def test_a_token_opens_what_it_may_and_says_so_where_it_may_not(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open", "shut"):
        hub.push(f"org/{name}", folder(tmp_path, name))
        hub.repositories[f"org/{name}"].gated = True
    hub.push("org/secret", folder(tmp_path, "secret"))
    hub.repositories["org/secret"].private = True
    hub.tokens = {TOKEN: {"org/open", "org/secret"}}
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    found = {ref.model: ref for ref in listed("hf://org")}
    assert set(found) == {"org/open", "org/shut", "org/secret"}
    assert len(hub.requests) == 1
    for name in ("open", "secret"):
        ref = found[f"org/{name}"]
        assert ref.problem is None
        assert HubReader(ref).head(ref.files[1], 5)[0] == b'{"nam'
    # A listing does not say whether this token opens a gated model: reading it does, and so does asking for it alone.
    shut = found["org/shut"]
    with pytest.raises(UnavailableModel, match="the model is gated"):
        HubReader(shut).head(shut.files[0], 5)
    assert "is gated" in problem(listed("hf://org/shut")[0]).reason
    assert listed("hf://org/open")[0].problem is None


def test_a_renamed_model_is_listed_under_both_names(hub: LocalHub, tmp_path: Path) -> None:
    commit = hub.push("org/old", folder(tmp_path, "m"))
    hub.rename("org/old", "new/name")
    before, after = listed("hf://org/old")
    assert before.model == "org/old"
    assert problem(before).reason == "the model was renamed: crawl hf://new/name"
    assert (after.model, after.revision, after.problem) == ("new/name", commit, None)
    # What was listed under the old name before is read on under it.
    ref = replace(after, location=f"hf://org/old@{commit}")
    assert HubReader(ref).head(ref.files[1], 99)[0] == b'{"name": "m"}'


def test_a_rate_limited_page_is_asked_again_when_the_server_allows(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(hub_http, "sleep", waits.append)
    for number in range(3):
        hub.push(f"org/m{number}", folder(tmp_path, f"m{number}"))
    hub.page = 1
    hub.fail("/api/models", 429, retry_after="7")
    hub.fail("/api/models", 429, ratelimit='"api";r=0;t=55')
    hub.fail("/api/models", 503, times=2)
    assert len(names("hf://org")) == 3
    assert waits[:2] == [7.0, 55.0]
    assert waits[2:] == [0.04, 0.08]
    assert [request.status for request in hub.requests] == [429, 429, 503, 503, 200, 200, 200]


def test_a_listing_that_cannot_go_on_names_the_endpoint_and_the_way_out(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push("org/m", folder(tmp_path, "m"))
    for uri in ("hf://org", "hf://org/m"):
        hub.fail("/api", 503, times=99)
        with pytest.raises(
            SourceError, match=r"answers HTTP 503, 6 times in a row: check HF_END"
        ) as error:
            listed(uri)
        assert hub.endpoint in str(error.value)
        hub.heal()
        hub.fail("/api", 429, retry_after="3600")
        with pytest.raises(SourceError, match="asks to wait 3,600 s, more than 300 s"):
            listed(uri)
        hub.heal()
        hub.fail("/api", 400)
        with pytest.raises(SourceError, match="with HTTP 400"):
            listed(uri)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"http://127.0.0.1:9 does not answer \(ConnectError\)"):
        listed("hf://org")


def test_an_answer_that_is_no_hub_s_is_said_to_be_none(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fail("/api/models$", 200)
    with pytest.raises(SourceError, match="no JSON: is it a Hub"):
        listed("hf://org")
    monkeypatch.setenv("HF_ENDPOINT", "ftp://somebody:secret@host")
    with pytest.raises(ValueError, match="HF_ENDPOINT is not of the form") as error:
        listed("hf://org")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_mode_is_named_and_nothing_is_asked(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ValueError, match=f"{name} forbids asking it: unset {name}"):
        listed("hf://org")
    assert hub.requests == []


def test_a_process_of_its_own_asks_for_the_pages_and_for_nothing_else(
    hub: LocalHub, tmp_path: Path
) -> None:
    hub.push("org/m", folder(tmp_path, "m"))
    # The client reads HF_ENDPOINT when it is imported, and would report what runs it to that.
    script = "from provray.sources import open_source; print(len(list(open_source('hf://org').models())))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert [request.path for request in hub.requests] == ["/api/models"]


def test_the_token_is_sent_and_never_shown(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    hub.push("org/m", folder(tmp_path, "m"))
    hub.tokens = {TOKEN: set()}
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (ref,) = listed("hf://org/m")
    assert all(request.authorized for request in hub.requests)
    reader = HubReader(ref)
    shown = [repr(reader), repr(ref), repr(hub_http.current_hub()), repr(HubSource("hf://org"))]
    hub.fail("/resolve/", 503, times=99)
    with pytest.raises(UnavailableModel) as given_up:
        reader.head(ref.files[0], 5)
    hub.heal()
    # Another token, that nobody gave out: the listing fails, and so does the reading of what was listed.
    hub.tokens = {}
    with pytest.raises(SourceError, match="refuses the token: set HF_TOKEN") as refused:
        listed("hf://org")
    with pytest.raises(UnavailableModel, match="the token is refused") as unreadable:
        reader.head(ref.files[0], 5)
    shown += [
        f"{error.value!r} {error.getrepr(style='long', showlocals=False)}"
        for error in (given_up, refused, unreadable)
    ]
    assert TOKEN not in "\n".join(shown) + caplog.text
    monkeypatch.delenv("HF_TOKEN")
    listed("hf://org")
    assert not hub.requests[-1].authorized
