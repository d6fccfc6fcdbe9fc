"""The scoreboard as JSON, as Markdown a sceptic can follow, and as one picture."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provray.testbed.folders import write_json
from provray.testbed.scoreboard.baselines import names_of
from provray.testbed.scoreboard.board import LOGISTIC, NO_WEIGHTS, UNTRAINED, Board
from provray.testbed.scoreboard.metrics import Estimate
from provray.testbed.scoreboard.parts import BEHAVIOUR_MEAN, LOWER_PROFILE, SHARED_VALUES

POOLED = ("theft that worked", "theft", "white-box", "all")
#: Scores of the picture and of the table by method; every other one is in the JSON.
SHOWN = (
    "weights",
    "biases",
    SHARED_VALUES,
    LOWER_PROFILE,
    "dna noise@1/6",
    "dna noise@1",
    "dna mixed@probabilities",
    "gif mixed@top_logit",
    "gif mixed@feature_norm",
    BEHAVIOUR_MEAN,
    UNTRAINED,
    LOGISTIC,
)
MEASURES: Mapping[str, str] = {
    "hard": "AUC, hard strangers",
    "first": "first place",
    "found": "found at 1 % FPR",
    "open": "AUC, open set",
}


def board_json(board: Board, command: str) -> dict[str, Any]:
    """The whole board as plain data; an estimate is [value, low, high, count]."""

    def plain(estimate: Estimate) -> list[float | None]:
        values = (estimate.value, estimate.low, estimate.high)
        return [*(round(v, 4) if v == v else None for v in values), estimate.count]

    cells = {
        score: {
            method: {measure: plain(getattr(cell, measure)) for measure in MEASURES}
            for method, cell in by_method.items()
        }
        for score, by_method in board.cells.items()
    }
    accepted = {
        score: {kind: plain(e) for kind, e in kinds.items()}
        for score, kinds in board.accepted.items()
    }
    facts = asdict(board)
    return {**_head(command), **facts, "cells": cells, "accepted": accepted}


def _head(command: str) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, 2 cores, no GPU",
        "command": command,
    }


def write_board(board: Board, folder: Path, name: str, command: str) -> list[Path]:
    """Write `name`.json, .md and .png into `folder` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in ("json", "md", "png")]
    write_json(paths[0], board_json(board, command))
    paths[1].write_text(board_markdown(board, command, f"{name}.png"), encoding="utf-8")
    draw_board(board, paths[2])
    return paths


def score_order(board: Board) -> list[str]:
    """All scores of a board: fusions, parts in reading order, plain baselines last."""
    fusions = [LOGISTIC, NO_WEIGHTS, UNTRAINED]
    plain = names_of(list(board.cells))
    parts = [n for n in board.cells if n not in fusions and n not in plain]
    parts.sort(key=lambda n: (n != "weights", n.startswith("gif"), n.startswith("dna"), n))
    return [*fusions, *parts, *plain]


def board_markdown(board: Board, command: str, picture: str) -> str:
    """The board as Markdown, hard cases first."""
    sets = ", ".join(f"{modality}: `{name}`" for modality, name in board.probes.items())
    lines = [
        *(f"{key}: {value}" for key, value in _head(command).items()),
        "",
        "# Scoreboard",
        "",
        f"{board.models} models; {board.questions} questions (models with parents) of {board.families} families; "
        f"{board.candidates} candidates (models without parents), of which those of the question's own fold and "
        f"modality are asked. Probes: {sets}.",
        "",
        "Families belong to two folds. The cohort that centres behaviour, the fusions' coefficients and the "
        "threshold come from one fold and are scored on the other: no figure rests on a family, a twin or a "
        "stranger that took part in a fit. Intervals: 95 %, bootstrap over families, 1,000 draws.",
        "",
        f"![found, by method and score]({picture})",
        "",
        "## Strangers that are taken for relatives",
        "",
        "Share of questions without any ancestor in the index whose best candidate passes the threshold, which is "
        "set to 1 % on the other fold. `children, parents away` are asked with their whole ancestry removed.",
        "",
        *_accepted_table(board),
        "",
        f"## By method: {LOGISTIC}",
        "",
        "Theft and distillation first. *AUC, hard strangers*: true ancestor against models of the same data or the "
        "same start. *First place*: share of questions whose best candidate is an ancestor. *Found at 1 % FPR*: first "
        "and above the one pooled threshold. *AUC, open set*: true ancestor against the best one when it is away.",
        "",
        "| method | questions | " + " | ".join(MEASURES.values()) + " |",
        "| --- |" + " --- |" * (len(MEASURES) + 1),
    ]
    cells = board.cells[LOGISTIC]
    for method in (*board.methods, *POOLED):
        if method in cells:
            cell = cells[method]
            values = [str(getattr(cell, measure)) for measure in MEASURES]
            lines.append(f"| {method} | {cell.first.count} | " + " | ".join(values) + " |")
    lines += ["", "## Every score, pooled", ""]
    for kind in POOLED:
        if not any(kind in by_method for by_method in board.cells.values()):
            continue
        lines += [
            f"### {kind}",
            "",
            "| score | " + " | ".join(MEASURES.values()) + " |",
            "| --- |" + " --- |" * len(MEASURES),
        ]
        for score in score_order(board):
            if (found := board.cells[score].get(kind)) is not None:
                values = [str(getattr(found, measure)) for measure in MEASURES]
                lines.append(f"| {score} | " + " | ".join(values) + " |")
        lines.append("")
    lines += ["## Scores themselves", "", *_range_table(board), ""]
    lines += ["## First places and found, by method and score", "", *_method_table(board), ""]
    return "\n".join(lines)


def _accepted_table(board: Board) -> list[str]:
    shown = [s for s in (*SHOWN, NO_WEIGHTS, *names_of(list(board.cells))) if s in board.accepted]
    kinds = list(board.accepted[shown[0]])
    lines = ["| score | " + " | ".join(kinds) + " |", "| --- |" + " --- |" * len(kinds)]
    counts = [str(board.accepted[shown[0]][kind].count) for kind in kinds]
    lines.append("| *questions* | " + " | ".join(counts) + " |")
    for score in shown:
        values = [str(board.accepted[score][kind]) for kind in kinds]
        lines.append(f"| {score} | " + " | ".join(values) + " |")
    return lines


def _range_table(board: Board) -> list[str]:
    """Lowest, median and highest score of true ancestors by method, and of strangers' best candidates by kind."""
    wanted = ("weights", "biases", LOWER_PROFILE, BEHAVIOUR_MEAN, LOGISTIC)
    shown = [s for s in wanted if s in board.ranges]
    limits = [" / ".join(f"{v:.2f}" for v in board.thresholds[s]) for s in shown]
    lines = [
        "Lowest, median and highest: of the true ancestor by method, then of the best candidate of strangers by kind.",
        "",
        "| asked about | " + " | ".join(shown) + " |",
        "| --- |" + " --- |" * len(shown),
        "| *thresholds of the two folds* | " + " | ".join(limits) + " |",
    ]
    kinds = [kind for kind in board.ranges[shown[0]] if kind not in board.methods]
    for name in (*board.methods, *kinds):
        found = [board.ranges[score].get(name) for score in shown]
        cells = ["–" if r is None else f"{r[0]:.2f}, {r[1]:.2f}, {r[2]:.2f}" for r in found]
        lines.append(
            f"| {name if name in board.methods else f'*{name}*'} | " + " | ".join(cells) + " |"
        )
    return lines


def _method_table(board: Board) -> list[str]:
    shown = [s for s in (*SHOWN, *names_of(list(board.cells))) if s in board.cells]
    lines = ["| method | " + " | ".join(shown) + " |", "| --- |" + " --- |" * len(shown)]
    for method in board.methods:
        values = []
        for score in shown:
            cell = board.cells[score].get(method)
            values.append(
                "–" if cell is None else f"{cell.first.value:.2f} / {cell.found.value:.2f}"
            )
        lines.append(f"| {method} | " + " | ".join(values) + " |")
    return lines


def draw_board(board: Board, path: Path) -> None:
    """Draw the share found at 1 % FPR, methods × scores, as a picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    shown = [s for s in (*SHOWN, *names_of(list(board.cells))) if s in board.cells]
    rows: Sequence[str] = [m for m in (*board.methods, *POOLED) if m in board.cells[shown[0]]]
    values = np.array([[board.cells[s][m].found.value for s in shown] for m in rows])
    figure, axes = plt.subplots(figsize=(11, 2.2 + 0.235 * len(rows)), layout="constrained")
    axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            colour = "black" if value > 0.55 else "white"
            text = "1" if value >= 0.995 else f"{value:.2f}".lstrip("0")
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(shown)), shown, rotation=40, ha="left", fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.axhline(len(board.methods) - 0.5, color="white", linewidth=2)
    axes.set_title(
        "Ancestors found and named first, at a threshold that 1 % of strangers pass\n"
        f"{board.questions} questions, {board.families} families never fitted on",
        fontsize=10,
        loc="left",
    )
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
