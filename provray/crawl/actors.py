"""A fixed number of Ray actors: calls, their time limits, and a fresh actor in the place of every dead one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

_BOOT_ATTEMPTS = 3
_BOOT_SECONDS = 300.0
"""How long to wait for a first actor where there is none at all: a node may be starting."""

_FAREWELL_SECONDS = 10.0
"""An actor that is stopped or swamped is killed all the same; the next crawl removes what it left."""


@dataclass(eq=False)
class Slot:
    """One actor's place. `busy`: whether it computes."""

    actor: Any
    busy: bool = False


@dataclass(eq=False)
class Call:
    """One call under way. `kind`: the actor's method. `about`: whatever the caller wants back with its end."""

    slot: Slot
    kind: str
    about: Any
    deadline: float = float("inf")


@dataclass(frozen=True)
class Ended:
    """A call that gave something."""

    call: Call
    outcome: Any


@dataclass(frozen=True)
class Lost:
    """An actor that died, with every call that was under way. `late`: the call it was killed for, if it was."""

    slot: Slot
    calls: tuple[Call, ...]
    late: Call | None = None


@dataclass
class Actors:
    """The actors. `make` starts one; `count` are wanted. `slots`: those that take calls."""

    make: Callable[[], Any]
    count: int
    slots: list[Slot] = field(default_factory=list)
    _calls: dict[Any, Call] = field(default_factory=dict)
    _booting: dict[Any, Any] = field(default_factory=dict)
    _failed_boots: int = 0
    _without: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        for _ in range(self.count):
            self._boot()

    def close(self, farewell: str) -> None:
        """Let each do what this method of it does, for a while, then kill them all."""
        leaving = [getattr(slot.actor, farewell).remote() for slot in self.slots]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=_FAREWELL_SECONDS)
        for actor in [*(slot.actor for slot in self.slots), *self._booting.values()]:
            ray.kill(actor)

    @property
    def under_way(self) -> bool:
        """Whether any call is."""
        return bool(self._calls)

    def call(
        self, slot: Slot, kind: str, arguments: tuple[Any, ...], about: Any, seconds: float
    ) -> Call:
        """Begin a call that may take so many seconds."""
        call = Call(slot, kind, about, time.monotonic() + seconds)
        self._calls[getattr(slot.actor, kind).remote(*arguments)] = call
        return call

    def tell(self, slot: Slot, kind: str, *arguments: Any) -> None:
        """Begin a call whose end nobody waits for."""
        getattr(slot.actor, kind).remote(*arguments)

    def wait(self, timeout: float) -> list[Ended | Lost]:
        """What ended within `timeout` seconds. Raises what a call raised, RuntimeError if no actor can be started."""
        self._require_some()
        watched = [*self._calls, *self._booting]
        if not watched:
            time.sleep(timeout)
            return []
        nearest = min((c.deadline for c in self._calls.values()), default=float("inf"))
        patience = max(min(timeout, nearest - time.monotonic()), 0.0)
        done, _ = ray.wait(watched, num_returns=1, timeout=patience)
        events: list[Ended | Lost] = []
        for reference in done:
            if reference in self._booting:
                self._welcome(reference)
            elif reference in self._calls:  # else it went with its actor, just now
                events.append(self._end(reference))
        now = time.monotonic()
        for call in [c for c in self._calls.values() if c.deadline < now]:
            if call.slot in self.slots:
                ray.kill(call.slot.actor)
                events.append(self._lose(call.slot, late=call))
        return events

    def _end(self, reference: Any) -> Ended | Lost:
        call = self._calls[reference]
        try:
            outcome = ray.get(reference)
        except RayTaskError:
            raise  # what the method itself raised
        except RayError:  # its process or its machine died, or the answer went with them
            return self._lose(call.slot)
        del self._calls[reference]
        return Ended(call, outcome)

    def _lose(self, slot: Slot, late: Call | None = None) -> Lost:
        references = [r for r, call in self._calls.items() if call.slot is slot]
        calls = tuple(self._calls.pop(reference) for reference in references)
        self.slots.remove(slot)
        self._without = time.monotonic()
        self._boot()
        return Lost(slot, calls, late)

    def _boot(self) -> None:
        """Start an actor; it takes calls once it answers, so that its imports cost no model its time limit."""
        actor = self.make()
        self._booting[actor.ready.remote()] = actor

    def _welcome(self, reference: Any) -> None:
        actor = self._booting.pop(reference)
        try:
            ray.get(reference)
        except RayError as error:
            self._failed_boots += 1
            if self._failed_boots >= _BOOT_ATTEMPTS * self.count:
                raise RuntimeError(f"fingerprint workers die before they start: {error}") from error
            self._boot()
        else:
            self._failed_boots = 0
            self.slots.append(Slot(actor))

    def _require_some(self) -> None:
        """With none left, and none to come, waiting would never end."""
        if not self.slots and time.monotonic() - self._without > _BOOT_SECONDS:
            raise RuntimeError(
                f"no fingerprint worker could be started for {_BOOT_SECONDS:g} s: the cluster has lost the CPUs or "
                "GPUs they need; run the same command on a larger one to go on"
            )
