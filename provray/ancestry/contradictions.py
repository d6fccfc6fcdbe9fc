"""What a model's card declares against what was inferred from the model itself.

What a card says is never evidence of ancestry; where it disagrees with the evidence, that is a finding of its own.
Cards are often silent or loosely written, so names are matched generously and doubt means silence. Nothing here is
legal advice: of licences it is said that they differ and which they are, no more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from provray.index.row import texts

INHERITED = frozenset({"copy", "ancestor"})
"""Verdicts that say weights were inherited."""

NOT_INHERITED = frozenset({"related", "none"})
"""Verdicts that say no inherited weights were found in anything indexed."""

_URL = re.compile(r"https?://[^/]+/", re.IGNORECASE)
_REVISION = re.compile(r"[@#:][^/\\]*$|/(?:tree|blob|resolve|commit|snapshots)/.*$")
_STEP = re.compile(r"[/\\]checkpoint-\d+$")
_LOCAL = re.compile(r"[./~\\]|[A-Za-z]:[\\/]")
_NO_LICENCE = frozenset({"", "unknown", "none", "null", "n/a", "na", "tbd"})
_LICENCE_FILLER = frozenset({"the", "license", "licence", "version", "v"})
_SHOWN = 3


@dataclass(frozen=True)
class Contradiction:
    """One disagreement between a card and the evidence.

    kind: `undeclared ancestor`, `other ancestor`, `declared ancestor not found` or `licence`. declared, inferred: the
    two sides as short values, "" where a side names nothing. text: the same in plain words.
    """

    kind: str
    declared: str
    inferred: str
    text: str


def contradictions(
    suspect_declared: Mapping[str, object],
    verdict: str,
    ancestors: Sequence[tuple[str, Mapping[str, object]]],
    indexed: Collection[str],
) -> tuple[Contradiction, ...]:
    """Where the suspect's card and the verdict disagree; () where they agree or a side says nothing.

    suspect_declared: what its card says (`base_model`: a name or a list of names, `license`, `name`). ancestors: models
    whose weights were found in the suspect, best first, each with what its own card says; leave out what was inferred
    from behaviour alone. indexed: the models of the index.

    A declared base agrees with the evidence if it may mean any of the ancestors, or a base that one of them declares: a
    card may well name the grandparent.
    """
    bases = texts(suspect_declared.get("base_model"))
    if verdict in INHERITED and ancestors:
        return (
            *_of_ancestors(suspect_declared, bases, verdict, ancestors, indexed),
            *_of_licences(suspect_declared, bases, ancestors),
        )
    if verdict in NOT_INHERITED:
        return tuple(found for base in bases for found in _not_found(base, indexed))
    return ()


def same_model(one: str, other: str) -> bool:
    """Whether two names may mean the same model.

    Case, a hub's address, a revision, a training step and a missing organisation make no difference; two organisations
    do. Of a path on somebody's machine the last part alone counts, since the folders above it are no organisation.
    """
    ours, theirs = _parts(one), _parts(other)
    if not ours or not theirs:
        return False
    length = 1 if _is_local(one) or _is_local(other) else min(len(ours), len(theirs))
    return ours[-length:] == theirs[-length:]


def _of_ancestors(
    suspect_declared: Mapping[str, object],
    bases: Sequence[str],
    verdict: str,
    ancestors: Sequence[tuple[str, Mapping[str, object]]],
    indexed: Collection[str],
) -> Iterator[Contradiction]:
    best = ancestors[0][0]
    held = f"a bit-identical copy of {best}" if verdict == "copy" else f"inherited from {best}"
    if not bases:
        own = texts(suspect_declared.get("name"))
        if verdict == "copy" and any(
            _means(name, path, c) for name in own for path, c in ancestors
        ):
            return  # a second copy under its own name owes nobody a base
        yield Contradiction(
            "undeclared ancestor",
            "",
            best,
            f"The card names no base model, but the weights are {held}.",
        )
        return
    agreeing = [base for base in bases if any(_leads_to(base, *found) for found in ancestors)]
    if agreeing:
        for base in bases:
            if base not in agreeing:
                yield from _not_found(base, indexed)
        return
    text = f"The card names {_listed(bases)} as its base, but the weights are {held}."
    matches = [model for base in bases for model in _meant(base, indexed)]
    if matches:
        text += f" No weights inherited from {_listed(matches)} were found, though it is indexed."
    elif any(_parts(base)[-1:] == _parts(best)[-1:] for base in bases):
        text += " The two differ in their organisation only: one may be a copy of the other."
    yield Contradiction("other ancestor", ", ".join(bases), best, text)


def _not_found(base: str, indexed: Collection[str]) -> Iterator[Contradiction]:
    """The finding for a declared base that is indexed, yet from which nothing was inherited."""
    matches = _meant(base, indexed)
    if matches:
        yield Contradiction(
            "declared ancestor not found",
            base,
            "",
            f"The card names {base} as its base. The index holds {_listed(matches)}, "
            "and no weights inherited from it were found.",
        )


def _of_licences(
    suspect_declared: Mapping[str, object],
    bases: Sequence[str],
    ancestors: Sequence[tuple[str, Mapping[str, object]]],
) -> Iterator[Contradiction]:
    """Licences against that of the best ancestor, and of every further one that the card itself names."""
    ours = _licence(suspect_declared)
    said: set[tuple[str, ...]] = {_licence_key(ours)}
    for place, (path, card) in enumerate(ancestors):
        theirs = _licence(card)
        if place and not any(_means(base, path, card) for base in bases):
            continue
        if not ours or not theirs or _licence_key(theirs) in said:
            continue
        said.add(_licence_key(theirs))
        yield Contradiction(
            "licence",
            ours,
            theirs,
            f"The licences differ: the card declares {ours}, that of {path} declares {theirs}.",
        )


def _leads_to(base: str, path: str, card: Mapping[str, object]) -> bool:
    """Whether a declared base may mean this ancestor, or what this ancestor itself is declared to be made from."""
    return _means(base, path, card) or any(
        same_model(base, older) for older in texts(card.get("base_model"))
    )


def _means(name: str, path: str, card: Mapping[str, object]) -> bool:
    return same_model(name, path) or any(same_model(name, own) for own in texts(card.get("name")))


def _meant(base: str, indexed: Collection[str]) -> list[str]:
    """The indexed models that a declared name may mean, in order of name."""
    tail = _parts(base)[-1:]
    if not tail:
        return []
    return [
        model
        for model in _by_last_part(frozenset(indexed)).get(tail[0], ())
        if same_model(base, model)
    ]


@lru_cache(maxsize=4)
def _by_last_part(indexed: frozenset[str]) -> dict[str, list[str]]:
    """The models of an index by the last part of their names, in order: every card of an index is looked up in it."""
    found: dict[str, list[str]] = {}
    for model in sorted(indexed):
        for part in _parts(model)[-1:]:
            found.setdefault(part, []).append(model)
    return found


def _listed(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    if len(names) > _SHOWN:
        return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])


def _is_local(name: str) -> bool:
    return _LOCAL.match(name.strip()) is not None


def _parts(name: str) -> tuple[str, ...]:
    """A model's name as its path components, small letters, without address, revision and training step."""
    name = _URL.sub("", name.strip()).rstrip("/\\")
    name = _STEP.sub("", _REVISION.sub("", name)) if _REVISION.sub("", name) else name
    parts = [part for part in re.split(r"[/\\]+", name.casefold()) if part not in ("", ".", "~")]
    if parts and parts[-1].startswith("models--"):  # how the hub's cache names a folder
        parts = parts[-1].split("--")[1:]
    return tuple(parts)


def _licence(card: Mapping[str, object]) -> str:
    declared = texts(card.get("license"))
    return declared[0] if declared and declared[0].casefold() not in _NO_LICENCE else ""


def _licence_key(licence: str) -> tuple[str, ...]:
    """What makes two spellings one licence: `Apache License 2.0` is `apache-2.0`."""
    words = re.findall(r"[^\W\d_]+|\d+(?:\.\d+)*", licence.casefold())
    return tuple(re.sub(r"(\.0)+$", "", word) for word in words if word not in _LICENCE_FILLER)
