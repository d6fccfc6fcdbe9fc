"""A demo run that could have been. Its numbers are written by hand to look like one; nothing was measured."""

from __future__ import annotations

from provray.testbed.demo_result import DemoResult, Member, Question, Shown

RESNET, VIT, MINILM = (
    "aurora/resnet-digits",
    "meadow/vit-digits",
    "sentence-lab/all-minilm-l6-v2",
)
TWIN_RESNET, TWIN_VIT = "borealis/resnet-digits", "prairie/vit-digits"
CONVNEXT, BERT, GPT = (
    "tundra/convnext-digits",
    "gazette/bert-mini-topics",
    "cinema/gpt-mini-reviews",
)
IMAGES = (RESNET, VIT, TWIN_RESNET, TWIN_VIT, CONVNEXT)
TEXTS = (MINILM, BERT, GPT)
INHERITED = (0.99, 0.96, 0.88, 0.66, 0.55, 0.47, 0.4)
STUDENT = (-0.02, 0.3, 0.2, 0.29, 0.26, 0.25, 0.22)
LOOK_ALIKE = (0.35, 0.5, 0.44, 0.46, 0.41, 0.45, 0.52)
LIMIT = 0.23
"""From where on the cosine of biases alone shows shared weights, in this run."""
NOTHING = (-0.15, 0.06, -0.08, 0.02, -0.05, -0.11, -0.04)


def _vision_members(base: str, shop: str, architecture: str, other: str) -> list[Member]:
    owner = base.split("/")[0]
    size = 273_066 if architecture == "resnet" else 207_434
    made = [
        (base, "indexed", None, "base", 0.981, None),
        (f"{owner}/{architecture}-digits-holes", "indexed", base, "new head", 0.975, None),
        (f"{owner}/{architecture}-digits-sparse30", "indexed", base, "pruned", 0.978, None),
        (f"{shop}/scan-reader-{architecture}", "held_out", base, "fine-tune", 0.969, None),
        (f"{shop}/even-odd-{architecture}", "held_out", base, "new head", 0.984, None),
        (f"{shop}/digits-{architecture}-sparse60", "held_out", base, "pruned", 0.931, None),
        (f"{shop}/digits-{architecture}-int8", "held_out", base, "quantised", 0.981, None),
        (f"{shop}/digits-{architecture}-int4", "held_out", base, "quantised", 0.962, None),
        (f"nightmarket/quickdigits-{architecture}", "held_out", base, "stolen", 0.95, 0.957),
        (f"nightmarket/labels-only-{architecture}", "held_out", base, "stolen", 0.93, 0.938),
        (
            f"nightmarket/fresh-{other}-from-{architecture}",
            "held_out",
            base,
            "stolen",
            0.91,
            0.914,
        ),
    ]
    return [
        Member(model, split, parent, relation, "image", size, accuracy, fidelity)
        for model, split, parent, relation, accuracy, fidelity in made
    ]


def sample_members() -> tuple[Member, ...]:
    minilm = [
        (MINILM, "indexed", None, "base"),
        ("cinema/review-sentiment-minilm", "indexed", MINILM, "new head"),
        ("newsroom/article-search-encoder", "held_out", MINILM, "fine-tune"),
        ("newsroom/topic-desk", "held_out", MINILM, "new head"),
        ("edge-ai/sentence-encoder-sparse50", "held_out", MINILM, "pruned"),
        ("edge-ai/sentence-encoder-int8", "held_out", MINILM, "quantised"),
        ("acme/internal-embedding-model-v1", "held_out", MINILM, "copy"),
    ]
    alone = [
        (TWIN_RESNET, "indexed", "twin", "image", 273_066),
        (TWIN_VIT, "indexed", "twin", "image", 207_434),
        (CONVNEXT, "indexed", "base", "image", 301_000),
        ("lonesome/digit-net", "held_out", "stranger", "image", 273_066),
        ("lonesome/digit-transformer", "held_out", "stranger", "image", 207_434),
        (BERT, "indexed", "base", "text", 412_000),
        (GPT, "indexed", "base", "text", 388_000),
        ("lonesome/tiny-reviewer", "held_out", "stranger", "text", 412_000),
    ]
    return (
        *_vision_members(RESNET, "polaris", "resnet", "vit"),
        *_vision_members(VIT, "harvest", "vit", "resnet"),
        *(Member(m, s, p, r, "text", 22_713_216) for m, s, p, r in minilm),
        *(Member(m, s, None, r, kind, n) for m, s, r, kind, n in alone),
    )


def _shown(model: str, weights: float, profile: tuple[float, ...], behaviour: float) -> Shown:
    score = weights if weights >= 0.4 else 0.5 * max(behaviour, 0.0)
    wobble = len(model) % 5 * 0.025
    profile = tuple(round(v - wobble * k / 3, 3) for k, v in enumerate(profile))
    return Shown(
        model,
        score,
        weights,
        profile,
        behaviour + 0.06,
        behaviour - 0.09,
        behaviour,
        biases=round(weights - 0.02, 3),
        limit=LIMIT,
    )


def _question(member: Member, place: int) -> Question:
    known = IMAGES if member.modality == "image" else TEXTS
    drift = 0.01 * (place % 5)
    parent, relation = member.parent, member.relation
    if relation == "copy":
        shown = [Shown(str(parent), 1.0, 1.0, (None,) * 7, None, None, None)]
        return Question(
            member.model, parent, relation, "copy", parent, "copy", True, 0.4, (*shown,)
        )
    rest = [
        _shown(name, 0.02 * k - 0.03, NOTHING, 0.11 - 0.05 * k + drift)
        for k, name in enumerate(name for name in known if name != parent)
    ]
    named, verdict, right = parent, "ancestor", True
    if relation == "stolen":
        behaviour = 0.42 if "fresh" in member.model else 0.74 - drift
        found = _shown(str(parent), 0.01 + drift, STUDENT, behaviour)
        named, right = None, None
        verdict = "related" if behaviour > 0.5 else "none"
        if "fresh-resnet" in member.model:
            rest.append(_shown(TWIN_RESNET, 0.03, LOOK_ALIKE, 0.46))
    elif parent is None:
        found = rest.pop()
        found = _shown(found.model, 0.03, LOOK_ALIKE, 0.38 + drift)
        named, verdict = None, "none"
    else:
        found = _shown(parent, 0.97 - 2 * drift, INHERITED, 0.78 - 2 * drift)
        if member.modality == "image":
            sibling = (
                f"{parent.split('/')[0]}/{'resnet' if parent == RESNET else 'vit'}-digits-holes"
            )
            rest.append(_shown(sibling, 0.91 - 2 * drift, INHERITED, 0.55 - drift))
    if member.model == "harvest/even-odd-vit":
        rest.append(_shown(TWIN_VIT, 0.98, INHERITED, 0.8))
        rest = [c for c in rest if c.model != TWIN_VIT or c.score > 0.5]
        named, right = TWIN_VIT, False
    ordered = sorted([found, *rest], key=lambda c: -c.score)
    warnings = (
        (
            "dna scores are centred by the reference cohort of 24 models: the index has fewer than 16 "
            "unrelated families of its own",
        )
        if place % 3 == 0
        else ()
    )
    guess = relation if named else ""
    return Question(
        member.model,
        parent,
        relation,
        verdict,
        named,
        guess,
        right,
        3.1 + drift * 40,
        tuple(ordered),
        warnings,
        says=f"it inherits what {named} learned ({guess})" if named else "it has no ancestor here",
    )


def sample_result() -> DemoResult:
    """A run that could have been: 37 models, 24 questions, one of them answered wrongly."""
    members = sample_members()
    asked = [member for member in members if member.split == "held_out"]
    indexed = [member.model for member in members if member.split == "indexed"]
    return DemoResult(
        members,
        tuple(_question(member, place) for place, member in enumerate(asked)),
        (
            ("Build the zoo", 91.4),
            ("Start Ray", 9.8),
            ("Crawl the indexed models", 48.2),
            ("Ask about the held-out models", 71.9),
            ("Write the report", 0.31),
        ),
        tuple(
            (
                name,
                0.05 + 0.9 * (name in (MINILM, "cinema/review-sentiment-minilm")),
                1.2 + 0.3 * k,
                2.1,
            )
            for k, name in enumerate(indexed)
        ),
        (
            ("provray", "0.1.0"),
            ("torch", "2.13.0+cpu"),
            (
                "image probes",
                "sha256 3f0c19e2b7a4d5563f0c19e2b7a4d5563f0c19e2b7a4d5563f0c19e2b7a4d556",
            ),
            (
                "text probes",
                "sha256 9b1e44c07d2f8a319b1e44c07d2f8a319b1e44c07d2f8a319b1e44c07d2f8a31",
            ),
            ("index version", "2"),
            ("cores", "2"),
            ("seed", "0"),
        ),
    )
