"""The pace: at most so many requests a second with one access key, smooth, whoever sends them.

KMS documents 20 calls a second per user (DEW API reference, constraints), one budget for all calls. The gate lets one
request through every 1/rate seconds and keeps no credit for idle time, so that there is never a burst above the rate.
After a 429 everything is held and the rate is cut; then it returns slowly to what was configured, never above.
"""

import asyncio
import time
from collections.abc import Callable

from audit.halt import Halt

_CATCH_UP = 0.02  # seconds of a late wake-up that may be made good, else the rate is never reached
_CUT, _FLOOR = 0.8, 0.05  # of the rate; of the configured rate
_HOLD = 0.5  # seconds
_RETURN = 0.05  # of the configured rate, per second


class Gate:
    """One gate per access key. ``rate``: requests a second; ``clock``: seconds, monotonic."""

    def __init__(self, rate: float, halt: Halt, clock: Callable[[], float] = time.monotonic) -> None:
        self._full = self._rate = rate
        self._halt, self._clock = halt, clock
        self._next = self._held_until = clock()
        self._since = clock()
        self._turn = asyncio.Lock()

    async def enter(self) -> None:
        """Wait for the next slot. Only the first in the queue sleeps, so that a cut concerns all that wait."""
        async with self._turn:
            while (wait := max(self._next, self._held_until) - self._clock()) > 0 and not self._halt.sending_ended:
                await self._halt.sleep(wait)
            now = self._clock()
            self._next = max(self._next, self._held_until, now - _CATCH_UP) + 1 / self._current(now)

    def cut(self, hold: float = 0.0) -> None:
        """A 429 arrived; ``hold``: seconds that the server asked for. Those of one volley count as one."""
        now = self._clock()
        rate = self._current(now)
        if now >= self._held_until:
            self._rate = max(self._full * _FLOOR, rate * _CUT)
        self._held_until = max(self._held_until, now + max(_HOLD, hold))
        self._since = self._held_until

    def _current(self, now: float) -> float:
        if now > self._since:
            self._rate = min(self._full, self._rate + self._full * _RETURN * (now - self._since))
            self._since = now
        return self._rate
