"""Do distances between fingerprints follow how related two models' tasks are, as transfer measures it?

    python benchmarks/task_relatedness.py [--out docs/results]

First the published matrices of 17 Taskonomy encoders, scored again. Then our own: fourteen tasks over the same
pictures (Fashion-MNIST, painted), one small ResNet a task and seed, trained from scratch; the gain of every encoder,
frozen, on every task over a random frozen one; and distances between the encoders by DNA, GiF and RSA on pictures that
neither training nor transfer saw. Writes `task-relatedness.md`, `.json` and `.png`.

Needs Fashion-MNIST (see `provray.testbed.pictures`) and matplotlib. Five minutes on one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from provray.crawl.behaviour import Prober
from provray.crawl.fingerprinter import Fingerprinter
from provray.fingerprints.gif import FEATURE_NORM
from provray.fingerprints.settings import FingerprintSettings
from provray.fingerprints.sketch import unit
from provray.probes import ProbeSet, probes_from_images
from provray.sources import open_source
from provray.testbed.assets import write_preprocessor
from provray.testbed.digits import SIZE, as_pictures
from provray.testbed.folders import save_model
from provray.testbed.pictures import pictures
from provray.testbed.relatedness import (
    Behaviour,
    behaviour,
    between_tasks,
    dissimilarities,
    field_distance,
    fields_of,
    interval,
    judge,
    pairwise,
    relatedness_score,
    rsa_distance,
)
from provray.testbed.tasks import (
    CHANNELS,
    TASKS,
    gain,
    new_encoder,
    paint,
    settle,
    train_encoder,
    transfer_errors,
)
from provray.testbed.vision import MEAN, STD, Training

ARCHITECTURE, SEEDS = "resnet", 3
TRAINING = Training(epochs=3, batch=64, rate=4e-3)
FITTED, JUDGED = (slice(0, 300), slice(300, 600)), slice(9000, 10000)
RANDOM_ENCODERS = 3
DRAWS = 1000
FIXTURE = Path(__file__).parent.parent / "tests" / "testbed" / "taskonomy.json"
HEADLINES = ("DNA, last layer, natural", "GiF", "RSA, last layer, natural")
"""The three rows that answer the question, chosen before anything was measured; the others are variants of them."""
GENERIC = "no fingerprint: the source's mean gain on the other targets"


@dataclass(frozen=True)
class Encoder:
    """One trained encoder: how it behaves, its GiF fields on natural probes, and readouts' errors on it by target."""

    seen: Behaviour
    natural: np.ndarray
    errors: Mapping[str, float]


def main() -> None:
    """Measure, and write Markdown, JSON and the figure."""
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    figures = analyse(*measure()) | {"published": published()}
    figures["cpu_seconds"] = round(time.process_time() - started)
    head = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, 2 cores, no GPU",
        "command": "python benchmarks/task_relatedness.py",
    }
    text = "\n".join([*(f"{k}: {v}" for k, v in head.items()), "", markdown(figures), ""])
    (options.out / "task-relatedness.md").write_text(text)
    kept = json.dumps(rounded(head | figures), indent=1)
    (options.out / "task-relatedness.json").write_text(kept + "\n")
    draw(figures, options.out / "task-relatedness.png")
    sys.stdout.write(text)


def measure() -> tuple[list[Encoder], dict[str, list[float]]]:
    """Train and measure an encoder for every task and seed; and the errors of random encoders by target."""
    train = paint(*pictures("fashion", "train"), seed=1)
    # `thief` pictures are used for nothing else here: readouts are fitted to some, twice, and judged on others
    transfer = paint(*pictures("fashion", "thief"), seed=2)
    few, held_out = [transfer.take(rows) for rows in FITTED], transfer.take(JUDGED)
    made: list[Encoder] = []
    with tempfile.TemporaryDirectory() as scratch:
        probes = _probe_set(Path(scratch) / "probes")
        settings = FingerprintSettings()
        fingerprinter = Fingerprinter(settings, {"image": probes.digest})
        random_errors: dict[str, list[float]] = {name: [] for name in TASKS}
        for number in range(RANDOM_ENCODERS):
            model = new_encoder(ARCHITECTURE, TASKS["classes"], seed=9000 + number)
            settle(model, train.painted())
            for name, error in transfer_errors(model, few, held_out, seed=30).items():
                random_errors[name].append(error)
        for seed in range(SEEDS):
            for number, task in enumerate(TASKS.values()):
                model = new_encoder(ARCHITECTURE, task, seed=100 * (seed + 1) + number)
                train_encoder(model, task, train, TRAINING, seed=100 * (seed + 1) + number)
                folder = Path(scratch) / f"{task.name}-{seed}"
                save_model(model.base_model, folder, title=folder.name, inputs=_preprocessor)  # type: ignore[arg-type]
                probed = Prober(fingerprinter).load(next(iter(open_source(str(folder)).models())))
                natural = probes.stratum("natural")[: settings.gif.probes]
                made.append(
                    Encoder(
                        behaviour(probed, probes, settings),
                        fields_of(probed, natural, settings.gif)[FEATURE_NORM],
                        transfer_errors(model, few, held_out, seed=30),
                    )
                )
                sys.stderr.write(f"{folder.name}\n")
    return made, random_errors


def _probe_set(folder: Path) -> ProbeSet:
    folder.mkdir()
    scenes = paint(*pictures("fashion", "probe"), seed=3)
    for number, picture in enumerate(as_pictures(scenes.painted())):
        Image.fromarray(picture).save(folder / f"{number:03}.png")
    return probes_from_images(folder, "painted clothes")


def _preprocessor(folder: Path) -> None:
    write_preprocessor(folder, size=SIZE, mean=[MEAN] * CHANNELS, std=[STD] * CHANNELS)


def model_distances(encoders: list[Encoder]) -> dict[str, np.ndarray]:
    """Distances between all pairs of encoders, by name of the row."""

    def of(readout: str) -> np.ndarray:
        return np.stack([e.seen.vectors[readout] for e in encoders]).astype(np.float64)

    def apart(vectors: np.ndarray) -> np.ndarray:
        return 1.0 - vectors @ vectors.T

    def centred(vectors: np.ndarray) -> np.ndarray:
        return apart(unit(vectors - vectors.mean(axis=0)))

    def fields(of: Callable[[Encoder], np.ndarray]) -> np.ndarray:
        return pairwise([of(e) for e in encoders], field_distance)

    depths = [name for name in encoders[0].seen.vectors if name.startswith("natural@")]
    states = [e.seen.states - e.seen.states.mean(axis=0) for e in encoders]
    grams = unit(np.stack([(state @ state.T).ravel() for state in states]))
    return {
        HEADLINES[0]: apart(of("natural@1")),
        "DNA, mean over depth, natural": np.mean([apart(of(name)) for name in depths], axis=0),
        "DNA, last layer, mixed": apart(of("mixed@1")),
        "DNA, last layer, noise": apart(of("noise@1")),
        "DNA, last layer, natural, centred": centred(of("natural@1")),
        "CKA itself, not sketched, natural": apart(grams),
        HEADLINES[1]: apart(of("mixed@feature_norm")),
        "GiF, centred": centred(of("mixed@feature_norm")),
        "GiF fields, not sketched": fields(lambda e: e.seen.fields[FEATURE_NORM]),
        "GiF fields, not sketched, natural": fields(lambda e: e.natural),
        HEADLINES[2]: pairwise([dissimilarities(e.seen.states) for e in encoders], rsa_distance),
    }


def analyse(encoders: list[Encoder], random_errors: dict[str, list[float]]) -> dict[str, Any]:
    """Matrices by task, scores with intervals, by seed and by chance."""
    names = list(TASKS)
    base = {name: float(np.mean(errors)) for name, errors in random_errors.items()}
    errors = np.array([[e.errors[name] for name in names] for e in encoders])
    errors = errors.reshape(SEEDS, len(names), len(names))
    gains = gain(errors, np.array(list(base.values())))
    affinity = gains.mean(axis=0)
    distances, single = {}, {}
    for row, between in model_distances(encoders).items():
        distances[row], single[row] = between_tasks(between, SEEDS)
    total = affinity.sum(axis=1, keepdims=True) - np.diag(affinity)[:, None]
    distances[GENERIC] = -(total - affinity) / (len(names) - 2)
    judged, spread = judge(distances, affinity, draws=DRAWS, seed=5)
    rows = {}
    for row, judgement in judged.items():
        rho = dict(zip(names, judgement.rho, strict=True))
        by_seed = [
            relatedness_score(d, g) for d, g in zip(single.get(row, ()), gains, strict=False)
        ]
        rows[row] = asdict(judgement) | {
            "rho": rho,
            "by_seed": by_seed,
            "wrong_sign": [name for name, value in rho.items() if value > 0],
        }
    differences = {
        f"{a} minus {HEADLINES[2]}": {
            "signed": rows[a]["signed"] - rows[HEADLINES[2]]["signed"],
            "interval": interval(spread[a][:, 1] - spread[HEADLINES[2]][:, 1]),
        }
        for a in (*HEADLINES[:2], "GiF fields, not sketched")
    }
    agreement = np.asarray(np.corrcoef(gains.reshape(SEEDS, -1)))[np.triu_indices(SEEDS, 1)]
    return {
        "tasks": names,
        "seeds": SEEDS,
        "random_error": base,
        "own_error": dict(zip(names, np.diag(errors.mean(axis=0)).tolist(), strict=True)),
        "best_source_is_own": [n for i, n in enumerate(names) if affinity[:, i].argmax() == i],
        "gain_agreement_between_seeds": float(agreement.mean()),
        "rows": rows,
        "differences": differences,
        "gain": affinity,
        "distances": distances,
    }


def published() -> dict[str, dict[str, float]]:
    """The published matrices scored: absolute and signed, with and without the diagonal; and chance."""
    data = json.loads(FIXTURE.read_text())
    matrices = {"ModelGiF": data["modelgif_distance"], "RSA": data["rsa_distance"]}
    judged, _ = judge(matrices, data["taskonomy_affinity"], draws=DRAWS, seed=5)
    return {name: asdict(judgement) for name, judgement in judged.items()}


def rounded(figures: dict[str, Any]) -> Any:
    """The same figures with four decimals, matrices as lists."""
    text = json.dumps(figures, default=np.ndarray.tolist)
    return json.loads(text, parse_float=lambda number: round(float(number), 4))


def markdown(figures: dict[str, Any]) -> str:
    """The results in words and tables, what went badly first."""
    rows = figures["rows"]
    by_row = [
        "| distance | absolute | signed | p (signed) | absolute, seed by seed | with diagonal | wrong sign |",
        "| --- |" + " --- |" * 6,
    ]
    for name, row in rows.items():
        cells = [
            f"**{name}**" if name in HEADLINES else name,
            f"{row['score']:.3f} {_span(row['interval'])}",
            f"{row['signed']:.3f} {_span(row['signed_interval'])}",
            f"{row['p_signed']:.3f}",
            " ".join(f"{v:.2f}" for v in row["by_seed"]) or "–",
            f"{row['with_diagonal']:.3f}",
            ", ".join(row["wrong_sign"]) or "none",
        ]
        by_row.append(f"| {' | '.join(cells)} |")
    by_column = [
        "| target | error, own encoder | error, random encoder | " + " | ".join(HEADLINES) + " |",
        "| --- |" + " --- |" * (len(HEADLINES) + 2),
    ]
    for name in figures["tasks"]:
        cells = [f"{figures[key][name]:.2f}" for key in ("own_error", "random_error")]
        cells += [f"{rows[headline]['rho'][name]:+.2f}" for headline in HEADLINES]
        by_column.append(f"| {name} | {' | '.join(cells)} |")
    scored = []
    for name, row in figures["published"].items():
        cells = [f"{row[key]:.4f}" for key in ("with_diagonal", "score", "signed", "chance")]
        scored.append(f"| {name} | {' | '.join(cells)} |")
    paired = []
    for name, difference in figures["differences"].items():
        paired.append(f"- {name}: {difference['signed']:+.3f} {_span(difference['interval'])}")
    tables = {"by_row": by_row, "by_column": by_column, "scored": scored, "paired": paired}
    dna, gif, rsa = (rows[name] for name in HEADLINES)
    return TEXT.format(
        **figures,
        dna=dna,
        gif=gif,
        rsa=rsa,
        noise=rows["DNA, last layer, noise"],
        generic=rows[GENERIC],
        behind=paired[1].rsplit(": ")[-1],
        wrong=[", ".join(row["wrong_sign"]) or "no column" for row in (dna, gif, rsa)],
        own=len(figures["best_source_is_own"]),
        count=len(figures["tasks"]),
        **{name: "\n".join(lines) for name, lines in tables.items()},
        draws=DRAWS,
        randoms=RANDOM_ENCODERS,
    )


TEXT = """# Task relatedness

{count} tasks over the same pictures, {seeds} encoders each; truth is measured transfer. Scores: mean Spearman
correlation over target columns without the diagonal, *absolute* as the published scorer takes it, and *signed*, 1 if
the nearest encoder always transfers best. In brackets 95 % intervals over {draws} bootstrap samples of the tasks.

## What to know first

- GiF scores {gif[score]:.2f} (signed {gif[signed]:.2f}), RSA {rsa[score]:.2f} ({rsa[signed]:.2f}), DNA
  {dna[score]:.2f} ({dna[signed]:.2f}); chance for the absolute score is {gif[chance]:.2f} with so few tasks, not 0.
  GiF minus RSA, signed: {behind}. In the published matrices GiF is the better of the two.
- Columns of the wrong sign, which the absolute value hides: GiF {wrong[1]}; DNA {wrong[0]}; RSA {wrong[2]}.
- DNA on noise probes, best for inherited weights, says little here: {noise[score]:.2f} (signed {noise[signed]:.2f}).
- Knowing only how useful a source is to other targets: {generic[score]:.2f} (signed {generic[signed]:.2f}).
- The truth is steady: gains of two seeds correlate at {gain_agreement_between_seeds:.2f}; {own} of {count} tasks have
  their own encoder as best source.

## Ours

{by_row}

Bold: the three rows chosen before anything was measured. p: share of random assignments of tasks to the distances
that score as high, signed ({draws} draws). The last row is no distance between models.

Signed scores, paired over the bootstrap:

{paired}

![Gains and distances of all pairs of tasks](task-relatedness.png)

### Column by column: Spearman's ρ, negative is right

{by_column}

Errors: squared error over variance of a linear readout on held-out pictures, 1 being no better than the mean.

## The published matrices, scored by the same code

| distance | with diagonal | without | without, signed | chance, absolute |
| --- | --- | --- | --- | --- |
{scored}

Matrices: `tests/testbed/taskonomy.json`. Ours are other tasks, other networks and our own reading of GiF: the two
tables are not one experiment.

## Protocol

- *Pictures.* Fashion-MNIST at 16×16, each painted in a random ink on a random paper. Training: 4,000. Transfer: 2 ×
  300 to fit readouts, 1,000 others to judge them. Probes: 128 natural ones, provray's mixtures of them, and its
  noise. No picture is in two of these parts.
- *Tasks.* Random parts of an input (turns, noise, order of quarters) are the same for all encoders.
- *Encoders.* One small ResNet (0.17 M weights) a task and seed, each from its own initial weights, with a linear
  layer to the task's outputs on its last pooled state (96 numbers). That layer is dropped before the body is saved.
- *Truth.* Frozen encoder, linear ridge readout, its error on held-out pictures (classes as one-hot). The gain is the
  share of random encoders' error that it takes away (mean of {randoms}, their normalisation statistics measured on
  the training pictures), mean over seeds. Spearman looks within one target, so this scale changes no score.
- *Distances.* 1 − cosine of provray's stored vectors at default settings: DNA sketch (256 numbers), GiF sketch of the
  head-free feature norm (512 numbers, 48 mixed probes); beside them the same without sketching. RSA: 1 − Spearman's ρ
  of the 1 − Pearson dissimilarities of the last pooled state on natural probes. Mean over all pairs of encoders of
  two tasks, on the diagonal over those of different seeds. Centred: the mean of all encoders taken away first.
- *Limits.* A linear readout and linear CKA look at much the same thing; RSA does not. One architecture, one source of
  pictures, tasks that we picked: the intervals are over these tasks, not over kinds of pictures or networks.
- {cpu_seconds} s of CPU time on one thread."""


def _span(ends: tuple[float, float]) -> str:
    return f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def draw(figures: dict[str, Any], path: Path) -> None:
    """Four heat maps side by side: gains, and the three headline distances."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = figures["tasks"]
    panels = [("transfer gain", np.array(figures["gain"]), "RdBu", (-1.0, 1.0))]
    for name in HEADLINES:
        distance = np.array(figures["distances"][name])
        off = distance[~np.eye(len(names), dtype=bool)]
        panels.append((f"distance: {name}", distance, "viridis_r", (off.min(), off.max())))
    figure, axes = plt.subplots(2, 2, figsize=(11, 10), layout="constrained")
    for axis, (title, matrix, colours, (low, high)) in zip(axes.flat, panels, strict=True):
        image = axis.imshow(matrix, cmap=colours, vmin=low, vmax=high)
        axis.set_title(title, fontsize=11)
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set(xlabel="target task", ylabel="source task")
        figure.colorbar(image, ax=axis, shrink=0.8)
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    main()
