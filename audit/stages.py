"""The stages of a run that talk to KMS: survey, judge again, carry out. One event loop runs them all."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from audit.assess import Again, Loaded, place_of
from audit.errors import Interrupted, LedgerFault
from audit.execute import Journal
from audit.halt import Halt, Tally
from audit.kms.client import Kms
from audit.kms.link import Limits
from audit.ledger import Clock, Ledger
from audit.model import Place, Policy
from audit.outcome import INTERVALS, Action
from audit.plan import Step
from audit.replay import histories
from audit.signals import Signals, raise_interrupted
from audit.tables import Event, EventKind, RecordRow
from audit.verify import Crew, unfinished
from audit.walk import Walk

T = TypeVar("T")

STALE_SECONDS = 300
"""A walk older than this is made again before anything is written."""


class Stages:
    """What one process does with KMS for one run.

    ``again``: by which standard steps are judged once more. ``columns``: the header of the inventory.
    """

    def __init__(
        self,
        kms: Kms,
        ledger: Ledger,
        halt: Halt,
        tally: Tally,
        *,
        again: Again,
        policy: Policy,
        columns: Sequence[str],
        limits: Limits,
    ) -> None:
        self._kms, self._ledger, self._halt, self._tally = kms, ledger, halt, tally
        self._standard, self._policy, self._columns, self._limits = again, policy, columns, limits
        self._width = 2 * limits.concurrency  # so many that the ledger and the wire both always have work
        self._walked = 0.0

    @property
    def stale(self) -> bool:
        """Whether the last walk is too old to write by."""
        return time.monotonic() - self._walked > STALE_SECONDS

    async def survey(self, loaded: Loaded, now: str) -> list[Step]:
        """Walk every place, judge every record by what KMS says, write the verdicts, and make the steps."""
        walk = await self._walk("before", loaded.wanted, now)
        self._tally.begin("judging", 0)
        return await loaded.assess(walk, self._policy)

    async def again(self, steps: Sequence[Step], now: str) -> list[Step]:
        """Walk again and judge every step that was not sent by what KMS says now.

        Returns the steps that are left: not those that became needless or impossible, and not those of keys that could
        not be read.
        """
        walk = await self._walk("before", _wanted(self._ledger.usable()), now)
        journal = Journal(self._ledger, histories(self._ledger.db))
        left = unfinished(journal.steps)
        fresh = [step for step in steps if step.number in left and not journal.steps[step.number].intended]
        standing = await self._standard(self._ledger, self._columns, fresh, walk, self._policy)
        first = {step.record: step for step in reversed(steps)}
        dropped: set[int] = set()
        for step in fresh:
            leader = first[step.record]
            if leader is not step and leader.number not in dropped and journal.steps[leader.number].superseded is None:
                continue  # half of the change is this run's own: what KMS shows now is not the end of it
            if ending := standing.get(step.number):
                await journal.note(Event(EventKind.SUPERSEDED, step.number, asdict(ending)))
                dropped.add(step.number)
        unread = {step.number for step in fresh} - standing.keys()
        return [step for step in steps if step.number in left - unread - dropped]

    async def perform(self, steps: Sequence[Step], max_failures: int, now: Clock) -> None:
        """Send every step, walk again, and read back until each change shows or the polls are used up."""
        journal = Journal(self._ledger, histories(self._ledger.db))
        hands = Crew(
            self._kms,
            self._kms,
            journal,
            self._halt,
            self._tally,
            width=self._width,
            attempts=self._limits.attempts,
            max_failures=max_failures,
        )
        wanted = _wanted(self._ledger.usable())
        switches = [step for step in steps if step.action not in INTERVALS]
        if switches:
            await hands.carry_out(switches)
            await hands.confirm(switches, await self._walk("after", wanted, now()))
        doubtful = {
            past.record
            for past in journal.steps.values()
            if past.action is Action.ENABLE and past.superseded is None and not past.satisfied
        }
        intervals = [s for s in steps if s.action in INTERVALS and s.record not in doubtful]
        if intervals:
            await hands.carry_out(intervals)
            await hands.confirm(intervals, None)
            await self._walk("after", wanted, now())

    async def _walk(self, when: str, wanted: Mapping[Place, set[str]], now: str) -> Walk:
        walk = Walk(self._kms, self._halt, self._tally, self._width)
        places = [place for place in sorted(wanted) if not self._halt.held(place)]
        self._tally.begin(f"reading {len(places)} place{'s' if len(places) != 1 else ''}", len(places))
        await walk.walk(places, now)
        self._walked = time.monotonic()
        for place, listing in sorted(walk.listings.items()):
            extra = len(listing.keys.keys() - wanted[place])
            self._ledger.append(Event(EventKind.WALKED, None, listing.told(when, extra)))
        return walk


async def interruptible(
    work: Coroutine[Any, Any, T], ledger: Ledger, halt: Halt, signals: Signals, limits: Limits
) -> T:
    """Do the work until it is done, or a signal ends it: then answers in flight get one time-out more.

    When this returns or raises, no event is on its way to the disk any more.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def interrupted(name: str) -> None:
        halt.interrupt(name)
        loop.call_later(limits.timeout, task.cancel)

    def act(name: str) -> None:
        loop.call_soon_threadsafe(interrupted, name)

    signals.act = act
    try:
        return await task
    except asyncio.CancelledError:
        raise (halt.ending or Interrupted("interrupted")) from None
    finally:
        with contextlib.suppress(LedgerFault):
            await ledger.commit()
        signals.act = raise_interrupted


def _wanted(rows: Iterable[RecordRow]) -> dict[Place, set[str]]:
    wanted: dict[Place, set[str]] = {}
    for row in rows:
        wanted.setdefault(place_of(row), set()).add(row.key_id)
    return wanted
