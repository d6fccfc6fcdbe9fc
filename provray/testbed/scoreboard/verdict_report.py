"""The figures of the verdict as a page and a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from provray.testbed.fitting.verdict import Evidence
from provray.testbed.scoreboard.metrics import share
from provray.testbed.scoreboard.score_ranges import range_lines
from provray.testbed.scoreboard.tables import table
from provray.testbed.scoreboard.verdict_score import GROUPS, VERDICT
from provray.testbed.scoreboard.verdicts import AWAY, INDEXED, Said

_THEFT = ("stolen", "distilled")


def summarise(said: Sequence[Said]) -> dict[str, Any]:
    """Of whole answers: who is named first, by method; verdicts; relations; parents of merges."""
    children = [s for s in said if s.setting == INDEXED and s.truth and s.relation not in _THEFT]
    rows = {
        name: {
            "ancestor": _rate([s.verdict in ("ancestor", "copy") for s in of], of),
            "parent first": _rate([bool(s.named) and s.named[0][0] in s.truth for s in of], of),
            "any wrong": _rate([any(n[0] not in s.ancestry for n in s.named) for s in of], of),
            "relations": dict(Counter(s.named[0][1] if s.named else s.verdict for s in of)),
        }
        for name, of in _by_method(children).items()
    }
    merged = [s for s in children if s.relation == "merged"]
    hits = sum(len({n for n, r, _ in s.named if r == "merged"} & set(s.truth)) for s in merged)
    told = sum(sum(r == "merged" for _, r, _ in s.named) for s in merged)
    true = sum(len(s.truth) for s in merged)
    precision, recall = hits / max(told, 1), hits / max(true, 1)
    return {
        "methods": rows,
        "verdicts": {
            setting: dict(Counter(s.verdict for s in said if s.setting == setting))
            for setting in (INDEXED, AWAY)
        },
        "thieves": dict(
            Counter(s.verdict for s in said if s.setting == INDEXED and s.relation in _THEFT)
        ),
        "merges": {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(precision + recall, 1e-9),
        },
    }


def false_kin(said: Sequence[Said], evidence: Evidence) -> dict[str, Any]:
    """Pairs of strangers that were told to share weights, or to be kin, by what makes them look alike.

    Each suspect is asked against the whole index without its own kin; a pair is a suspect and a model without parents.
    """
    records = {r.model: r for r in evidence.records}
    numbers = {name: n for n, name in enumerate(evidence.pairs.models)}
    roots = [r.model for r in evidence.records if not r.parents]
    looked: Counter[str] = Counter()
    sharing: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for s in said:
        if s.setting != AWAY:
            continue
        n = numbers[s.suspect]
        for root in roots:
            m = numbers[root]
            if not evidence.pairs.comparable[n, m] or evidence.pairs.kin[n, m]:
                continue
            kind = _likeness(s, root, records, bool(evidence.pairs.start[n, m]), evidence)
            looked[kind] += 1
            sharing[kind] += root in s.sharing
            wrong[kind] += root in s.strangers
    return {
        kind: {"pairs": looked[kind], "sharing": sharing[kind], "accepted": wrong[kind]}
        for kind in sorted(looked)
    }


def _likeness(
    said: Said, root: str, records: Mapping[str, Any], start: bool, evidence: Evidence
) -> str:
    own, other = records[said.suspect], records[root]
    if start or other.relation == "same start":
        if not start:
            return "others"
        return (
            "same start, same data"
            if root.endswith("again") or said.suspect.endswith("again")
            else "same start, other data"
        )
    if "look-alike" in (own.relation, other.relation) or root == "real/mpnet":
        return "look-alike encoders"
    names = evidence.pairs.models
    alike = evidence.pairs.alike[names.index(said.suspect), names.index(root)]
    same = said.suspect.split("/")[0] == root.split("/")[0]
    return (
        "twins: same architecture and data" if alike and same else "same data" if same else "others"
    )


def _by_method(children: Sequence[Said]) -> dict[str, list[Said]]:
    found: dict[str, list[Said]] = {"all white-box": list(children)}
    for s in sorted(children, key=lambda s: s.kind):
        found.setdefault(s.kind, []).append(s)
    return found


def _rate(hits: Sequence[bool], of: Sequence[Said]) -> Any:
    return share(np.array(hits, bool), np.array([s.family for s in of]))


def _e(estimate: Mapping[str, float]) -> str:
    if estimate["count"] == 0:
        return "–"
    return f"{estimate['value']:.3f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"


def page(found: Mapping[str, Any]) -> str:
    """The page in Markdown, hard cases first."""
    p, answers = found["protocol"], found["answers"]
    lines = [
        "# The verdict, scored where it was not fitted",
        "",
        f"{p['date']}, {p['machine']}. `{p['command']}`. {p['models']} models of known lineage (data "
        f"{p['data'][:12]}…) in two folds "
        f"of families: what is fitted on one is scored on the other; {p['strangers']} strangers more for the "
        f"large index. False "
        f"discovery rate {p['fdr']:g} unless said. 95 % intervals over families.",
        "",
        "![false discoveries, theft, first named](verdict.png)",
        "",
        "## Look-alikes taken for kin",
        "",
        "Pairs of a suspect and a model without parents, its own kin away. Sharing: said to share weights, which is "
        "true of one start alone; accepted: said to share learned ones.",
        "",
        *table(
            ("pairs", "looked at", "sharing", "accepted"),
            [(kind, c["pairs"], c["sharing"], c["accepted"]) for kind, c in found["twins"].items()],
        ),
        *range_lines(found["ranges"]),
        "## Theft and distillation, on probes of the victim's domain",
        "",
        "By fidelity margin: agreement with the victim minus the best stranger's.",
        "",
        *table(
            (
                "margin",
                "thieves",
                "victim first",
                "AUC, other models of the domain",
                "AUC, open set",
                "called stolen, right victim",
            ),
            [
                (k, t["count"], _e(t["first"]), _e(t["hard"]), _e(t["open"]), _e(t["named"]))
                for k, t in found["theft"]["by_margin"].items()
            ],
        ),
        "Accused of theft although the victim is not there:",
        "",
        *table(
            ("asked rate", "look-alikes that stole nothing", "thieves, another named"),
            [
                (limit, _e(a["look-alikes"]), _e(a["thieves, victim away"]))
                for limit, a in found["theft"]["accused"].items()
            ],
        ),
        "## Inherited weights",
        "",
        "Candidates are all models without parents of the fold, networks of the same start among them. Found: "
        "first, and above the "
        "score that 1 % of questions without an ancestor exceed.",
        "",
        *_inheritance(found),
        "### Architectures left out of the fit",
        "",
        *table(
            (
                "architecture",
                "children",
                "score",
                "AUC, hard strangers",
                "first",
                "found at 1 %",
                "AUC, open set",
            ),
            [
                (
                    k,
                    c["first"]["count"],
                    score,
                    _e(c["hard"]),
                    _e(c["first"]),
                    _e(c["found"]),
                    _e(c["open"]),
                )
                for k, by_score in found["unseen"].items()
                for score, c in by_score.items()
            ],
        ),
        "## Whole answers, all of the fold indexed",
        "",
        *table(
            (
                "made by",
                "asked",
                "ancestor",
                "true parent first",
                "any wrong ancestor",
                "relation said",
            ),
            [
                (
                    k,
                    r["ancestor"]["count"],
                    _e(r["ancestor"]),
                    _e(r["parent first"]),
                    _e(r["any wrong"]),
                    ", ".join(f"{n} {name}" for name, n in r["relations"].items()),
                )
                for k, r in answers["methods"].items()
            ],
        ),
        f"Parents of merged models: precision {answers['merges']['precision']:.3f}, recall "
        f"{answers['merges']['recall']:.3f}, F1 "
        f"{answers['merges']['f1']:.3f}. Verdicts: "
        + "; ".join(
            f"{setting}: " + ", ".join(f"{n} {v}" for v, n in counts.items())
            for setting, counts in answers["verdicts"].items()
        )
        + ".",
        "",
        "## False discoveries by size of the index",
        "",
        "Share of claimed relatives that are none; any: questions with one such claim or more; power: "
        "ancestors in the index that are "
        "claimed.",
        "",
        *table(
            ("models", "asked rate", "setting", "false discovery rate", "any", "power"),
            [
                (d["size"], d["rate"], d["setting"], _e(d["fdr"]), _e(d["any"]), _e(d["power"]))
                for d in found["discoveries"]
            ],
        ),
        *_direction_and_lineage(found),
        "## Calibration of the probability",
        "",
        f"Expected calibration error {found['calibration']['error']:.3f} (ten bins; each child asked with and "
        f"without its ancestors).",
        "",
        *table(
            ("probability said", "right", "questions"),
            [
                (f"{b['said']:.3f}", f"{b['right']:.3f}", b["count"])
                for b in found["calibration"]["bins"]
            ],
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _inheritance(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for group in (*GROUPS, "all white-box"):
        for score, cells in found["inheritance"].items():
            c = cells[group]
            name = f"**{group}** ({c['first']['count']})" if score == VERDICT else ""
            rows.append((name, score, _e(c["hard"]), _e(c["first"]), _e(c["found"]), _e(c["open"])))
    return table(
        ("made by", "score", "AUC, hard strangers", "first", "found at 1 %", "AUC, open set"), rows
    )


def _direction_and_lineage(found: Mapping[str, Any]) -> list[str]:
    d = found["direction"]
    lines = [
        "## Direction: which of a parent and its child came first",
        "",
        *table(
            ("questions", "right, of what is answered", "silent"),
            [
                ("all", _e(d["folds"]["right"]), _e(d["folds"]["silent"])),
                (
                    "all, architecture left out",
                    _e(d["left_out"]["right"]),
                    _e(d["left_out"]["silent"]),
                ),
                *((k, _e(c["right"]), _e(c["silent"])) for k, c in d["sources"].items()),
            ],
        ),
        "## The lineage of a whole index",
        "",
    ]
    rows = []
    for removed, s in found["lineages"].items():
        for part in ("edges", "ancestors", "merges", "with_theft"):
            a = s[part]
            rows.append(
                (f"{float(removed):.0%}", part, _e(a["precision"]), _e(a["recall"]), _e(a["f1"]))
            )
    return [*lines, *table(("members removed", "what", "precision", "recall", "F1"), rows)]


def write(found: Mapping[str, Any], out: Path) -> None:
    """Write `verdict.md` and `verdict.png`."""
    (out / "verdict.md").write_text(page(found), encoding="utf-8")
    _picture(found, out / "verdict.png")


def _picture(found: Mapping[str, Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    for setting, style in ((INDEXED, "-"), (AWAY, "--")):
        for size in sorted({d["size"] for d in found["discoveries"]}):
            rows = [d for d in found["discoveries"] if (d["size"], d["setting"]) == (size, setting)]
            x = [d["rate"] for d in rows]
            line = left.plot(
                x,
                [d["fdr"]["value"] for d in rows],
                style,
                marker="o",
                ms=3,
                label=f"{size} models, {setting}",
            )
            low, high = ([d["fdr"][k] for d in rows] for k in ("low", "high"))
            left.fill_between(x, low, high, color=line[0].get_color(), alpha=0.08)
    left.plot([0, 0.2], [0, 0.2], color="grey", lw=1, label="asked")
    left.set(title="False discovery rate", xlabel="asked", ylabel="measured")
    left.legend(fontsize=7)
    bands = dict(found["theft"]["by_margin"])
    for key, label in (
        ("first", "victim first"),
        ("hard", "AUC, same domain"),
        ("open", "AUC, open set"),
    ):
        y = np.array([t[key]["value"] for t in bands.values()])
        spread = np.abs(
            np.array([[t[key][k] for t in bands.values()] for k in ("low", "high")]) - y
        )
        middle.errorbar(range(len(bands)), y, spread, marker="o", ms=4, capsize=3, label=label)
    ticks = [f"{k.partition(' point')[0]}\n({t['count']})" for k, t in bands.items()]
    middle.set_xticks(range(len(bands)), ticks)
    middle.set(title="Theft", xlabel="fidelity margin in points (thieves)", ylim=(0, 1.03))
    middle.legend(fontsize=8)
    names = list(found["inheritance"])
    for place, name in enumerate(names):
        cell = found["inheritance"][name]["all white-box"]["found"]
        right.barh(
            place,
            cell["value"],
            xerr=[[cell["value"] - cell["low"]], [cell["high"] - cell["value"]]],
            color="#4477aa" if name == VERDICT else "#bbbbbb",
        )
    right.set_yticks(range(len(names)), ["verdict" if n == VERDICT else n for n in names])
    right.invert_yaxis()
    right.set(title="Ancestors found at 1 % false positives", xlim=(0, 1))
    figure.savefig(path, dpi=110)
