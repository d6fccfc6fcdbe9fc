"""Collecting the models of a zoo: names, seeds, folds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provray.testbed.build import Item, seed_of
from provray.testbed.folders import Relation


@dataclass(frozen=True)
class Base:
    """A model that families grow from: its name, what it is, and how costly its training is in seconds."""

    model: str
    architecture: str
    data: str
    fold: int
    seconds: float
    twin: str


class Plan:
    """Collects items; the seed of each follows from its name. All models of a zoo are indexed."""

    def __init__(self, zoo: str, seed: int) -> None:
        self.items: list[Item] = []
        self._zoo, self._seed = zoo, seed

    def add(
        self,
        model: str,
        relation: Relation,
        recipe: str,
        settings: Mapping[str, Any],
        *,
        parent: str | None = None,
        others: tuple[str, ...] = (),
        lineage: tuple[str, ...] | None = None,
        method: str = "",
        data: str = "",
        seconds: float = 1.0,
    ) -> str:
        """Add a model and return its name."""
        self.items.append(
            Item(
                model=model,
                split="indexed",
                relation=relation,
                recipe=recipe,
                seed=self.seed(model),
                settings=settings,
                parent=parent,
                others=others,
                seconds=seconds,
                lineage=lineage,
                method=method,
                data=data,
            )
        )
        return model

    def seed(self, model: str) -> int:
        """Return the seed of a model of this plan."""
        return seed_of(self._zoo, self._seed, model)
