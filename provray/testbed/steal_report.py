"""A stealing benchmark as tables and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from provray.testbed.steal_bench import RESERVED, StealResult
from provray.testbed.steal_naming import LABELS, STRANGER
from provray.testbed.steal_results import Estimate, Proportion
from provray.testbed.uncertainty_surrogates import all_surrogates


class Block(NamedTuple):
    """One table: its caption, headings and rows of cells."""

    caption: str
    headings: Sequence[str]
    rows: list[Sequence[str]]


def steal_tables(result: StealResult, *, brief: bool = False) -> list[Block]:
    """Return the tables of a run: the end of training, members over training, naming; `brief` leaves out the
    intervals of counts, for which a terminal has no room."""
    return [_ends(result), _alike(result), _naming(result, brief)]


def steal_markdown(result: StealResult) -> str:
    """Return the run as Markdown: what was measured, the tables, the two claims, how each surrogate was made."""
    parts = [_about(result)]
    for block in steal_tables(result):
        rows = [f"| {' | '.join(row)} |" for row in (block.headings, *block.rows)]
        rows.insert(1, f"|{' --- |' * len(block.headings)}")
        parts.append("\n".join([f"### {block.caption}", "", *rows]))
        if block.caption == _ENDS:
            parts.append(f"*Are the gains marginal?* {result.claims[0]}")
        if block.caption == _ALIKE:
            parts.append(f"*Do predictions grow alike?* {result.claims[1]}")
    parts.append(_how_to_read(result))
    return "\n\n".join(parts) + "\n"


_ENDS = "At the end of training"
_ALIKE = "Members over training"
_NAMING = "How often the victim comes first"


def _ends(result: StealResult) -> Block:
    return Block(
        _ENDS,
        (
            "surrogate",
            "fidelity",
            "accuracy",
            "fidelity gain, points",
            "accuracy gain, points",
            "variance, 10⁻³",
            "disagreement",
        ),
        [
            (
                row.surrogate,
                _share(row.fidelity),
                _share(row.accuracy),
                _gain(row.fidelity_gain),
                _gain(row.accuracy_gain),
                f"{1e3 * row.variance.mean:.2f}",
                f"{row.disagreement.mean:.3f}",
            )
            for row in result.outcomes
        ],
    )


def _alike(result: StealResult) -> Block:
    first, halfway, last = _moments(result)
    return Block(
        _ALIKE,
        (
            "surrogate",
            f"variance, 10⁻³, at {first} → {halfway} → {last}",
            "highest",
            f"lower than at {first}",
            f"lower than at {halfway}",
            f"disagreement lower than at {halfway}",
        ),
        [
            (
                row.surrogate,
                " → ".join(f"{1e3 * v:.2f}" for v in (row.first, row.halfway, row.last)),
                f"{1e3 * row.highest:.2f}",
                f"{row.below_first} of {row.seeds}",
                f"{row.below_halfway} of {row.seeds}",
                f"{row.disagreement_below_halfway} of {row.seeds}",
            )
            for row in result.alikeness
        ],
    )


def _naming(result: StealResult, brief: bool) -> Block:
    scores = list(result.naming.rows[0].named)
    return Block(
        _NAMING,
        ("asked about", *scores, "margin", "labels' margin", "product", "verdicts"),
        [
            (
                row.group,
                *(_counted(row.named[score], brief) for score in scores),
                f"{row.margin['mean of both']:+.2f}",
                f"{row.margin[LABELS]:+.3f}",
                _counted(row.candidate, brief),
                ", ".join(f"{verdict} {count}" for verdict, count in sorted(row.verdicts.items())),
            )
            for row in result.naming.rows
        ],
    )


def _moments(result: StealResult) -> tuple[int, int, int]:
    """The first checkpoint, the last at or before half of the training, the last."""
    steps = result.settings.checkpoints
    return steps[0], max([i for i in steps if 2 * i <= steps[-1]], default=steps[0]), steps[-1]


def _share(estimate: Estimate) -> str:
    if estimate.low is None:
        return f"{estimate.mean:.3f}"
    return f"{estimate.mean:.3f} ± {estimate.mean - estimate.low:.3f}"


def _gain(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.mean:+.1f}"
    return f"{100 * estimate.mean:+.1f} ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"


def _counted(share: Proportion, brief: bool) -> str:
    count = f"{share.hits} of {share.count}"
    return count if brief else f"{count} ({share.low:.2f} – {share.high:.2f})"


def _about(result: StealResult) -> str:
    chosen = result.settings
    more = f", {RESERVED} of them beside the test part" if chosen.pictures == "fashion" else ""
    return f"""\
One victim, a small {chosen.architecture} trained on {chosen.base_pictures:,} pictures ({chosen.pictures}, 16×16;
accuracy {result.victim_accuracy:.3f}), stolen {chosen.seeds} times with {chosen.queries:,} queries that it answers with
probabilities. Each seed draws other queries and other initial weights, which all surrogates of that seed share;
{chosen.steps} iterations of {chosen.batch} pictures. Measured on {result.held_out:,} held-out pictures{more}.

The setting is that of Pape et al. (2023). Their own five methods are not known to us, so these are five of our
choice, and none of their figures is repeated here."""


def _how_to_read(result: StealResult) -> str:
    chosen, naming = result.settings, result.naming
    made = "\n".join(f"  - {surrogate.name}: {surrogate.about}." for surrogate in all_surrogates())
    return f"""\
### How to read this

- ± and parentheses are 95 % intervals: Student's t over seeds, Wilson's for counts. Gains are in points
  (hundredths), paired by seed with the single network. Networks of one seed are not independent, and all have the same
  victim, so the intervals of counts are too narrow for another victim.
- Fidelity: share of held-out pictures with the victim's label; a surrogate's label is that of its members' mean.
  Variance: mean over inputs and classes of the unbiased variance of probabilities over members. Disagreement:
  share of pairs of members that name different labels.
- At the first checkpoint all members answer nearly uniformly, alike in probabilities though not in labels; hence the
  comparison with half of the training.
- The surrogates; their settings were chosen with another seed and victim, on these held-out pictures:
{made}
- Naming: {naming.indexed} models are indexed, the victim and strangers trained alike on the same pictures from other
  seeds (every fourth of another architecture). Probes are pictures of the same kind that nothing was trained on; scores
  are centred by {naming.cohort}. By chance the victim comes first for 1 in {naming.indexed}.
  - `imitated`: one network trained on the averaged output for the same queries, {chosen.imitation_steps} iterations.
  - `{STRANGER}`: each stranger, asked about with itself left out.
  - `{LABELS}`: no score of provray's but the share of equal labels on the held-out pictures.
  - `margin`: the victim's score minus the best stranger's, mean of both scores, averaged over models; `labels'
    margin`: the same of equal labels. Below 0 a stranger is the better match;
    at 0 one is as good, and the victim is not counted as first.
  - `product`: how often the victim is the first candidate of a query; then the verdicts."""
