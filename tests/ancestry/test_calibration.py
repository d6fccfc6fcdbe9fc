"""The calibration file: what is written is read, and what ships says what it was made from."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from provray.ancestry.calibration import (
    Calibration,
    read_calibration,
    shipped_calibration,
    write_calibration,
)
from provray.ancestry.inheritance import FEATURES, SAME_START, SHARING
from provray.ancestry.null import LEVELS, Null, fit_null
from provray.ancestry.resemblance import READOUTS, THEFT, VICTIM_AWAY


def _null(condition: str, seed: int) -> Null:
    scores = np.random.default_rng(seed).exponential(size=100 + seed)
    null = fit_null(scores, condition=condition, origin="shipped", families=20 + seed)
    assert null is not None
    return null


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = Calibration(
        {"1110": np.array([0.1, 2.0, -3.0, 0.0, 1e-9]), "theft": np.array([1.0, 2.0, 3.0])},
        {("weights", "a b"): _null("a b", 1), ("1110", "c"): _null("c", 2)},
        {"command": "a command", "data": "a digest"},
    )
    write_calibration(made, tmp_path / "c.safetensors")
    read = read_calibration(tmp_path / "c.safetensors")
    assert read.facts == made.facts
    assert read.coefficients.keys() == made.coefficients.keys()
    for key, weights in made.coefficients.items():
        np.testing.assert_array_equal(read.coefficients[key], weights)
    assert read.nulls.keys() == made.nulls.keys()
    for name, null in made.nulls.items():
        got = read.nulls[name]
        np.testing.assert_array_equal(got.quantiles, null.quantiles)
        for field in ("condition", "origin", "pairs", "families", "shape", "scale"):
            assert getattr(got, field) == getattr(null, field), field


def test_log_odds_are_weights_times_features_and_an_intercept() -> None:
    made = Calibration({"11": np.array([2.0, -1.0, 0.5])}, {})
    assert made.log_odds("11", [3.0, 4.0]) == pytest.approx(2.5)
    with pytest.raises(KeyError):
        made.log_odds("10", [3.0, 0.0])


def test_the_shipped_file_is_small_and_says_how_it_was_made() -> None:
    file = resources.files("provray.ancestry") / "data" / "calibration.safetensors"
    assert 0 < len(file.read_bytes()) < 5_000_000
    facts = shipped_calibration().facts
    assert facts["command"].startswith("provray zoo fit")
    assert re.fullmatch("[0-9a-f]{64}", facts["data"])
    assert int(facts["models"]) > 100


def test_the_shipped_nulls_serve_every_score_and_every_pattern() -> None:
    shipped = shipped_calibration()
    patterns = [key for key in shipped.coefficients if key != THEFT]
    assert {"1110", "1111"} <= set(patterns)  # weights alone, and with behaviour
    wanted = {(score, condition) for condition, scores in SHARING.items() for score in scores}
    wanted |= {(key, SAME_START) for key in patterns} | {(THEFT, VICTIM_AWAY)}
    assert set(shipped.nulls) == wanted
    for (_, condition), null in shipped.nulls.items():
        assert (null.origin, null.condition) == ("shipped", condition)
        assert null.pairs >= null.families >= 50
        assert null.quantiles.shape == LEVELS.shape
        assert np.all(np.diff(null.quantiles) >= 0)
        assert null.shape >= 0
        assert null.scale > 0


def test_the_shipped_weights_are_those_of_the_features_that_are_there() -> None:
    shipped = shipped_calibration()
    for key, weights in shipped.coefficients.items():
        if key == THEFT:
            assert weights.shape == (len(READOUTS) + 1,)
            assert np.all(weights[:-1] > 0)
            continue
        assert weights.shape == (len(FEATURES) + 1,)
        there = np.array([digit == "1" for digit in key])
        assert np.all(weights[:-1][~there] == 0)
        assert weights[FEATURES.index("biases")] > 0  # what was learned speaks for what was learned
