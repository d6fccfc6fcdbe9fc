"""`provray eval` as a job: the same arguments."""

from __future__ import annotations

from typing import Any

from provray.cli.as_job import command, run_job


def work(arguments: list[str]) -> Any:
    """Score every kind of evidence on a zoo. Told are the pooled figures of the fusion, [value, low, high, count]; all
    others are in what --json and --out write."""
    from provray.testbed.scoreboard.board import LOGISTIC
    from provray.testbed.scoreboard.report import POOLED, board_json

    board = board_json(command("eval", *arguments), "")
    cells = board["cells"][LOGISTIC]
    return {
        **{name: board[name] for name in ("models", "questions", "families", "candidates")},
        "failed": [list(model) for model in board["failed"]],
        "scores": {kind: cells[kind] for kind in POOLED if kind in cells},
        "taken_for_a_relative": board["accepted"][LOGISTIC],
    }


if __name__ == "__main__":
    run_job("evaluate", work)
