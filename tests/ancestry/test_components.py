"""Connected components of a graph that is given by its links."""

from __future__ import annotations

from provray.ancestry.components import components


def test_the_least_number_stands_for_all_that_hang_together() -> None:
    assert components(6, [(4, 2), (2, 1), (5, 5)]) == [0, 1, 1, 3, 1, 5]
    assert components(0, []) == []


def test_the_order_of_links_changes_nothing() -> None:
    links = [(7, 3), (0, 7), (5, 6), (3, 9), (6, 1)]
    assert components(10, links) == components(10, [(b, a) for a, b in links[::-1]])
    assert components(10, links) == [0, 1, 2, 0, 4, 1, 1, 0, 8, 0]
