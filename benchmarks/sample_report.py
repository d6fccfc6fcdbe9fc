"""What a run of `sample.py` says, as Markdown. No program of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MEGA = 1e6
_QUESTION = """\
What is lost, and what is saved, when at most N blocks of 65,536 values are read of each tensor
(`WeightsSettings.sample`)? Every model is fingerprinted with every N; all columns are of the same pairs."""
_FIRST = """\
- **Four blocks find what everything finds, but for rearranged neurons**: parents {found[4]} with 4 and
  {found[0]} with all, strangers taken for kin {kin[4]} and {kin[0]}. Biases, on which the test of inheritance
  rests, are read whole. The sample moves a cosine of kin by at most {moved[4]:.3f}; chance alone gives strangers
  0 ± .031 (1/√1024).
- **It reads {share[4]:.0%} of the bytes of these small models, {large[4]:,.0f} MB of a Llama's {large[0]:,.0f}
  MB.** What a model costs is then its requests, {ranges[4]:,} for that Llama.
- **Kin whose neurons were rearranged are what a sample may lose** (found with one, two, four and eight blocks:
  {found[1]}, {found[2]}, {found[4]}, {found[8]}). One block reads {share[1]:.0%}.
- **Always lost**: proof of a copy, rearranged parts of large tensors, and any change confined to what was not
  read."""
_PROTOCOL = """\
{models} models of {families} families, {pairs} pairs of child and parent. all-MiniLM-L6-v2: fine-tuned on news gently
and fast, harshly on reviews, new head, adapter merged, merge of two fine-tunes, int8, int4, pruned by half and by 80 %,
noise of 1e-3, bfloat16, a layer dropped, neurons permuted, and its configuration with random weights. all-mpnet-base-v2
and MobileNetV2: compressed in the same ways, and trained on a little. BERTs and ResNets from scratch with children, two
seeds each, and a BERT that began like the first one and was trained on other data. Strangers are models of two starts:
mpnet and MiniLM, twins, random weights. Fine-tunes are short (8 to 60 steps).

`first`: whether, of all models without parents, the one a child came from scores highest. Intervals: 95 %, bootstrap
over families; seven of them have children, so intervals are coarse, and [1, 1] says only that no family failed. The
verdict is the rule that lineages are built on (`relatives`, false discovery rate .05) with the shipped calibration,
which was fitted on whole tensors of a zoo that holds these three real models: read the columns against `all`, not as
recall in the wild."""
_COSTS = """\
Seconds are CPU time of reading from the page cache and sketching, the least of three rounds. The Llama is its
header alone (bfloat16, names and shapes of transformers' default configuration): bytes and ranges are exact,
and the time at a slow source (0.3 s a request, 20 MB/s, one request after another) is computed, not measured.
Requests, not bytes, are what is left to pay there: ask for several ranges at a time."""
_RECALL = """\
`narrowest margin`: least difference, over pairs, of the parent's cosine and the best one that a stranger has with the
child. `largest change`: against reading everything. Biases and gains here are shorter than a block, so they are read
whole with any sample."""
_BLIND = """\
- **Copies.** A digest of the whole model needs every byte, so it is empty where anything was left out: a copy
  is told to descend from its original, as `rearranged`. Small models, whose tensors fit into the sample, keep
  theirs.
- **A change beyond the sample.** The edit lies in block {block} of the {of} of MiniLM's embedding table, which
  no sample here reads: nothing differs. A change confined to one block is met with the share of that tensor's
  blocks that is read.
- **Frozen parts.** Equal digests of a sampled tensor say that the sample is equal. Wrongly identical are
  tensors told so that are not, over the pairs of child and parent (truly identical there: {identical}).
- **Lattice and zeros.** They lie all over a tensor, and a few rows of the sample show them. Changes above are
  of a model's mean over its matrices.
- **Rearranged neurons.** Count, size and kurtosis of a whole tensor do not change with the order of its rows;
  those of a sample do, where rows moved in or out of it. Layers that moved are still known: blocks are drawn by
  shape, not by name."""
_CHOICES = """\
Exact cosines of a child with its parent, no sketch: how far a sample's lies from the whole's, mean / largest
over eleven pairs (model: mean over its matrices by their size; matrix: each by itself). `spread` is what
provray does: one block drawn of each of N equal runs. A run costs one request a tensor whatever N is. With 4
and 8 blocks it is a little further off, and it sees one part of matrices that are several in one (query, key
and value; experts), the same part in every layer. The first blocks are the worst: a vocabulary begins with
control and spare tokens."""


def report(found: Mapping[str, Any]) -> str:
    """The page of a run's figures."""
    protocol, samples = found["protocol"], found["samples"]
    order = sorted(samples, key=lambda s: int(s) or 10**9)
    parts = [
        f"date: {protocol['date']}\nmachine: {protocol['machine']}\ncommand: {protocol['command']}",
        "# Weights fingerprints of a sample",
        _QUESTION,
        "## What to know first\n\n" + _first(found),
        "## Protocol",
        _PROTOCOL.format(**protocol),
        "## What it costs to read\n\n" + _costs(found, order),
        "## What the sketches still say\n\n" + _recall(samples, order),
        "## What the verdict still says\n\n" + _verdict(samples, order),
        "## What a sample cannot see\n\n" + _blind(found, order),
        "## Which blocks\n\n" + _choices(found["choices"]),
    ]
    return "\n\n".join(parts) + "\n"


def _first(found: Mapping[str, Any]) -> str:
    samples, large = found["samples"], found["large"]
    of = {int(s): figures for s, figures in samples.items()}
    return _FIRST.format(
        found={s: _estimate(v["verdict"]["parents found"]) for s, v in of.items()},
        kin={
            s: f"{v['verdict']['strangers taken for kin']} of {v['verdict']['pairs of strangers']:,}"
            for s, v in of.items()
        },
        moved={s: v["against all"]["cosine moved"]["weights"]["kin"] for s, v in of.items()},
        share={s: v["read"] / samples["0"]["read"] for s, v in of.items()},
        large={int(s): v["bytes"] / _MEGA for s, v in large.items()},
        ranges={int(s): v["ranges"] for s, v in large.items()},
    )


def _costs(found: Mapping[str, Any], order: Sequence[str]) -> str:
    samples, large = found["samples"], found["large"]
    rows = []
    for name in samples["0"]["models"]:
        for what, unit in (("bytes", "MB"), ("ranges", "ranges"), ("seconds", "CPU s")):
            values = [samples[s]["models"][name][what] for s in order]
            rows.append([f"{name}, {unit}", *(_number(what, v) for v in values)])
    rows.append(
        [
            "all models, share of bytes",
            *(f"{samples[s]['read'] / samples['0']['read']:.3f}" for s in order),
        ]
    )
    for what, unit in (("bytes", "MB"), ("ranges", "ranges"), ("slow source", "s, slow source")):
        rows.append([f"Llama 7 B, {unit}", *(_number(what, large[s][what]) for s in order)])
    return _table(["", *map(_heading, order)], rows) + "\n\n" + _COSTS


def _recall(samples: Mapping[str, Any], order: Sequence[str]) -> str:
    rows = []
    for readout in ("weights", "biases"):
        of = [samples[s][readout] for s in order]
        rows += [
            [f"{readout}: parent, lowest", *(f"{v['parent']['lowest']:.3f}" for v in of)],
            [
                f"{readout}: parent, lowest but for permuted and dropped layer",
                *(f"{v['parent']['lowest in order']:.3f}" for v in of),
            ],
            [f"{readout}: parent, median", *(f"{v['parent']['median']:.4f}" for v in of)],
            [f"{readout}: best stranger", *(f"{v['best stranger']:.3f}" for v in of)],
            [f"{readout}: narrowest margin", *(f"{v['narrowest margin']:.3f}" for v in of)],
            [f"{readout}: first", *(_estimate(v["first"]) for v in of)],
            [f"{readout}: AUC", *(_estimate(v["auc"]) for v in of)],
        ]
        for kind in ("kin", "strangers"):
            moved = [samples[s]["against all"]["cosine moved"][readout][kind] for s in order]
            rows.append([f"{readout}: {kind}, largest change", *(f"{v:.4f}" for v in moved)])
    return _table(["cosine", *map(_heading, order)], rows) + "\n\n" + _RECALL


def _verdict(samples: Mapping[str, Any], order: Sequence[str]) -> str:
    of = [samples[s]["verdict"] for s in order]
    rows = [
        ["parents found", *(_estimate(v["parents found"]) for v in of)],
        [
            "strangers taken for kin",
            *(f"{v['strangers taken for kin']} of {v['pairs of strangers']}" for v in of),
        ],
        [
            "one start, other data: taken for kin",
            *(f"{v['same start taken for kin']} of {v['pairs of one start']}" for v in of),
        ],
        [
            "direction of a pair: right / wrong / silent",
            *(
                " / ".join(
                    str(v["direction"][way]) for way in ("ancestor", "descendant", "unknown")
                )
                for v in of
            ),
        ],
        [
            "labels of the relation that differ",
            *(str(len(samples[s]["against all"]["relation differs"])) for s in order),
        ],
    ]
    told = {s: samples[s]["verdict"]["missed"] for s in order}
    words = {s: samples[s]["against all"]["relation differs"] for s in order}
    return "\n\n".join(
        [
            _table(["", *map(_heading, order)], rows),
            "Missed: " + _listed(told) + ".",
            "Relations told otherwise than with everything read: " + _listed(words) + ".",
        ]
    )


def _blind(found: Mapping[str, Any], order: Sequence[str]) -> str:
    samples, edit = found["samples"], found["edit"]
    against = [samples[s]["against all"] for s in order]
    rows = [
        ["models whose identity can be proved", *(str(a["models with a digest"]) for a in against)],
        ["tensors wrongly told identical", *(str(a["tensors wrongly identical"]) for a in against)],
        ["one token's embedding edited: tensors that differ",
         *(str(edit["seen"][s]["tensors that differ"]) for s in order)],
        ["it is told to be", *(edit["seen"][s]["relation"] for s in order)],
        ["share of zeros, largest change", *(f"{a['marks moved']['zeros']:.4f}" for a in against)],
        ["share of different values, largest change", *(f"{a['marks moved']['distinct']:.4f}" for a in against)],
    ]  # fmt: skip
    for model in samples["0"]["shared"]:
        rows.append(
            [
                f"values shared with the parent: {model}",
                *(f"{samples[s]['shared'][model]:.3f}" for s in order),
            ]
        )
    words = _BLIND.format(**edit, identical=against[0]["tensors identical"])
    return _table(["", *map(_heading, order)], rows) + "\n\n" + words


def _choices(choices: Mapping[str, Any]) -> str:
    ways = [way for way in choices if way != "embeddings"]
    counts = list(choices[ways[0]])
    rows = [
        [
            f"{way}: {level}",
            *(
                f"{choices[way][n][level]['mean']:.4f} / {choices[way][n][level]['largest']:.4f}"
                for n in counts
            ),
        ]
        for level in ("model", "matrix")
        for way in ways
    ]
    embeddings = [
        [child, *(f"{of[way]:.5f}" for way in ("whole", *ways))]
        for child, of in choices["embeddings"].items()
    ]
    return "\n\n".join(
        [
            _CHOICES,
            _table(["blocks", *counts], rows),
            "The embedding table by one block:",
            _table(["child", "whole", *ways], embeddings),
        ]
    )


def _heading(sample: str) -> str:
    return "all" if sample == "0" else sample


def _number(what: str, value: float) -> str:
    if what == "bytes":
        return f"{value / _MEGA:,.1f}"
    return f"{value:.2f}" if what == "seconds" else f"{value:,.0f}"


def _estimate(told: Sequence[float]) -> str:
    value, low, high = told
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _listed(by_sample: Mapping[str, Sequence[str]]) -> str:
    told = [f"{_heading(s)}: {', '.join(names)}" for s, names in by_sample.items() if names]
    return "; ".join(told) if told else "none"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
