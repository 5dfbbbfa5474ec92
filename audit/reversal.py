"""What a run is known to have changed of a key, and what the key was before: the only thing that may be undone.

Known is what KMS accepted, and what a read-back showed after a request without a clear answer. Not known is who did it
where KMS said to a repeated request that it had been done already; that is a ``Doubt``, and nothing is sent for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from audit.model import DEFAULT_INTERVAL, MAX_INTERVAL, MIN_INTERVAL, Facts
from audit.outcome import Action, History, Meaning


@dataclass(frozen=True, slots=True)
class Reversal:
    """A change that a run is known to have made.

    ``before``: the interval to restore, in days; None where rotation was off. ``left``: the interval in days with which
    the run left the key; two where it is not known whether the second step was applied.
    """

    before: int | None
    left: frozenset[int]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A change that a run may have made, and why that is not known. ``was_off``: rotation was on record as off."""

    why: str
    was_off: bool


def reversal(before: Facts, steps: Sequence[History]) -> Reversal | Doubt | None:  # noqa: PLR0911  # a table
    """What there is to undo of one key; None where no request of the run can have changed it.

    ``before``: what KMS stated of the key when the plan was sealed. ``steps``: those of this key, in order.
    """
    reached = [step for step in steps if step.superseded is None and step.reached]
    if not reached:
        return None
    first = reached[0]
    was_off = before.rotates is False
    if why := _doubt(first):
        return Doubt(why, was_off)
    if first.action is Action.ENABLE:
        if not was_off:
            return Doubt("that rotation was off before is not on record", was_off)
        return Reversal(None, _left(reached))
    if not before.rotates or before.interval is None:
        return Doubt("the interval before is not on record", was_off=False)
    if not MIN_INTERVAL <= before.interval <= MAX_INTERVAL:
        return Doubt(f"the interval before, {before.interval} days, is none that KMS takes", was_off=False)
    return Reversal(before.interval, _left(reached))


def _doubt(step: History) -> str:
    """Why it is not known that this step changed its key; empty where it is."""
    if any(attempt.meaning is Meaning.ALREADY for attempt in step.attempts):
        return "KMS said “already” to a repeated request: that run or somebody else changed the key"
    if (step.answer is not None and step.answer.meaning is Meaning.DONE) or step.satisfied:
        return ""
    return "a request of that run may have changed the key, and neither an answer nor a read-back shows that it did"


def _left(reached: Sequence[History]) -> frozenset[int]:
    last, days = reached[-1], {step.interval or DEFAULT_INTERVAL for step in reached}
    return frozenset(days if _doubt(last) else {last.interval or DEFAULT_INTERVAL})


def sealed(live: Facts, before: int | None) -> Reversal:
    """The same change, as a rollback has sealed it: the interval of its step, and the key as left when it was read."""
    return Reversal(before, frozenset(days for days in (live.interval,) if days))
