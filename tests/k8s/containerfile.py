"""The Containerfile as instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.k8s.kubectl import ROOT

CONTAINERFILE = ROOT / "Containerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction with what follows it, continued lines joined."""

    word: str
    rest: str


@dataclass(frozen=True)
class Stage:
    """A stage: what it starts from, its name and its instructions."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def of(self, word: str) -> list[str]:
        """What follows each instruction of a kind."""
        return [i.rest for i in self.instructions if i.word == word]


def instructions() -> list[Instruction]:
    """All of them in order. Raises ValueError for a line that is none."""
    lines = [
        line for line in CONTAINERFILE.read_text().splitlines() if not re.match(r"\s*(#|$)", line)
    ]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    found = []
    for line in joined.splitlines():
        match = re.fullmatch(r"([A-Z]+) (.+)", line)
        if match is None or match[1] not in WORDS:
            raise ValueError(f"no instruction: {line!r}")
        found.append(Instruction(match[1], match[2]))
    return found


def stages() -> dict[str, Stage]:
    """Every stage by its name."""
    made: dict[str, Stage] = {}
    for instruction in instructions():
        if instruction.word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", instruction.rest).groups()
            made[name] = Stage(base, name, ())
        elif made:
            last = list(made.values())[-1]
            made[last.name] = Stage(last.base, last.name, (*last.instructions, instruction))
    return made


WORDS = {"ARG", "FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "CMD"}
