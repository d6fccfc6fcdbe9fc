"""The cache that `huggingface_hub` itself filled, from a hub on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download

from provray.sources import open_source
from provray.sources.folder import changed_since
from provray.testbed.local_hub import LocalHub
from tests.models import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny.save(tmp_path / "model", tiny.build("bert"))
    (tmp_path / "model" / "README.md").write_text("---\nbase_model: org/base\n---\n")
    return tmp_path / "model"


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub() as running:
        yield running


def _download(hub: LocalHub, cache: Path, name: str, files: Path, revision: str = "main") -> Path:
    """The cache's snapshot of a model, fetched file by file."""
    found = [
        hf_hub_download(name, path.name, revision=revision, cache_dir=cache, endpoint=hub.endpoint)
        for path in files.iterdir()
    ]
    return Path(found[0]).parent


def test_a_downloaded_model_has_the_name_and_the_commit_that_the_hub_gave_it(
    hub: LocalHub, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.push("org/bert", model)
    cache = tmp_path / "hub"
    _download(hub, cache, "org/bert", model)
    (ref,) = open_source(f"hf-cache://{cache}").models()
    assert (ref.model, ref.revision, ref.problem) == ("org/bert", commit, None)
    assert ref.declared["base_model"] == ["org/base"]
    assert not ref.remote
    assert changed_since(ref) is None
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    assert list(open_source("hf-cache://").models()) == [ref]


def test_main_is_taken_of_several_revisions_and_the_newest_where_there_is_no_main(
    hub: LocalHub, model: Path, tmp_path: Path
) -> None:
    old = hub.push("org/bert", model)
    (model / "README.md").write_text("---\nbase_model: org/other\n---\n")
    new = hub.push("org/bert", model)
    cache = tmp_path / "hub"
    _download(hub, cache, "org/bert", model)
    _download(hub, cache, "org/bert", model, old)
    (ref,) = open_source(f"hf-cache://{cache}").models()
    assert ref.revision == new
    pinned = tmp_path / "pinned"
    _download(hub, pinned, "org/bert", model, old)
    (ref,) = open_source(f"hf-cache://{pinned}").models()
    assert ref.revision == old


def test_what_holds_no_checkpoint_is_left_out_and_what_is_damaged_is_a_problem(
    hub: LocalHub, model: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "hub"
    hub.push("org/bert", model)
    snapshot = _download(hub, cache, "org/bert", model)
    (model / "model.safetensors").unlink()
    hub.push("org/card-only", model)
    _download(hub, cache, "org/card-only", model)
    (cache / "models--org--scratch" / "snapshots").mkdir(parents=True)
    assert [ref.model for ref in open_source(f"hf-cache://{cache}").models()] == ["org/bert"]
    (snapshot / "model.safetensors").resolve().unlink()
    (ref,) = open_source(f"hf-cache://{cache}").models()
    assert ref.model == "org/bert"
    assert ref.problem is not None
    assert "model.safetensors" in ref.problem.reason


def test_only_what_changed_since(hub: LocalHub, model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    hub.push("org/bert", model)
    _download(hub, cache, "org/bert", model)
    uri = f"hf-cache://{cache}"
    past, future = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2090))
    assert len(list(open_source(uri, past).models())) == 1
    assert list(open_source(uri, future).models()) == []


def test_a_cache_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no cache of huggingface_hub"):
        open_source(f"hf-cache://{tmp_path / 'nowhere'}")
