"""How often one request may be sent, and how long to wait before it is sent again.

Retrying sits above signing: the same body and sequence every time, a new date and signature. Backoff is capped and
exponential with full jitter, as the vendor's guide on retrying failed DEW requests asks.
"""

import random
from collections.abc import Callable

from audit.outcome import Attempt, Meaning

BASE, CAP = 0.5, 30.0
"""Seconds: the bound of the first wait, and of any."""
PATIENCE = 900.0
"""Seconds without any success after which the run stops; no longer wait that a server asks for is slept."""

Uniform = Callable[[float, float], float]


class Tries:
    """The attempts of one request. A 429 uses up none: the pace is cut instead, for all requests."""

    def __init__(self, allowed: int, uniform: Uniform = random.uniform) -> None:
        self._allowed, self._uniform = allowed, uniform
        self._used = 0
        self._limited = 0

    def wait_after(self, attempt: Attempt) -> float | None:
        """Seconds to wait before the request is sent again, None where the attempts are used up."""
        if attempt.meaning is Meaning.THROTTLED:
            return 0.0
        self._used += 1
        if attempt.retries is not None:
            self._limited += 1
        used_up = self._used >= self._allowed or (attempt.retries is not None and self._limited > attempt.retries)
        if used_up or attempt.retry_after > PATIENCE:
            return None
        return max(self._uniform(0.0, min(CAP, BASE * 2 ** (self._used - 1))), attempt.retry_after)
