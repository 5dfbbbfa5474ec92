"""SIGINT and SIGTERM: the first is handed to whatever is going on, the second ends the process at once."""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Self

from audit.errors import Interrupted

_EXIT_CODE = Interrupted.exit_code
_SHOW_CURSOR = b"\x1b[?25h\n"  # the live bar hides it


def raise_interrupted(name: str) -> None:
    """What a signal does while nothing is in flight."""
    raise Interrupted(f"interrupted by {name}")


class Signals:
    """Context manager. ``act`` is called with the name of the first signal; assign it as the work changes."""

    def __init__(self) -> None:
        self.act: Callable[[str], None] = raise_interrupted
        self._came = False
        self._before: dict[int, object] = {}

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._came:
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)
            os._exit(_EXIT_CODE)  # every event on record is whole: the ledger commits or rolls back
        self._came = True
        self.act(signal.Signals(number).name)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal returned is what it takes
