"""Questions asked together: each gets its own answer, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from provray.serve.batches import Batches


class Doubling:
    """Doubles numbers; keeps what it was asked together, and waits until it is let go."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []
        self.go = asyncio.Event()

    async def __call__(self, asked: Sequence[int]) -> list[int]:
        self.together.append(list(asked))
        await asyncio.wait_for(self.go.wait(), 10)
        if 13 in asked:
            raise ValueError("thirteen")
        return [2 * number for number in asked]


def test_what_comes_meanwhile_is_asked_together_in_order_and_within_the_bound() -> None:
    doubling = Doubling()

    async def run() -> list[int]:
        batches = Batches(doubling, 3)
        asked = [asyncio.create_task(batches.ask(number)) for number in range(6)]
        while not doubling.together:
            await asyncio.sleep(0.01)
        late = asyncio.create_task(batches.ask(6))
        await asyncio.sleep(0)
        doubling.go.set()
        return [*await asyncio.gather(*asked), await late]

    assert asyncio.run(run()) == [0, 2, 4, 6, 8, 10, 12]
    assert doubling.together == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_failure_reaches_those_who_asked_with_it_and_nobody_else() -> None:
    doubling = Doubling()
    doubling.go.set()

    async def run() -> list[int | BaseException]:
        batches = Batches(doubling, 2)
        asked = [batches.ask(number) for number in (1, 13, 3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert isinstance(first, ValueError)
    assert isinstance(second, ValueError)
    assert third == 6


def test_who_gave_up_is_not_worked_for() -> None:
    doubling = Doubling()

    async def run() -> int:
        batches = Batches(doubling, 1)
        first = asyncio.create_task(batches.ask(1))
        gone = asyncio.create_task(batches.ask(2))
        while not doubling.together:
            await asyncio.sleep(0.01)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        doubling.go.set()
        last = await batches.ask(3)
        return await first + last

    assert asyncio.run(run()) == 8
    assert doubling.together == [[1], [3]]


def test_several_batches_are_out_at_once_and_no_more() -> None:
    doubling = Doubling()

    async def run() -> list[int]:
        batches = Batches(doubling, 2, at_once=2)
        asked = [asyncio.create_task(batches.ask(number)) for number in range(5)]
        while len(doubling.together) < 2:
            await asyncio.sleep(0.01)
        late = [asyncio.create_task(batches.ask(number)) for number in (5, 6)]
        await asyncio.sleep(0.05)
        assert doubling.together == [[0, 1], [2, 3]]
        doubling.go.set()
        return await asyncio.gather(*asked, *late)

    assert asyncio.run(run()) == [2 * number for number in range(7)]
    assert doubling.together == [[0, 1], [2, 3], [4, 5], [6]]


def test_who_comes_later_is_answered_though_all_had_finished() -> None:
    doubling = Doubling()
    doubling.go.set()

    async def run() -> list[int]:
        batches = Batches(doubling, 2, at_once=2)
        return [await batches.ask(number) for number in range(12)]

    assert asyncio.run(run()) == [2 * number for number in range(12)]
    assert doubling.together == [[number] for number in range(12)]


def test_a_steady_crowd_is_asked_together_and_does_not_fall_into_halves() -> None:
    together: list[int] = []

    async def answer(asked: Sequence[int]) -> list[int]:
        together.append(len(asked))
        await asyncio.sleep(0.1)
        return list(asked)

    async def client(batches: Batches[int, int], number: int) -> None:
        for _ in range(4):
            await batches.ask(number)
            await asyncio.sleep(0.003)  # the way to the client and back

    async def run() -> None:
        batches = Batches(answer, 8, pause=0.5)
        first = asyncio.create_task(client(batches, 0))
        while not together:
            await asyncio.sleep(0.001)
        await asyncio.gather(first, *(client(batches, number) for number in range(1, 6)))

    asyncio.run(run())
    assert together[0] == 1, "the first one comes alone"
    assert min(together[1:4]) >= 5, "then nearly all of them"


def test_a_crowd_is_waited_for_until_most_are_back_and_no_longer() -> None:
    doubling = Doubling()
    doubling.go.set()

    async def run() -> list[int]:
        batches = Batches(doubling, 3, pause=1e9)
        for _ in range(3):
            found = await asyncio.gather(*(batches.ask(number) for number in range(3)))
        return found

    assert asyncio.run(asyncio.wait_for(run(), 30)) == [0, 2, 4]
    assert doubling.together == [[0, 1, 2]] * 3


def test_who_does_not_come_back_is_not_waited_for_longer_than_the_answer_took() -> None:
    together: list[int] = []

    async def answer(asked: Sequence[int]) -> list[int]:
        together.append(len(asked))
        await asyncio.sleep(0.05)
        return list(asked)

    async def run() -> int:
        batches = Batches(answer, 3, pause=0.5)
        await asyncio.gather(*(batches.ask(number) for number in range(3)))
        return await batches.ask(7)

    assert asyncio.run(asyncio.wait_for(run(), 30)) == 7
    assert together == [3, 1]
