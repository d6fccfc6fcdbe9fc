"""The demo's questions as its report tells them: their order, what decided each verdict, who is kin to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from provray.pages.profile import Profile, number, profile_chart
from provray.testbed.demo_result import DemoResult, Member, Question, Shown
from provray.testbed.report_charts import duration
from provray.testbed.tree_drawing import NO_WEIGHTS

HARD_FIRST = (
    "stolen",
    "distilled",
    "look-alike",
    "twin",
    "stranger",
    "new head",
    "fine-tune",
    "pruned",
    "quantised",
    "merged",
    "noise",
    "copy",
)
_TRUTHS = {
    "stolen": "stolen from",
    "distilled": "distilled from",
    "new head": "new head on",
    "fine-tune": "fine-tuned from",
    "pruned": "pruned from",
    "quantised": "quantised from",
    "merged": "merged from",
    "noise": "noise added to",
    "copy": "copy of",
}
_ORDINALS = {1: "first", 2: "second", 3: "third"}
_UNRELATED = {
    "stranger": "stranger: no relative is indexed",
    "twin": "twin: same plan, weights of its own",
    "look-alike": "look-alike: behaves like another, no kin",
}


@dataclass(frozen=True)
class Row:
    """One candidate in a detail. `tie`: what it is to the model asked about; `style`: its line in the chart."""

    shown: Shown
    tie: str
    style: int | None


@dataclass(frozen=True)
class Entry:
    """One question as the report tells it."""

    id: str
    question: Question
    truth: str
    outcome: str
    outcome_note: str
    nearest: Shown | None
    why: str
    rows: tuple[Row, ...]
    profile: Profile | None
    is_open: bool


@dataclass(frozen=True)
class Headline:
    """The counts of the run. `asked`: questions that demand an answer; the rest are thefts and students."""

    right: int
    asked: int
    facts: tuple[tuple[str, str], ...] = field(default=())


def headline_of(result: DemoResult) -> Headline:
    """Count a run's answers."""
    demanded = [q for q in result.questions if q.right is not None]
    children = [q for q in demanded if q.relation not in NO_WEIGHTS]
    others = [q for q in demanded if q.relation in NO_WEIGHTS]
    thefts = [q for q in result.questions if q.right is None]
    facts = []
    if children:
        first = sum(q.right is True for q in children)
        facts.append((f"{first} of {len(children)}", "children traced to their parent"))
    if others:
        claimed = sum(q.named is not None for q in others)
        facts.append((f"{claimed} of {len(others)}", "unrelated models given an ancestor"))
    if thefts:
        found = sum(rank_of(q) == 1 for q in thefts)
        facts.append((f"{found} of {len(thefts)}", "thefts with the victim ranked first"))
    indexed = sum(member.split == "indexed" for member in result.members)
    facts.append((f"{indexed}", "models indexed to compare with"))
    if result.stages:
        facts.append((duration(sum(seconds for _, seconds in result.stages)), "from start to end"))
    return Headline(sum(q.right is True for q in demanded), len(demanded), tuple(facts))


def rank_of(question: Question) -> int | None:
    """Place of the true parent, victim or teacher among the candidates, from 1; None if it is not there."""
    names = [candidate.model for candidate in question.candidates]
    return names.index(question.parent) + 1 if question.parent in names else None


def outcome_of(question: Question) -> tuple[str, str]:
    """`right`, `wrong` or `reported`, and what to add to it."""
    if question.right is None:
        rank, whom = rank_of(question), "teacher" if question.relation == "distilled" else "victim"
        if question.named is not None:
            return "reported", f"named {question.named} its ancestor"
        return (
            "reported",
            f"{whom} ranked {_ORDINALS.get(rank, f'number {rank}')}"
            if rank
            else f"{whom} not among the candidates",
        )
    if question.right:
        return "right", ""
    return "wrong", f"named {question.named}" if question.named else "parent missed"


def truth_of(relation: str, parent: str | None) -> str:
    """Where a model comes from, in words."""
    if parent is None:
        return _UNRELATED.get(relation, relation)
    return f"{_TRUTHS.get(relation, f'{relation} of')} {parent}"


def entries_of(result: DemoResult) -> list[Entry]:
    """Every question of a run, those that inherit nothing first, wrong answers first within a relation."""
    kin = kinship(result.members)
    rank = {relation: place for place, relation in enumerate(HARD_FIRST)}
    ordered = sorted(
        result.questions,
        key=lambda q: (
            q.relation not in NO_WEIGHTS,
            rank.get(q.relation, len(rank)),
            q.right is not False,
        ),
    )
    some_wrong = any(q.right is False for q in ordered)
    found = []
    for place, question in enumerate(ordered):
        drawn = _drawn(question)
        notes = {c.model: tie_of(question, c.model, kin) for c in question.candidates}
        styles = {candidate.model: style for style, candidate in enumerate(drawn)}
        named = [c for c in question.candidates if c.model == question.named]
        nearest = next(iter([*named, *question.candidates]), None)
        found.append(
            Entry(
                f"question-{place + 1}",
                question,
                truth_of(question.relation, question.parent),
                *outcome_of(question),
                nearest,
                _why(question, nearest),
                tuple(Row(c, notes[c.model], styles.get(c.model)) for c in question.candidates),
                profile_chart([(c.model, notes[c.model], c.profile) for c in drawn]),
                question.right is False or (place == 0 and not some_wrong),
            )
        )
    return found


def _drawn(question: Question) -> list[Shown]:
    """The candidates whose profiles are drawn: the best three or four, and the true parent wherever it ranks."""
    measured = [c for c in question.candidates if any(v is not None for v in c.profile)]
    drawn = measured[:4]
    parent = [c for c in measured[4:] if c.model == question.parent]
    return [*drawn[:3], *parent] if parent else drawn


def _why(question: Question, nearest: Shown | None) -> str:
    """One sentence: what decided the verdict."""
    if nearest is None:
        return "No candidate came near enough to be looked at."
    numbers = (
        f"weights {number(nearest.weights)}, biases {number(nearest.biases)}, "
        f"behaviour {number(nearest.behaviour)}"
    )
    return (
        f"{question.says[:1].upper()}{question.says[1:]} (nearest is {nearest.model}: {numbers})."
    )


def kinship(members: Sequence[Member]) -> dict[str, str]:
    """For each member the base its weights go back to; thieves and students start lines of their own."""
    known = {member.model: member for member in members}
    found = {}
    for member in members:
        at, seen = member, {member.model}
        while (
            at.relation not in NO_WEIGHTS
            and (parent := known.get(at.parent or "")) is not None
            and parent.model not in seen
        ):
            at = parent
            seen.add(at.model)
        found[member.model] = at.model
    return found


def tie_of(question: Question, candidate: str, kin: dict[str, str]) -> str:
    """What a candidate is to the model asked about: its parent, its victim or teacher, kin, or nothing."""
    if candidate == question.parent:
        if question.relation in NO_WEIGHTS:
            return "teacher" if question.relation == "distilled" else "victim"
        return "original" if question.relation == "copy" else "parent"
    base = kin.get(candidate)
    if base is not None and base == kin.get(question.model, question.model):
        return "kin"
    if question.parent is not None and base is not None and base == kin.get(question.parent):
        return "kin of " + ("its teacher" if question.relation == "distilled" else "its victim")
    return "no kin"
