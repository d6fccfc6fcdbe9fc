"""What a demo run found: the record that the table and the HTML report are drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Member:
    """One model of the zoo.

    parent: the model it was made from, None for bases and strangers (a thief's or student's is its victim or
    teacher, from which no weights come). split: indexed or held_out. accuracy: on held-out inputs of its own task;
    fidelity: a thief's label agreement with its victim. Both 0..1 or None.
    """

    model: str
    split: str
    parent: str | None
    relation: str
    modality: str
    parameters: int
    accuracy: float | None = None
    fidelity: float | None = None


@dataclass(frozen=True)
class Shown:
    """One candidate of a question, as the report draws it.

    profile: centred cosine on noise probes by relative depth (seven values, bottom to top; None where not measured).
    probabilities, gif: centred cosines, None where absent. biases: cosine of biases and gains; limit: from where on
    that alone shows shared weights at the asked false discovery rate.
    """

    model: str
    score: float
    weights: float | None
    profile: tuple[float | None, ...]
    probabilities: float | None
    gif: float | None
    behaviour: float | None
    biases: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Question:
    """One held-out model, what is true of it and what provray said.

    named: first ancestor, None if the verdict names none. guess: provray's guess at the relation. right: True, False,
    or None where no answer is demanded (thefts are reported as they fall). candidates: best first. seconds:
    wall time of the question. says: the verdict in a sentence.
    """

    model: str
    parent: str | None
    relation: str
    verdict: str
    named: str | None
    guess: str
    right: bool | None
    seconds: float
    candidates: tuple[Shown, ...]
    warnings: tuple[str, ...] = ()
    says: str = ""


@dataclass(frozen=True)
class DemoResult:
    """A whole run.

    stages: (what, seconds) in order. fingerprinting: (model, weights s, DNA s, GiF s) of indexed models. facts: label
    and value of things worth knowing (versions, probe digests, index version, cores).
    """

    members: tuple[Member, ...]
    questions: tuple[Question, ...]
    stages: tuple[tuple[str, float], ...]
    fingerprinting: tuple[tuple[str, float, float, float], ...]
    facts: tuple[tuple[str, str], ...] = field(default=())
