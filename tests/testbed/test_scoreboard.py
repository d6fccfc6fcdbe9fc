"""The scoreboard asks fair questions and counts right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from provray.ancestry.calibration import shipped_calibration
from provray.ancestry.verdict import judge
from provray.crawl.reading import read_index
from provray.index.table import FingerprintTable
from provray.testbed.fitting.pairs import THEFT, make_pairs
from provray.testbed.folders import Record
from provray.testbed.scoreboard import board, metrics
from provray.testbed.scoreboard.cases import Cases, make_cases
from provray.testbed.scoreboard.metrics import auc, share, threshold_at
from provray.testbed.scoreboard.parts import SHARED_VALUES
from provray.testbed.scoreboard.report import score_order, write_board
from provray.testbed.scoreboard.verdict_score import log_odds
from provray.testbed.zoo import build_zoo, zoo_items


def record(model: str, parents: tuple[str, ...] = (), fold: int = 0, **more: object) -> Record:
    settings = {} if parents else {"fold": fold}
    base = Record(
        model, "indexed", model, parents, "base", "base", "digits", settings, 0,
        None, None, None, None, None, 0.0, 0,
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def little_zoo() -> list[Record]:
    return [
        record("digits/a-0"),
        record("digits/a-1", fold=1),
        record("digits/a-2"),
        record("fashion/b-0", data="fashion"),
        record("news/t-0", data="news"),
        record("digits/a-0.tuned", ("digits/a-0",), relation="fine-tune", method="fine-tune"),
        record("digits/a-0.cut", ("digits/a-0.tuned",), relation="pruned", method="prune-60"),
        record("digits/a-0.both", ("digits/a-0", "digits/a-2"), method="ensemble"),
        record("digits/a-1.tuned", ("digits/a-1",), relation="fine-tune", method="fine-tune"),
    ]


def row(cases: Cases, model: str) -> dict[str, tuple[bool, bool, bool]]:
    at = cases.models.index(model)
    return {
        cases.models[c]: (
            bool(cases.asked[at, n]),
            bool(cases.true[at, n]),
            bool(cases.hard[at, n]),
        )
        for n, c in enumerate(cases.candidates)
    }


def test_questions_stay_within_fold_and_modality() -> None:
    cases = make_cases(little_zoo())
    asked = row(cases, "digits/a-0.cut")
    assert asked["digits/a-0"] == (True, True, False)  # a grandparent is an ancestor
    assert asked["digits/a-2"] == (True, False, True)  # the twin is the hard stranger
    assert asked["fashion/b-0"] == (True, False, False)
    assert asked["digits/a-1"] == (False, False, False)  # the other fold
    assert asked["news/t-0"] == (False, False, False)  # texts
    assert row(cases, "digits/a-0.both")["digits/a-2"] == (True, True, False)
    assert row(cases, "digits/a-0")["digits/a-0"] == (False, False, False)
    assert cases.descended.tolist() == [False] * 5 + [True] * 4
    assert cases.folds[cases.models.index("digits/a-1.tuned")] == 1


def test_a_zoo_without_folds_or_children_is_refused() -> None:
    with pytest.raises(ValueError, match="no fold"):
        make_cases([record("digits/a-0", settings={})])
    with pytest.raises(ValueError, match="nothing can be asked"):
        make_cases([record("digits/a-0"), record("digits/a-1")])


def test_auc_is_the_area_under_the_curve() -> None:
    draw = np.random.default_rng(0)
    positive, negative = draw.normal(1, 1, 60).round(1), draw.normal(0, 1, 90).round(1)
    families = draw.integers(0, 5, 60), draw.integers(0, 7, 90)
    found = auc(positive, families[0], negative, families[1])
    truth = roc_auc_score([1] * 60 + [0] * 90, np.concatenate([positive, negative]))
    assert found.value == pytest.approx(truth)
    assert found.low < truth < found.high
    assert found.count == 60


def test_intervals_are_over_families() -> None:
    # one family always right, one always wrong: a hundred questions are two observations
    hits = np.repeat([True, False], 50)
    found = share(hits, np.repeat([4, 9], 50))
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    many = share(np.tile([True, False], 50), np.arange(100))
    assert 0.38 < many.low < 0.45 < 0.55 < many.high < 0.62
    assert np.isnan(share(np.array([], bool), np.array([], np.intp)).value)


def test_a_threshold_lets_the_asked_share_pass() -> None:
    scores = np.random.default_rng(2).permutation(np.arange(1000.0))
    limit = threshold_at(scores, 0.01)
    assert int((scores > limit).sum()) == 10
    assert threshold_at(np.array([]), 0.01) == np.inf


def test_a_perfect_and_a_blind_score() -> None:
    cases = make_cases(little_zoo())
    perfect = np.where(cases.true, 1.0, 0.0)
    perfect[~cases.asked] = -np.inf
    groups = board.method_groups(cases, ["fine-tune", "prune-60", "ensemble"], little_zoo())
    cells = board.score_cells(perfect, cases, groups)
    assert cells["all"].first.value == 1.0
    assert cells["all"].hard.value == 1.0
    assert cells["all"].found.value == 1.0
    assert "theft" not in cells
    blind = np.where(cases.asked, 0.5, -np.inf)
    cells = board.score_cells(blind, cases, groups)
    assert cells["fine-tune"].first.count == 2
    # a tie is no answer; only the child without any rival in its fold is named by default
    assert cells["all"].first.value == 0.25
    assert cells["fine-tune"].hard.value == 0.5


def test_thresholds_come_from_the_other_fold() -> None:
    cases = make_cases(little_zoo())
    score = np.where(cases.asked & ~cases.true, 0.3, 0.0)
    score[cases.folds == 1] = -5.0
    limits = board.thresholds(score, cases)
    assert limits[1] == pytest.approx(0.3)
    assert limits[0] < 0


def test_ranges_are_of_true_ancestors_and_of_strangers() -> None:
    cases = make_cases(little_zoo())
    score = np.where(cases.true, 0.9, 0.2)
    score[~cases.asked] = -np.inf
    score[cases.models.index("digits/a-2"), 0] = 0.6
    found = board.score_ranges(score, cases)
    assert found["fine-tune"] == (0.9, 0.9, 0.9)
    assert found["base"][2] == 0.6
    assert board.fold_limits(score, cases)[1] == pytest.approx(0.6)


def test_plans_hold_what_they_promise() -> None:
    standard = zoo_items("standard")
    assert len(standard) >= 300
    assert len(zoo_items("small")) < 60
    roots = {item.model: item for item in standard if not item.parents}
    for item in roots.values():
        assert item.settings["fold"] in (0, 1)
    starts = [item for item in roots.values() if item.relation == "same start"]
    assert len(starts) >= 40, "a null of common starts rests on them"
    for item in starts:
        began = roots[item.model.split(" start ")[0]]
        assert item.settings["fold"] == began.settings["fold"]
    parents = {item.model: item.parents for item in standard}

    def tops(model: str) -> set[str]:
        above = parents[model]
        return set().union(*(tops(p) for p in above)) if above else {model}

    for item in standard:
        assert len({roots[top].settings["fold"] for top in tops(item.model)}) == 1
    with pytest.raises(ValueError, match="none of small, standard"):
        zoo_items("huge")


@pytest.mark.slow
def test_known_children_outrank_strangers(ray_cluster: None, tmp_path: Path) -> None:
    """`provray zoo build --spec small` and `provray eval`, for real: some forty models trained, crawled and scored."""
    records = build_zoo(tmp_path / "zoo", "small", workers=2)
    assert len(records) == len(zoo_items("small"))
    accuracy = [r.accuracy for r in records if r.relation == "base" and r.accuracy is not None]
    assert min(accuracy) > 0.6
    found = board.evaluate(tmp_path / "zoo", workers=2)
    assert found.failed == ()
    assert found.models == len(records)
    # networks of one start are among the strangers: matrices alone do not tell a pruned child from them
    for score in ("weights", "biases", "lower profile", board.LOGISTIC, board.UNTRAINED):
        cell = found.cells[score]["white-box"]
        assert cell.first.value == 1.0, score
        assert cell.hard.value > 0.95, score
    weights = found.cells["weights"]
    assert weights["white-box"].open.value > 0.9
    assert weights["theft"].open.value < 0.9, "weights cannot know a thief"
    paths = write_board(found, tmp_path / "out", "board", "provray eval zoo")
    stored = json.loads(paths[0].read_text())
    assert stored["cells"]["weights"]["white-box"]["first"][0] == 1.0
    assert all(f"| {name} |" in paths[1].read_text() for name in score_order(found))
    assert paths[2].stat().st_size > 10_000
    _verdicts_hold(tmp_path / "zoo", records)
    again = board.evaluate(tmp_path / "zoo", workers=2)
    assert again.cells["weights"] == found.cells["weights"]
    assert metrics.RESAMPLES == 1000


def _verdicts_hold(zoo: Path, records: list[Record]) -> None:
    """What provray ships, asked about every model of the crawled zoo: it knows the children and accuses no twin."""
    fingerprints = board.zoo_fingerprints(FingerprintTable.open(zoo / "index"), records, [])
    pairs = make_pairs(fingerprints, records)
    away = pairs.comparable & ~pairs.kin
    assert pairs.parts[SHARED_VALUES][pairs.lineal].max() == 1.0
    assert not np.nan_to_num(pairs.parts[SHARED_VALUES][away]).any()
    odds = log_odds(pairs, shipped_calibration())
    assert np.median(odds[pairs.lineal]) > 0 > np.nanmax(odds[away])
    snapshot = read_index(zoo / "index")
    right = 0
    children = [r for r in records if r.parents and r.relation not in THEFT]
    for record, fingerprint in zip(records, fingerprints, strict=True):
        answer = judge(fingerprint, snapshot, leave_out=[record.model])
        named = {c.model for c in answer.ancestors}
        if record in children:
            right += record.parent in named
        else:
            assert not named, f"{record.model} inherits no weights, and its probes are of no domain"
    assert right >= 0.8 * len(children)
