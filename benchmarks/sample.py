"""What a weights fingerprint loses when only a sample of each large tensor is read: `docs/results/sample.{md,json}`.

    python benchmarks/sample.py --out docs/results [--work FOLDER]

Makes some fifty models of known lineage (`sample_models.py`: MiniLM, mpnet and MobileNetV2 with their children, small
trained networks with theirs, strangers), fingerprints all of them with every sample, and scores the same pairs each
time. Needs the packages of `requirements-assets.lock`; some eight minutes and 5 GB of disk, two minutes where FOLDER
holds the models already. One compute thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sample_blocks import choices
from sample_models import REAL, family_of, make_models, sample_items
from sample_report import report

from provray.ancestry.calibration import shipped_calibration
from provray.ancestry.direction import direction
from provray.ancestry.fingerprint import Fingerprint
from provray.ancestry.matrices import score_matrices
from provray.ancestry.relation import guess_relation
from provray.ancestry.relatives import relatives
from provray.crawl.sample_ranges import sample_ranges
from provray.fingerprints.sample import chosen_blocks
from provray.fingerprints.settings import FingerprintSettings, WeightsSettings
from provray.fingerprints.sketch import BLOCK
from provray.fingerprints.space import weights_space
from provray.fingerprints.weights import READOUTS, TensorSource, fingerprint_weights
from provray.index.row import Row
from provray.models.checkpoint import ITEM_BYTES, Checkpoint, TensorEntry, iter_tensor
from provray.models.checkpoint import open_checkpoint as opened
from provray.testbed.build import Item
from provray.testbed.scoreboard import metrics

SAMPLES = (1, 2, 4, 8, 16, 0)
"""Blocks of each tensor; 0 is all of them."""
FDR = 0.05
ROUNDS = 3
SECONDS_A_REQUEST, BYTES_A_SECOND = 0.3, 20e6
"""Of the slow source that requests are counted for."""


def _sources(checkpoint: Checkpoint, sample: int) -> Iterator[TensorSource]:
    for entry in checkpoint.tensors:
        blocks = iter_tensor(entry, BLOCK, chosen_blocks(entry.shape, sample))
        yield TensorSource(entry.name, entry.dtype, entry.shape, blocks)


def fingerprint(folder: Path, model: str, sample: int) -> Fingerprint:
    """The weights fingerprint of a model folder under this sample."""
    settings = WeightsSettings(sample=sample)
    made = fingerprint_weights(_sources(opened(folder), sample), settings)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    row = Row(
        model=model,
        revision="1",
        kind="weights",
        space=weights_space(FingerprintSettings(weights=settings)).id,
        model_type=config["model_type"],
        weights_digest=made.digest,
        readouts=READOUTS,
        vectors=made.vectors,
        tensors=made.marks,
    )
    return Fingerprint(model, "1", weights=row)


@dataclass(frozen=True)
class Truth:
    """What is known of the models, by their place. `pairs`: child and parent. `strangers`: whether two have nothing in
    common; `starts`: whether they have no more than a random start in common. `bases`: models without parents."""

    families: list[str]
    pairs: list[tuple[int, int]]
    strangers: Any
    starts: Any
    bases: list[int]


def truth_of(items: Sequence[Item]) -> Truth:
    """The truth of the models of `sample_items`."""
    places = {item.model: place for place, item in enumerate(items)}
    families = [family_of(item.model) for item in items]
    starts = [family.split(",")[0] for family in families]
    same_family, same_start = (
        np.array([[a == b for b in of] for a in of]) for of in (families, starts)
    )
    return Truth(
        families,
        [(places[item.model], places[p]) for item in items for p in item.parents],
        ~same_start,
        same_start & ~same_family,
        [place for place, item in enumerate(items) if not item.parents],
    )


def score(members: Sequence[Fingerprint], truth: Truth, whole: dict[str, Any]) -> dict[str, Any]:
    """What the fingerprints of one sample say of all pairs. whole: the matrices and words of reading everything, empty
    while that is scored; filled then."""
    matrices = score_matrices(members, {})
    matrices["weights"], matrices["biases"] = (
        np.nan_to_num(matrices[name]) for name in ("weights", "biases")
    )
    children, parents = (np.array(side) for side in zip(*truth.pairs, strict=True))
    numbers = np.unique(truth.families, return_inverse=True)[1]
    in_order = np.array(
        [not members[c].model.endswith((".permuted", ".drop-layer")) for c in children]
    )
    found: dict[str, Any] = {}
    for readout in READOUTS:
        values = matrices[readout]
        true = values[children, parents]
        best = np.array([values[c][truth.strangers[c]].max() for c in children])
        rows, columns = np.nonzero(truth.strangers[children])
        first = [truth.bases[int(values[c, truth.bases].argmax())] for c in children]
        right = np.array(
            [truth.families[b] == truth.families[c] for b, c in zip(first, children, strict=True)]
        )
        found[readout] = {
            "parent": {
                "lowest": true.min(),
                "lowest in order": true[in_order].min(),
                "median": np.median(true),
            },
            "best stranger": best.max(),
            "narrowest margin": (true - best).min(),
            "first": _told(metrics.share(right, numbers[children])),
            "auc": _told(
                metrics.auc(
                    true,
                    numbers[children],
                    values[children[rows], columns],
                    numbers[children[rows]],
                )
            ),
        }
    related = relatives(members, {}, shipped_calibration(), {}, FDR)
    upper = np.triu(np.ones_like(related), 1)
    ways = [direction(members[c], members[p]).said for c, p in truth.pairs]
    words = [guess_relation(members[c], members[p]) for c, p in truth.pairs]
    found["verdict"] = {
        "parents found": _told(metrics.share(related[children, parents], numbers[children])),
        "missed": [
            f"{members[c].model} of {members[p].model}" for c, p in truth.pairs if not related[c, p]
        ],
        "strangers taken for kin": int((related & truth.strangers & upper).sum()),
        "pairs of strangers": int((truth.strangers & upper).sum()),
        "same start taken for kin": int((related & truth.starts & upper).sum()),
        "pairs of one start": int((truth.starts & upper).sum()),
        "direction": {way: ways.count(way) for way in ("ancestor", "descendant", "unknown")},
    }
    identical = [_identical(members[c], members[p]) for c, p in truth.pairs]
    if not whole:
        whole |= {**matrices, "words": words, "identical": identical, "members": members}
    found["against all"] = {
        "cosine moved": {
            readout: {
                "kin": np.abs(matrices[readout] - whole[readout])[children, parents].max(),
                "strangers": np.abs(matrices[readout] - whole[readout])[truth.strangers].max(),
            }
            for readout in READOUTS
        },
        "relation differs": [
            f"{members[c].model}: {now}, not {then}"
            for (c, _), now, then in zip(truth.pairs, words, whole["words"], strict=True)
            if now != then
        ],
        "tensors wrongly identical": sum(
            len(now - then) for now, then in zip(identical, whole["identical"], strict=True)
        ),
        "tensors identical": sum(map(len, whole["identical"])),
        "models with a digest": sum(bool(m.weights and m.weights.weights_digest) for m in members),
        "marks moved": _marks_moved(members, whole["members"]),
    }
    found["shared"] = {
        members[c].model: matrices["shared"][c, p]
        for c, p in truth.pairs
        if members[c].model.endswith((".permuted", ".drop-layer", ".adapter", ".bfloat16"))
    }
    return found


def _told(estimate: metrics.Estimate) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]


def _identical(a: Fingerprint, b: Fingerprint) -> set[str]:
    """Tensors that are told to be bit-identical."""
    ours, theirs = (
        {m.name: m.digest for m in f.weights.tensors} if f.weights else {} for f in (a, b)
    )
    return {name for name, digest in ours.items() if theirs.get(name) == digest}


def _marks_moved(members: Sequence[Fingerprint], whole: Sequence[Fingerprint]) -> dict[str, float]:
    """By how much the mean of a mark over a model's matrices moved, at most over models."""
    moved = {"zeros": 0.0, "distinct": 0.0}
    for sampled, full in zip(members, whole, strict=True):
        if sampled.weights is None or full.weights is None:
            continue
        for mark in moved:
            now, then = (
                np.mean([getattr(m, mark) for m in f.tensors if len(m.shape) > 1])
                for f in (sampled.weights, full.weights)
            )
            moved[mark] = max(moved[mark], float(abs(now - then)))
    return moved


def cost(entries: Sequence[TensorEntry], sample: int) -> dict[str, Any]:
    """Bytes and ranges that a sample reads of a model, and what a slow source would take for them, one by one."""
    spans = [
        s for of in sample_ranges(entries, WeightsSettings(sample=sample)).values() for s in of
    ]
    read = sum(end - begin for begin, end in spans)
    return {
        "bytes": read,
        "ranges": len(spans),
        "slow source": len(spans) * SECONDS_A_REQUEST + read / BYTES_A_SECOND,
    }


def seconds(folder: Path, sample: int) -> float:
    """CPU seconds to read and sketch a model from the page cache, the least of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        fingerprint_weights(_sources(opened(folder), sample), WeightsSettings(sample=sample))
        taken.append(time.process_time() - began)
    return min(taken)


def large_entries() -> list[TensorEntry]:
    """The tensors of a Llama of 7 B parameters in bfloat16, in one file as transformers would name and order them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        state = LlamaForCausalLM(LlamaConfig()).state_dict()
    entries, place = [], 0
    for name, tensor in sorted(state.items()):
        size = tensor.numel() * ITEM_BYTES["BF16"]
        entries.append(
            TensorEntry(name, "BF16", tuple(tensor.shape), Path("one"), place, place + size)
        )
        place += size
    return entries


def edit(work: Path) -> dict[str, Any]:
    """MiniLM with the embedding of one token changed, of a block that no sample of up to 16 reads."""
    source, folder = work / "minilm", work / "minilm one token"
    entry = next(e for e in opened(source).tensors if e.name.endswith("word_embeddings.weight"))
    read = {n for sample in SAMPLES if sample for n in chosen_blocks(entry.shape, sample)}
    block = next(n for n in range(100, 10**6) if n not in read)
    folder.mkdir(exist_ok=True)
    raw = bytearray((source / "model.safetensors").read_bytes())
    begin = entry.begin + block * BLOCK * ITEM_BYTES[entry.dtype]
    width = entry.shape[1] * ITEM_BYTES[entry.dtype]
    raw[begin : begin + width] = (
        np.random.default_rng(0).standard_normal(entry.shape[1]).astype("<f4").tobytes()
    )
    (folder / "model.safetensors").write_bytes(raw)
    (folder / "config.json").write_bytes((source / "config.json").read_bytes())
    seen = {}
    for sample in SAMPLES:
        ours, theirs = fingerprint(folder, "edited", sample), fingerprint(source, "minilm", sample)
        whole = len(ours.weights.tensors) if ours.weights else 0
        seen[str(sample)] = {
            "tensors that differ": whole - len(_identical(ours, theirs)),
            "relation": guess_relation(ours, theirs),
        }
    return {"block": block, "of": -(-entry.elements // BLOCK), "seen": seen}


def measure(work: Path) -> dict[str, Any]:
    """Every figure, as plain data."""
    torch.set_num_threads(1)
    items = sample_items()
    make_models(work, items)
    truth = truth_of(items)
    whole: dict[str, Any] = {}
    samples: dict[str, Any] = {}
    checkpoints = {item.model: opened(work / item.model) for item in items}
    for sample in reversed(SAMPLES):
        members = [fingerprint(work / item.model, item.model, sample) for item in items]
        costs = [cost(checkpoints[item.model].tensors, sample) for item in items]
        samples[str(sample)] = {
            **score(members, truth, whole),
            "read": sum(c["bytes"] for c in costs),
            "ranges": sum(c["ranges"] for c in costs),
            "models": {
                model: {
                    **cost(checkpoints[model].tensors, sample),
                    "seconds": seconds(work / model, sample),
                }
                for model in REAL
            },
        }
        print(f"sample {sample} scored", file=sys.stderr)
    return {
        "protocol": {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()}, two cores, no GPU, one compute thread",
            "command": "python benchmarks/sample.py --out docs/results",
            "models": len(items),
            "families": len(set(truth.families)),
            "pairs": len(truth.pairs),
        },
        "samples": samples,
        "large": {str(s): cost(large_entries(), s) for s in SAMPLES},
        "choices": choices(work),
        "edit": edit(work),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--work", type=Path, help="folder that keeps the models")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(given.work or Path(scratch))
    text = json.dumps(found, indent=1, default=float)
    (given.out / "sample.json").write_text(text + "\n", encoding="utf-8")
    (given.out / "sample.md").write_text(report(json.loads(text)), encoding="utf-8")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # libraries' threads abort some interpreters at exit
