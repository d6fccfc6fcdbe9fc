"""Learned DNA learns from the families it is given, and from no other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from provray.ancestry.fingerprint import Fingerprint
from provray.fingerprints.sketch import unit
from provray.index.row import Row
from provray.testbed.fitting.encoder import (
    HARD,
    VARIANTS,
    Encoder,
    Questions,
    contrast,
    gather,
    rehearse,
    similarities,
    train,
)
from provray.testbed.fitting.learned_dna import best_raw, judged, wins, write_page
from provray.testbed.fitting.learned_dna_study import (
    LEARNED,
    WITH_LEARNED,
    beaten,
    compare_all,
    inner_groups,
    question_weights,
)
from provray.testbed.folders import Record
from provray.testbed.scoreboard.cases import Cases, make_cases

DEPTHS = ("0", "1/6", "1/3", "1/2", "2/3", "5/6", "1", "probabilities")
READOUTS = tuple(f"{s}@{d}" for s in ("natural", "mixed", "noise") for d in DEPTHS)
SIZE = 24
#: Where families show; everything else shows the architecture alone, which strangers share.
TELLING = "mixed@probabilities"


def zoo() -> tuple[list[Record], list[Fingerprint]]:
    """Four architectures, a family and a twin of each in either fold, three children a family."""
    draw = np.random.default_rng(7)
    records, fingerprints = [], []
    for kind in range(4):
        shape = draw.normal(size=(len(READOUTS), SIZE))
        for number in range(4):
            own = draw.normal(size=SIZE)
            weights = unit(draw.normal(size=SIZE)).astype(np.float32)
            base = f"digits/net{kind}-{number}"
            for child in ("", ".tuned", ".cut", ".stolen") if number < 2 else ("",):
                record = Record(
                    base + child, "indexed", base, (base,) if child else (), "base",
                    child or "base", "digits", {} if child else {"fold": number % 2}, 0,
                    None, None, None, None, None, 0.0, 0,
                )  # fmt: skip
                if child == ".stolen":
                    record = replace(record, relation="stolen", margin_mixed=0.1)
                vectors = shape + 1.5 * draw.normal(size=shape.shape)
                vectors[READOUTS.index(TELLING)] = own + 0.3 * draw.normal(size=SIZE)
                rows = [
                    Row(base + child, "r", "weights", "weights-0", readouts=("weights",), vectors=weights[None]),
                    Row(
                        base + child, "r", "dna", "dna-0", modality="image", model_type=f"net{kind}",
                        probes="p", readouts=READOUTS,
                        vectors=np.stack([unit(v) for v in vectors]).astype(np.float32),
                    ),
                ]  # fmt: skip
                records.append(record)
                fingerprints.append(Fingerprint(base + child, "r", rows[0], rows[1]))
    return records, fingerprints


def material(
    records: Sequence[Record], fingerprints: Sequence[Fingerprint]
) -> tuple[Cases, Questions]:
    cases = make_cases(records)
    weight = question_weights(records, cases, 0.5)
    return cases, Questions(cases.candidates, cases.asked, cases.true, cases.hard, weight)


def raw(fingerprints: Sequence[Fingerprint]) -> list[dict[str, dict[str, np.ndarray]]]:
    return [
        {"p": {f"dna {n}": v for n, v in zip(f.dna.readouts, f.dna.vectors, strict=True)}}
        for f in fingerprints
        if f.dna is not None
    ]


def test_hard_negatives_count_more() -> None:
    similar = torch.tensor([[1.0, 0.0, 0.0, 5.0]])
    asked = torch.tensor([[True, True, True, False]])
    true = torch.tensor([[True, False, False, False]])
    hard = torch.tensor([[False, True, False, False]])
    loss = contrast(similar, asked, true, hard, torch.ones(1))
    assert float(loss) == pytest.approx(-np.log(np.e / (np.e + HARD + 1)), rel=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_vector_has_unit_norm_and_ignores_what_is_missing(variant: str) -> None:
    _, fingerprints = zoo()
    held = raw(fingerprints)
    del held[1]["p"]["dna mixed@probabilities"]
    sketches = gather(held)
    encoder = Encoder(variant, sketches)
    vectors = encoder("p", sketches.groups["p"])
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(len(held)), atol=1e-5)
    names = sketches.groups["p"]["dna mixed"].readouts
    width = vectors.shape[1] // len(READOUTS)
    at = names.index("dna mixed@probabilities") * width
    assert not vectors[1, at : at + width].any()  # the stratum `mixed` comes first
    assert vectors[0, at : at + width].any()


def test_it_learns_which_readout_tells_families_apart() -> None:
    records, fingerprints = zoo()
    cases, questions = material(records, fingerprints)
    sketches = gather(raw(fingerprints))
    known = cases.of_fold(0)
    found = rehearse(VARIANTS[0], sketches, questions, known, inner_groups(cases.models))
    assert found.steps > 0
    assert found.loss < found.untrained
    assert np.isnan(found.scores[~known]).all()
    encoder = train(VARIANTS[0], sketches, questions, known, found.steps)
    shares = encoder.readout_weights()
    assert max(shares, key=lambda name: shares[name]) == f"dna {TELLING}"
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    score = cases.scores(similarities(encoder, sketches, len(records)))
    asked = cases.descended & ~known
    plain = train(VARIANTS[0], sketches, questions, known, 0)
    before = cases.scores(similarities(plain, sketches, len(records)))
    assert np.nanmean(beaten(score, cases)[asked]) > np.nanmean(beaten(before, cases)[asked])
    with pytest.raises(ValueError, match="no model with an ancestor"):
        train(VARIANTS[0], sketches, questions, known & ~cases.descended, 1)


def test_no_fit_depends_on_the_fold_it_is_scored_on(tmp_path: Path) -> None:
    records, fingerprints = zoo()
    cases, _ = material(records, fingerprints)
    found = compare_all(records, cases, fingerprints, 0.5, VARIANTS[:1])
    draw = np.random.default_rng(1)
    changed = []
    for number, fingerprint in enumerate(fingerprints):
        row = fingerprint.dna
        assert row is not None
        if cases.folds[number] == 0:
            row = replace(row, vectors=draw.normal(size=row.vectors.shape).astype(np.float32))
        changed.append(replace(fingerprint, dna=row))
    again = compare_all(records, cases, changed, 0.5, VARIANTS[:1])
    kept = [replace(fit, seconds=0) for fit in found.fits]
    other = [replace(fit, seconds=0) for fit in again.fits]
    assert kept[0].scored == 0
    assert kept[0] == other[0]
    assert kept[1] != other[1]
    assert found.cells[LEARNED]["theft"].first.count == 8
    assert found.cells[LEARNED]["white-box"].first.value > 0.8
    assert f"{WITH_LEARNED} against fusion without weights" in found.gains
    assert again.cells[LEARNED]["all"].first.value < found.cells[LEARNED]["all"].first.value
    for group in judged(found):  # nothing can be gained over a raw score that names every parent
        raw = found.cells[best_raw(found, group)][group]
        assert not (raw.first.value == 1 and raw.hard.value == 1 and wins(found, group))
    write_page(tmp_path, {"toy probes": found}, "a toy zoo")
    page = (tmp_path / "learned-dna.md").read_text(encoding="utf-8")
    assert all(f"On toy probes, {group}: learned DNA" in page for group in ("white-box", "theft"))
    assert json.loads((tmp_path / "learned-dna.json").read_text())["zoo"] == "a toy zoo"


def test_twins_controls_and_starts_are_left_out_with_their_family() -> None:
    names = (
        "fashion/vit-0",
        "fashion/vit-2",
        "fashion/vit-0 start on digits",
        "fashion/vit-1.int4",
    )
    assert len(set(inner_groups(names).tolist())) == 1
    assert len(set(inner_groups((*names, "digits/vit-0")).tolist())) == 2


def test_each_family_counts_once() -> None:
    records, fingerprints = zoo()
    cases, questions = material(records, fingerprints)
    for family in np.unique(cases.families[cases.descended]):
        assert questions.weight[cases.families == family].sum() == pytest.approx(1)
    thieves = [r.relation == "stolen" for r in records]
    alone = question_weights(records, cases, 1.0)
    assert not alone[~np.array(thieves)].any()
