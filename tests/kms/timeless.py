"""An event loop on which waiting takes no time: when nobody has anything to do, its clock jumps to what is due next.

For scenes without sockets only. Everything that waits by the loop is on its clock: sleeps, time-outs, locks.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2026, 11, 24, 3, 34, tzinfo=UTC)


class _Selector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout is not None:
            self.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def timeless(scene: Coroutine[Any, Any, T]) -> T:
    """Run a scene to its end."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(scene)


def clock() -> float:
    """Monotonic seconds of the running scene; it begins at 1000."""
    return asyncio.get_running_loop().time()


def now() -> datetime:
    """UTC of the running scene; it begins at ``START``."""
    return START + timedelta(seconds=clock() - 1000)
