"""What will be written: steps, the plan's digest, and the guard on its size.

Only this module makes steps: from the verdict ``Eligible``, so that a key that cannot rotate cannot be written to, and
from a ``Reversal``, so that nothing can be undone but what a run is known to have changed.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from audit.errors import GuardRefused, UsageFault
from audit.model import DEFAULT_INTERVAL, MAX_INTERVAL, MIN_INTERVAL, Place, Policy
from audit.outcome import Action, Outcome
from audit.reversal import Reversal
from audit.verdict import Eligible
from audit.versions import Price
from audit.waiver import Waiver


@dataclass(frozen=True, slots=True)
class Step:
    """One write request to make.

    ``number``: its place in the plan, from 1. ``record``: the record it is for. ``interval``: days, None for those
    that switch. ``sequence``: a lower-case hyphenated UUID that this request carries at every attempt, no other ever.
    """

    number: int
    record: int
    place: Place
    key_id: str
    action: Action
    interval: int | None
    sequence: str


def make(
    record: int,
    place: Place,
    key_id: str,
    verdict: Eligible,
    policy: Policy,
    new_sequence: Callable[[], str],
    number: int,
) -> tuple[Step, ...]:
    """The steps that bring an eligible key into policy, numbered from ``number``; empty where nothing asked for would.

    Enabling always gives 365 days (EnableKeyRotation), so another interval is a second step.
    """
    failed = {finding.rule for finding in verdict.findings}
    actions: list[tuple[Action, int | None]] = []
    if "C01" in failed:
        actions.append((Action.ENABLE, None))
    if policy.interval is not None and ("C02" in failed or policy.interval != DEFAULT_INTERVAL):
        actions.append((Action.SET_INTERVAL, policy.interval))
    return tuple(
        Step(number + i, record, place, key_id, action, interval, new_sequence())
        for i, (action, interval) in enumerate(actions)
    )


def undo(
    record: int, place: Place, key_id: str, change: Reversal, new_sequence: Callable[[], str], number: int
) -> Step:
    """The one step that takes a change back: rotation off, or the interval that was.

    A key that was switched on and given an interval is switched off: an interval of what does not rotate means nothing.
    """
    action = Action.DISABLE if change.before is None else Action.RESTORE_INTERVAL
    return Step(number, record, place, key_id, action, change.before, new_sequence())


SHORTEST_DIGEST = 12
"""Characters of a digest that are enough to approve a plan."""


def digest(steps: Iterable[Step], policy: Policy, target: str, waivers: Iterable[Waiver] = ()) -> str:
    """SHA-256 in hex over what will be done, where and under which policy, and what was waived; no times, no sequences.

    ``target``: the host of the endpoint (several: sorted, joined by commas), or ``simulated``. ``waivers``: all that
    were given, also those that cover nothing. The same plan made again has the same digest.
    """
    head = f"kms-rotation plan 1\t{policy.max_interval}\t{policy.interval or ''}\t{target}"
    lines = [
        f"{step.place.account}\t{step.place.region}\t{step.place.project_id}\t{step.key_id}\t{step.action}\t"
        f"{step.interval or ''}"
        for step in steps
    ]
    lines += ["\t".join(("waiver", *waiver.cells)) for waiver in waivers]
    encoded = [head.encode(), *sorted(line.encode() for line in lines)]
    return hashlib.sha256(b"".join(line + b"\n" for line in encoded)).hexdigest()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan as shown to the operator.

    ``hosts``: where the steps go. ``counts``: verdicts on all records, before the plan. ``seconds``: the least time
    that the steps take at the configured rate. ``new_versions``: a year, that they add; ``price``: of one, if given.
    """

    digest: str
    hosts: tuple[str, ...]
    steps: Sequence[Step]
    counts: Mapping[Outcome, int]
    seconds: float
    simulated: bool
    new_versions: Fraction = Fraction(0)
    price: Price | None = None

    @property
    def keys(self) -> int:
        """How many keys would change."""
        return len({step.record for step in self.steps})

    @property
    def actions(self) -> Mapping[Action, int]:
        """How many steps of each kind."""
        return {action: sum(step.action is action for step in self.steps) for action in Action}


_LIMIT = re.compile(r"(\d{1,9})(%?)", re.ASCII)


def check_limit(limit: str) -> str:
    """A ``--max-changes`` value as given: ``N`` or ``N%`` (0-100). Raises UsageFault otherwise."""
    match = _LIMIT.fullmatch(limit)
    if not match or (match[2] and int(match[1]) > 100):
        raise UsageFault(f"--max-changes {limit!r} is neither a number of keys nor a percentage such as 10%")
    return limit


def guard(changes: int, usable: int, limit: str | None) -> None:
    """Refuse a plan that changes more keys than ``limit`` allows (a percentage is of the usable records, floored).

    Raises GuardRefused.
    """
    if limit is None:
        return
    number, percent = _LIMIT.fullmatch(check_limit(limit)).groups()  # type: ignore[union-attr]  # checked just before
    allowed = usable * int(number) // 100 if percent else int(number)
    if changes > allowed:
        raise GuardRefused(
            f"the plan changes {changes} keys, --max-changes {limit} allows {allowed} of {usable} usable records",
            "nothing was sent; look at the plan, then raise --max-changes if it is right",
        )


def check_policy(policy: Policy, *, writes: bool) -> Policy:
    """A policy whose numbers can be asked for. Raises UsageFault."""
    for option, days in (("--max-interval", policy.max_interval), ("--interval", policy.interval)):
        if days is not None and not MIN_INTERVAL <= days <= MAX_INTERVAL:
            raise UsageFault(f"{option} {days}: KMS takes {MIN_INTERVAL} to {MAX_INTERVAL} days")
    if policy.interval is not None and policy.interval > policy.max_interval:
        raise UsageFault(f"--interval {policy.interval} is longer than --max-interval {policy.max_interval} allows")
    if writes and policy.max_interval < DEFAULT_INTERVAL and policy.interval is None:
        raise UsageFault(
            f"--max-interval {policy.max_interval} without --interval: enabling always gives {DEFAULT_INTERVAL} days, "
            "so every key switched on would be too slow",
            f"add --interval {policy.max_interval}, or drop --max-interval",
        )
    return policy
