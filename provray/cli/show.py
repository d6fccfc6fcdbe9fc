"""`provray show`: what an index holds, and what it could not take."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table

from provray.cli.console import out, print_json, style_of
from provray.cli.options import Index, Json
from provray.index.row import Row, first_failure
from provray.index.table import FingerprintTable


def show_command(index: Index, as_json: Json = False) -> None:
    """Show spaces, version, counts by status, and every failure with its reason."""
    described = describe(index)
    if as_json:
        print_json(described)
        return
    counts = ", ".join(f"[{style_of(s)}]{n} {s}[/]" for s, n in described["statuses"].items())
    out.print(
        f"index [bold]{index}[/] at version {described['version']}: {described['models']} models"
        + (f" ({counts})" if counts else ""),
        soft_wrap=True,
    )
    spaces = Table("space", "models", "probe set", box=None, header_style="bold")
    for space in described["spaces"]:
        spaces.add_row(space["space"], str(space["models"]), space["probes"][:16])
    out.print(spaces)
    if described["failures"]:
        failures = Table("model", "status", "reason", box=None, header_style="bold")
        for f in described["failures"]:
            failures.add_row(f["model"], f"[{style_of(f['status'])}]{f['status']}[/]", f["reason"])
        out.print(failures)


def describe(index: str) -> dict[str, Any]:
    """The object that `provray show --json` prints."""
    table = FingerprintTable.open(index)
    by_model: dict[tuple[str, str], list[Row]] = {}
    for row in table.facts():
        by_model.setdefault((row.model, row.revision), []).append(row)
    statuses: Counter[str] = Counter()
    failures = []
    spaces: Counter[tuple[str, str, str, str]] = Counter()
    for (model, revision), rows in sorted(by_model.items()):
        failed = first_failure(rows)
        statuses[failed.status if failed else "ok"] += 1
        if failed is not None:
            failures.append(
                {
                    "model": model,
                    "revision": revision,
                    "status": failed.status,
                    "reason": failed.reason,
                }
            )
        for row in rows:
            if row.status == "ok":
                spaces[
                    (row.kind, row.space, row.modality if row.kind != "weights" else "", row.probes)
                ] += 1
    return {
        "uri": str(index),
        "version": table.version,
        "models": len(by_model),
        "statuses": dict(statuses.most_common()),
        "spaces": [
            {"kind": kind, "space": space, "modality": modality, "probes": probes, "models": count}
            for (kind, space, modality, probes), count in sorted(spaces.items())
        ],
        "probe_sets": [
            {"name": p.name, "modality": p.modality, "digest": p.digest} for p in table.probe_sets()
        ],
        "failures": failures,
    }
