"""Settings and the spaces they make: the same name for ever, another name for anything that differs."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from provray.fingerprints.settings import (
    DnaSettings,
    FingerprintSettings,
    GifSettings,
    WeightsSettings,
)
from provray.fingerprints.space import (
    SpaceMismatch,
    behaviour_space,
    require_same,
    weights_space,
)

DIGEST = "ab" * 32
# Written out, so that a change of defaults moves models to another space without failing here.
FIXED = FingerprintSettings(
    WeightsSettings(
        dimensions=1024, min_elements=64, size_power=0.125, min_bias_elements=8, bias_power=0.5
    ),
    DnaSettings(dimensions=256, depths=(0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0)),
    GifSettings(dimensions=512, steps=8, points=4, stratum="mixed", probes=48),
)


def _ids(settings: FingerprintSettings) -> dict[str, str]:
    return {
        "weights": weights_space(settings).id,
        "dna": behaviour_space("dna", settings, "image", DIGEST).id,
        "gif": behaviour_space("gif", settings, "image", DIGEST).id,
    }


def test_space_ids_are_frozen() -> None:
    assert weights_space(FIXED).id == "weights-b0201c58f63d6a75"
    assert behaviour_space("dna", FIXED, "image", DIGEST).id == "dna-072e169677775230"
    assert behaviour_space("gif", FIXED, "text", DIGEST).id == "gif-98d8856f586ab7ae"


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("weights", {"dimensions": 256}),
        ("weights", {"min_elements": 65}),
        ("weights", {"size_power": 0.25}),
        ("weights", {"min_bias_elements": 9}),
        ("weights", {"bias_power": 0.25}),
        ("weights", {"sample": 1}),
        ("dna", {"dimensions": 128}),
        ("dna", {"depths": (0.0, 1.0)}),
        ("dna", {"depths": (0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 0.99)}),
        ("gif", {"dimensions": 256}),
        ("gif", {"steps": 16}),
        ("gif", {"points": 2}),
        ("gif", {"stratum": "noise"}),
        ("gif", {"probes": 49}),
    ],
)
def test_any_setting_makes_another_space_of_its_kind_and_of_no_other(
    kind: str, change: dict[str, Any]
) -> None:
    before = _ids(FIXED)
    changed = replace(FIXED, **{kind: replace(getattr(FIXED, kind), **change)})
    after = _ids(changed)
    assert {k for k in before if before[k] != after[k]} == {kind}


def test_behaviour_spaces_differ_by_kind_modality_and_probes() -> None:
    ids = {
        behaviour_space(kind, FIXED, modality, probes).id
        for kind in ("dna", "gif")
        for modality in ("image", "text")
        for probes in (DIGEST, "cd" * 32)
    }
    assert len(ids) == 8


def test_equal_settings_make_one_space() -> None:
    again = replace(FIXED, dna=replace(FIXED.dna))
    assert _ids(again) == _ids(FIXED)


def test_settings_cannot_be_changed_after_they_named_a_space() -> None:
    with pytest.raises(FrozenInstanceError):
        FIXED.dna.dimensions = 8  # type: ignore[misc]


def test_two_spaces_are_an_error_that_names_both() -> None:
    require_same("dna-1", "dna-1", what="dna")
    with pytest.raises(SpaceMismatch, match=r"dna of a and b.*dna-1.*dna-2"):
        require_same("dna-1", "dna-2", what="dna of a and b")


@pytest.mark.parametrize("dimensions", [0, 1, 3, 500, -8])
def test_sketch_lengths_are_powers_of_two(dimensions: int) -> None:
    with pytest.raises(ValueError, match=str(dimensions)):
        WeightsSettings(dimensions=dimensions)
    with pytest.raises(ValueError, match=str(dimensions)):
        GifSettings(dimensions=dimensions)


@pytest.mark.parametrize(("points", "steps"), [(0, 8), (9, 8), (3, 8), (16, 8), (-1, 8)])
def test_gif_points_divide_its_steps(points: int, steps: int) -> None:
    with pytest.raises(ValueError, match=f"{points} points of {steps} steps"):
        GifSettings(points=points, steps=steps)
