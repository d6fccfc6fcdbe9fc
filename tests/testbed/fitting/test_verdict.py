"""The files that verdicts are calibrated by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from provray.ancestry.calibration import read_calibration
from provray.ancestry.direction_cues import MARKS
from provray.testbed.fitting.verdict import COMMAND, Evidence, fit, write_shipped


def test_what_is_written_is_what_was_fitted_on_both_folds(
    evidence: Evidence, tmp_path: Path
) -> None:
    paths = write_shipped(evidence, tmp_path)
    assert [p.name for p in paths] == ["calibration.safetensors", "direction.safetensors"]
    made, read = fit(evidence), read_calibration(paths[0])
    assert read.facts == {"command": COMMAND, "data": evidence.digest, "models": "112"}
    assert set(read.coefficients) == set(made.coefficients)
    for pattern, weights in made.coefficients.items():
        assert np.array_equal(read.coefficients[pattern], weights)
    assert set(read.nulls) == set(made.nulls)
    for key, null in made.nulls.items():
        assert read.nulls[key].limit(0.001) == null.limit(0.001)
        assert (read.nulls[key].pairs, read.nulls[key].families) == (null.pairs, null.families)
    assert load_file(paths[1])["marks"].shape == (len(MARKS),)
