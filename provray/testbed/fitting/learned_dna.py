"""Does learned DNA beat raw sketches on families and architectures it never saw?

    python -m provray.testbed.fitting.learned_dna ZOO --out docs/results

ZOO is a built zoo that `provray eval` has indexed; where `benchmarks/verdict.py` has measured its classifiers on probes
of their own domain as well, theft is asked there too. Writes `learned-dna.json` and `learned-dna.md`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from provray.ancestry.fingerprint import Fingerprint, assemble
from provray.index.table import FingerprintTable
from provray.probes import MODALITIES, default_probes
from provray.testbed.fitting import learned_dna_study as study
from provray.testbed.fitting.encoder import HARD, HIDDEN, STEPS, VARIANTS, WIDTH
from provray.testbed.folders import Record, read_truth, write_json
from provray.testbed.scoreboard.cases import Cases, make_cases
from provray.testbed.scoreboard.metrics import Estimate


def default_material(zoo: Path, records: Sequence[Record]) -> list[Fingerprint]:
    """Fingerprints on the default probes in the order of the records; empty ones for models without."""
    table = FingerprintTable.open(zoo / "index")
    ours = {default_probes(modality).digest for modality in MODALITIES}
    spaces = {
        r.space
        for r in table.facts()
        if r.status == "ok" and (r.kind == "weights" or r.probes in ours)
    }
    held = {f.model: f for f in assemble(table.rows(spaces))}
    return [held.get(r.model, Fingerprint(r.model, "")) for r in records]


def domain_of(record: Record) -> str:
    """Where a classifier lies in the zoo, which is what it was trained on first."""
    return record.model.split("/")[0]


def domain_material(
    zoo: Path, records: Sequence[Record], fingerprints: Sequence[Fingerprint]
) -> tuple[list[Record], Cases, list[Fingerprint]]:
    """The classifiers with their DNA on probes of their own domain, and candidates of that domain alone."""
    table = FingerprintTable.open(zoo / "domain-index")
    names = {p.digest: p.name.removeprefix("domain-") for p in table.probe_sets()}
    rows = {
        (row.model, names[row.probes]): row for row in table.rows({r.space for r in table.facts()})
    }
    kept = [n for n, record in enumerate(records) if (record.model, domain_of(record)) in rows]
    held = [records[n] for n in kept]
    own = [
        replace(fingerprints[n], dna=rows[records[n].model, domain_of(records[n])], gif=None)
        for n in kept
    ]
    cases = make_cases(held)
    domains = np.array([domain_of(record) for record in held])
    same = domains[:, None] == domains[cases.candidates][None]
    cases = replace(cases, asked=cases.asked & same, true=cases.true & same, hard=cases.hard & same)
    return held, cases, own


_PROTOCOL = f"""\
Our reading of Model DNA (Mu et al., ECAI 2024); no figure of that paper is quoted. Its input is a model's sketches
per readout, centred by the cohort of the training fold (24 readouts of DNA × 256, two of GiF × 512 where measured);
what a model lacks is left out. Each sketch is mapped, scaled to unit norm, weighted and put end to end. Loss: InfoNCE,
a child's ancestors against all other models without parents of its fold and modality; those of the same data or the
same initial weights count {HARD:.0f} times. Each family counts once, half of it for thieves and students; or thieves
and students alone, where the title says so. Maps:

- *readout weights*: none, only one weight a readout (shared by images and texts);
- *diagonal*: a factor a coordinate; *identity + rank 8*: x + xUV;
- *linear to {WIDTH}*; *MLP to {WIDTH}* ({HIDDEN} hidden units).

One map for each stratum and probe set: coordinates mean nothing outside.

Fitted on one fold and scored on the other, both ways. Within the training fold a third of its families is left out
in turn, with twins, controls and what shares a start: that chooses when to stop (at most {STEPS} steps) and which map
is called *learned DNA*. *Architecture unseen*: the training fold without any model, ancestor or thief of the
architecture of the question's family (map and number of steps as chosen in the whole training fold). The fusion with
learned DNA learns from scores of families left out.

*Hard*: AUC of true ancestors against strangers of the same data or start. *First*: share of questions whose best
candidate is an ancestor. *Found*: first and above the threshold that 1 % of the other fold's questions exceed without
their ancestors. *Open*: AUC against the best candidate when ancestors are away. *Theft that worked*: the thief agrees
with its victim on mixed inputs a point more than with any stranger (`margin_mixed` ≥ .01; measured for pictures
alone). Intervals: 95 %, bootstrap over families, 1,000 draws.

On probes of the own domain candidates are those of the question's domain, encoders and real models are not asked,
and there is no GiF. Thieves are what such probes are for; a trial of ten steps there with half and half had lost."""


def best_raw(comparison: study.Comparison, group: str) -> str:
    """The raw score with most first places in a group; ties by AUC against hard strangers."""
    held = [name for name in study.UNTRAINED_SCORES if name in comparison.cells]

    def value(name: str) -> tuple[float, float]:
        cell = comparison.cells[name][group]
        return cell.first.value, cell.hard.value

    return max(held, key=value)


def wins(comparison: study.Comparison, group: str) -> bool:
    """Whether learned DNA, on unseen families and on unseen architectures, gains over a group's best raw score with a
    whole interval in first places or in hard strangers outscored, and loses with a whole interval in neither."""
    for name in (study.LEARNED, study.BY_ARCHITECTURE):
        gains = comparison.gains[f"{name} against {best_raw(comparison, group)}"][group].values()
        if not any(gain.low > 0 for gain in gains) or any(gain.high < 0 for gain in gains):
            return False
    return True


def judged(comparison: study.Comparison) -> list[str]:
    """The groups an encoder was made for: both, or theft if it learned from thieves alone."""
    groups = ("white-box", "theft") if comparison.theft < 1 else ("theft",)
    return [group for group in groups if group in comparison.cells[study.LEARNED]]


def sentence(title: str, comparison: study.Comparison, group: str) -> str:
    """What came out for one group, with its figures."""
    raw = best_raw(comparison, group)
    rows = (study.LEARNED, study.BY_ARCHITECTURE, raw, study.WITH_LEARNED, study.NO_WEIGHTS)
    figures = [comparison.cells[name][group] for name in rows]
    first = [f"{cell.first.value:.2f}" for cell in figures]
    hard = [f"{cell.hard.value:.2f}" for cell in figures]
    verdict = "beats" if wins(comparison, group) else "does not beat"
    maps = " and ".join(sorted({fit.variant for fit in comparison.fits if fit.chosen}))
    return (
        f"- On {title}, {group}: learned DNA ({maps}) **{verdict}** the "
        f"best raw score ({raw}): first {first[0]} ({first[1]} with the architecture unseen) against {first[2]}, "
        f"AUC against hard strangers {hard[0]} ({hard[1]}) against {hard[2]}. "
        f"Added to the logistic fusion without weights: "
        f"first {first[3]} against {first[4]}, AUC {hard[3]} against {hard[4]}."
    )


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _section(title: str, found: study.Comparison) -> list[str]:
    lines = [
        f"## On {title}",
        "",
        f"{found.models} models, {found.families} families with children.",
        "",
    ]
    groups = [
        group for group in study.GROUPS if any(group in cells for cells in found.cells.values())
    ]
    for group in groups:
        count = next(iter(found.cells.values()))[group].first.count
        lines += [f"### {group} ({count} questions)", ""]
        lines += ["| score | hard | first | found | open |", "| --- | --- | --- | --- | --- |"]
        for name, cells in found.cells.items():
            cell = cells[group]
            lines.append(f"| {name} | {cell.hard} | {cell.first} | {cell.found} | {cell.open} |")
        lines.append("")
    lines += ["### Gains, question by question", ""]
    lines += [
        "| A against B | asked about | first places | hard strangers outscored |",
        "| --- | --- | --- | --- |",
    ]
    for pair, by_group in found.gains.items():
        for group, gain in by_group.items():
            lines.append(
                f"| {pair} | {group} | {_signed(gain['first'])} | {_signed(gain['hard'])} |"
            )
    lines += ["", "### Fits", ""]
    lines += [
        "| scored fold | map | steps | loss of left-out families, untrained | trained | chosen | CPU s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for fit in found.fits:
        mark = "yes" if fit.chosen else ""
        losses = f"{fit.untrained:.3f} | {fit.loss:.3f}"
        lines.append(
            f"| {fit.scored} | {fit.variant} | {fit.steps} | {losses} | {mark} | {fit.seconds:.0f} |"
        )
    for fit in found.fits:
        if fit.variant == VARIANTS[0]:
            top = sorted(fit.readouts.items(), key=lambda item: -item[1])[:8]
            shares = ", ".join(f"{name} {share:.2f}" for name, share in top)
            lines += [
                "",
                f"Weights of readouts, scored fold {fit.scored}, largest eight: {shares}.",
            ]
    return [*lines, ""]


def write_page(out: Path, found: Mapping[str, study.Comparison], zoo: str) -> None:
    """Write `learned-dna.json` and `learned-dna.md` into the folder `out`; `zoo` says which zoo was asked."""
    head = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, two cores, no GPU",
        "command": "python -m provray.testbed.fitting.learned_dna standard --out docs/results",
        "zoo": zoo,
    }
    lines = [f"{key}: {value}" for key, value in head.items()]
    lines += ["", "# Learned DNA", ""]
    for title, comparison in found.items():
        lines += [sentence(title, comparison, group) for group in judged(comparison)]
    won = any(wins(c, group) for c in found.values() for group in judged(c))
    lines += [
        "",
        "An encoder is worth shipping." if won else "So no encoder ships with provray.",
        "",
        "To beat is: for unseen families and for unseen architectures, the gain over that score, paired by question, "
        "lies above zero with its whole interval in first places or in hard strangers outscored, and below in neither.",
        "",
        _PROTOCOL,
        "",
    ]
    for title, comparison in found.items():
        lines += _section(title, comparison)
    write_json(
        out / "learned-dna.json", {**head, "results": {k: asdict(v) for k, v in found.items()}}
    )
    (out / "learned-dna.md").write_text("\n".join(lines), encoding="utf-8")


def digest(zoo: Path) -> str:
    """Which truth was asked."""
    found = hashlib.sha256((zoo / "truth.parquet").read_bytes()).hexdigest()
    return f"standard, truth.parquet sha256 {found[:12]}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study and write its page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    records = read_truth(given.zoo)
    fingerprints = default_material(given.zoo, records)

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    cases = make_cases(records)
    found = {"default probes": study.compare_all(records, cases, fingerprints, 0.5, said=say)}
    if (given.zoo / "domain-index").is_dir():
        held, cases, own = domain_material(given.zoo, records, fingerprints)
        name = "probes of the own domain, learning from thieves alone"
        found[name] = study.compare_all(held, cases, own, 1.0, said=say)
    write_page(given.out, found, digest(given.zoo))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # deltalake's runtime aborts some interpreters at exit
