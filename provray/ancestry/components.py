"""What hangs together: the connected components of a graph that is given by its links."""

from __future__ import annotations

from collections.abc import Iterable


def components(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` things the least number among all that it is linked to, directly or through others."""
    above = list(range(count))

    def root(thing: int) -> int:
        while above[thing] != thing:
            above[thing] = above[above[thing]]
            thing = above[thing]
        return thing

    for one, other in links:
        a, b = root(one), root(other)
        above[max(a, b)] = min(a, b)
    return [root(thing) for thing in range(count)]
