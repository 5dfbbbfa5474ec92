"""What stops sending, what goes on, and many hands at one queue."""

import asyncio

import pytest

from audit.errors import Interrupted, LedgerFault, RunStopped
from audit.halt import Halt, Tally, crew
from audit.model import Place

HOME, AWAY = Place("", "cn-north-4", "p1"), Place("", "eu-west-101", "p2")


async def forever(_: float) -> None:
    await asyncio.Event().wait()


def test_nothing_is_held_before_anything_happens():
    """A fresh run may send everywhere, begin steps, and ends for no reason."""
    halt = Halt()
    assert (halt.held(HOME), halt.new_steps_ended, halt.sending_ended, halt.ending, halt.why) == (
        False,
        False,
        False,
        None,
        "",
    )


def test_a_place_that_is_given_up_is_held_alone():
    """One place is left, with the first reason; the others go on, and the run does not end for it."""
    halt = Halt()
    halt.give_up(HOME, "frozen")
    halt.give_up(HOME, "later words")
    assert halt.held(HOME)
    assert not halt.held(AWAY)
    assert halt.places == {HOME: "frozen"}
    assert halt.ending is None


def test_too_many_refusals_end_new_steps_only():
    """No step is begun any more, but what was sent is still read back; an interrupt meanwhile is what is told."""
    halt = Halt()
    halt.end_steps("10 keys in a row", "look")
    halt.end_steps("again")
    assert halt.new_steps_ended
    assert not halt.held(HOME)
    assert (halt.why, halt.ending.exit_code, halt.ending.next_step) == ("10 keys in a row", 1, "look")
    halt.interrupt("SIGINT")
    assert halt.held(HOME)
    assert isinstance(halt.ending, Interrupted)


@pytest.mark.parametrize(
    ("first", "then"), [(Halt.interrupt, Halt.stop), (Halt.stop, Halt.interrupt), (Halt.stop, Halt.end_steps)]
)
def test_what_ended_sending_first_is_what_is_told(first, then):
    """A run has one ending, and what comes of it later does not replace it."""
    halt = Halt()
    first(halt, "the first")
    ending = halt.ending
    then(halt, "another")
    assert halt.ending is ending
    assert halt.held(HOME)
    assert "the first" in halt.why


def test_a_wait_ends_when_sending_ends():
    """An interrupt wakes whoever waits for the next attempt, and nobody waits after it."""

    async def scene():
        halt = Halt(forever)
        waiting = asyncio.create_task(halt.sleep(1000))
        await asyncio.sleep(0)
        assert not waiting.done()
        halt.interrupt("SIGTERM")
        await waiting
        await halt.sleep(1000)

    asyncio.run(asyncio.wait_for(scene(), 5))


def test_a_wait_is_as_long_as_it_was_asked_for():
    """The injected clock sleeps once, for the time asked; no time is no sleep; a cancelled wait leaves nothing."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    async def scene():
        halt = Halt(sleep)
        for seconds in (1.5, 0, -1):
            await halt.sleep(seconds)
        waiting = asyncio.create_task(Halt(forever).sleep(1000))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scene())
    assert slept == [1.5]


def test_a_crew_does_everything_once_in_order_and_never_too_much_at_a_time():
    """Every item is done exactly once, begun in order, with at most ``size`` under way."""
    begun, busy, most = [], 0, 0

    async def work(item):
        nonlocal busy, most
        begun.append(item)
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.001 * (item % 3))
        busy -= 1

    asyncio.run(crew(iter(range(50)), work, 4))
    assert begun == list(range(50))
    assert most == 4


@pytest.mark.parametrize("fault", [LedgerFault("disk full"), RunStopped("refused")])
def test_the_first_stop_ends_a_crew_as_itself(fault):
    """One hand that must stop ends all the others, and the run ends for that reason, not for a group of errors."""
    finished = []

    async def work(item):
        if item == 3:
            raise fault
        await asyncio.sleep(0 if item < 3 else 60)
        finished.append(item)

    with pytest.raises(type(fault)) as caught:
        asyncio.run(crew(range(100), work, 4))
    assert caught.value is fault
    assert set(finished) <= {0, 1, 2}


def test_a_tally_begins_each_phase_at_zero():
    """A new phase forgets how far the last one came, and not what was sent and throttled."""
    tally = Tally("reading", total=9, done=9, failed=2, throttled=3, sent=40)
    tally.begin("writing", 7)
    assert (tally.phase, tally.total, tally.done, tally.failed) == ("writing", 7, 0, 0)
    assert (tally.throttled, tally.sent) == (3, 40)
