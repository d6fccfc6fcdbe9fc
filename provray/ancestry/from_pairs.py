"""The families of a whole index from the pairs that were looked at, by the rule that `relatives` has for all pairs.

A pair that was not looked at counts as a test that would not have been rejected, so the error rate is that of all
pairs, and the work that of the few each model is near to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from provray.ancestry.inheritance import borne_out
from provray.ancestry.lineage import Edge, Lineage
from provray.ancestry.null import adjusted


@dataclass(frozen=True)
class Pair:
    """Two models by number, the lower one first, and what they show of inherited weights; see `Inheritance`."""

    first: int
    second: int
    p_shares: float
    p_start: float
    log_odds: float


@dataclass(frozen=True)
class FamilyWork:
    """A family of two or more whose edges are still to be found. ignored: digests of its tensors that other families
    hold too: constants and tables, which show no descent."""

    members: tuple[str, ...]
    ignored: frozenset[str]


def accepted(pairs: Iterable[Pair], models: int, fdr: float) -> list[Pair]:
    """The pairs that share what was learned: among all pairs of `models` models that are said to share weights, at most
    `fdr` are expected to share none; and among those, at most `fdr` no more than a start."""
    found = {(pair.first, pair.second): pair for pair in pairs}
    ordered = [found[key] for key in sorted(found)]
    tests = models * (models - 1) // 2
    shares = adjusted([pair.p_shares for pair in ordered], max(tests, len(ordered)))
    kept = [pair for pair, q in zip(ordered, shares, strict=True) if q <= fdr]
    starts = adjusted([pair.p_start for pair in kept], len(kept))
    passing = [pair for pair, q in zip(kept, starts, strict=True) if q <= fdr]
    named = dict.fromkeys(m for pair in passing for m in (pair.first, pair.second))
    number = {name: n for n, name in enumerate(named)}
    sure = borne_out(
        np.array([number[pair.first] for pair in passing], np.intp),
        np.array([number[pair.second] for pair in passing], np.intp),
        np.array([pair.log_odds for pair in passing]),
        len(number),
        fdr,
    )
    return [pair for pair, true in zip(passing, sure.tolist(), strict=True) if true]


def work(
    names: Sequence[str],
    labels: npt.NDArray[np.intp],
    digests: npt.NDArray[np.uint64],
    holders: npt.NDArray[np.intp],
) -> Iterator[FamilyWork]:
    """The families of two or more, the largest first. digests, holders: of every tensor that tells something, its
    digest and the number of the model that holds it."""
    members: dict[int, list[int]] = {}
    for number, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(number)
    ignored = _ignored(digests, labels[holders], np.bincount(labels) > 1)
    for label, family in sorted(members.items(), key=lambda f: (-len(f[1]), f[0])):
        if len(family) > 1:
            yield FamilyWork(tuple(names[n] for n in family), frozenset(ignored.get(label, ())))


def _ignored(
    digests: npt.NDArray[np.uint64],
    owners: npt.NDArray[np.intp],
    wanted: npt.NDArray[np.bool_],
) -> Mapping[int, list[str]]:
    """By family, which of its digests another family holds; of the wanted families."""
    if not len(digests):
        return {}
    order = np.lexsort((owners, digests))
    digests, owners = digests[order], owners[order]
    new = np.append(True, (digests[1:] != digests[:-1]) | (owners[1:] != owners[:-1]))
    digests, owners = digests[new], owners[new]
    # each digest of a family is there once now, so one that comes twice is of several families
    again = digests[1:] == digests[:-1]
    common = (np.append(again, False) | np.append(False, again)) & wanted[owners]
    found: dict[int, list[str]] = {}
    for owner, digest in zip(owners[common].tolist(), digests[common].tolist(), strict=True):
        found.setdefault(owner, []).append(f"{digest:016x}")
    return found


def whole_lineage(
    names: Sequence[str], labels: npt.NDArray[np.intp], edges: Iterable[Edge]
) -> Lineage:
    """The lineage of these models, as `build_lineage` gives it. names: sorted."""
    ordered = sorted(edges, key=lambda edge: (edge.child, edge.parent))
    children = {edge.child for edge in ordered}
    members: dict[int, list[str]] = {}
    for name, label in zip(names, labels.tolist(), strict=True):
        members.setdefault(label, []).append(name)
    grown = [tuple(sorted(f, key=lambda m: (m in children, m))) for f in members.values()]
    grown.sort(key=lambda family: (-len(family), family))
    return Lineage(tuple(names), tuple(ordered), tuple(grown))
