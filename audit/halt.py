"""What is shared while requests are in flight: what stops, what is going on, and many hands at one queue.

Three things can stop sending: an interrupt, a stop of the whole run, a stop of one place. A fourth only ends the taking
of new steps (too many refusals), while read-backs go on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from audit.errors import Interrupted, RunStopped, Stop
from audit.model import Place

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[object]]
"""A coroutine function that waits for so many seconds; ``asyncio.sleep`` outside tests."""


@dataclass(slots=True)
class Tally:
    """What is going on right now, for whoever watches; no decision rests on it.

    ``phase``: what is being done, ``began``: since when, in seconds of the monotonic clock. ``done`` of ``total``: keys
    or places. ``failed``: keys that ended otherwise than hoped. ``throttled``: answers with status 429 so far.
    ``sent``: requests so far.
    """

    phase: str = ""
    began: float = field(default_factory=time.monotonic)
    total: int = 0
    done: int = 0
    failed: int = 0
    throttled: int = 0
    sent: int = 0

    def begin(self, phase: str, total: int) -> None:
        """A new phase begins at zero."""
        self.phase, self.began, self.total, self.done, self.failed = phase, time.monotonic(), total, 0, 0


class Halt:
    """Who may still send, and why not."""

    def __init__(self, sleep: Sleep = asyncio.sleep) -> None:
        self._sleep = sleep
        self._changed = asyncio.Event()
        self.ending: Stop | None = None
        self.places: dict[Place, str] = {}
        self.new_steps_ended = False
        self.sending_ended = False

    def interrupt(self, name: str) -> None:
        """A signal arrived: no new step, no retry, no poll."""
        self._end(Interrupted(f"interrupted by {name}"))

    def stop(self, why: str, next_step: str = "") -> None:
        """Nothing more is sent by this run, not even a read."""
        self._end(RunStopped(why, next_step))

    def end_steps(self, why: str, next_step: str = "") -> None:
        """No new step is begun; what was sent is still read back."""
        self.new_steps_ended = True
        self.ending = self.ending or RunStopped(why, next_step)

    def give_up(self, place: Place, why: str) -> None:
        """Nothing more is sent to one place."""
        self.places.setdefault(place, why)

    def _end(self, ending: Stop) -> None:
        if not self.sending_ended:
            self.ending = ending
        self.new_steps_ended = self.sending_ended = True
        self._changed.set()

    @property
    def why(self) -> str:
        """Why the run is ending early; empty while it is not."""
        return str(self.ending) if self.ending else ""

    def held(self, place: Place) -> bool:
        """Whether nothing may be sent to this place any more."""
        return self.sending_ended or place in self.places

    async def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until sending ends."""
        if self.sending_ended or seconds <= 0:
            return
        waits = {asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._changed.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def crew(items: Iterable[T], work: Callable[[T], Awaitable[None]], size: int) -> None:
    """Do ``work`` for every item, ``size`` at a time, in order of the items. The first exception ends all."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(size):
                group.create_task(worker())
    except* Stop as stops:
        raise stops.exceptions[0] from None
