"""The two tables of the starting design, measured again on provray's own code.

    python benchmarks/design_tables.py vision WORK_FOLDER [--out docs/results]
    python benchmarks/design_tables.py depth  WORK_FOLDER [--out docs/results]

`vision`: nine digit classifiers (three architectures, three seeds) are indexed; of each, eight descendants are asked
about, and nine models of unseen seeds as strangers. Run on two probe sets: provray's default photographs, and
digits that no model was trained on. `depth`: all-MiniLM-L6-v2 against children, a student and look-alikes,
centred cosine on noise by depth. Both train what is missing (twelve and eight minutes on two cores), and keep it.

Scores marked c are centred by a cohort that is never scored: the shipped reference cohort for the default probes; for
digits the reference cohort's own models (`WORK_FOLDER/cohort`, trained if missing) fingerprinted on them. Scores
marked i are centred by the nine indexed bases, as an index centres itself.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from provray.ancestry.cohort import Cohort, mean_by_family, reference_cohort
from provray.ancestry.fingerprint import Fingerprint, assemble
from provray.ancestry.scores import Scores, compare
from provray.crawl.crawl import crawl
from provray.crawl.settings import PoolSettings
from provray.index.table import FingerprintTable
from provray.probes import ProbeSet, probes_from_images
from provray.sources import open_source
from provray.testbed.cohort import build_cohort
from provray.testbed.digits import as_pictures, digits
from provray.testbed.folders import Record, read_truth
from provray.testbed.studies import build_study

POOL = PoolSettings(workers=2)
COLUMNS = (
    "fine-tune",
    "prune-60",
    "int4",
    "int8",
    "new-head",
    "steal-soft",
    "steal-hard",
    "steal-other",
)
DEPTHS = ("0", "1/6", "1/3", "1/2", "2/3", "5/6", "1")
Pair = tuple[Scores, Scores, Scores]
"""Scores of a pair: raw, centred by the cohort that is never scored, centred by the indexed bases."""
RAW, COHORT, INDEX = 0, 1, 2


def _dna(readout: str, centring: int) -> Callable[[Pair], float]:
    return lambda pair: pair[centring].dna[readout]


def _gif(centring: int) -> Callable[[Pair], float]:
    return lambda pair: pair[centring].gif["mixed@top_logit"]


def _three(centring: int) -> Callable[[Pair], float]:
    parts = (_dna("noise@1", centring), _dna("mixed@probabilities", centring), _gif(centring))
    return lambda pair: float(np.mean([part(pair) for part in parts]))


ROWS: Mapping[str, Callable[[Pair], float]] = {
    "weights sketch": lambda pair: pair[RAW].weights or 0.0,
    "CKA features, natural": _dna("natural@1", RAW),
    "CKA features, noise": _dna("noise@1", RAW),
    "CKA features, noise, c": _dna("noise@1", COHORT),
    "CKA features, noise, i": _dna("noise@1", INDEX),
    "CKA features at depth 1/2, noise, i": _dna("noise@1/2", INDEX),
    "CKA probabilities, mixed": _dna("mixed@probabilities", RAW),
    "CKA probabilities, mixed, c": _dna("mixed@probabilities", COHORT),
    "CKA probabilities, mixed, i": _dna("mixed@probabilities", INDEX),
    "GiF top logit, mixed": _gif(RAW),
    "GiF top logit, mixed, c": _gif(COHORT),
    "GiF top logit, mixed, i": _gif(INDEX),
    "mean of three, c": _three(COHORT),
    "mean of three, i": _three(INDEX),
}


def main() -> None:
    """Measure one table and write it as Markdown and JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("table", choices=["vision", "depth"])
    parser.add_argument("work", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    text, figures = (vision if options.table == "vision" else depth)(options.work)
    head = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, 2 cores, no GPU",
        "command": f"python benchmarks/design_tables.py {options.table} WORK_FOLDER",
    }
    lines = [f"{key}: {value}" for key, value in head.items()]
    (options.out / f"{options.table}-table.md").write_text("\n".join([*lines, "", text, ""]))
    (options.out / f"{options.table}-table.json").write_text(
        json.dumps({**head, **figures}, indent=1) + "\n"
    )
    sys.stdout.write(text + "\n")


def vision(work: Path) -> tuple[str, dict[str, Any]]:
    """The vision table on both probe sets."""
    zoo = work / "vision"
    build_study("vision", zoo, progress=_say)
    truth = {record.model: record for record in read_truth(zoo)}
    build_cohort(work / "cohort", progress=_say)
    pictures = work / "digit-probes"
    pictures.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(as_pictures(digits("probe")[0])):
        Image.fromarray(picture).save(pictures / f"{number:03}.png")
    own = probes_from_images(pictures, "digits")
    text, figures = [], {}
    for name, probes in (("default photographs", []), ("digits", [own])):
        models = _crawled(work / f"index-vision-{name.split()[-1]}", [zoo], probes)
        cohorts = _cohorts(models, work, probes)
        table = vision_cells(models, truth, cohorts)
        figures[name] = table
        text += [f"### Probes: {name}", "", _vision_markdown(table), ""]
    return "\n".join(text), figures


def vision_cells(
    models: Mapping[str, Fingerprint], truth: Mapping[str, Record], cohorts: Mapping[str, Cohort]
) -> dict[str, dict[str, list[float]]]:
    """For each row and column: AUC true parent against other bases, top-1, open-set AUC against strangers."""
    bases = [m for m, r in truth.items() if r.relation == "base"]
    strangers = [m for m, r in truth.items() if r.relation == "stranger"]
    indexed = {
        space: Cohort(
            space, mean_by_family([models[b] for b in bases], kind)[0], len(bases), "index"
        )
        for kind in ("dna", "gif")
        for space in [getattr(models[bases[0]], kind).space]
    }
    pairs = {
        (asked, base): (
            compare(models[asked], models[base], {}),
            compare(models[asked], models[base], cohorts),
            compare(models[asked], models[base], indexed),
        )
        for asked in truth
        if asked not in bases
        for base in bases
    }
    table: dict[str, dict[str, list[float]]] = {}
    for row, score in ROWS.items():
        best = [max(score(pairs[(s, b)]) for b in bases) for s in strangers]
        table[row] = {}
        for column in COLUMNS:
            children = [m for m in truth if m.endswith(f".{column}")]
            true, false, first = [], [], []
            for child in children:
                values = {b: score(pairs[(child, b)]) for b in bases}
                parent = str(truth[child].parent)
                true.append(values[parent])
                false += [v for b, v in values.items() if b != parent]
                first.append(max(values, key=lambda b: values[b]) == parent)
            cell = [_auc(true, false), float(np.mean(first)), _auc(true, best)]
            table[row][column] = [round(v, 3) for v in cell]
    return table


def depth(work: Path) -> tuple[str, dict[str, Any]]:
    """The depth table of MiniLM's children and look-alikes."""
    zoo = work / "text"
    build_study("text", zoo, progress=_say)
    models = _crawled(work / "index-text", [zoo], [])
    cohorts = _cohorts(models, work, [])
    base = models["minilm"]
    lines = [
        "| model | weights | " + " | ".join(DEPTHS) + " | GiF, mixed |",
        "| --- |" + " --- |" * (len(DEPTHS) + 2),
    ]
    figures: dict[str, Any] = {}
    for record in read_truth(zoo):
        if record.model == "minilm":
            continue
        scores = compare(models[record.model], base, cohorts)
        profile = [scores.dna[f"noise@{d}"] for d in DEPTHS]
        gif = scores.gif["mixed@feature_norm"]
        figures[record.model] = {
            "relation": record.relation,
            "accuracy": record.accuracy,
            "weights": round(scores.weights or 0.0, 3),
            "noise": [round(v, 3) for v in profile],
            "gif": round(gif, 3),
        }
        cells = " | ".join(f"{v:.2f}" for v in (scores.weights or 0.0, *profile, gif))
        lines.append(f"| {record.model} ({record.relation}) | {cells} |")
    origin = ", ".join(f"{c.origin} of {c.size}" for c in cohorts.values())
    return "\n".join([*lines, "", f"Cohort: {origin}."]), figures


def _crawled(
    index: Path, zoos: Sequence[Path], probes: Sequence[ProbeSet]
) -> dict[str, Fingerprint]:
    """Fingerprints of every model of these zoos, by model."""
    table = FingerprintTable.create(index)
    folders = [zoo / part for zoo in zoos for part in ("indexed", "held_out")]
    sources = [open_source(str(folder)) for folder in folders if folder.is_dir()]
    report = crawl(sources, table, probes=probes, pool=POOL)
    if report.failures:
        raise SystemExit(f"not fingerprinted: {report.failures}")
    return {f.model: f for f in assemble(table.rows({row.space for row in table.facts()}))}


def _cohorts(
    models: Mapping[str, Fingerprint], work: Path, probes: Sequence[ProbeSet]
) -> dict[str, Cohort]:
    """The cohort of each behaviour space of these models; none of its members is scored."""
    cohorts: dict[str, Cohort] = {}
    for kind in ("dna", "gif"):
        for space in {row.space for f in models.values() if (row := getattr(f, kind)) is not None}:
            found = reference_cohort(space)
            if found is None:
                members = _crawled(work / "index-cohort-digits", [work / "cohort"], probes)
                own = [f for f in members.values() if getattr(f, kind).space == space]
                means, size = mean_by_family(own, kind)
                found = Cohort(space, means, size, "reference models on these probes")
            cohorts[space] = found
    return cohorts


def _vision_markdown(table: dict[str, dict[str, list[float]]]) -> str:
    lines = ["| fingerprint | " + " | ".join(COLUMNS) + " |", "| --- |" + " --- |" * len(COLUMNS)]
    for row, cells in table.items():
        shown = ["/".join(_short(v) for v in cells[column]) for column in COLUMNS]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return "1" if value >= 0.995 else f"{value:.2f}".lstrip("0")


def _auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Share of (positive, negative) pairs in the right order; ties count half."""
    difference = np.subtract.outer(np.array(positive), np.array(negative))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def _say(progress: Any) -> None:
    sys.stderr.write(f"{progress.done}/{progress.total} {progress.model}\n")


if __name__ == "__main__":
    main()
