"""The pace: smooth, in order, never above what was configured, cut for all when one is throttled."""

import asyncio
import random
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.halt import Halt
from audit.kms.pace import Gate
from tests.kms.timeless import clock, timeless

RATES = (0.5, 20, 200)


def gate(rate: float = 20, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> Gate:
    """A gate on the clock of the scene."""
    return Gate(rate, Halt(sleep), clock)


async def passed(gated: Gate, count: int) -> list[float]:
    """When each of so many passed that all asked at once."""
    times: list[float] = []

    async def one() -> None:
        await gated.enter()
        times.append(clock())

    await asyncio.gather(*(one() for _ in range(count)))
    return times


def busiest(times: list[float], seconds: float = 1.0) -> int:
    """The most that passed within any stretch of so many seconds."""
    return max(bisect_left(times, at + seconds) - place for place, at in enumerate(times))


def test_a_timeless_scene_keeps_its_own_time() -> None:
    """An hour of sleep, a time-out and their order take no time outside, and their time inside."""

    async def scene() -> tuple[float, list[str]]:
        told: list[str] = []

        async def after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            told.append(f"{seconds}")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.gather(after(2), after(1), after(3))
        began = clock()
        await asyncio.sleep(3600)
        return clock() - began, told

    outside = time.monotonic()
    inside, told = timeless(scene())
    assert (inside, told) == (3600, ["1", "2"])
    assert time.monotonic() - outside < 60


@pytest.mark.parametrize("rate", RATES)
def test_the_rate_is_reached_and_not_passed(rate: float) -> None:
    """No second sees more than the rate allows, and the last of N passes after (N - 1) / rate."""
    times = timeless(passed_by(rate, 300))
    assert busiest(times) <= rate + 1
    assert times[-1] - times[0] == pytest.approx(299 / rate)


async def passed_by(rate: float, count: int) -> list[float]:
    return await passed(gate(rate), count)


def test_requests_are_even() -> None:
    """Two requests are one share of a second apart, and the first need not wait."""
    times = timeless(passed_by(20, 50))
    assert times[0] == 1000
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([1 / 20] * 49)


@pytest.mark.parametrize("idle", [0.1, 1, 3600])
def test_idle_time_earns_no_credit(idle: float) -> None:
    """After a pause of any length the next second is like every other."""

    async def scene() -> list[float]:
        gated = gate(20)
        before = await passed(gated, 10)
        await asyncio.sleep(idle)
        return before + await passed(gated, 60)

    times = timeless(scene())
    assert busiest(times) <= 21
    assert busiest(times, 0.1) <= 3


def test_first_come_first_served() -> None:
    """Requests pass in the order in which they asked, also when they ask at different times."""
    order: list[int] = []

    async def scene() -> None:
        gated = gate(20)

        async def one(number: int) -> None:
            await asyncio.sleep(number * 0.001)
            await gated.enter()
            order.append(number)

        await asyncio.gather(*(one(number) for number in reversed(range(60))))

    timeless(scene())
    assert order == list(range(60))


def test_waking_late_costs_little_and_causes_no_burst() -> None:
    """Oversleeping by up to 15 ms costs at most 2 % of the rate, and making up for it passes the rate by no more."""
    chance = random.Random(1)  # noqa: S311  # no secret

    async def late(seconds: float) -> None:
        await asyncio.sleep(seconds + chance.uniform(0, 0.015))

    async def scene() -> list[float]:
        return await passed(gate(200, late), 4000)

    times = timeless(scene())
    assert times[-1] - times[0] <= 4000 / 200 / 0.98
    assert busiest(times) <= 200 * 1.02 + 1


# After a 429 ----------------------------------------------------------------------------------------------------------


async def cut_at(gated: Gate, when: float, hold: float = 0.0) -> None:
    await asyncio.sleep(when)
    gated.cut(hold)


def test_a_cut_holds_everybody_then_slows_down_then_returns() -> None:
    """Nobody passes for half a second, then four fifths of the rate, and after four seconds the whole again."""

    async def scene() -> list[float]:
        gated = gate(20)
        times, _ = await asyncio.gather(passed(gated, 400), cut_at(gated, 5.01))
        return times

    times = timeless(scene())
    cut = 1005.01
    assert not [at for at in times if cut < at < cut + 0.5]
    first = [at for at in times if at >= cut + 0.5]
    assert first[0] == pytest.approx(cut + 0.5)
    assert first[1] - first[0] == pytest.approx(1 / 16, rel=0.05)
    gaps = [later - earlier for earlier, later in pairwise(first)]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(gaps)), "it only ever speeds up again"
    settled = [at for at in times if at > cut + 5]
    assert [later - earlier for earlier, later in pairwise(settled)] == pytest.approx([1 / 20] * (len(settled) - 1))


def test_a_volley_of_429_is_one() -> None:
    """Answers of requests that were in flight together cut the rate once."""

    async def scene(volley: int) -> list[float]:
        gated = gate(20)

        async def cuts() -> None:
            for number in range(volley):
                await cut_at(gated, 1.0 if not number else 0.01)

        times, _ = await asyncio.gather(passed(gated, 100), cuts())
        return [later - earlier for earlier, later in pairwise(at for at in times if at > 1001.5)][:5]

    assert timeless(scene(8)) == pytest.approx(timeless(scene(1)), rel=0.02)


def test_one_429_after_another_slows_down_to_a_floor() -> None:
    """However often it is throttled, a twentieth of the rate is still tried."""

    async def scene() -> float:
        gated = gate(20)
        for _ in range(50):
            await gated.enter()
            gated.cut()
        await gated.enter()
        began = clock()
        await gated.enter()
        return clock() - began

    assert timeless(scene()) <= 1 / (20 * 0.05) + 1e-6


def test_the_hold_that_a_server_asks_for_is_kept() -> None:
    """With Retry-After nobody passes until that time is over, and a shorter one later does not shorten it."""

    async def scene() -> list[float]:
        gated = gate(20)
        times, *_ = await asyncio.gather(passed(gated, 60), cut_at(gated, 1.01, 12), cut_at(gated, 1.02, 3))
        return times

    times = timeless(scene())
    assert not [at for at in times if 1001.01 < at < 1013.01]
    assert busiest(times) <= 21


def test_a_cut_concerns_those_that_wait_already() -> None:
    """Whoever stands in the queue when the 429 arrives waits for the hold too, for no place was booked ahead."""

    async def scene() -> list[float]:
        gated = gate(20)
        times, _ = await asyncio.gather(passed(gated, 40), cut_at(gated, 0.001))
        return times

    times = timeless(scene())
    assert [at for at in times if at < 1000.5] == [1000]


@given(
    st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["enter", "cut", "hold"])), max_size=60), st.sampled_from(RATES)
)
def test_no_course_of_events_goes_above_the_rate(events: list[tuple[float, str]], rate: float) -> None:
    """Whatever comes when, no second sees more than the configured rate, and one."""

    async def scene() -> list[float]:
        gated = gate(rate)
        times: list[float] = []
        for wait, what in events:
            await asyncio.sleep(wait)
            if what == "enter":
                times += await passed(gated, 7)
            else:
                gated.cut(2.0 if what == "hold" else 0.0)
        return times + await passed(gated, 20)

    times = timeless(scene())
    assert busiest(times) <= rate * 1.02 + 1


# Who gives up waiting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victims", [[0], [1], [5, 6, 7], list(range(1, 20, 2))])
def test_a_cancelled_waiter_costs_no_slot(victims: list[int]) -> None:
    """Those that remain pass as if the others had never asked."""

    async def scene() -> list[float]:
        gated = gate(20)
        await gated.enter()
        times: list[float] = []

        async def one() -> None:
            await gated.enter()
            times.append(clock())

        tasks = [asyncio.ensure_future(one()) for _ in range(20)]
        await asyncio.sleep(0.001)
        for number in victims:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return times

    times = timeless(scene())
    assert times == pytest.approx([1000 + number / 20 for number in range(1, 21 - len(victims))])


def test_when_sending_ends_nobody_waits_any_more() -> None:
    """An interrupt lets the whole queue go at once, also out of a long hold."""

    async def scene() -> float:
        halt = Halt()
        gated = Gate(0.1, halt, clock)
        gated.cut(600)
        waiting = asyncio.ensure_future(passed(gated, 50))
        await asyncio.sleep(1)
        halt.interrupt("SIGINT")
        await waiting
        return clock()

    assert timeless(scene()) == pytest.approx(1001)
