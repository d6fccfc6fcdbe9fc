"""The judgement on two axes: what makes an ancestor, what only makes a look-alike, and how candidates are ordered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.snapshot import Snapshot, open_snapshot
from provray.ancestry.verdict import Thresholds, copies, judge
from provray.fingerprints.sketch import unit
from provray.fingerprints.space import SpaceMismatch
from provray.index.row import Row
from provray.index.table import FingerprintTable

WEIGHTS, DNA, GIF = "weights-space", "dna-space", "gif-space"
DEPTHS = ("0", "1/6", "1/3", "1/2", "2/3", "5/6", "1")
READOUTS = (*(f"noise@{d}" for d in DEPTHS), "mixed@1", "mixed@probabilities")
GENERATOR = np.random.default_rng(5)


def direction(dimensions: int = 256) -> np.ndarray:
    return unit(GENERATOR.standard_normal(dimensions))


def near(vector: np.ndarray, cosine: float) -> np.ndarray:
    """A unit vector at this cosine from another."""
    other = direction(vector.size)
    other = unit(other - (other @ vector) * vector)
    return cosine * vector + np.sqrt(1 - cosine**2) * other


class Made:
    """A model made of directions: its weights, and one per readout."""

    def __init__(self, name: str, weights: np.ndarray, behaviour: dict[str, np.ndarray]) -> None:
        self.name, self.weights, self.behaviour = name, weights, behaviour

    @classmethod
    def fresh(cls, name: str) -> Made:
        return cls(name, direction(1024), {readout: direction() for readout in READOUTS})

    def child(self, name: str, weights: float, behaviour: float) -> Made:
        return Made(
            name,
            near(self.weights, weights),
            {readout: near(v, behaviour) for readout, v in self.behaviour.items()},
        )

    def rows(self) -> list[Row]:
        def row(kind: str, space: str, readouts: tuple[str, ...], vectors: np.ndarray) -> Row:
            return Row(
                model=self.name,
                revision=f"r-{self.name}",
                kind=kind,
                space=space,
                modality="image",
                weights_digest=f"d-{self.name}" if kind == "weights" else "",
                readouts=readouts,
                vectors=vectors.astype(np.float32),
            )

        dna = np.stack([self.behaviour[r] for r in READOUTS])
        gif = self.behaviour["mixed@1"]
        return [
            row("weights", WEIGHTS, ("weights",), self.weights[None]),
            row("dna", DNA, READOUTS, dna),
            row("gif", GIF, ("mixed@feature_norm",), np.concatenate([gif, gif])[None] / np.sqrt(2)),
        ]

    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self.name, f"r-{self.name}", *self.rows())


BASE = Made.fresh("lab/base")
SIBLING = BASE.child("shop/sibling", weights=0.98, behaviour=0.9)
STRANGERS = [Made.fresh(f"far/{i}") for i in range(20)]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    root = tmp_path_factory.mktemp("index")
    table = FingerprintTable.create(root)
    table.append([row for made in (BASE, SIBLING, *STRANGERS) for row in made.rows()])
    return open_snapshot(root, [WEIGHTS, DNA, GIF])


def test_a_child_names_its_parent_before_its_sibling(snapshot: Snapshot) -> None:
    suspect = BASE.child("who/knows", weights=0.97, behaviour=0.5).fingerprint()
    answer = judge(suspect, snapshot)
    assert answer.verdict == "ancestor"
    assert [a.model for a in answer.ancestors] == ["lab/base", "shop/sibling"]
    assert {e.axis for e in answer.ancestors[0].evidence if e.decided} >= {"weights"}


def test_alike_behaviour_without_shared_weights_is_related_and_names_nobody(
    snapshot: Snapshot,
) -> None:
    """Its lower layers are another's: only outputs agree, as a thief's or a look-alike's do."""
    alike = {r: near(v, 0.8 if r in ("noise@1", "mixed@1", "mixed@probabilities") else 0.3)
             for r, v in BASE.behaviour.items()}  # fmt: skip
    suspect = Made("who/knows", direction(1024), alike).fingerprint()
    answer = judge(suspect, snapshot)
    assert answer.verdict == "related"
    assert answer.ancestors == ()
    assert answer.candidates[0].model == "lab/base"
    assert answer.candidates[0].behaves_alike


def test_a_permuted_child_is_found_by_its_depth_profile(snapshot: Snapshot) -> None:
    """Permuting neurons changes every weight's place and nothing a layer computes."""
    same = {r: near(v, 0.97) for r, v in BASE.behaviour.items()}
    answer = judge(Made("who/knows", direction(1024), same).fingerprint(), snapshot)
    assert answer.verdict == "ancestor"
    assert answer.ancestors[0].model == "lab/base"


def test_a_stranger_has_no_ancestor(snapshot: Snapshot) -> None:
    answer = judge(Made.fresh("who/knows").fingerprint(), snapshot, top_k=5)
    assert answer.verdict == "none"
    assert answer.ancestors == ()
    assert len(answer.candidates) == 5


def test_thresholds_decide(snapshot: Snapshot) -> None:
    suspect = BASE.child("who/knows", weights=0.6, behaviour=0.3).fingerprint()
    assert judge(suspect, snapshot).verdict == "ancestor"
    assert judge(suspect, snapshot, thresholds=Thresholds(weights=0.7)).verdict == "none"


def test_who_is_left_out_is_not_named(snapshot: Snapshot) -> None:
    suspect = BASE.child("who/knows", weights=0.97, behaviour=0.5).fingerprint()
    answer = judge(suspect, snapshot, leave_out=["lab/base"])
    assert [a.model for a in answer.ancestors] == ["shop/sibling"]


def test_equal_digests_are_copies(snapshot: Snapshot) -> None:
    assert snapshot.same_weights("d-lab/base") == ("lab/base",)
    assert snapshot.same_weights("") == ()
    answer = copies(BASE.fingerprint(), snapshot, ["lab/base"])
    assert answer.verdict == "copy"
    assert answer.ancestors[0].relation == "copy"


def test_another_space_is_an_error_not_a_low_score(snapshot: Snapshot) -> None:
    rows = [r for r in BASE.rows() if r.kind == "weights"]
    suspect = Fingerprint("x", "y", Row(**{**vars(rows[0]), "space": "weights-other"}))
    with pytest.raises(SpaceMismatch, match="weights-other"):
        judge(suspect, snapshot)


def test_an_index_without_these_spaces_is_an_error(snapshot: Snapshot) -> None:
    with pytest.raises(SpaceMismatch, match="holds nothing in the spaces"):
        open_snapshot(snapshot.table.root, ["weights-other"])


def test_a_deleted_or_damaged_cache_is_rebuilt(snapshot: Snapshot) -> None:
    root = snapshot.table.root
    suspect = BASE.child("who/knows", weights=0.97, behaviour=0.5).fingerprint()
    expected = judge(suspect, snapshot)

    def asked() -> list[tuple[str, float]]:
        again = judge(suspect, open_snapshot(root, [WEIGHTS, DNA, GIF]))
        return [(c.model, c.score) for c in again.candidates]

    wanted = [(c.model, c.score) for c in expected.candidates]
    assert asked() == wanted
    (folder,) = (root / "cache").iterdir()
    damaged = folder / "weights.faiss"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(bytes(content))
    assert asked() == wanted
    assert damaged.read_bytes() != bytes(content)
    for file in Path(folder).iterdir():
        file.unlink()
    assert asked() == wanted
    assert damaged.is_file()
