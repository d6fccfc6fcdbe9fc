"""The job on real models: all-MiniLM-L6-v2 and MobileNetV2, children made of them, and a look-alike that is no kin.

The models come from packages and minutes of training; they are kept in `.cache/` beside the tests and made once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provray.crawl.ask import Asker, Reply
from provray.crawl.crawl import crawl
from provray.crawl.settings import PoolSettings
from provray.index.table import FingerprintTable
from provray.sources import open_source
from provray.testbed.studies import build_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

MINILM_CHILDREN = (
    "minilm-mild",
    "minilm-harsh",
    "minilm-newhead",
    "minilm-encoder",
    "minilm-pruned50",
    "minilm-int8",
)
MOBILENET_CHILDREN = ("mobilenet-photos", "mobilenet-pruned50", "mobilenet-int8")
POOL = PoolSettings(workers=2)


@pytest.fixture(scope="session")
def zoo() -> Path:
    folder = Path(__file__).parents[1] / ".cache" / "real-zoo"
    build_study("real", folder, workers=2)
    return folder


@pytest.fixture(scope="session")
def asker(
    zoo: Path, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asker]:
    index = tmp_path_factory.mktemp("real") / "index"
    report = crawl([open_source(str(zoo / "indexed"))], FingerprintTable.create(index), pool=POOL)
    assert report.statuses == {"ok": 3}, report.failures
    with Asker(index, pool=POOL) as opened:
        yield opened


@pytest.fixture(scope="session")
def replies(asker: Asker, zoo: Path) -> dict[str, Reply]:
    asked: dict[str, Reply] = {}
    for name in ("minilm-copy", *MINILM_CHILDREN, *MOBILENET_CHILDREN):
        asked[name] = asker.ask(str(zoo / "held_out" / name))
    return asked


def test_the_renamed_copy_is_a_copy(replies: dict[str, Reply]) -> None:
    answer = replies["minilm-copy"].answer
    assert answer.verdict == "copy"
    assert [a.model for a in answer.ancestors] == ["minilm"]


@pytest.mark.parametrize("child", MINILM_CHILDREN)
def test_children_of_minilm_name_it_and_never_the_look_alike(
    child: str, replies: dict[str, Reply]
) -> None:
    answer = replies[child].answer
    assert answer.verdict == "ancestor"
    assert [a.model for a in answer.ancestors] == ["minilm"]
    assert answer.candidates[0].model == "minilm"


@pytest.mark.parametrize("child", MOBILENET_CHILDREN)
def test_children_of_mobilenet_name_it(child: str, replies: dict[str, Reply]) -> None:
    answer = replies[child].answer
    assert answer.verdict == "ancestor"
    assert [a.model for a in answer.ancestors] == ["mobilenet_v2"]


@pytest.mark.parametrize("model", ["minilm", "mpnet"])
def test_look_alikes_are_not_named_each_others_ancestor(
    model: str, asker: Asker, zoo: Path
) -> None:
    """Both were trained on the same pairs for the same objective; they behave alike and share nothing."""
    answer = asker.ask(str(zoo / "indexed" / model)).answer
    assert answer.verdict in ("related", "none")
    assert answer.ancestors == ()
    other = next(c for c in answer.candidates if c.model in ("minilm", "mpnet"))
    assert other.scores.weights is not None
    assert abs(other.scores.weights) < 0.2
    assert not other.shares
    assert "shares weights" not in answer.says


@pytest.mark.parametrize("child", ["minilm-copy", "minilm-int8", "minilm-pruned50"])
def test_no_child_is_told_to_share_weights_with_its_parents_look_alike(
    child: str, replies: dict[str, Reply]
) -> None:
    sharing = [c.model for c in replies[child].answer.candidates if c.shares]
    assert sharing == ["minilm"]


@pytest.mark.parametrize(
    ("child", "relation"),
    [("minilm-int8", "quantised"), ("minilm-pruned50", "pruned"), ("minilm-newhead", "new head")],
)
def test_what_was_done_to_a_child_is_guessed(
    child: str, relation: str, replies: dict[str, Reply]
) -> None:
    assert replies[child].answer.ancestors[0].relation == relation
