"""How often a request is sent, and how long it waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.outcome import Attempt, Meaning
from audit.retry import BASE, CAP, PATIENCE, Tries

AGAIN, THROTTLED = Attempt(Meaning.AGAIN), Attempt(Meaning.THROTTLED)


def longest(low, high):
    """Chance that always takes the longest wait."""
    assert low == 0.0
    return high


def test_backoff_doubles_from_half_a_second_to_its_cap():
    """Full jitter below a bound that doubles: 0.5, 1, 2 ... seconds, up to the cap; the last attempt is the last."""
    tries = Tries(9, longest)
    assert [tries.wait_after(AGAIN) for _ in range(9)] == [BASE, 1, 2, 4, 8, 16, CAP, CAP, None]
    assert Tries(2, min).wait_after(AGAIN) == 0


@given(
    st.lists(st.sampled_from([AGAIN, THROTTLED, Attempt(Meaning.SILENT), Attempt(Meaning.UNREACHED)])),
    st.integers(1, 9),
)
def test_a_throttled_attempt_uses_up_nothing(attempts, allowed):
    """However often KMS says 429, as many other attempts are left as before, and never one more."""
    tries = Tries(allowed)
    waits = [tries.wait_after(attempt) for attempt in attempts]
    counted = [wait for wait, attempt in zip(waits, attempts, strict=True) if attempt is not THROTTLED]
    assert [wait is None for wait in counted] == [n + 1 >= allowed for n in range(len(counted))]
    assert all(wait is not None and 0 <= wait <= CAP for wait in counted[: allowed - 1])


@pytest.mark.parametrize(("asked", "wait"), [(3.0, 3.0), (0.1, BASE), (PATIENCE, PATIENCE), (PATIENCE + 1, None)])
def test_a_server_that_names_a_time_is_heard(asked, wait):
    """Retry-After is never undercut, and one that is longer than a run waits ends the attempts."""
    assert Tries(5, longest).wait_after(Attempt(Meaning.AGAIN, retry_after=asked)) == wait


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_some_codes_may_be_repeated_only_so_often(retries):
    """A code with its own bound ends the attempts after so many retries, whatever came in between."""
    few, tries = Attempt(Meaning.AGAIN, retries=retries), Tries(9, longest)
    waits = [tries.wait_after(few if n % 2 == 0 else AGAIN) for n in range(2 * retries + 1)]
    assert [wait is None for wait in waits] == [False] * (2 * retries) + [True]
