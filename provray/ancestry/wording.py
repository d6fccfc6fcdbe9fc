"""What was found, in plain words: the evidence of a pair, what each axis shows, and the verdict as a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from provray.ancestry.candidate import SHARES, STOLEN, Candidate, Evidence
from provray.ancestry.inheritance import Inheritance, features
from provray.ancestry.resemblance import Resemblance
from provray.ancestry.scores import Scores, behaviour_score

_MEANS = {
    "weights": "cosine of the matrices both hold under the same names; a common random start raises it too",
    "biases": "cosine of biases and gains, which start at a constant: what is alike there was learned",
    "shared": "share of the learned values that stand in tensors of both, whatever their order or storage",
    "lower profile": "lowest agreement on noise over the lower half of the layers, which only inherited layers keep",
}


def weights_evidence(
    scores: Scores, found: Inheritance | None, fdr: float, tests: int, inherits: bool
) -> tuple[Evidence, ...]:
    """The scores that speak of inherited weights. A score decides if it alone would do at this rate."""
    if found is None:
        return ()
    level = fdr / max(tests * len(found.p_values), 1)
    values = features(scores)
    listed = []
    for name, p_value in found.p_values.items():
        null = found.nulls[name]
        # sharing a start shows in the matrices, and no ancestry in that
        decided = inherits and p_value <= level and name != "weights"
        limit = null.limit(level)
        listed.append(
            Evidence(
                "weights",
                name,
                values[name],
                limit
                if limit < 1
                else None,  # no score is that high: it cannot decide alone at this rate
                p_value,
                null,
                decided,
                _MEANS[name],
            )
        )
    return tuple(sorted(listed, key=lambda e: (not e.decided, e.p_value)))


def behaviour_evidence(
    scores: Scores, resemblance: Resemblance | None = None, fdr: float = 0.0
) -> tuple[Evidence, ...]:
    """What speaks of behaviour alone: the mean score; with a resemblance, by how much the model stands out."""
    if resemblance is not None:
        gap = " and ".join(f"{value:+.3f} on {name}" for name, value in resemblance.gaps.items())
        text = f"agrees with it more than with {resemblance.rival}, the next best of another family: {gap}"
        return (
            Evidence(
                "behaviour",
                "stands out",
                resemblance.log_odds,
                resemblance.limit(fdr),
                resemblance.p_value,
                resemblance.null,
                resemblance.p_value <= fdr,
                text,
            ),
        )
    mean = behaviour_score(scores)
    if mean is None:
        return ()
    text = "mean agreement of outputs and gradient fields; training alike can cause it"
    return (Evidence("behaviour", "behaviour", mean, None, 1.0, None, False, text),)


def axis_words(
    candidates: Sequence[Candidate], resemblance: Resemblance | None, fdr: float
) -> dict[str, str]:
    """What each axis shows, in a sentence each."""
    inherited = [c for c in candidates if c.inherits]
    shared = [c for c in candidates if c.shares]
    if inherited:
        best = max(inherited, key=lambda c: c.score)
        weights = (
            f"learned weights are shared with {_count(inherited)}, most with {best.model}: an unrelated model "
            f"shows as much with probability {best.p_value:.0e}, {best.q_value:.0e} over the whole index"
        )
    elif shared:
        weights = (
            f"weights are shared with {shared[0].model}, but no more than two networks of the same start "
            "would share"
        )
    else:
        weights = "no indexed model is shown to share any weights"
    if resemblance is None:
        behaviour = (
            "not needed: the weights decide"
            if inherited
            else "theft was not asked: that needs probes of a victim's domain, and models that give answers"
        )
    else:
        out = resemblance.p_value <= fdr
        behaviour = (
            f"it answers like {resemblance.model} "
            f"{'and as no other' if out else 'most, but not as no other'}: a model whose "
            f"victim is not indexed stands out as much with probability {resemblance.p_value:.2g}"
        )
    return {"weights": weights, "behaviour": behaviour}


def verdict_words(
    verdict: str, ancestors: Sequence[Candidate], related: Sequence[Candidate]
) -> str:
    """The verdict in a sentence. related: the candidates that stand in any relation to the suspect."""
    of = [c for c in related if c.relation == verdict]
    if verdict == "copy":
        return f"every weight is bit-identical to {_names(ancestors)}"
    if verdict == "ancestor":
        first = ancestors[0]
        if first.relation == STOLEN:
            return (
                "nothing learned is shown to be inherited by weights, but it answers like "
                f"{first.model} and as no other model: one was distilled from the other, or stolen through its "
                "outputs, and they do not show which"
            )
        unknown = first.direction is not None and first.direction.said == "unknown"
        late = "; which of the two came first is not shown" if unknown else ""
        return f"it inherits what {_names(ancestors)} learned ({first.relation}){late}"
    if verdict == "descendant":
        return f"it shares learned weights with {_names(of)}, which came after it: a descendant, not an ancestor"
    if verdict == "sibling":
        return (
            f"it shares learned weights with {_names(of)}: both come from a third model, which is not shown to "
            "be indexed"
        )
    if verdict == "related" and related:
        if related[0].relation == SHARES:
            return (
                f"it shares weights with {related[0].model}, but nothing learned is shown to be inherited: "
                "perhaps no more than the same start"
            )
        return (
            f"it behaves like {related[0].model}, but no inherited weights are shown: distilled, stolen, or "
            f"only trained on "
            "the same data"
        )
    return "no indexed model is shown to be its ancestor"


def _count(candidates: Sequence[Candidate]) -> str:
    return "one model" if len(candidates) == 1 else f"{len(candidates)} models"


def _names(candidates: Sequence[Candidate]) -> str:
    names = [c.model for c in candidates[:3]]
    more = len(candidates) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
