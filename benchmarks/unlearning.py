"""Does GiF tell a model that never saw a class from one that was made to forget it?

    python benchmarks/unlearning.py [--out docs/results]

Fashion-MNIST, two small architectures, three seeds, another forgotten class in each. Of every reference trained on all
classes: models trained anew without the class (real unlearning; from other initial weights, and from the reference's
own), four approximate ways that start from the reference, and models that have nothing to do with it. Distances of
each to the reference and to a retrained model over training, by GiF, DNA and weights, beside what it knows of the
class. Writes `unlearning.md`, `.json` and `.png`.

Needs Fashion-MNIST (see `provray.testbed.pictures`) and matplotlib. Five minutes on one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from unlearning_report import APPROXIMATE, CLASSES, ROWS, Point, draw, markdown, short, summarise

from provray.crawl.behaviour import Prober
from provray.crawl.fingerprinter import Fingerprinter
from provray.fingerprints.gif import FEATURE_NORM, TOP_LOGIT
from provray.fingerprints.settings import FingerprintSettings
from provray.probes import probes_from_images
from provray.probes.probe import make_probe
from provray.sources import open_source
from provray.testbed.digits import SIZE, as_pictures, digits, relabel
from provray.testbed.pictures import pictures
from provray.testbed.relatedness import Behaviour, behaviour, field_distance, fields_of
from provray.testbed.unlearning import (
    Effort,
    Snapshot,
    approximations,
    divide,
    knowledge,
    learn,
)
from provray.testbed.vision import new_classifier, save_classifier

RATES: Mapping[str, float] = {"resnet": 4e-3, "deit": 2e-3}
FORGOTTEN = (8, 5, 0)
"""The class forgotten under each seed: bag, sandal, t-shirt (which shirts resemble)."""
STEPS, BATCH = 180, 64
SHORT, FIRST, GENTLER = 90, 30, 5
FRACTIONS = (1 / 3, 2 / 3, 1.0)
EVALUATION = 1000
OWN = 12


@dataclass(frozen=True)
class Seen:
    """One model: how it behaves, its top-logit fields on natural probes of the forgotten class and of others, and its
    weights sketch."""

    behaviour: Behaviour
    by_class: Mapping[str, np.ndarray]
    weights: np.ndarray


class Laboratory:
    """Saves models as folders and fingerprints them on pictures that no model was trained on."""

    def __init__(self, scratch: Path) -> None:
        self.folder = scratch / "model"
        images, self.labels = pictures("fashion", "probe")
        self.images = as_pictures(images)
        (scratch / "probes").mkdir()
        for number, picture in enumerate(self.images):
            Image.fromarray(picture).save(scratch / "probes" / f"{number:03}.png")
        self.probes = probes_from_images(scratch / "probes", "clothes")
        self.settings = FingerprintSettings()
        self.fingerprinter = Fingerprinter(self.settings, {"image": self.probes.digest})

    def see(self, model: Any, forgotten: int) -> Seen:
        """Fingerprint one model through its folder, as a crawl does."""
        save_classifier(model, self.folder, size=SIZE, title="model")
        ref = next(iter(open_source(str(self.folder)).models()))
        probed = Prober(self.fingerprinter).load(ref)
        by_class = {}
        for name in CLASSES:
            of_class = (self.labels == forgotten) == (name == CLASSES[0])
            rows = torch.nonzero(of_class).flatten()[:OWN].tolist()
            probes = [make_probe("natural", self.images[row]) for row in rows]
            by_class[name] = fields_of(probed, probes, self.settings.gif)[TOP_LOGIT]
        weights = self.fingerprinter.weights(ref).vectors[0]
        return Seen(behaviour(probed, self.probes, self.settings), by_class, weights)


def apart(a: Seen, b: Seen) -> dict[str, float]:
    """Distances of two models by row, 1 − cosine."""
    ours, theirs = a.behaviour, b.behaviour
    fields = [
        field_distance(ours.fields[name], theirs.fields[name]) for name in (TOP_LOGIT, FEATURE_NORM)
    ]
    readouts = ("mixed@top_logit", "mixed@feature_norm", "mixed@probabilities", "noise@1")
    stored = [1 - float(ours.vectors[name] @ theirs.vectors[name]) for name in readouts]
    return dict(zip(ROWS, [*fields, *stored, 1 - float(a.weights @ b.weights)], strict=True))


def main() -> None:
    """Train, measure, and write Markdown, JSON and the figure."""
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    points = [point for architecture in RATES for point in measure(architecture)]
    figures = summarise(points)
    spent = {"cpu_seconds": round(time.process_time() - started)}
    protocol = {
        "cells": len(RATES) * len(FORGOTTEN),
        "steps": STEPS,
        "batch": BATCH,
        "short": SHORT,
        "first": FIRST,
        **spent,
    }
    head = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, 2 cores, no GPU",
        "command": "python benchmarks/unlearning.py",
    }
    text = "\n".join([*(f"{k}: {v}" for k, v in head.items()), "", markdown(figures, protocol), ""])
    (options.out / "unlearning.md").write_text(text)
    # one line a checkpoint: there are two hundred
    rows = ",\n  ".join(json.dumps(short(asdict(point))) for point in points)
    figures.pop("ends")  # the last points again
    summary = json.dumps(short(head | spent | figures), indent=1).removesuffix("\n}")
    kept = f'{summary},\n "points": [\n  {rows}\n ]\n}}\n'
    (options.out / "unlearning.json").write_text(kept)
    draw(points, options.out / "unlearning.png")
    sys.stdout.write(text)


def measure(architecture: str) -> Iterator[Point]:
    """Every checkpoint of every condition and seed of one architecture."""
    full = Effort(STEPS, BATCH, RATES[architecture])
    images, labels = pictures("fashion", "train")
    at = [0, *(round(fraction * STEPS) for fraction in FRACTIONS)]

    def fresh(seed: int) -> Any:
        return new_classifier(architecture, channels=1, size=SIZE, classes=10, seed=seed)

    references = [
        _last(learn(fresh(seed), images, labels, full, seed=seed)) for seed in range(len(FORGOTTEN))
    ]
    strangers = {
        "other labels": _last(learn(fresh(71), images, relabel(labels, "kind"), full, seed=71)),
        "other data": _last(learn(fresh(72), *digits("train"), full, seed=72)),
    }
    asked, true = (part[-EVALUATION:] for part in pictures("fashion", "thief"))
    with tempfile.TemporaryDirectory() as scratch:
        laboratory = Laboratory(Path(scratch))
        for seed, forgotten in enumerate(FORGOTTEN):
            reference, division = references[seed], divide(images, labels, forgotten)
            kept = division.images, division.labels
            yardstick = laboratory.see(
                _last(learn(fresh(200 + seed), *kept, full, seed=200 + seed)), forgotten
            )
            origin = laboratory.see(reference, forgotten)
            other = references[(seed + 1) % len(references)]
            gentle = Effort(SHORT, BATCH, full.rate / GENTLER)
            conditions: dict[str, Iterable[Snapshot]] = {
                "reference": [Snapshot(STEPS, reference)],
                "retrained": learn(fresh(100 + seed), *kept, full, seed=100 + seed, keep=at),
                "retrained, same start": learn(fresh(seed), *kept, full, seed=seed, keep=at),
                **approximations(
                    reference, division, gentle, full, first=FIRST, fractions=FRACTIONS, seed=300
                ),
                "other seed": [Snapshot(STEPS, other)],
                **{name: [Snapshot(STEPS, model)] for name, model in strangers.items()},
            }
            for condition, snapshots in conditions.items():
                taken = list(snapshots)
                for snapshot in taken:
                    seen = laboratory.see(snapshot.model, forgotten)
                    found = Point(
                        architecture,
                        seed,
                        forgotten,
                        condition,
                        snapshot.step / taken[-1].step,
                        apart(seen, origin),
                        apart(seen, yardstick),
                        {
                            name: field_distance(fields, origin.by_class[name])
                            for name, fields in seen.by_class.items()
                        },
                        knowledge(snapshot.model, asked, true, forgotten),
                    )
                    yield found
                    if condition == "reference":
                        # all approximate ways begin here
                        for name in APPROXIMATE:
                            yield replace(found, condition=name, fraction=0.0)
                sys.stderr.write(f"{architecture} {seed} {condition}\n")


def _last(snapshots: Iterator[Snapshot]) -> Any:
    return list(snapshots)[-1].model


if __name__ == "__main__":
    main()
