"""Cards against evidence: what must be said, and above all where to be silent."""

from __future__ import annotations

import pytest

from provray.ancestry.contradictions import Contradiction, contradictions, same_model

INDEXED = ("aurora/resnet", "aurora/resnet-reviews", "meadow/vit", "tundra/vit")


def found(
    declared: dict[str, object],
    verdict: str = "ancestor",
    ancestors: list[tuple[str, dict[str, object]]] | None = None,
) -> list[tuple[str, str, str]]:
    inferred = [("aurora/resnet", {})] if ancestors is None else ancestors
    said = contradictions(declared, verdict, inferred, INDEXED)
    assert all(one.text.endswith(".") for one in said)
    return [(one.kind, one.declared, one.inferred) for one in said]


def test_nothing_declared_and_nothing_inferred_is_silence():
    for verdict in ("none", "related", "sibling", "descendant"):
        assert found({}, verdict, []) == []
        assert found({"base_model": [], "license": "", "name": "x"}, verdict, []) == []


def test_an_undeclared_ancestor_is_named():
    assert found({}) == [("undeclared ancestor", "", "aurora/resnet")]
    assert found({"base_model": None}) == [("undeclared ancestor", "", "aurora/resnet")]
    (copy,) = contradictions({}, "copy", [("aurora/resnet", {})], INDEXED)
    assert "bit-identical copy of aurora/resnet" in copy.text


def test_a_copy_under_its_own_name_is_no_undeclared_ancestor():
    assert found({"name": "ResNet"}, "copy") == []
    assert (
        found({"name": "ResNet"}, "ancestor") != []
    )  # a child of the same name still has a parent


@pytest.mark.parametrize(
    "declared",
    [
        "aurora/resnet",
        "Aurora/ResNet",
        "resnet",
        "aurora/resnet@main",
        "aurora/resnet:v2",
        "https://hub.example/aurora/resnet",
        "https://hub.example/aurora/resnet/tree/main",
        "/home/someone/models/resnet",
        "./resnet/",
        "C:\\models\\resnet",
        "../runs/resnet/checkpoint-500",
        "/cache/models--aurora--resnet/snapshots/0123abc",
    ],
)
def test_a_base_named_loosely_agrees(declared):
    assert found({"base_model": declared}) == []
    assert found({"base_model": [declared]}) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("aurora/resnet", "meadow/resnet"),
        ("resnet", "resnet-50"),
        ("aurora/resnet", "aurora"),
        ("", "resnet"),
        ("/", "resnet"),
    ],
)
def test_other_models_are_not_the_same(one, other):
    assert not same_model(one, other)
    assert not same_model(other, one)


def test_another_base_than_inferred():
    assert found({"base_model": "acme/unheard-of"}) == [
        ("other ancestor", "acme/unheard-of", "aurora/resnet")
    ]
    (indexed,) = contradictions(
        {"base_model": ["meadow/vit"]}, "ancestor", [("aurora/resnet", {})], INDEXED
    )
    assert indexed.kind == "other ancestor"
    assert "No weights inherited from meadow/vit were found" in indexed.text
    (namesake,) = contradictions(
        {"base_model": "polaris/resnet"}, "ancestor", [("aurora/resnet", {})], INDEXED
    )
    assert "organisation only" in namesake.text


def test_names_and_bases_of_the_ancestors_count():
    own_name = [("mirror/model-17", {"name": "polaris/resnet"})]
    assert found({"base_model": "polaris/resnet"}, ancestors=own_name) == []
    grandchild = [("aurora/resnet-reviews", {"base_model": ["aurora/resnet"]})]
    assert found({"base_model": "aurora/resnet"}, ancestors=grandchild) == []
    assert found({"base_model": "meadow/vit"}, ancestors=grandchild) != []
    second = [("aurora/resnet-reviews", {}), ("aurora/resnet", {})]
    assert found({"base_model": "aurora/resnet"}, ancestors=second) == []


def test_one_of_several_declared_bases_is_missing():
    assert found({"base_model": ["aurora/resnet", "meadow/vit", "acme/unheard-of"]}) == [
        ("declared ancestor not found", "meadow/vit", "")
    ]


def test_a_declared_base_that_left_no_weights():
    for verdict in ("none", "related"):
        assert found({"base_model": "meadow/vit"}, verdict, []) == [
            ("declared ancestor not found", "meadow/vit", "")
        ]
        assert found({"base_model": "acme/unheard-of"}, verdict, []) == []
    for verdict in ("sibling", "descendant"):
        assert found({"base_model": "meadow/vit"}, verdict, []) == []
    (either,) = contradictions({"base_model": "ViT"}, "none", [], INDEXED)
    assert "meadow/vit and tundra/vit" in either.text


def test_licences_that_differ():
    declared = {"base_model": "aurora/resnet", "license": "MIT"}
    assert found(declared, ancestors=[("aurora/resnet", {"license": "cc-by-nc-4.0"})]) == [
        ("licence", "MIT", "cc-by-nc-4.0")
    ]
    (said,) = contradictions(
        declared, "ancestor", [("aurora/resnet", {"license": "cc-by-nc-4.0"})], INDEXED
    )
    assert said == Contradiction(
        "licence",
        "MIT",
        "cc-by-nc-4.0",
        "The licences differ: the card declares MIT, that of aurora/resnet declares cc-by-nc-4.0.",
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("apache-2.0", "Apache License 2.0"),
        ("apache-2.0", "Apache License, Version 2"),
        ("mit", "MIT License"),
        ("mit", "unknown"),
        (None, "gpl-3.0"),
        ("mit", None),
        ("mit", ["mit"]),
    ],
)
def test_licences_that_do_not_differ(ours, theirs):
    declared = {"base_model": "aurora/resnet", "license": ours}
    assert found(declared, ancestors=[("aurora/resnet", {"license": theirs})]) == []


def test_licences_of_further_ancestors_count_if_the_card_names_them():
    merged = [
        ("aurora/resnet", {"license": "mit"}),
        ("meadow/vit", {"license": "gpl-3.0"}),
        ("tundra/vit", {"license": "other"}),
    ]
    declared = {"base_model": ["aurora/resnet", "meadow/vit"], "license": "mit"}
    assert found(declared, ancestors=merged) == [("licence", "mit", "gpl-3.0")]


def test_no_licence_is_compared_without_inherited_weights():
    assert found({"license": "mit"}, "related", [("aurora/resnet", {"license": "gpl-3.0"})]) == []
