"""What the demo calls a right answer."""

from __future__ import annotations

import pytest

from provray.testbed.demo import is_right
from provray.testbed.folders import Relation
from tests.testbed.made_zoo import record


@pytest.mark.parametrize(
    ("relation", "parents", "verdict", "named", "right"),
    [
        ("fine-tune", ("a",), "ancestor", "a", True),
        ("fine-tune", ("a",), "ancestor", "b", False),
        ("fine-tune", ("a",), "descendant", None, False),
        ("fine-tune", ("a",), "sibling", None, False),
        ("copy", ("a",), "copy", "a", True),
        ("copy", ("a",), "ancestor", "a", False),
        ("quantised", ("a",), "none", None, False),
        ("twin", (), "related", None, True),
        ("stranger", (), "none", None, True),
        ("stranger", (), "ancestor", "a", False),
        ("stolen", ("a",), "related", None, None),
        ("distilled", ("a",), "ancestor", "a", None),
    ],
)
def test_children_name_their_parent_and_strangers_nobody(
    relation: Relation,
    parents: tuple[str, ...],
    verdict: str,
    named: str | None,
    right: bool | None,
) -> None:
    assert is_right(record("m", relation, parents), verdict, named) is right
