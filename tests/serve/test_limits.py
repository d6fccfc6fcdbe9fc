"""Rates and sizes, on a clock that the test turns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provray.serve.limits import BodyTooLarge, RateLimits, read_body


def test_a_key_may_take_ten_seconds_of_its_rate_at_once_and_then_waits() -> None:
    now = [0.0]
    limits = RateLimits(lambda: now[0])
    assert [limits.take("a", 60) for _ in range(10)] == [0.0] * 10
    assert limits.take("a", 60) == pytest.approx(1.0)
    assert limits.take("b", 60) == 0.0
    now[0] = 0.5
    assert limits.take("a", 60) == pytest.approx(0.5)
    now[0] = 1.0
    assert limits.take("a", 60) == 0.0
    assert limits.take("a", 60) > 0


def test_a_cost_above_the_bucket_is_paid_off_later() -> None:
    now = [0.0]
    limits = RateLimits(lambda: now[0])
    assert limits.take("a", 60, 40) == 0.0
    assert limits.take("a", 60) == pytest.approx(31.0)
    now[0] = 31.0
    assert limits.take("a", 60) == 0.0


@given(
    rate=st.integers(1, 600),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), max_size=60),
)
def test_no_pattern_of_requests_gets_more_than_the_rate_and_one_bucket(
    rate: int, steps: list[tuple[float, int]]
) -> None:
    now = [0.0]
    limits = RateLimits(lambda: now[0])
    granted = 0.0
    for pause, cost in steps:
        now[0] += pause
        if not limits.take("a", rate, cost):
            granted += cost
    bucket = max(rate / 6, 1)
    largest = max((cost for _, cost in steps), default=0)
    assert granted <= bucket + now[0] * rate / 60 + largest + 1e-6


def _stream(*parts: bytes, end: str = "http.request") -> Any:
    messages = [{"type": "http.request", "body": p, "more_body": True} for p in parts]
    messages.append({"type": end, "body": b"", "more_body": False})
    waiting = iter(messages)

    async def receive() -> Any:
        return next(waiting)

    return receive


def test_a_body_is_read_whole_or_refused_at_its_first_byte_too_many() -> None:
    assert asyncio.run(read_body(_stream(b"ab", b"cd"), 4)) == b"abcd"
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(_stream(b"ab", b"cd"), 3))
    with pytest.raises(ConnectionError):
        asyncio.run(read_body(_stream(b"ab", end="http.disconnect"), 9))
