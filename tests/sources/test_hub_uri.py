"""What an `hf://` URI means, and what is said of one that means nothing."""

from __future__ import annotations

import pytest

from provray.sources.hub_uri import HubUri, parse_hub_uri


@pytest.mark.parametrize(
    ("uri", "asked"),
    [
        ("hf://org/name", HubUri(model="org/name")),
        ("hf://org/name@v1.0", HubUri(model="org/name", revision="v1.0")),
        ("hf://org/name@refs/pr/1", HubUri(model="org/name", revision="refs/pr/1")),
        ("hf://org", HubUri(author="org")),
        ("hf://org/", HubUri(author="org")),
        (
            "hf://org?task=text-classification&library=transformers&tag=a&tag=b%20c&sort=downloads&limit=7",
            HubUri(
                author="org",
                task="text-classification",
                library="transformers",
                tags=("a", "b c"),
                sort="downloads",
                limit=7,
            ),
        ),
        ("hf://?author=org&task=x", HubUri(author="org", task="x")),
        ("hf://?limit=5", HubUri(limit=5)),
    ],
)
def test_a_uri_means_what_it_says(uri: str, asked: HubUri) -> None:
    assert parse_hub_uri(uri) == asked


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("hf://", "every model"),
        ("hf://org/name/more", "no name on the Hub"),
        ("hf://or g", "no name on the Hub"),
        ("hf://../name", "no name on the Hub"),
        ("hf://org@main", "belongs to one model"),
        ("hf://org/name@", "no revision after the @"),
        ("hf://org/name?task=x", "takes no filters"),
        ("hf://org?author=other", "names the author twice"),
        ("hf://?colour=red", "'colour' is no filter, there are author, task"),
        ("hf://?task=", "the filter task has no value"),
        ("hf://?task=a&task=b", "only tag may be repeated"),
        ("hf://org?sort=size", "no order, there are created_at"),
        ("hf://org?limit=0", "at least 1"),
        ("hf://org?limit=many", "at least 1"),
    ],
)
def test_a_uri_that_means_nothing_is_refused_with_the_rule(uri: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as refused:
        parse_hub_uri(uri)
    assert uri in str(refused.value)
